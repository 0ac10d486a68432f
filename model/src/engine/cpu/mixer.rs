//! The work inside a block between its two matrix products, over a whole batch: scan and gated norm, and the sizes that
//! they share with the convolution ([`super::conv`]).
//!
//! `zx` are the rows of `in_proj`, `(b, l, J)` with `J = E + C + H`: z (E), x B C before the convolution (C), raw dt
//! (H). Work is split by sequence, head and time in pieces of a fixed size, and sums over pieces are made in their
//! order, so that results do not depend on the number of threads.

use rayon::prelude::*;

use super::buffers::{Buffer, Buffers};
use super::norm::{GatedScratch, gated_row, gated_row_backward, sum_parts};
use crate::engine::cpu::recurrence::{self, HeadGrad, HeadInput, HeadShape};
use crate::engine::simd::math;
use crate::engine::simd::vectorized;
use crate::network::config::ModelConfig;

/// Steps per parallel task of the convolution and the norm.
pub(crate) const STEPS: usize = 64;

/// Sizes of one call.
#[derive(Debug, Clone)]
pub(crate) struct Dims {
    pub(crate) b: usize,
    pub(crate) l: usize,
    /// Channels inside the block `E`.
    pub(crate) e: usize,
    /// Heads.
    pub(crate) h: usize,
    /// Channels per head.
    pub(crate) p: usize,
    /// Groups.
    pub(crate) g: usize,
    /// State size.
    pub(crate) n: usize,
    /// Convolution taps.
    pub(crate) k: usize,
    /// Steps that count in each sequence, at most `l`; what lies beyond neither reads nor changes the state.
    pub(crate) lengths: Vec<usize>,
    pub(crate) eps: f32,
}

impl Dims {
    /// Those of `b` sequences of `l` steps, of which `lengths` count, for a block of a model.
    pub(crate) fn new(cfg: &ModelConfig, b: usize, l: usize, lengths: &[usize]) -> Self {
        Self {
            b,
            l,
            e: cfg.d_inner(),
            h: cfg.nheads(),
            p: cfg.headdim,
            g: cfg.ngroups,
            n: cfg.d_state,
            k: cfg.d_conv,
            lengths: lengths.to_vec(),
            eps: cfg.norm_eps as f32,
        }
    }

    /// Channels through the convolution.
    pub(crate) fn c(&self) -> usize {
        self.e + 2 * self.g * self.n
    }

    /// Rows of `in_proj`.
    pub(crate) fn j(&self) -> usize {
        self.e + self.c() + self.h
    }

    pub(crate) fn head(&self) -> HeadShape {
        HeadShape { p: self.p, n: self.n }
    }

    /// The scan's input of sequence `b`, head `h`, reading rows of width `width` with x at column 0.
    fn head_input<'a>(
        &self,
        xbc: &'a [f32],
        raw_dt: &'a [f32],
        heads: HeadParams<'_>,
        h: usize,
    ) -> HeadInput<'a> {
        let group = h / (self.h / self.g);
        HeadInput {
            shape: self.head(),
            xbc,
            width: self.c(),
            x_at: h * self.p,
            b_at: self.e + group * self.n,
            c_at: self.e + (self.g + group) * self.n,
            raw_dt,
            a: -heads.a_log[h].exp(),
            d: heads.d[h],
        }
    }
}

/// What a scan reads of its heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadParams<'a> {
    /// Logarithm of `-A`, `(H)`.
    pub(crate) a_log: &'a [f32],
    /// Skip weight D, `(H)`.
    pub(crate) d: &'a [f32],
}

/// Raw steps plus bias by head: from column `at` of rows of `width` to `(b, H, l)`.
pub(crate) fn raw_steps(dims: &Dims, rows: &[f32], width: usize, at: usize, dt_bias: &[f32]) -> Vec<f32> {
    let (l, h) = (dims.l, dims.h);
    let mut out = vec![0f32; dims.b * h * l];
    for b in 0..dims.b {
        for t in 0..l {
            let row = &rows[(b * l + t) * width + at..][..h];
            for (i, v) in row.iter().enumerate() {
                out[(b * h + i) * l + t] = v + dt_bias[i];
            }
        }
    }
    out
}

/// What [`scan_forward`] gives back.
pub(crate) struct Scanned {
    /// `(b, H, l, P)`; zero beyond a sequence's length.
    pub(crate) y: Buffer,
    /// For the backward pass; empty unless asked for.
    pub(crate) kept: Buffer,
}

