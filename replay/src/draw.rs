//! Keyed numbers: every number that a replay draws is a pure function of its seeds and of its purpose.
//!
//! A counter-free mixing function instead of one generator per session, so that the value for one host or flow does
//! not depend on how many others were drawn before it. It is no cipher: what it must hide (the addresses of a
//! training capture) is never its input; hosts and flows go in by their order of appearance.

use netssm_wire::splitmix::{GAMMA, mix};

/// What a number is drawn for; keeps draws for different things apart.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Draw {
    Address = 1,
    InterfaceId,
    Mac,
    Port,
    Isn,
    IpId,
    FragmentId,
    Timestamp,
    FlowLabel,
    Payload,
    Checksum,
    Cookie,
    EchoId,
}

/// 64 bits for item `(a, b)` of kind `draw`.
pub(crate) fn draw(seed: u64, draw: Draw, a: u64, b: u64) -> u64 {
    let mut x = mix(seed ^ (draw as u64).wrapping_mul(GAMMA));
    x = mix(x ^ a.wrapping_mul(0xd6e8_feb8_6659_fd93));
    mix(x ^ b.wrapping_mul(0xa076_1d64_78bd_642f).rotate_left(17))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn neighbours_share_nothing() {
        let mut seen = HashSet::new();
        for seed in 0..8 {
            for a in 0..64 {
                for b in 0..64 {
                    seen.insert(draw(seed, Draw::Port, a, b));
                }
            }
        }
        assert_eq!(seen.len(), 8 * 64 * 64);
        assert_ne!(draw(1, Draw::Port, 2, 3), draw(1, Draw::Isn, 2, 3));
        assert_ne!(draw(1, Draw::Port, 2, 3), draw(1, Draw::Port, 3, 2));
    }

    #[test]
    fn every_output_bit_moves() {
        for bit in 0..64 {
            let mut ones = 0;
            for a in 0..1000 {
                ones += (draw(7, Draw::Mac, a, 0) >> bit) & 1;
            }
            assert!((400..600).contains(&ones), "bit {bit}: {ones} ones of 1000");
        }
    }
}
