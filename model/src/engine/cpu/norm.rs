//! RMSNorm and gated RMSNorm over rows, forward and backward, and the candle operation for the first.
//!
//! Gated norm is the reference's with `norm_before_gate = false`: `g = y * silu(z)`, then each of the `G` groups of
//! channels is divided by its own root mean square, then the weight. Backward recomputes the gate and the root from
//! the inputs instead of keeping them.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with_slice};
use crate::engine::simd::math::{self, dot3};
use crate::engine::simd::vectorized;

/// Rows per parallel task; fixed, so that sums over tasks have the same order on every machine.
const ROWS: usize = 64;

/// `out = x / rms(x) * weight` for every row of `weight.len()` values.
pub(crate) fn rms_forward(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let d = weight.len();
    out.par_chunks_mut(ROWS * d).zip(x.par_chunks(ROWS * d)).for_each(|(out, x)| {
        rms_rows(x, weight, eps, out);
    });
}

vectorized! {
    /// [`rms_forward`] on one thread.
    pub(crate) fn rms_rows<'a>(x: &'a [f32], weight: &'a [f32], eps: f32, out: &'a mut [f32]) {
        let d = weight.len();
        for (out, x) in out.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            rms_row(x, weight, eps, out);
        }
    }
}

/// One row of [`rms_forward`].
#[inline(always)]
pub(crate) fn rms_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / (math::dot(x, x) / x.len() as f32 + eps).sqrt();
    for ((o, x), w) in out.iter_mut().zip(x).zip(weight) {
        *o = x * scale * w;
    }
}

/// Backward of [`rms_forward`]: adds the gradient to `grad_x`, returns the weight's.
pub(crate) fn rms_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    grad: &[f32],
    grad_x: &mut [f32],
) -> Vec<f32> {
    let d = weight.len();
    let parts: Vec<Vec<f32>> = grad_x
        .par_chunks_mut(ROWS * d)
        .zip(x.par_chunks(ROWS * d).zip(grad.par_chunks(ROWS * d)))
        .map(|(grad_x, (x, grad))| {
            let mut grad_w = vec![0f32; d];
            rms_rows_backward(x, weight, eps, grad, grad_x, &mut grad_w);
            grad_w
        })
        .collect();
    sum_parts(parts, d)
}

vectorized! {
    fn rms_rows_backward<'a>(
        x: &'a [f32],
        weight: &'a [f32],
        eps: f32,
        grad: &'a [f32],
        grad_x: &'a mut [f32],
        grad_w: &'a mut [f32],
    ) {
        let d = weight.len();
        let grad_w = &mut grad_w[..d];
        for ((gx, x), g) in grad_x.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(grad.chunks_exact(d)) {
            let scale = 1.0 / (math::dot(x, x) / d as f32 + eps).sqrt();
            let back = dot3(x, g, weight) * scale * scale * scale / d as f32;
            for i in 0..d {
                gx[i] += scale * weight[i] * g[i] - x[i] * back;
                grad_w[i] += g[i] * x[i] * scale;
            }
        }
    }
}

/// Sums equally long vectors in order.
pub(crate) fn sum_parts(parts: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut total = vec![0f32; len];
    for part in parts {
        math::add_to(&mut total, &part);
    }
    total
}

/// One row of the gated norm: `y` (E), `z` (E), `out` (E), weights (E), groups of `E / groups`.
#[inline(always)]
pub(crate) fn gated_row(y: &[f32], z: &[f32], weight: &[f32], groups: usize, eps: f32, out: &mut [f32]) {
    let e = weight.len();
    let size = e / groups;
    for i in 0..e {
        out[i] = y[i] * math::silu(z[i]);
    }
    for (out, w) in out[..e].chunks_exact_mut(size).zip(weight.chunks_exact(size)) {
        let scale = 1.0 / (math::dot(out, out) / size as f32 + eps).sqrt();
        for (o, w) in out.iter_mut().zip(w) {
            *o *= scale * w;
        }
    }
}

/// Scratch of [`gated_row_backward`].
pub(crate) struct GatedScratch {
    gated: Vec<f32>,
    gate: Vec<f32>,
}

impl GatedScratch {
    pub(crate) fn new(e: usize) -> Self {
        Self { gated: vec![0.0; e], gate: vec![0.0; e] }
    }
}

/// Backward of [`gated_row`]: overwrites `grad_y` and `grad_z`, adds to `grad_w`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // an inner kernel: three operands, one gradient in, three out
pub(crate) fn gated_row_backward(
    y: &[f32],
    z: &[f32],
    weight: &[f32],
    groups: usize,
    eps: f32,
    grad: &[f32],
    scratch: &mut GatedScratch,
    grad_y: &mut [f32],
    grad_z: &mut [f32],
    grad_w: &mut [f32],
) {
    let e = weight.len();
    let size = e / groups;
    let (y, z, grad) = (&y[..e], &z[..e], &grad[..e]);
    let (gated, gate) = (&mut scratch.gated[..e], &mut scratch.gate[..e]);
    let (grad_y, grad_z, grad_w) = (&mut grad_y[..e], &mut grad_z[..e], &mut grad_w[..e]);
    for i in 0..e {
        gate[i] = math::sigmoid(z[i]);
        gated[i] = y[i] * z[i] * gate[i];
    }
    for from in (0..e).step_by(size) {
        let g = &gated[from..from + size];
        let scale = 1.0 / (math::dot(g, g) / size as f32 + eps).sqrt();
        let back = dot3(g, &grad[from..from + size], &weight[from..from + size]) * scale * scale * scale
            / size as f32;
        for i in from..from + size {
            let grad_gated = scale * weight[i] * grad[i] - gated[i] * back;
            grad_w[i] += grad[i] * gated[i] * scale;
            grad_y[i] = grad_gated * z[i] * gate[i];
            // silu' = sigmoid (1 + z (1 - sigmoid))
            grad_z[i] = grad_gated * y[i] * gate[i] * (1.0 + z[i] * (1.0 - gate[i]));
        }
    }
}

/// RMSNorm as one candle operation: arguments x `(.., d)` and weight `(d)`, contiguous f32 on the CPU.
pub(crate) struct RmsNormOp {
    pub(crate) eps: f32,
}

impl CustomOp2 for RmsNormOp {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, w) = (slice(x, lx, "rms norm input")?, slice(w, lw, "rms norm weight")?);
        let mut out = vec![0f32; x.len()];
        rms_forward(x, w, self.eps, &mut out);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (mut grad_x, mut grad_w) = (vec![0f32; x.elem_count()], vec![]);
        with_slice(x, "rms norm input", |xs| {
            with_slice(w, "rms norm weight", |ws| {
                with_slice(grad, "rms norm gradient", |gs| {
                    grad_w = rms_backward(xs, ws, self.eps, gs, &mut grad_x);
                    Ok(())
                })
            })
        })?;
        let grad_x = Tensor::from_vec(grad_x, x.shape(), x.device())?;
        let grad_w = Tensor::from_vec(grad_w, w.shape(), w.device())?;
        Ok((Some(grad_x), Some(grad_w)))
    }
}
