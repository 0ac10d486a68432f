//! Matrix products of a few rows with f32 weights that are packed once, for steps.
//!
//! candle packs the weights again at every product, which dominates below some hundred rows. Here they lie in panels of
//! 32 outputs, `(panel, k, 32)`, and a block of rows is multiplied with a panel while it is in the cache.
//!
//! Each output is one chain of fused multiply-adds over `k` in ascending order, whatever the number of rows and the
//! row's place among them, so that a row's result does not depend, to the last bit, on its batch.

use pulp::{Simd, WithSimd};

use crate::engine::simd::prefetch::prefetch;
use crate::network::masks::Masks;

/// Outputs per panel: two AVX-512 vectors, four AVX2 vectors.
const PANEL: usize = 32;

/// A weight matrix `(outputs, inputs)` in panels.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    panels: Vec<f32>, // (ceil(outputs / 32), inputs, 32), zeros behind the last output
    inputs: usize,
    outputs: usize,
}

impl Packed {
    /// Packs row-major `(outputs, inputs)` weights.
    pub(crate) fn new(weights: &[f32], outputs: usize, inputs: usize) -> Self {
        let mut panels = vec![0f32; outputs.div_ceil(PANEL) * inputs * PANEL];
        for (o, row) in weights.chunks_exact(inputs).enumerate() {
            let panel = &mut panels[o / PANEL * inputs * PANEL..];
            for (k, w) in row.iter().enumerate() {
                panel[k * PANEL + o % PANEL] = *w;
            }
        }
        Self { panels, inputs, outputs }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `out (rows, outputs) = x (rows, inputs) weights^T` for the outputs that each row wants, added to what is there
    /// if `add`; the others mean nothing. `wanting` is scratch.
    pub(crate) fn multiply_wanted(
        &self,
        x: &[f32],
        out: &mut [f32],
        add: bool,
        wanted: &Masks,
        wanting: &mut Vec<usize>,
    ) {
        pulp::Arch::new().dispatch(Multiply { packed: self, x, out, add, wanted, wanting });
    }
}

/// The instructions that products use on this machine.
pub(crate) fn kernel() -> &'static str {
    struct Name;
    impl WithSimd for Name {
        type Output = &'static str;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> Self::Output {
            match S::F32_LANES {
                16 => "avx512",
                8 => "avx2",
                4 => "128 bits",
                _ => "portable",
            }
        }
    }
    pulp::Arch::new().dispatch(Name)
}

struct Multiply<'a> {
    packed: &'a Packed,
    x: &'a [f32],
    out: &'a mut [f32],
    add: bool,
    wanted: &'a Masks,
    wanting: &'a mut Vec<usize>,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Accumulators fill the registers that a step's weights and one input leave: 32 of AVX-512, 16 of AVX2.
        match S::F32_LANES {
            16 => self.panels::<S, 2, 8>(simd),
            8 => self.panels::<S, 4, 3>(simd),
            4 => self.panels::<S, 8, 1>(simd),
            _ => self.panels::<S, 32, 1>(simd),
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn panels<S: Simd, const V: usize, const R: usize>(self, simd: S) {
        let Packed { panels, inputs, outputs } = self.packed;
        let (inputs, outputs) = (*inputs, *outputs);
        let (all, rows) = (0..self.x.len() / inputs, self.wanting);
        rows.clear();
        rows.extend(all.clone());
        for (at, panel) in panels.chunks_exact(inputs * PANEL).enumerate() {
            let at = at * PANEL;
            let width = PANEL.min(outputs - at);
            if !self.wanted.is_empty() {
                rows.clear();
                rows.extend(all.clone().filter(|&row| self.wanted.wants(row, at)));
            }
            let (blocks, rest) = rows.as_chunks::<R>();
            // Each pass over the panel asks for its part of the next one.
            let mut next = panels.get((at / PANEL + 1) * inputs * PANEL..).unwrap_or_default();
            let share = inputs.div_ceil((blocks.len() + rest.len()).max(1)) * PANEL;
            let mut ahead = || {
                let (part, others) = next.split_at(share.min(next.len()));
                next = others;
                part
            };
            let target = Target { outputs, at, width, add: self.add };
            for rows in blocks {
                block::<S, V, R>(simd, (panel, ahead()), self.x, inputs, self.out, target, rows);
            }
            for &row in rest {
                block::<S, V, 1>(simd, (panel, ahead()), self.x, inputs, self.out, target, &[row]);
            }
        }
    }
}