/// The scan over every sequence and head. `states` are `(b, H, N, P)`, read and overwritten. `xbc` is `(b, l, C)`.
pub(crate) fn scan_forward(
    dims: &Dims,
    heads: HeadParams<'_>,
    xbc: &[f32],
    raw_dt: &[f32],
    states: &mut [f32],
    keep: bool,
    buffers: &Buffers,
) -> Scanned {
    let (l, h, p) = (dims.l, dims.h, dims.p);
    let kept_len = if keep { dims.head().kept_len(l) } else { 0 };
    let mut y = buffers.take(dims.b * h * l * p);
    let mut kept = buffers.take(dims.b * h * kept_len);
    let mut kept_of: Vec<Option<&mut [f32]>> = if keep {
        kept.chunks_mut(kept_len).map(Some).collect()
    } else {
        (0..dims.b * h).map(|_| None).collect()
    };
    y.par_chunks_mut(l * p)
        .zip(states.par_chunks_mut(dims.n * p))
        .zip(kept_of.par_iter_mut())
        .enumerate()
        .for_each(|(i, ((y, state), kept))| {
            let (b, head) = (i / h, i % h);
            let len = dims.lengths[b];
            let rows = &xbc[b * l * dims.c()..(b + 1) * l * dims.c()];
            let raw = &raw_dt[i * l..i * l + len];
            let (y, beyond) = y.split_at_mut(len * p);
            recurrence::forward(dims.head_input(rows, raw, heads, head), state, y, kept.as_deref_mut());
            beyond.fill(0.0);
        });
    Scanned { y, kept }
}

/// One step's y of every head, gathered from `(b, H, l, P)` to a row of E.
#[inline(always)]
fn gather_row(dims: &Dims, y: &[f32], b: usize, t: usize, out: &mut [f32]) {
    let (l, h, p) = (dims.l, dims.h, dims.p);
    for (head, out) in out.chunks_exact_mut(p).enumerate() {
        let at = ((b * h + head) * l + t) * p;
        out.copy_from_slice(&y[at..at + p]);
    }
}

/// Gated norm of the scan's output: `(b, H, l, P)` and `zx` to `(b, l, E)`.
pub(crate) fn gated_forward(dims: &Dims, weight: &[f32], y: &[f32], zx: &[f32], buffers: &Buffers) -> Buffer {
    let e = dims.e;
    let mut out = buffers.take(dims.b * dims.l * e);
    out.par_chunks_mut(STEPS * e).enumerate().for_each(|(piece, out)| {
        gated_rows(dims, weight, y, zx, piece * STEPS, out);
    });
    out
}

vectorized! {
    fn gated_rows<'a>(
        dims: &'a Dims,
        weight: &'a [f32],
        y: &'a [f32],
        zx: &'a [f32],
        from: usize,
        out: &'a mut [f32],
    ) {
        let (l, e, j) = (dims.l, dims.e, dims.j());
        let mut row = vec![0f32; e];
        for (i, out) in out.chunks_exact_mut(e).enumerate() {
            let r = from + i;
            gather_row(dims, y, r / l, r % l, &mut row);
            gated_row(&row, &zx[r * j..r * j + e], weight, dims.g, dims.eps, out);
        }
    }
}

/// Backward of [`gated_forward`]: writes z's columns of `grad_zx`, returns the gradients of y `(b, l, E)` and weight.
pub(crate) fn gated_backward(
    dims: &Dims,
    weight: &[f32],
    y: &[f32],
    zx: &[f32],
    grad: &[f32],
    grad_zx: &mut [f32],
    buffers: &Buffers,
) -> (Buffer, Vec<f32>) {
    let (e, j) = (dims.e, dims.j());
    let mut grad_y = buffers.take(dims.b * dims.l * e);
    let parts: Vec<Vec<f32>> = grad_y
        .par_chunks_mut(STEPS * e)
        .zip(grad_zx.par_chunks_mut(STEPS * j))
        .enumerate()
        .map(|(piece, (grad_y, grad_zx))| {
            let mut grad_w = vec![0f32; e];
            gated_rows_backward(dims, weight, y, zx, grad, piece * STEPS, grad_y, grad_zx, &mut grad_w);
            grad_w
        })
        .collect();
    (grad_y, sum_parts(parts, e))
}

