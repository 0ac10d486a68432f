//! A set of tokens.

use super::vocab::{Class, GRAMMAR_SIZE};

const WORDS: usize = GRAMMAR_SIZE as usize / 64;

/// Bit `t % 64` of word `t / 64` is token `t` of the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask([u64; WORDS]);

impl Default for Mask {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Mask {
    /// The words, low ids first.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// Adds a token; ids beyond the grammar are ignored.
    pub fn add(&mut self, token: u16) {
        if let Some(word) = self.0.get_mut(usize::from(token) / 64) {
            *word |= 1 << (token % 64);
        }
    }

    /// Takes a token out.
    pub fn remove(&mut self, token: u16) {
        if let Some(word) = self.0.get_mut(usize::from(token) / 64) {
            *word &= !(1 << (token % 64));
        }
    }

    /// Adds the members `from..to` of a class.
    pub fn add_members(&mut self, class: Class, from: usize, to: usize) {
        let to = to.min(usize::from(class.len));
        if from >= to {
            return;
        }
        // A class's ids lie one after the other: whole words at once.
        let first = usize::from(class.at(from));
        let end = first + (to - from);
        for (at, word) in self.0.iter_mut().enumerate().take(end.div_ceil(64)).skip(first / 64) {
            let low = first.saturating_sub(64 * at);
            let bits = (end - 64 * at).min(64) - low;
            *word |= (u64::MAX >> (64 - bits)) << low;
        }
    }

    /// Adds a whole class.
    pub fn add_class(&mut self, class: Class) {
        self.add_members(class, 0, usize::from(class.len));
    }

    /// Adds all tokens of another mask.
    pub fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Whether a token is in the set.
    pub fn has(&self, token: u16) -> bool {
        self.0.get(usize::from(token) / 64).is_some_and(|word| word >> (token % 64) & 1 == 1)
    }

    /// How many tokens are in it.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Its tokens in ascending order.
    pub fn tokens(&self) -> impl Iterator<Item = u16> + '_ {
        (0..GRAMMAR_SIZE).filter(|&token| self.has(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_as_if_one_by_one() {
        for (first, len) in [(0, 1), (63, 2), (5, 59), (64, 64), (70, 300), (960, 64), (1000, 24)] {
            let class = Class { first, len, name: "test" };
            for from in [0, 1, 57, 58, 59, 64, 299] {
                for to in [0, 1, 2, 58, 63, 64, 65, 128, 300, 1_000] {
                    let (mut together, mut single) = (Mask::default(), Mask::default());
                    together.add_members(class, from, to);
                    (from..to.min(len.into())).for_each(|index| single.add(class.at(index)));
                    assert_eq!(together, single, "{first} {len} {from} {to}");
                }
            }
        }
    }
}
