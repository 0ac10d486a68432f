//! Bounds-checked access to bytes at an offset. This crate reads numbers with these or with a view, and other crates
//! use them for payload that it does not parse.

/// The two bytes at `at` as a big-endian number; `None` past the end.
#[inline]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array::<2>(bytes, at).map(u16::from_be_bytes)
}

/// The four bytes at `at` as a big-endian number; `None` past the end.
#[inline]
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array::<4>(bytes, at).map(u32::from_be_bytes)
}

/// The `N` bytes at `at`; `None` past the end.
#[inline]
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Writes `value` at `at` if all of it fits; else changes nothing. For callers that have checked lengths before.
#[inline]
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(end) = at.checked_add(value.len())
        && let Some(place) = bytes.get_mut(at..end)
    {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_stop_at_the_end() {
        let mut bytes = [0x12, 0x34, 0x56, 0x78, 0x9a];
        assert_eq!((be16(&bytes, 3), be16(&bytes, 4)), (Some(0x789a), None));
        assert_eq!((be32(&bytes, 1), be32(&bytes, 2)), (Some(0x3456_789a), None));
        assert_eq!((array::<2>(&bytes, usize::MAX), array::<0>(&bytes, 5)), (None, Some([])));
        put(&mut bytes, 3, &[1, 2]);
        put(&mut bytes, 4, &[9, 9]);
        put(&mut bytes, usize::MAX, &[9]);
        assert_eq!(bytes, [0x12, 0x34, 0x56, 1, 2]);
    }
}
