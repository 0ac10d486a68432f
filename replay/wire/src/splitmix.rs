//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014). All crates derive
//! numbers from seeds with it.
//!
//! It is no cipher. Secrets, such as the addresses of a training capture, are never its input.

/// The golden ratio in 64 bits: what the generator's state moves by at each step. Multiples of it keep the inputs of
/// one stream apart.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator's first output from the state `seed`: [`finish`] of the next state.
///
/// A bijection of 64 bits in which each input bit changes each output bit with probability near one half.
///
/// ```
/// // The published first output for this seed (Rosetta Code, and the C code of the xoshiro authors).
/// assert_eq!(netssm_wire::splitmix::mix(1_234_567), 6_457_827_717_110_365_317);
/// ```
#[inline]
pub fn mix(seed: u64) -> u64 {
    finish(seed.wrapping_add(GAMMA))
}

/// The output function alone, for callers that keep the state themselves; 0 gives 0.
#[inline]
pub fn finish(state: u64) -> u64 {
    let z = multiplied(state);
    z ^ (z >> 31)
}

/// The upper 32 bits before the last shift of [`finish`], which would change the lowest of them alone.
#[inline]
pub fn upper_half(state: u64) -> u32 {
    (multiplied(state) >> 32) as u32
}

fn multiplied(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let outputs = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        let step = |i: u64| finish(1_234_567_u64.wrapping_add(GAMMA.wrapping_mul(i)));
        assert_eq!([step(1), step(2), step(3)], outputs);
        assert_eq!(finish(0), 0);
        assert_eq!(upper_half(7) & !1, (finish(7) >> 32) as u32 & !1);
    }
}
