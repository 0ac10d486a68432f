//! A product of a few rows with a weight matrix, in the precision that was asked for: what decoding multiplies with.

use super::{int8, panels};
use crate::error::{Error, Result};
use crate::precision::Precision;

/// Outputs that each row of a product wants; those of no rows mean that every row wants all.
///
/// Keeps its memory from product to product.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    words: Vec<u64>, // (rows, width)
    width: usize,
}

impl Masks {
    /// Forgets the rows; those that follow are of a product with so many outputs.
    pub fn clear(&mut self, outputs: usize) {
        self.words.clear();
        self.width = outputs.div_ceil(64);
    }

    /// Makes room for so many rows of a product with so many outputs.
    pub fn reserve(&mut self, rows: usize, outputs: usize) {
        self.words.reserve((rows * outputs.div_ceil(64)).saturating_sub(self.words.len()));
    }

    /// The next row: bit `o % 64` of word `o / 64` is output `o`, those beyond the last word are not wanted; `None` is all.
    pub fn push(&mut self, mask: Option<&[u64]>) {
        let end = self.words.len() + self.width;
        match mask {
            Some(mask) => self.words.extend_from_slice(&mask[..mask.len().min(self.width)]),
            None => self.words.resize(end, u64::MAX),
        }
        self.words.resize(end, 0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether `row` wants some of the 32 outputs from `at` on.
    pub(crate) fn wants(&self, row: usize, at: usize) -> bool {
        (self.words[row * self.width + at / 64] >> (at % 64)) as u32 != 0
    }
}

/// What a product needs beside its operands. It keeps its memory, so that products of no more rows than before allocate
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// The rows that want something of a panel.
    pub(crate) wanting: Vec<usize>,
    /// The rows in eight bits.
    pub(crate) quantised: int8::Rows,
}

impl Scratch {
    /// Makes room for so many rows of so many inputs.
    pub fn reserve(&mut self, rows: usize, inputs: usize) {
        self.wanting.reserve(rows.saturating_sub(self.wanting.len()));
        self.quantised.reserve(rows, inputs);
    }
}

/// A weight matrix `(outputs, inputs)`, packed once.
///
/// A row's result depends, to the last bit, neither on the other rows, nor on their number, nor on what is wanted.
#[derive(Debug, Clone)]
pub struct Product(Packed);

#[derive(Debug, Clone)]
enum Packed {
    F32(panels::Packed),
    Int8(int8::Packed),
}

impl Product {
    /// Packs row-major `(outputs, inputs)` weights.
    ///
    /// # Errors
    /// [`Error::Input`] in int8 for weights that are not finite, and for more inputs than it can sum; in bf16, which the
    /// CPU does not multiply in.
    pub fn new(precision: Precision, weights: &[f32], outputs: usize, inputs: usize) -> Result<Self> {
        Ok(Self(match precision {
            Precision::F32 => Packed::F32(panels::Packed::new(weights, outputs, inputs)),
            Precision::Int8 => {
                Packed::Int8(int8::Packed::new(weights, outputs, inputs, int8::Kernel::best())?)
            }
            Precision::Bf16 | Precision::Bf16State => {
                return Err(Error::input("precision of a product on the cpu", "f32 or int8", precision));
            }
        }))
    }

    pub(crate) fn outputs(&self) -> usize {
        match &self.0 {
            Packed::F32(packed) => packed.outputs(),
            Packed::Int8(packed) => packed.outputs(),
        }
    }

    /// `out (rows, outputs) = x (rows, inputs) weights^T`, added to what is there if `add`.
    pub fn multiply(&self, x: &[f32], out: &mut [f32], add: bool, scratch: &mut Scratch) {
        self.multiply_wanted(x, out, add, &Masks::default(), scratch);
    }

    /// As [`Self::multiply`] for the outputs that each row wants; the others mean nothing.
    pub fn multiply_wanted(
        &self,
        x: &[f32],
        out: &mut [f32],
        add: bool,
        wanted: &Masks,
        scratch: &mut Scratch,
    ) {
        match &self.0 {
            Packed::F32(packed) => packed.multiply_wanted(x, out, add, wanted, &mut scratch.wanting),
            Packed::Int8(packed) => packed.multiply_wanted(x, out, add, wanted, scratch),
        }
    }
}

/// The instructions that products of this precision use on this machine.
pub fn kernel(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => panels::kernel(),
        Precision::Int8 => int8::Kernel::best().name(),
        Precision::Bf16 | Precision::Bf16State => "none",
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Masks;

    /// Asserts that a product of 19 rows with 130 outputs, as `multiply` computes it, does not depend on what is not wanted.
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
