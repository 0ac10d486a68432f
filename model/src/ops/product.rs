//! A product of a few rows with a weight matrix, in the precision that was asked for: what decoding multiplies with.

use super::{gemm, int8};
use crate::error::{Error, Result};
use crate::precision::Precision;

/// Outputs that a row wants: bit `o % 64` of word `o / 64`, those beyond the last word not; `None` is all.
pub type Wanted<'a> = Option<&'a [u64]>;

/// Whether some of the 32 outputs from `at` on is wanted.
pub(crate) fn wants(wanted: Wanted<'_>, at: usize) -> bool {
    wanted.is_none_or(|mask| mask.get(at / 64).is_some_and(|word| (word >> (at % 64)) as u32 != 0))
}

/// A weight matrix `(outputs, inputs)`, packed once.
///
/// A row's result depends, to the last bit, neither on the other rows, nor on their number, nor on what is wanted.
#[derive(Debug, Clone)]
pub struct Product(Packed);

#[derive(Debug, Clone)]
enum Packed {
    F32(gemm::Packed),
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
            Precision::F32 => Packed::F32(gemm::Packed::new(weights, outputs, inputs)),
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
    pub fn multiply(&self, x: &[f32], out: &mut [f32], add: bool) {
        self.multiply_wanted(x, out, add, &[]);
    }

    /// As [`Self::multiply`] for the outputs that each row wants; the others mean nothing. Without masks all are wanted.
    pub fn multiply_wanted(&self, x: &[f32], out: &mut [f32], add: bool, wanted: &[Wanted<'_>]) {
        match &self.0 {
            Packed::F32(packed) => packed.multiply_wanted(x, out, add, wanted),
            Packed::Int8(packed) => packed.multiply_wanted(x, out, add, wanted),
        }
    }
}

/// The instructions that products of this precision use on this machine.
pub fn kernel(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => gemm::kernel(),
        Precision::Int8 => int8::Kernel::best().name(),
        Precision::Bf16 | Precision::Bf16State => "none",
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Wanted;

    /// Asserts that a product of 19 rows with 130 outputs, as `multiply` computes it, does not depend on what is not wanted.
    pub(crate) fn wanted_does_not_depend_on_the_rest(multiply: impl Fn(&[Wanted<'_>]) -> Vec<f32>) {
        let (rows, outputs) = (19, 130);
        // Row r wants every (r + 1)th output of the first two words; the first row everything, the last one nothing.
        let mask = |r: usize, word: usize| {
            (0..64).filter(|bit| (word + bit).is_multiple_of(r + 1)).map(|bit| 1 << bit).sum()
        };
        let masks: Vec<[u64; 2]> = (0..rows).map(|r| [mask(r, 0), mask(r, 64)]).collect();
        let mut wanted: Vec<Wanted<'_>> = masks.iter().map(|mask| Some(&mask[..])).collect();
        wanted[0] = None;
        wanted[rows - 1] = Some(&[]);
        let (all, some) = (multiply(&[]), multiply(&wanted));
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
