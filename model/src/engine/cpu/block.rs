//! One block, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, forward and backward, and the candle operation.
//!
//! As separate tensor operations the element-wise work of a block costs more than its matrix products, in both
//! directions. Here [`super::gemm`] does the products and [`super::mixer`] the rest. [`BlockOp`] makes the block one candle
//! operation, for autograd; [`super::gradient`] walks all blocks without it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::buffers::{Buffer, Buffers};
use super::gemm::multiply;
use super::mixer::{self, Dims, Params};
use super::{conv, norm, slice, with_slice, with_storage};
use crate::engine::train_pass::Order;

/// Every parameter of a block.
#[derive(Clone, Copy)]
pub(crate) struct BlockParams<'a> {
    pub(crate) norm: &'a [f32],    // (d)
    pub(crate) in_proj: &'a [f32], // (J, d)
    pub(crate) small: Params<'a>,
    pub(crate) out_proj: &'a [f32], // (d, E)
}

/// Gradients of a block's parameters, in their shapes.
pub(crate) struct BlockGrads {
    pub(crate) norm: Vec<f32>,
    pub(crate) in_proj: Vec<f32>,
    pub(crate) conv_w: Vec<f32>,
    pub(crate) conv_b: Vec<f32>,
    pub(crate) dt_bias: Vec<f32>,
    pub(crate) a_log: Vec<f32>,
    pub(crate) d: Vec<f32>,
    pub(crate) gated_norm: Vec<f32>,
    pub(crate) out_proj: Vec<f32>,
}

/// State carried in and out of a block, `conv (b, K-1, C)` and `ssm (b, H, N, P)`.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) conv: Vec<f32>,
    pub(crate) ssm: Vec<f32>,
}

/// What the backward pass needs of the forward pass, besides its input.
pub(crate) struct Saved {
    tails: Vec<f32>,
    normed: Buffer,   // (b l, d)
    zx: Buffer,       // (b l, J)
    xbc: Buffer,      // (b, l, C)
    raw_dt: Vec<f32>, // (b, H, l)
    y: Buffer,        // (b, H, l, P)
    kept: Buffer,
    gated: Buffer, // (b l, E)
}

/// The block over `x (b, l, d)`, written to `out`: the state after the sequences, and what [`backward`] needs if `keep`.
pub(crate) fn forward(
    dims: &Dims,
    params: &BlockParams<'_>,
    (x, out): (&[f32], &mut [f32]),
    carried: Carried,
    keep: bool,
    buffers: &Buffers,
) -> (Carried, Option<Saved>) {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let mut normed = buffers.take(rows * d);
    norm::rms_forward(x, params.norm, dims.eps, &mut normed);
    let mut zx = buffers.take(rows * j);
    multiply(Order::TimesTransposed, &normed, params.in_proj, &mut zx, (rows, j, d), false);

    let Carried { conv: tails, mut ssm } = carried;
    let xbc = conv::forward(dims, &params.small, &zx, &tails, buffers);
    let raw_dt = mixer::raw_steps(dims, &zx, j, e + dims.c(), params.small.dt_bias);
    let scanned = mixer::scan_forward(dims, &params.small, &xbc, &raw_dt, &mut ssm, keep, buffers);
    let gated = mixer::gated_forward(dims, &params.small, &scanned.y, &zx, buffers);

    out.copy_from_slice(x);
    multiply(Order::TimesTransposed, &gated, params.out_proj, out, (rows, d, e), true);
    let after = Carried { conv: conv::tails(dims, &zx, &tails), ssm };
    let saved =
        keep.then_some(Saved { tails, normed, zx, xbc, raw_dt, y: scanned.y, kept: scanned.kept, gated });
    (after, saved)
}

/// Turns the gradient of the block's output into that of its input, and gives the parameters'.
pub(crate) fn backward(
    dims: &Dims,
    params: &BlockParams<'_>,
    x: &[f32],
    grad: &mut [f32],
    saved: Saved,
    buffers: &Buffers,
) -> BlockGrads {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let mut out_proj = vec![0f32; d * e]; // (d, E)
    multiply(Order::TransposedTimes, grad, &saved.gated, &mut out_proj, (d, e, rows), false);
    let mut grad_gated = buffers.take(rows * e);
    multiply(Order::Times, grad, params.out_proj, &mut grad_gated, (rows, e, d), false);

    let mut grad_zx = buffers.take(rows * j); // z's columns by the norm, the others by the convolution
    let small = &params.small;
    let (grad_y, gated_norm) =
        mixer::gated_backward(dims, small, &saved.y, &saved.zx, &grad_gated, &mut grad_zx, buffers);
    drop(grad_gated);
    let scan = mixer::scan_backward(dims, small, &saved.xbc, &saved.raw_dt, &saved.kept, &grad_y, buffers);
    drop(grad_y);
    let (conv_w, conv_b) = conv::backward(dims, small, &saved.zx, &saved.tails, &scan, &mut grad_zx);

    let mut in_proj = vec![0f32; j * d]; // (J, d)
    multiply(Order::TransposedTimes, &grad_zx, &saved.normed, &mut in_proj, (j, d, rows), false);
    let mut grad_normed = buffers.take(rows * d);
    multiply(Order::Times, &grad_zx, params.in_proj, &mut grad_normed, (rows, d, j), false);
    // On top of the residual's.
    let norm = norm::rms_backward(x, params.norm, dims.eps, &grad_normed, grad);
    BlockGrads {
        norm,
        in_proj,
        conv_w,
        conv_b,
        dt_bias: scan.dt_bias,
        a_log: scan.a_log,
        d: scan.d,
        gated_norm,
        out_proj,
    }
}

