//! Weights in eight bits, laid out once for the kernel that will read them.
//!
//! As in f32 they lie in panels of 32 outputs, `(panel, word, 32)`; a word has four inputs of one output, or two, as
//! the kernel's instruction takes them. A panel is read once for a block of rows, from one end to the other.

use super::kernel::{Job, Kernel};
use super::quantise::{self, Layout, Rows};
use crate::error::{Error, Result};
use crate::network::masks::Masks;

/// Outputs per panel: two AVX-512 vectors, four AVX2 vectors.
pub(super) const PANEL: usize = 32;
/// The largest number of inputs whose products of two levels sum to a number of 32 bits.
pub(super) const MAX_INPUTS: usize = (i32::MAX / (127 * 127)) as usize;

/// One word of each output of a panel. Aligned, so that no vector of it crosses a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Step(pub(super) [u32; PANEL]);

/// What a panel holds besides its weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outputs {
    /// What sums begin with: takes the offset of the activations back.
    pub(super) start: [i32; PANEL],
    pub(super) scales: [f32; PANEL],
}

/// A weight matrix `(outputs, inputs)` in panels.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(super) steps: Vec<Step>, // (panels, words), zeros behind the last output and input
    pub(super) panels: Vec<Outputs>, // (ceil(outputs / 32))
    pub(super) words: usize,
    pub(super) outputs: usize,
    inputs: usize,
    kernel: Kernel,
}

impl Packed {
    /// Quantises and packs row-major `(outputs, inputs)` weights for a kernel.
    pub(crate) fn new(weights: &[f32], outputs: usize, inputs: usize, kernel: Kernel) -> Result<Self> {
        if inputs > MAX_INPUTS {
            return Err(Error::input(
                "inputs of an int8 product",
                format!("at most {MAX_INPUTS}, whose sum fits into 32 bits"),
                inputs,
            ));
        }
        let layout = kernel.layout();
        let words = inputs.div_ceil(layout.per_word());
        let count = outputs.div_ceil(PANEL);
        let mut steps = vec![Step([0; PANEL]); count * words];
        let mut panels = vec![Outputs { start: [0; PANEL], scales: [0.0; PANEL] }; count];
        for (o, row) in weights.chunks_exact(inputs).enumerate() {
            let (levels, scale) = quantise::weights(row);
            if let Some(bad) = row.iter().find(|w| !w.is_finite()) {
                return Err(Error::input("weights of an int8 product", "finite values", bad));
            }
            let (panel, lane) = (o / PANEL, o % PANEL);
            let sum: i32 = levels.iter().map(|&level| i32::from(level)).sum();
            panels[panel].scales[lane] = scale;
            // The sum of 128 w may leave 32 bits; the kernel's sums wrap there and back, and end exact.
            panels[panel].start[lane] = layout.offset().wrapping_mul(sum).wrapping_neg();
            let steps = &mut steps[panel * words..(panel + 1) * words];
            for (step, levels) in steps.iter_mut().zip(levels.chunks(layout.per_word())) {
                step.0[lane] = word(levels, layout);
            }
        }
        Ok(Self { steps, panels, words, outputs, inputs, kernel })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `out (rows, outputs) = x (rows, inputs) weights^T` for the outputs that each row wants, added to what is there
    /// if `add`; the others mean nothing.
    pub(crate) fn multiply_wanted(
        &self,
        x: &[f32],
        out: &mut [f32],
        add: bool,
        wanted: &Masks,
        (wanting, quantised): (&mut Vec<usize>, &mut Rows),
    ) {
        quantised.fill(x, self.inputs, self.words, self.kernel.layout());
        self.kernel.multiply(Job { packed: self, rows: quantised, out, add, wanted, wanting });
    }
}

/// As many whole numbers as a word has, or fewer at a row's end.
fn word(levels: &[i8], layout: Layout) -> u32 {
    let level = |i: usize| levels.get(i).copied().unwrap_or(0);
    match layout {
        Layout::Bytes => u32::from_ne_bytes([0, 1, 2, 3].map(|i| level(i) as u8)),
        Layout::Pairs => pulp::cast([0, 1].map(|i| i16::from(level(i)))),
    }
}
