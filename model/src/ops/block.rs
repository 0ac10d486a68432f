//! One block, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, forward and backward, and the candle operation.
//!
//! As separate tensor operations the element-wise work of a block costs more than its matrix products, in both
//! directions. Here candle does the products and [`super::kernels`] the rest. [`BlockOp`] makes the block one candle
//! operation, for autograd; [`super::gradient`] walks all blocks without it.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Dims, Params};
use super::simd::vectorized;
use super::{conv, math, norm, slice, with_slice, with_storage};

/// A row-major matrix inside a storage.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) storage: &'a CpuStorage,
    /// Offset of its first value.
    pub(crate) at: usize,
}

impl<'a> Matrix<'a> {
    pub(crate) fn whole(storage: &'a CpuStorage) -> Self {
        Self { storage, at: 0 }
    }
}

/// `(rows, cols)` row-major at an offset, or its transpose.
fn layout(rows: usize, cols: usize, at: usize, transposed: bool) -> Layout {
    if transposed {
        Layout::new(Shape::from((cols, rows)), vec![1, cols], at)
    } else {
        Layout::new(Shape::from((rows, cols)), vec![cols, 1], at)
    }
}

/// `a (m, k) b^T` with `b (n, k)`.
pub(crate) fn times_transposed(
    a: Matrix<'_>,
    b: Matrix<'_>,
    (m, n, k): (usize, usize, usize),
) -> candle_core::Result<CpuStorage> {
    a.storage.matmul(b.storage, (1, m, n, k), &layout(m, k, a.at, false), &layout(n, k, b.at, true))
}

/// `a (m, k) b` with `b (k, n)`.
pub(crate) fn times(
    a: Matrix<'_>,
    b: Matrix<'_>,
    (m, n, k): (usize, usize, usize),
) -> candle_core::Result<CpuStorage> {
    a.storage.matmul(b.storage, (1, m, n, k), &layout(m, k, a.at, false), &layout(k, n, b.at, false))
}

/// `a^T b` with `a (k, m)` and `b (k, n)`.
pub(crate) fn transposed_times(
    a: Matrix<'_>,
    b: Matrix<'_>,
    (m, n, k): (usize, usize, usize),
) -> candle_core::Result<CpuStorage> {
    a.storage.matmul(b.storage, (1, m, n, k), &layout(k, m, a.at, true), &layout(k, n, b.at, false))
}

/// The values of an f32 storage.
pub(crate) fn values(s: CpuStorage) -> candle_core::Result<Vec<f32>> {
    match s {
        CpuStorage::F32(v) => Ok(v),
        other => candle_core::bail!("expected f32, got {:?}", other.dtype()),
    }
}

/// Adds `a` to `y`, in parallel.
pub(crate) fn add(y: &mut [f32], a: &[f32]) {
    const PIECE: usize = 1 << 14;
    y.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).for_each(|(y, a)| add_piece(y, a));
}

vectorized! {
    fn add_piece<'a>(y: &'a mut [f32], a: &'a [f32]) {
        math::add_to(y, a);
    }
}

/// Every parameter of a block.
#[derive(Clone, Copy)]
pub(crate) struct BlockParams<'a> {
    pub(crate) norm: &'a [f32],     // (d)
    pub(crate) in_proj: Matrix<'a>, // (J, d)
    pub(crate) small: Params<'a>,
    pub(crate) out_proj: Matrix<'a>, // (d, E)
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
    normed: CpuStorage, // (b l, d)
    zx: CpuStorage,     // (b l, J)
    xbc: Vec<f32>,      // (b, l, C)
    raw_dt: Vec<f32>,   // (b, H, l)
    y: Vec<f32>,        // (b, H, l, P)
    kept: Vec<f32>,
    gated: CpuStorage, // (b l, E)
}

