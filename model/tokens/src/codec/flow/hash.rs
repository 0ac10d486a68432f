//! Hashing for the tables of a session.
//!
//! Each packet needs a dozen lookups, and the standard library's hash would take a quarter of the codec's time. That
//! hash resists keys that were chosen to collide. These tables are bounded, so such keys cost a walk over some hundred
//! entries at worst. The order of entries has no effect.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use netssm_wire::splitmix::mix;

/// A table of bounded size.
pub(super) type Table<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Multiplies and folds word by word, and mixes well at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixer(u64);

/// An odd number without a pattern: the fraction of pi.
const FACTOR: u64 = 0x243f_6a88_85a3_08d3;

impl Mixer {
    fn word(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        // Both halves are folded: the lower one alone would lose the upper bits of a word.
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(FACTOR);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.word(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.word(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.word(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.word(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.word(value as u64);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;

    use super::*;

    #[test]
    fn like_keys_spread() {
        let hash = |key: (u16, [u8; 6])| {
            let mut mixer = Mixer::default();
            key.hash(&mut mixer);
            mixer.finish()
        };
        let keys = (0..64).flat_map(|a| (0..64).map(move |b| (a, [0, 0, 0, 0, b, 0])));
        let hashes: Vec<u64> = keys.map(hash).collect();
        // Tables look at the upper seven bits and at the lower ones; 4,096 keys in 128 and 4,096 places.
        for (shift, places) in [(57, 128), (0, 4_096)] {
            let mut counts = vec![0_usize; places];
            hashes.iter().for_each(|hash| counts[(hash >> shift) as usize % places] += 1);
            let most = counts.iter().max().copied().unwrap_or_default();
            assert!(most <= 4_096 / places * 2 + 8, "{most} of 4096 keys in one of {places} places");
        }
    }
}
