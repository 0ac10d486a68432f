//! Seeds derived from the one seed of a profile or a command.
//!
//! Every random choice has its own stream, named by purpose and index, so that none depends on how many draws another
//! one made, nor on the order in which threads happen to run.

/// What a derived seed is for. The numbers are part of "same seed, same bytes": never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Arrival times and the label of each arrival.
    Arrivals = 1,
    /// The tokens of a generated session.
    Session = 2,
    /// Addresses, ports, sequence numbers of one replay.
    Replay = 3,
}

/// The seed of one stream: equal inputs give equal seeds on every machine and in every version.
pub(crate) fn derive(seed: u64, purpose: Purpose, label: &str, index: u64) -> u64 {
    let mut state = mix(seed ^ mix(purpose as u64));
    // FNV-1a over the label: stable across versions, unlike std's hasher.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in label.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = mix(state ^ hash);
    mix(state.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that spreads every input bit.
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn splitmix_matches_its_published_first_output() {
        // SplitMix64 seeded with 1234567 gives 6457827717110365317 first (Rosetta Code and the xoshiro authors' C).
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

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
