//! Which outputs of a product each row wants: those of its tokens that the grammar allows.

/// Outputs that each row of a product wants; those of no rows mean that every row wants all.
///
/// Keeps its memory from product to product.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    words: Vec<u64>, // (rows, width)
    width: usize,
}

impl Masks {
    /// Removes all rows. Rows pushed from now on are of a product with `outputs` outputs.
    pub fn clear(&mut self, outputs: usize) {
        self.words.clear();
        self.width = outputs.div_ceil(64);
    }

    /// Allocates for `rows` rows of a product with `outputs` outputs.
    pub fn reserve(&mut self, rows: usize, outputs: usize) {
        self.words.reserve((rows * outputs.div_ceil(64)).saturating_sub(self.words.len()));
    }

    /// The next row: bit `o % 64` of word `o / 64` is output `o`, those beyond the last word are not wanted; `None` is
    /// all.
    pub fn push(&mut self, mask: Option<&[u64]>) {
        let end = self.words.len() + self.width;
        match mask {
            Some(mask) => self.words.extend_from_slice(&mask[..mask.len().min(self.width)]),
            None => self.words.resize(end, u64::MAX),
        }
        self.words.resize(end, 0);
    }

    /// Whether there are no rows, which means that every row wants every output.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether `row` wants some of the 32 outputs from `at` on.
    pub(crate) fn wants(&self, row: usize, at: usize) -> bool {
        (self.words[row * self.width + at / 64] >> (at % 64)) as u32 != 0
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Masks;

    /// Asserts that a product of 19 rows with 130 outputs, as `multiply` computes it, does not depend on what is not
    /// wanted.
    pub(crate) fn wanted_does_not_depend_on_the_rest(multiply: impl Fn(&Masks) -> Vec<f32>) {
        let (rows, outputs) = (19, 130);
        // Row r wants every (r + 1)th output of the first two words; the first row everything, the last one nothing.
        let mask = |r: usize, word: usize| {
            (0..64).filter(|bit| (word + bit).is_multiple_of(r + 1)).map(|bit| 1 << bit).sum()
        };
        let masks: Vec<[u64; 2]> = (0..rows).map(|r| [mask(r, 0), mask(r, 64)]).collect();
        let mut wanted: Vec<Option<&[u64]>> = masks.iter().map(|mask| Some(&mask[..])).collect();
        wanted[0] = None;
        wanted[rows - 1] = Some(&[]);
        let mut some = Masks::default();
        some.clear(outputs);
        wanted.iter().for_each(|mask| some.push(*mask));
        let (all, some) = (multiply(&Masks::default()), multiply(&some));
        assert_eq!((all.len(), some.len()), (rows * outputs, rows * outputs));
        for (r, mask) in wanted.iter().enumerate() {
            for o in 0..outputs {
                let is_wanted =
                    mask.is_none_or(|mask| mask.get(o / 64).is_some_and(|word| word >> (o % 64) & 1 == 1));
                let (got, full) = (some[r * outputs + o], all[r * outputs + o]);
                assert!(!is_wanted || got.to_bits() == full.to_bits(), "row {r}, output {o}");
            }
        }
        assert!(
            some[(rows - 1) * outputs..].iter().all(|&value| value == 0.0),
            "nothing wanted, nothing done"
        );
    }
}
