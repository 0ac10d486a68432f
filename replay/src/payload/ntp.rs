//! NTP (RFC 5905): requests and answers of the two usual lengths.

use super::{Datagram, FlowFacts};
use crate::draw::{Draw, draw};

/// Length of an NTP packet without extensions.
const LEN: usize = 48;
/// With a key identifier and an MD5 digest.
const SIGNED_LEN: usize = 68;

/// Whether a packet of this length is made; others are a filler.
pub(super) fn is_length(len: usize) -> bool {
    matches!(len, LEN | SIGNED_LEN)
}

/// Fills `out`, of 48 or 68 bytes.
pub(super) fn fill(facts: &FlowFacts, datagram: &Datagram<'_>, out: &mut [u8]) {
    /// 2024-01-01 in seconds since 1900, a moment like any other: the clock is the session's own.
    const EPOCH: u64 = 3_913_056_000;
    let ask = draw(facts.seed, Draw::Payload, datagram.ordinal, 2);
    out.fill(0);
    let time = |later: u64| ((EPOCH + ask % 100_000_000) << 32 | ask >> 32).wrapping_add(later).to_be_bytes();
    if datagram.from_initiator {
        out[0] = 4 << 3 | 3; // version 4, client
        out[40..48].copy_from_slice(&time(0));
    } else {
        out[..4].copy_from_slice(&[4 << 3 | 4, 1, 6, 0xe9]); // server of stratum 1
        out[12..16].copy_from_slice(b"GPS\0");
        out[16..24].copy_from_slice(&time(0));
        out[24..32].copy_from_slice(&time(0)); // repeats the request of the same ordinal
        out[32..40].copy_from_slice(&time(1 << 24));
        out[40..48].copy_from_slice(&time(1 << 25));
    }
    for (i, byte) in out[LEN..].iter_mut().enumerate() {
        *byte = draw(ask, Draw::Payload, i as u64, 3) as u8;
    }
}