vectorized! {
    fn gated_rows_backward<'a>(
        dims: &'a Dims,
        weight: &'a [f32],
        y: &'a [f32],
        zx: &'a [f32],
        grad: &'a [f32],
        from: usize,
        grad_y: &'a mut [f32],
        grad_zx: &'a mut [f32],
        grad_w: &'a mut [f32],
    ) {
        let (l, e, j) = (dims.l, dims.e, dims.j());
        let mut row = vec![0f32; e];
        let mut scratch = GatedScratch::new(e);
        for (i, (gy, gzx)) in grad_y.chunks_exact_mut(e).zip(grad_zx.chunks_exact_mut(j)).enumerate() {
            let r = from + i;
            gather_row(dims, y, r / l, r % l, &mut row);
            gated_row_backward(
                &row,
                &zx[r * j..r * j + e],
                weight,
                dims.g,
                dims.eps,
                &grad[r * e..(r + 1) * e],
                &mut scratch,
                gy,
                &mut gzx[..e],
                grad_w,
            );
        }
    }
}

/// What [`scan_backward`] gives back.
pub(crate) struct ScanGrads {
    /// `(b, H, l, P + 2 N + 1)`: x, B, C, raw dt of each head. Rows beyond a sequence's length are zero.
    pub(crate) rows: Buffer,
    pub(crate) dt_bias: Vec<f32>,
    pub(crate) a_log: Vec<f32>,
    pub(crate) d: Vec<f32>,
}

/// Backward of [`scan_forward`]. `grad_y` is `(b, l, E)`.
pub(crate) fn scan_backward(
    dims: &Dims,
    params: HeadParams<'_>,
    xbc: &[f32],
    raw_dt: &[f32],
    kept: &[f32],
    grad_y: &[f32],
    buffers: &Buffers,
) -> ScanGrads {
    let (l, h, e, p) = (dims.l, dims.h, dims.e, dims.p);
    let width = dims.head().grad_width();
    let kept_len = dims.head().kept_len(l);
    let mut rows = buffers.take(dims.b * h * l * width);
    let heads: Vec<HeadGrad> = rows
        .par_chunks_mut(l * width)
        .enumerate()
        .map(|(i, rows)| {
            let (b, head) = (i / h, i % h);
            let len = dims.lengths[b];
            let xbc = &xbc[b * l * dims.c()..(b + 1) * l * dims.c()];
            let raw = &raw_dt[i * l..i * l + len];
            let input = dims.head_input(xbc, raw, params, head);
            let kept = &kept[i * kept_len..(i + 1) * kept_len];
            let (rows, beyond) = rows.split_at_mut(len * width);
            beyond.fill(0.0);
            recurrence::backward(input, kept, &grad_y[b * l * e..(b + 1) * l * e], e, head * p, rows)
        })
        .collect();
    let mut out = ScanGrads { rows, dt_bias: vec![0.0; h], a_log: vec![0.0; h], d: vec![0.0; h] };
    for (i, g) in heads.iter().enumerate() {
        let head = i % h;
        out.dt_bias[head] += g.dt_bias;
        out.a_log[head] -= g.a * params.a_log[head].exp(); // A = -exp(a_log)
        out.d[head] += g.d;
    }
    out
}

/// The gradient of one row of xBC, gathered from the heads' rows: `out` is `(C)`.
#[inline(always)]
pub(crate) fn gather_grad(dims: &Dims, grads: &ScanGrads, b: usize, t: usize, out: &mut [f32]) {
    let (l, h, p, n, e) = (dims.l, dims.h, dims.p, dims.n, dims.e);
    let width = dims.head().grad_width();
    let (xs, bc) = out.split_at_mut(e);
    let (bs, cs) = bc.split_at_mut(dims.g * n);
    bs.fill(0.0);
    cs.fill(0.0);
    for head in 0..h {
        let row = &grads.rows[((b * h + head) * l + t) * width..][..width];
        let group = head / (h / dims.g);
        xs[head * p..(head + 1) * p].copy_from_slice(&row[..p]);
        math::add_to(&mut bs[group * n..(group + 1) * n], &row[p..p + n]);
        math::add_to(&mut cs[group * n..(group + 1) * n], &row[p + n..p + 2 * n]);
    }
}

/// The raw step's gradient of every head at one step.
#[inline(always)]
pub(crate) fn scatter_dt(dims: &Dims, grads: &ScanGrads, b: usize, t: usize, out: &mut [f32]) {
    let width = dims.head().grad_width();
    for (head, o) in out.iter_mut().enumerate() {
        *o = grads.rows[((b * dims.h + head) * dims.l + t) * width + width - 1];
    }
}

/// The scan's output gathered from `(b, H, l, P)` to `(b, l, E)`.
pub(crate) fn gather(dims: &Dims, y: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; dims.b * dims.l * dims.e];
    for (r, row) in out.chunks_exact_mut(dims.e).enumerate() {
        gather_row(dims, y, r / dims.l, r % dims.l, row);
    }
    out
}
