//! Derives all seeds from the one seed of a profile or a command.
//!
//! Every random choice has its own stream, named by purpose, label and index. So no stream depends on how many values
//! another one drew, or on the order in which threads run.

use netssm_wire::splitmix::{GAMMA, mix};

/// The purpose of a derived seed. The numbers are part of "same seed, same bytes": never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Arrival times and the label of each arrival.
    Arrivals = 1,
    /// The tokens of a generated session.
    Session = 2,
    /// The addresses, ports, sequence numbers and the like of one replay.
    Replay = 3,
}

/// The seed of one stream. Equal inputs give equal seeds on every machine and in every version.
pub(crate) fn derive(seed: u64, purpose: Purpose, label: &str, index: u64) -> u64 {
    let mut state = mix(seed ^ mix(purpose as u64));
    // FNV-1a over the label. Unlike std's hasher, it is stable across versions.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in label.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = mix(state ^ hash);
    mix(state.wrapping_add(index.wrapping_mul(GAMMA)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn streams_do_not_collide() {
        let mut seen = HashSet::new();
        for seed in 0..10 {
            for purpose in [Purpose::Arrivals, Purpose::Session, Purpose::Replay] {
                for label in ["", "a", "youtube"] {
                    for index in 0..100 {
                        assert!(seen.insert(derive(seed, purpose, label, index)));
                    }
                }
            }
        }
    }
}
