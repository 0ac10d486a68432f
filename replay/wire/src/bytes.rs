//! Bounds-checked reads of big-endian integers, the only way this crate reads numbers at an offset.

/// The two bytes at `at`, big-endian; `None` past the end.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array::<2>(bytes, at).map(u16::from_be_bytes)
}

/// The four bytes at `at`, big-endian; `None` past the end.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array::<4>(bytes, at).map(u32::from_be_bytes)
}

/// The `N` bytes at `at`; `None` past the end.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