/// Where each parameter lies in the flat tensor of [`BlockOp`].
struct Pack {
    norm: Range<usize>,
    in_proj: Range<usize>,
    conv_w: Range<usize>,
    conv_b: Range<usize>,
    dt_bias: Range<usize>,
    a_log: Range<usize>,
    d: Range<usize>,
    gated_norm: Range<usize>,
    out_proj: Range<usize>,
}

impl Pack {
    fn new(dims: &Dims, d_model: usize) -> Self {
        let mut at = 0;
        let mut take = |n: usize| {
            at += n;
            at - n..at
        };
        Self {
            norm: take(d_model),
            in_proj: take(dims.j() * d_model),
            conv_w: take(dims.c() * dims.k),
            conv_b: take(dims.c()),
            dt_bias: take(dims.h),
            a_log: take(dims.h),
            d: take(dims.h),
            gated_norm: take(dims.e),
            out_proj: take(d_model * dims.e),
        }
    }

    fn params<'a>(&self, storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<BlockParams<'a>> {
        let flat = slice(storage, layout, "block parameters")?;
        Ok(BlockParams {
            norm: &flat[self.norm.clone()],
            in_proj: &flat[self.in_proj.clone()],
            small: Params {
                conv_w: &flat[self.conv_w.clone()],
                conv_b: &flat[self.conv_b.clone()],
                dt_bias: &flat[self.dt_bias.clone()],
                a_log: &flat[self.a_log.clone()],
                d: &flat[self.d.clone()],
                norm_w: &flat[self.gated_norm.clone()],
            },
            out_proj: &flat[self.out_proj.clone()],
        })
    }
}

/// The block as one candle operation. Arguments: x `(b, l, d)` and all parameters in one flat tensor, because an
/// operation has at most three arguments; candle's own `cat` splits the gradient again.
///
/// The forward pass leaves what the backward pass needs in the operation itself, which lives as long as the graph.
pub(crate) struct BlockOp {
    dims: Dims,
    d_model: usize,
    carried: Carried,
    keep: bool,
    buffers: Buffers,
    saved: Mutex<Option<Saved>>,
    /// Receives the state after the sequences.
    pub(crate) after: Arc<Mutex<Option<Carried>>>,
}

impl BlockOp {
    pub(crate) fn new(dims: Dims, d_model: usize, carried: Carried, keep: bool, buffers: Buffers) -> Self {
        let (saved, after) = (Mutex::new(None), Arc::default());
        Self { dims, d_model, carried, keep, buffers, saved, after }
    }
}

impl CustomOp2 for BlockOp {
    fn name(&self) -> &'static str {
        "mamba2-block"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        packed: &CpuStorage,
        lp: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let params = Pack::new(&self.dims, self.d_model).params(packed, lp)?;
        let x = slice(x, lx, "block input")?;
        let mut out = vec![0f32; x.len()];
        let carried = self.carried.clone();
        let (after, saved) = forward(&self.dims, &params, (x, &mut out), carried, self.keep, &self.buffers);
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(after);
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = saved;
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(saved) = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            candle_core::bail!(
                "the graph of a block can be walked backward once, and only if it was built for it"
            )
        };
        let pack = Pack::new(&self.dims, self.d_model);
        let mut grad_x = with_slice(grad, "block gradient", |g| Ok(g.to_vec()))?;
        let grads = with_storage(packed, "block parameters", |storage, layout| {
            let params = pack.params(storage, layout)?;
            with_slice(x, "block input", |x| {
                Ok(backward(&self.dims, &params, x, &mut grad_x, saved, &self.buffers))
            })
        })?;
        let mut flat = vec![0f32; packed.elem_count()];
        for (range, grad) in [
            (pack.norm, grads.norm),
            (pack.in_proj, grads.in_proj),
            (pack.conv_w, grads.conv_w),
            (pack.conv_b, grads.conv_b),
            (pack.dt_bias, grads.dt_bias),
            (pack.a_log, grads.a_log),
            (pack.d, grads.d),
            (pack.gated_norm, grads.gated_norm),
            (pack.out_proj, grads.out_proj),
        ] {
            flat[range].copy_from_slice(&grad);
        }
        let grad_x = Tensor::from_vec(grad_x, x.shape(), x.device())?;
        let flat = Tensor::from_vec(flat, packed.shape(), packed.device())?;
        Ok((Some(grad_x), Some(flat)))
    }
}
