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
        for index in from..to.min(usize::from(class.len)) {
            self.add(class.at(index));
        }
    }

    /// Adds a whole class.
    pub fn add_class(&mut self, class: Class) {
        self.add_members(class, 0, usize::from(class.len));
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
