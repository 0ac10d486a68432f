//! One block, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, forward and backward, and the candle operation.
//!
//! As separate tensor operations the element-wise work of a block costs more than its matrix products, in both
//! directions. Here [`super::gemm`] does the products and [`super::mixer`] the rest. [`fused`] is the block as one
//! candle operation, for autograd; [`super::gradient`] walks all blocks without it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::buffers::{Buffer, Buffers};
use super::gemm::gemm;
use super::mixer::{self, Dims, HeadParams};
use super::{conv, norm, slice, with_slice, with_storage};
use crate::engine::launch::Gemm;
use crate::network::params::BlockParams;
use crate::network::state::LayerState;

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

/// The block over `x (b, l, d)`, written to `out`: the state after the sequences, and what [`backward`] needs if
/// `keep`.
pub(crate) fn forward(
    dims: &Dims,
    params: &BlockParams<&[f32]>,
    (x, out): (&[f32], &mut [f32]),
    carried: LayerState<Vec<f32>>,
    keep: bool,
    buffers: &Buffers,
) -> (LayerState<Vec<f32>>, Option<Saved>) {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let mut normed = buffers.take(rows * d);
    norm::rms_forward(x, params.norm, dims.eps, &mut normed);
    let mut zx = buffers.take(rows * j);
    gemm(Gemm::Nt, &normed, params.in_proj, &mut zx, (rows, j, d), false);

    let LayerState { conv: tails, mut ssm } = carried;
    let xbc = conv::forward(dims, (params.conv_weight, &bias(dims, params)), &zx, &tails, buffers);
    let raw_dt = mixer::raw_steps(dims, &zx, j, e + dims.c(), params.dt_bias);
    let scanned = mixer::scan_forward(dims, heads(params), &xbc, &raw_dt, &mut ssm, keep, buffers);
    let gated = mixer::gated_forward(dims, params.gated_norm, &scanned.y, &zx, buffers);

    out.copy_from_slice(x);
    gemm(Gemm::Nt, &gated, params.out_proj, out, (rows, d, e), true);
    let after = LayerState { conv: conv::tails(dims, &zx, &tails), ssm };
    let saved =
        keep.then_some(Saved { tails, normed, zx, xbc, raw_dt, y: scanned.y, kept: scanned.kept, gated });
    (after, saved)
}

/// Turns the gradient of the block's output into that of its input, and gives the parameters'.
pub(crate) fn backward(
    dims: &Dims,
    params: &BlockParams<&[f32]>,
    x: &[f32],
    grad: &mut [f32],
    saved: Saved,
    buffers: &Buffers,
) -> BlockParams<Vec<f32>> {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let mut out_proj = vec![0f32; d * e]; // (d, E)
    gemm(Gemm::Tn, grad, &saved.gated, &mut out_proj, (d, e, rows), false);
    let mut grad_gated = buffers.take(rows * e);
    gemm(Gemm::Nn, grad, params.out_proj, &mut grad_gated, (rows, e, d), false);

    let mut grad_zx = buffers.take(rows * j); // z's columns by the norm, the others by the convolution
    let (grad_y, gated_norm) = mixer::gated_backward(
        dims,
        params.gated_norm,
        &saved.y,
        &saved.zx,
        &grad_gated,
        &mut grad_zx,
        buffers,
    );
    drop(grad_gated);
    let scan =
        mixer::scan_backward(dims, heads(params), &saved.xbc, &saved.raw_dt, &saved.kept, &grad_y, buffers);
    drop(grad_y);
    let of_conv = (params.conv_weight, &bias(dims, params)[..]);
    let (conv_weight, conv_bias) =
        conv::backward(dims, of_conv, &saved.zx, &saved.tails, &scan, &mut grad_zx);

    let mut in_proj = vec![0f32; j * d]; // (J, d)
    gemm(Gemm::Tn, &grad_zx, &saved.normed, &mut in_proj, (j, d, rows), false);
    let mut grad_normed = buffers.take(rows * d);
    gemm(Gemm::Nn, &grad_zx, params.in_proj, &mut grad_normed, (rows, d, j), false);
    // On top of the residual's.
    let norm = norm::rms_backward(x, params.norm, dims.eps, &grad_normed, grad);
    BlockParams {
        norm,
        in_proj,
        conv_weight,
        conv_bias: params.conv_bias.map(|_| conv_bias),
        dt_bias: scan.dt_bias,
        a_log: scan.a_log,
        d: scan.d,
        gated_norm,
        out_proj,
    }
}