/// The block over `x (b, l, d)`: output, state after the sequences, and what [`backward`] needs if `keep`.
pub(crate) fn forward(
    dims: &Dims,
    params: &BlockParams<'_>,
    x: &[f32],
    carried: Carried,
    keep: bool,
) -> candle_core::Result<(Vec<f32>, Carried, Option<Saved>)> {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let mut normed = vec![0f32; rows * d];
    norm::rms_forward(x, params.norm, dims.eps, &mut normed);
    let normed = CpuStorage::F32(normed);
    let zx = times_transposed(Matrix::whole(&normed), params.in_proj, (rows, j, d))?;
    let zxs = zx.as_slice::<f32>()?;

    let Carried { conv: tails, mut ssm } = carried;
    let xbc = conv::forward(dims, &params.small, zxs, &tails);
    let raw_dt = kernels::raw_steps(dims, zxs, j, e + dims.c(), params.small.dt_bias);
    let scanned = kernels::scan_forward(dims, &params.small, &xbc, &raw_dt, &mut ssm, keep);
    let gated = CpuStorage::F32(kernels::gated_forward(dims, &params.small, &scanned.y, zxs));

    let mut out = values(times_transposed(Matrix::whole(&gated), params.out_proj, (rows, d, e))?)?;
    add(&mut out, x);
    let after = Carried { conv: conv::tails(dims, zxs, &tails), ssm };
    let saved =
        keep.then_some(Saved { tails, normed, zx, xbc, raw_dt, y: scanned.y, kept: scanned.kept, gated });
    Ok((out, after, saved))
}

/// Turns the gradient of the block's output into that of its input, and gives the parameters'.
pub(crate) fn backward(
    dims: &Dims,
    params: &BlockParams<'_>,
    x: &[f32],
    grad: Vec<f32>,
    saved: Saved,
) -> candle_core::Result<(Vec<f32>, BlockGrads)> {
    let (rows, d, e, j) = (dims.b * dims.l, params.norm.len(), dims.e, dims.j());
    let grad = CpuStorage::F32(grad); // (b l, d)
    let out_proj = transposed_times(Matrix::whole(&grad), Matrix::whole(&saved.gated), (d, e, rows))?; // (d, E)
    let grad_gated = times(Matrix::whole(&grad), params.out_proj, (rows, e, d))?; // (b l, E)

    let zx = saved.zx.as_slice::<f32>()?;
    let mut grad_zx = vec![0f32; rows * j];
    let grad_gated = grad_gated.as_slice::<f32>()?;
    let (grad_y, gated_norm) =
        kernels::gated_backward(dims, &params.small, &saved.y, zx, grad_gated, &mut grad_zx);
    let scan = kernels::scan_backward(dims, &params.small, &saved.xbc, &saved.raw_dt, &saved.kept, &grad_y);
    let (conv_w, conv_b) = conv::backward(dims, &params.small, zx, &saved.tails, &scan, &mut grad_zx);

    let grad_zx = CpuStorage::F32(grad_zx); // (b l, J)
    let in_proj = transposed_times(Matrix::whole(&grad_zx), Matrix::whole(&saved.normed), (j, d, rows))?; // (J, d)
    let grad_normed = times(Matrix::whole(&grad_zx), params.in_proj, (rows, d, j))?; // (b l, d)
    let mut grad_x = values(grad)?; // the residual's, and the norm's on top
    let norm = norm::rms_backward(x, params.norm, dims.eps, grad_normed.as_slice::<f32>()?, &mut grad_x);
    let grads = BlockGrads {
        norm,
        in_proj: values(in_proj)?,
        conv_w,
        conv_b,
        dt_bias: scan.dt_bias,
        a_log: scan.a_log,
        d: scan.d,
        gated_norm,
        out_proj: values(out_proj)?,
    };
    Ok((grad_x, grads))
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
        let matrix = |range: &Range<usize>| Matrix { storage, at: layout.start_offset() + range.start };
        Ok(BlockParams {
            norm: &flat[self.norm.clone()],
            in_proj: matrix(&self.in_proj),
            small: Params {
                conv_w: &flat[self.conv_w.clone()],
                conv_b: &flat[self.conv_b.clone()],
                dt_bias: &flat[self.dt_bias.clone()],
                a_log: &flat[self.a_log.clone()],
                d: &flat[self.d.clone()],
                norm_w: &flat[self.gated_norm.clone()],
            },
            out_proj: matrix(&self.out_proj),
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
    saved: Mutex<Option<Saved>>,
    /// Receives the state after the sequences.
    pub(crate) after: Arc<Mutex<Option<Carried>>>,
}

impl BlockOp {
    pub(crate) fn new(dims: Dims, d_model: usize, carried: Carried, keep: bool) -> Self {
        Self { dims, d_model, carried, keep, saved: Mutex::new(None), after: Arc::new(Mutex::new(None)) }
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
        let (out, after, saved) = forward(&self.dims, &params, x, self.carried.clone(), self.keep)?;
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
        let grad = with_slice(grad, "block gradient", |g| Ok(g.to_vec()))?;
        let (grad_x, grads) = with_storage(packed, "block parameters", |storage, layout| {
            let params = pack.params(storage, layout)?;
            with_slice(x, "block input", |x| backward(&self.dims, &params, x, grad, saved))
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
