//! f32 to whole numbers from -127 to 127 times a scale: rows of activations and rows of weights alike.
//!
//! Symmetric, the largest magnitude of a row at 127, to nearest, ties to even. A row whose largest magnitude is below
//! [`SMALLEST`] is zero: its scale's inverse would overflow. A row with a value that is not finite has a scale that is
//! not a number, so that all its results are none, as they would be (nearly all) in f32, and its session ends with that
//! reason.

use pulp::bytemuck::cast_slice_mut;

use crate::engine::simd::vectorized;

/// Largest level. -128 is left out, so that levels are symmetric.
const LEVELS: f32 = 127.0;
/// Below this a row counts as zero.
const SMALLEST: f32 = 1e-30;
/// 1.5 * 2^23: adding it rounds to a whole number, ties to even, whose low bits are the low mantissa bits.
const ROUND: f32 = 12_582_912.0;

/// How the whole numbers of a row lie in words of 32 bits, as a kernel's instruction takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Four bytes a word; activations are offset by 128 to be unsigned, which the kernel's initial sums undo.
    Bytes,
    /// Two numbers of 16 bits a word.
    Pairs,
}

impl Layout {
    /// Whole numbers in a word.
    pub(super) fn per_word(self) -> usize {
        match self {
            Self::Bytes => 4,
            Self::Pairs => 2,
        }
    }

    /// What activations are offset by.
    pub(super) fn offset(self) -> i32 {
        match self {
            Self::Bytes => 128,
            Self::Pairs => 0,
        }
    }
}

/// A row's scale and the factor that its values are multiplied with before rounding.
#[inline(always)]
fn scale(row: &[f32]) -> (f32, f32) {
    // The order of magnitudes is that of their bits, and what is not finite is above all that is.
    let mut largest = 0;
    for x in row {
        largest = largest.max(x.to_bits() & (u32::MAX >> 1));
    }
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (largest / LEVELS, LEVELS / largest)
    }
}

#[inline(always)]
fn level(x: f32, factor: f32) -> i8 {
    (x * factor + ROUND).to_bits() as i8
}

/// Quantised rows of activations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// `(rows, words)`. What is behind a row's last input may be left from other rows; it meets weights of zero.
    pub(super) words: Vec<u32>,
    pub(super) scales: Vec<f32>,
}

impl Rows {
    /// Allocates for `rows` rows of `inputs` values, in any layout.
    pub(crate) fn reserve(&mut self, rows: usize, inputs: usize) {
        let words = rows * inputs.div_ceil(Layout::Pairs.per_word());
        self.words.reserve(words.saturating_sub(self.words.len()));
        self.scales.reserve(rows.saturating_sub(self.scales.len()));
    }

    /// Quantises rows of `inputs` values in place of those that were there.
    pub(super) fn fill(&mut self, x: &[f32], inputs: usize, words: usize, layout: Layout) {
        let rows = x.len() / inputs;
        self.words.resize(rows * words, 0);
        self.scales.resize(rows, 0.0);
        match layout {
            Layout::Bytes => to_bytes(x, inputs, cast_slice_mut(&mut self.words), &mut self.scales),
            Layout::Pairs => to_pairs(x, inputs, cast_slice_mut(&mut self.words), &mut self.scales),
        }
    }
}

vectorized! {
    fn to_bytes<'a>(x: &'a [f32], inputs: usize, out: &'a mut [u8], scales: &'a mut [f32]) {
        let width = out.len() / scales.len().max(1);
        for ((x, out), s) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(width)).zip(scales) {
            let (scale, factor) = scale(x);
            *s = scale;
            for (o, x) in out.iter_mut().zip(x) {
                *o = level(*x, factor) as u8 ^ 0x80; // 128 more
            }
        }
    }
}

vectorized! {
    fn to_pairs<'a>(x: &'a [f32], inputs: usize, out: &'a mut [i16], scales: &'a mut [f32]) {
        let width = out.len() / scales.len().max(1);
        for ((x, out), s) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(width)).zip(scales) {
            let (scale, factor) = scale(x);
            *s = scale;
            for (o, x) in out.iter_mut().zip(x) {
                *o = i16::from(level(*x, factor));
            }
        }
    }
}

/// One output's weights as whole numbers, and their scale; not a number if a weight is not finite.
pub(super) fn weights(row: &[f32]) -> (Vec<i8>, f32) {
    let (scale, factor) = scale(row);
    (row.iter().map(|w| level(*w, factor)).collect(), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_at_the_end_and_ties_go_to_even() {
        let (levels, scale) = weights(&[127.0, -127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 0.0]);
        assert_eq!((levels.as_slice(), scale), (&[127, -127, 0, 2, 2, 0, -2, 3, 0][..], 1.0));
        for largest in [1e-29, 0.3, 1.0, 7.7e3, 1e38] {
            let (levels, scale) = weights(&[largest, -largest, largest / 2.0]);
            assert_eq!(levels[..2], [127, -127], "{largest}");
            assert!(f32::abs(scale * 127.0 / largest - 1.0) < 1e-6, "{largest}");
        }
    }

    #[test]
    fn nothing_and_next_to_nothing_are_zero_and_what_is_not_finite_has_no_scale() {
        assert_eq!(weights(&[0.0, -0.0]), (vec![0, 0], 0.0));
        assert_eq!(weights(&[1e-31, f32::MIN_POSITIVE / 4.0]), (vec![0, 0], 0.0));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(weights(&[1.0, bad, 2.0]).1.is_nan());
        }
    }

    #[test]
    fn both_layouts_hold_the_same_numbers() {
        let x: Vec<f32> = (0..3 * 37).map(|i| ((i * 7919 % 1009) as f32) / 504.5 - 1.0).collect();
        let (mut bytes, mut pairs) = (Rows::default(), Rows::default());
        bytes.fill(&x, 37, 10, Layout::Bytes);
        pairs.fill(&x, 37, 19, Layout::Pairs);
        assert_eq!(bytes.scales, pairs.scales);
        let bytes: &[u8] = pulp::bytemuck::cast_slice(&bytes.words);
        let pairs: &[i16] = pulp::bytemuck::cast_slice(&pairs.words);
        for r in 0..3 {
            let (levels, scale) = weights(&x[r * 37..(r + 1) * 37]);
            for (k, &level) in levels.iter().enumerate() {
                assert_eq!(i16::from(level), pairs[r * 38 + k]);
                assert_eq!(i16::from(level) + 128, i16::from(bytes[r * 40 + k]));
                assert!((f32::from(level) * scale - x[r * 37 + k]).abs() <= scale * 0.500_001);
            }
        }
    }
}
