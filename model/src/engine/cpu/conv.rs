//! The causal depthwise convolution over a batch, forward and backward, in f32 on the CPU.
//!
//! It reads and writes the columns of the `zx` rows in place (see [`super::mixer`]); inputs before the first step come
//! from the carried tails.

use std::ops::Range;

use rayon::prelude::*;

use super::buffers::{Buffer, Buffers};
use super::mixer::{Dims, STEPS, ScanGrads, gather_grad, scatter_dt};
use super::norm::sum_parts;
use crate::engine::simd::math;
use crate::engine::simd::vectorized;

/// `(C, K)` to `(K, C)`, so that a tap's weights are contiguous over channels.
pub(crate) fn taps(conv_w: &[f32], c: usize, k: usize) -> Vec<f32> {
    let mut taps = vec![0f32; k * c];
    for (i, w) in conv_w.chunks_exact(k).enumerate() {
        for (tap, w) in w.iter().enumerate() {
            taps[tap * c + i] = *w;
        }
    }
    taps
}

/// The convolution's input at step `t` of a sequence: from its rows, or from the tail carried in.
#[inline(always)]
fn conv_input<'a>(dims: &Dims, zx: &'a [f32], tail: &'a [f32], t: isize) -> &'a [f32] {
    let (c, j) = (dims.c(), dims.j());
    if t >= 0 {
        let at = t as usize * j + dims.e;
        &zx[at..at + c]
    } else {
        let at = (t + dims.k as isize - 1) as usize * c;
        &tail[at..at + c]
    }
}

/// The convolution before its activation at step `t`.
#[inline(always)]
fn conv_row(dims: &Dims, zx: &[f32], tail: &[f32], taps: &[f32], bias: &[f32], t: usize, out: &mut [f32]) {
    let c = dims.c();
    out[..c].copy_from_slice(bias);
    for (k, w) in taps.chunks_exact(c).enumerate() {
        let x = conv_input(dims, zx, tail, t as isize + k as isize + 1 - dims.k as isize);
        for ((o, x), w) in out.iter_mut().zip(x).zip(w) {
            *o = x.mul_add(*w, *o);
        }
    }
}

/// Causal depthwise convolution, bias and SiLU: `zx` (b, l, J) to (b, l, C). Steps beyond a sequence's length mean
/// nothing.
/// The weight is `(C, K)`, the bias `(C)`; `tails` are `(b, K-1, C)`, oldest first.
pub(crate) fn forward(
    dims: &Dims,
    (weight, bias): (&[f32], &[f32]),
    zx: &[f32],
    tails: &[f32],
    buffers: &Buffers,
) -> Buffer {
    let (c, j, l) = (dims.c(), dims.j(), dims.l);
    let taps = taps(weight, c, dims.k);
    let mut out = buffers.take(dims.b * l * c);
    out.par_chunks_mut(l * c).enumerate().for_each(|(b, out)| {
        let zx = &zx[b * l * j..(b + 1) * l * j];
        let tail = &tails[b * (dims.k - 1) * c..(b + 1) * (dims.k - 1) * c];
        out.par_chunks_mut(STEPS * c).enumerate().for_each(|(piece, out)| {
            let steps = piece * STEPS..dims.lengths[b];
            conv_rows(dims, zx, tail, &taps, bias, steps, out);
        });
    });
    out
}

vectorized! {
    /// The steps of one sequence that `out` has rows for.
    fn conv_rows<'a>(
        dims: &'a Dims,
        zx: &'a [f32],
        tail: &'a [f32],
        taps: &'a [f32],
        bias: &'a [f32],
        steps: Range<usize>,
        out: &'a mut [f32],
    ) {
        for (t, row) in steps.zip(out.chunks_exact_mut(dims.c())) {
            conv_row(dims, zx, tail, taps, bias, t, row);
            for v in row.iter_mut() {
                *v = math::silu(*v);
            }
        }
    }
}

/// The convolution tails after the sequences, `(b, K-1, C)`.
pub(crate) fn tails(dims: &Dims, zx: &[f32], before: &[f32]) -> Vec<f32> {
    let (c, j, l, keep) = (dims.c(), dims.j(), dims.l, dims.k - 1);
    let mut out = vec![0f32; dims.b * keep * c];
    for (b, out) in out.chunks_exact_mut(keep * c).enumerate() {
        let zx = &zx[b * l * j..(b + 1) * l * j];
        let tail = &before[b * keep * c..(b + 1) * keep * c];
        for (i, row) in out.chunks_exact_mut(c).enumerate() {
            let t = dims.lengths[b] as isize + i as isize - keep as isize;
            row.copy_from_slice(conv_input(dims, zx, tail, t));
        }
    }
    out
}