/// Where the results of a panel go.
#[derive(Clone, Copy)]
struct Target {
    outputs: usize,
    at: usize,
    width: usize,
    add: bool,
}

/// `R` rows times one panel, and a part of the next panel asked for.
#[inline(always)]
fn block<S: Simd, const V: usize, const R: usize>(
    simd: S,
    (panel, ahead): (&[f32], &[f32]),
    x: &[f32],
    inputs: usize,
    out: &mut [f32],
    Target { outputs, at, width, add }: Target,
    rows: &[usize; R],
) {
    // Values to ask for at each step; the same line may be asked for again, which costs nothing.
    let pace = ahead.len() / inputs;
    let zero = simd.splat_f32s(0.0);
    let mut acc = [[zero; V]; R];
    let mut x_rows = [&x[..0]; R];
    for (x_row, &row) in x_rows.iter_mut().zip(rows) {
        *x_row = &x[row * inputs..(row + 1) * inputs];
    }
    let (panel, _) = S::as_simd_f32s(panel);
    for (k, weights) in panel.chunks_exact(V).take(inputs).enumerate() {
        prefetch(&ahead[k * pace..]);
        for r in 0..R {
            let v = simd.splat_f32s(x_rows[r][k]);
            for i in 0..V {
                acc[r][i] = simd.mul_add_f32s(weights[i], v, acc[r][i]);
            }
        }
    }
    let mut result = [0f32; PANEL];
    for (acc, &row) in acc.iter().zip(rows) {
        let (vectors, _) = S::as_mut_simd_f32s(&mut result);
        vectors.copy_from_slice(acc);
        let out = &mut out[row * outputs + at..row * outputs + at + width];
        for (o, v) in out.iter_mut().zip(&result) {
            *o = if add { *o + v } else { *v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::masks::testing::wanted_does_not_depend_on_the_rest;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut s = seed;
        (0..n)
            .map(|_| {
                s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (s >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    #[test]
    fn equals_the_plain_product_for_every_shape() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 7, 31), (8, 16, 32), (9, 33, 65), (17, 40, 100)] {
            let (x, w) = (numbers(rows * inputs, 1), numbers(inputs * outputs, 2));
            let mut out = vec![5f32; rows * outputs];
            Packed::new(&w, outputs, inputs).multiply_wanted(
                &x,
                &mut out,
                true,
                &Masks::default(),
                &mut vec![],
            );
            for r in 0..rows {
                for o in 0..outputs {
                    let plain: f64 = (0..inputs)
                        .map(|k| f64::from(x[r * inputs + k]) * f64::from(w[o * inputs + k]))
                        .sum();
                    assert!((f64::from(out[r * outputs + o]) - 5.0 - plain).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let (inputs, outputs) = (67, 130);
        let (x, w) = (numbers(23 * inputs, 3), numbers(inputs * outputs, 4));
        let packed = Packed::new(&w, outputs, inputs);
        let mut all = vec![0f32; 23 * outputs];
        let multiply = |x: &[f32], out: &mut [f32]| {
            packed.multiply_wanted(x, out, false, &Masks::default(), &mut vec![]);
        };
        multiply(&x, &mut all);
        for rows in 1..9 {
            for from in 0..23 - rows {
                let mut some = vec![1f32; rows * outputs];
                multiply(&x[from * inputs..(from + rows) * inputs], &mut some);
                let same = some.iter().zip(&all[from * outputs..]).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{rows} rows from {from}");
            }
        }
    }

    #[test]
    fn what_is_wanted_does_not_depend_on_what_is_not() {
        let (x, w) = (numbers(19 * 67, 5), numbers(67 * 130, 6));
        let packed = Packed::new(&w, 130, 67);
        wanted_does_not_depend_on_the_rest(|wanted| {
            let mut out = vec![0f32; 19 * 130];
            packed.multiply_wanted(&x, &mut out, false, wanted, &mut vec![]);
            out
        });
    }
}