/// What the scan reads of a block's parameters.
fn heads<'a>(params: &BlockParams<&'a [f32]>) -> HeadParams<'a> {
    HeadParams { a_log: params.a_log, d: params.d }
}

/// The convolution's bias `(C)`; zeros in a model without one.
fn bias<'a>(dims: &Dims, params: &BlockParams<&'a [f32]>) -> Cow<'a, [f32]> {
    params.conv_bias.map_or_else(|| vec![0.0; dims.c()].into(), Cow::Borrowed)
}

/// A block's parameters in one flat tensor, in the order of the forward pass, as [`BlockOp`] takes them.
pub(crate) fn flatten(params: &BlockParams<Tensor>) -> candle_core::Result<Tensor> {
    let parts = params.as_ref().try_map(|t| t.flatten_all())?;
    Tensor::cat(&parts.in_order(), 0)
}

/// The block over `x (b, l, d)` in one operation, with the parameters both as they are and, where they are kept so, as
/// [`flatten`] makes them. Returns the output `(b, l, d)` and the state after the sequences.
pub(crate) fn fused(
    dims: Dims,
    (params, flat): (&BlockParams<Tensor>, Option<&Tensor>),
    x: &Tensor,
    carried: LayerState<Vec<f32>>,
    buffers: &Buffers,
) -> candle_core::Result<(Tensor, LayerState<Vec<f32>>)> {
    let flat = match flat {
        Some(flat) => flat.clone(),
        None => flatten(params)?,
    };
    let mut at = 0;
    let places = params.as_ref().map(|t| {
        at += t.elem_count();
        at - t.elem_count()..at
    });
    let keep = x.track_op() || flat.track_op();
    let after = Arc::default();
    let op = BlockOp {
        dims,
        places,
        carried,
        keep,
        buffers: buffers.clone(),
        saved: Mutex::new(None),
        after: Arc::clone(&after),
    };
    let out = x.contiguous()?.apply_op2(&flat, op)?;
    let after = after.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((out, after.expect("the forward pass of a block leaves its state")))
}

/// The block as one candle operation. Arguments: x `(b, l, d)` and all parameters in one flat tensor, because an
/// operation has at most three arguments; candle's own `cat` splits the gradient again.
///
/// The forward pass leaves what the backward pass needs in the operation itself, which lives as long as the graph.
struct BlockOp {
    dims: Dims,
    /// Where each parameter lies in the flat tensor.
    places: BlockParams<Range<usize>>,
    carried: LayerState<Vec<f32>>,
    keep: bool,
    buffers: Buffers,
    saved: Mutex<Option<Saved>>,
    /// Receives the state after the sequences.
    after: Arc<Mutex<Option<LayerState<Vec<f32>>>>>,
}

impl BlockOp {
    fn params<'a>(
        &self,
        storage: &'a CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<BlockParams<&'a [f32]>> {
        let flat = slice(storage, layout, "block parameters")?;
        Ok(self.places.as_ref().map(|place| &flat[place.clone()]))
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
        let params = self.params(packed, lp)?;
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
        let mut grad_x = with_slice(grad, "block gradient", |g| Ok(g.to_vec()))?;
        let grads = with_storage(packed, "block parameters", |storage, layout| {
            let params = self.params(storage, layout)?;
            with_slice(x, "block input", |x| {
                Ok(backward(&self.dims, &params, x, &mut grad_x, saved, &self.buffers))
            })
        })?;
        let flat = grads.in_order().concat();
        let grad_x = Tensor::from_vec(grad_x, x.shape(), x.device())?;
        let flat = Tensor::from_vec(flat, packed.shape(), packed.device())?;
        Ok((Some(grad_x), Some(flat)))
    }
}
