//! Facts about TCP headers that the encoder, the strict mask and repair share.

use netssm_wire::tcp::{Flags, MAX_WINDOW_SHIFT, kind};

/// The flags of the TCP header at `at`, if it was captured that far.
pub(crate) fn flags(frame: &[u8], at: usize) -> Option<Flags> {
    Some(Flags::from_byte(*frame.get(at + 13)?))
}

/// Whether a TCP sends this option, with kind and length, in a segment with these flags. MSS, window scale (RFC 7323: a
/// shift of 14 at most) and SACK-permitted stand in a SYN only; SACK blocks stand in no SYN and need ACK (RFC 2018).
/// Without ACK the echo of a timestamps option must be zero (RFC 7323 section 3.2), which the caller checks or mends.
pub(crate) fn option_fits(option: &[u8], flags: Flags) -> bool {
    let (syn, ack) = (flags.contains(Flags::SYN), flags.contains(Flags::ACK));
    match (option.first().copied().unwrap_or_default(), option.len()) {
        (kind::MSS, 4) | (kind::SACK_PERMITTED, 2) => syn,
        (kind::WINDOW_SCALE, 3) => syn && option[2] <= MAX_WINDOW_SHIFT,
        (kind::SACK, 10 | 18 | 26 | 34) => ack && !syn,
        (kind::TIMESTAMPS, 10) => true,
        _ => false,
    }
}
