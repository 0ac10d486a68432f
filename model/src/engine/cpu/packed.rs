//! A weight matrix that is packed once for products with a few rows, in f32 or int8: what steps multiply with.

use super::{int8, panels};
use crate::error::{Error, Result};
use crate::network::masks::Masks;
use crate::precision::Precision;

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
    /// Allocates for `rows` rows of `inputs` values.
    pub fn reserve(&mut self, rows: usize, inputs: usize) {
        self.wanting.reserve(rows.saturating_sub(self.wanting.len()));
        self.quantised.reserve(rows, inputs);
    }
}

/// A weight matrix `(outputs, inputs)`, packed once.
///
/// A row's result depends, to the last bit, neither on the other rows, nor on their number, nor on what is wanted.
#[derive(Debug, Clone)]
pub struct PackedMatrix(Packed);

#[derive(Debug, Clone)]
enum Packed {
    F32(panels::Packed),
    Int8(int8::Packed),
}

impl PackedMatrix {
    /// Packs row-major `(outputs, inputs)` weights.
    ///
    /// # Errors
    /// [`Error::Input`] in int8 for weights that are not finite, and for more inputs than it can sum; in bf16, which
    /// the CPU does not multiply in.
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
            Packed::Int8(packed) => {
                packed.multiply_wanted(x, out, add, wanted, (&mut scratch.wanting, &mut scratch.quantised));
            }
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