/// Backward of [`forward`]: overwrites the xBC and dt columns of `grad_zx`, returns the gradients of the weight
/// `(C, K)` and the bias.
pub(crate) fn backward(
    dims: &Dims,
    (weight, bias): (&[f32], &[f32]),
    zx: &[f32],
    tails: &[f32],
    grads: &ScanGrads,
    grad_zx: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let (c, j, l, keep) = (dims.c(), dims.j(), dims.l, dims.k - 1);
    let taps = taps(weight, c, dims.k);
    let parts: Vec<Vec<f32>> = grad_zx
        .par_chunks_mut(l * j)
        .enumerate()
        .flat_map(|(b, grad_zx)| {
            let zx = &zx[b * l * j..(b + 1) * l * j];
            let tail = &tails[b * keep * c..(b + 1) * keep * c];
            let taps = &taps;
            grad_zx.par_chunks_mut(STEPS * j).enumerate().map(move |(piece, out)| {
                let mut part = vec![0f32; (dims.k + 1) * c]; // the weight's (K, C), then the bias' (C)
                let job = ConvBackward { dims, bias, zx, tail, taps, grads, b, from: piece * STEPS };
                conv_rows_backward(&job, out, &mut part);
                part
            })
        })
        .collect();
    let total = sum_parts(parts, (dims.k + 1) * c);
    let mut grad_w = vec![0f32; c * dims.k];
    for k in 0..dims.k {
        for i in 0..c {
            grad_w[i * dims.k + k] = total[k * c + i];
        }
    }
    (grad_w, total[dims.k * c..].to_vec())
}

/// What one piece of the convolution's backward pass reads.
struct ConvBackward<'a> {
    dims: &'a Dims,
    bias: &'a [f32],
    zx: &'a [f32],
    tail: &'a [f32],
    taps: &'a [f32],
    grads: &'a ScanGrads,
    b: usize,
    from: usize,
}

vectorized! {
    fn conv_rows_backward<'a>(job: &'a ConvBackward<'a>, out: &'a mut [f32], part: &'a mut [f32]) {
        let ConvBackward { dims, bias, zx, tail, taps, grads, b, from } = *job;
        let (c, j, e, keep) = (dims.c(), dims.j(), dims.e, dims.k - 1);
        let mut pre = vec![0f32; c];
        let mut grad = vec![0f32; c];
        let to = from + out.len() / j;
        // Beyond the sequence's length nothing is written below.
        for row in out.chunks_exact_mut(j).skip(dims.lengths[b].saturating_sub(from)) {
            row[e..].fill(0.0);
        }
        // A step's output gradient reaches the inputs of the K-1 steps before it, so a piece also needs those of the
        // K-1 steps that follow it; they count for its inputs only.
        for t in from..(to + keep).min(dims.lengths[b]) {
            gather_grad(dims, grads, b, t, &mut grad);
            conv_row(dims, zx, tail, taps, bias, t, &mut pre);
            for (g, x) in grad.iter_mut().zip(&pre) {
                let s = math::sigmoid(*x);
                *g *= s * (1.0 + x * (1.0 - s));
            }
            for k in 0..dims.k {
                let source = t as isize + k as isize - keep as isize;
                let w = &taps[k * c..(k + 1) * c];
                if source >= from as isize && (source as usize) < to {
                    let at = (source as usize - from) * j + e;
                    let rows = out[at..at + c].iter_mut().zip(&grad).zip(w);
                    // A step's own gradient is the first that reaches its input.
                    if k == keep {
                        rows.for_each(|((o, g), w)| *o = g * w);
                    } else {
                        rows.for_each(|((o, g), w)| *o = g.mul_add(*w, *o));
                    }
                }
                if t < to {
                    let x = conv_input(dims, zx, tail, source);
                    for ((o, g), x) in part[k * c..(k + 1) * c].iter_mut().zip(&grad).zip(x) {
                        *o = g.mul_add(*x, *o);
                    }
                }
            }
            if t < to {
                math::add_to(&mut part[dims.k * c..], &grad);
                scatter_dt(dims, grads, b, t, &mut out[(t - from) * j + e + c..(t - from + 1) * j]);
            }
        }
    }
}
