//! One block, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, as one candle operation with a gradient.
//!
//! As separate tensor operations the element-wise work of a block costs more than its matrix products, in both
//! directions. Here candle does the products and [`super::kernels`] the rest. The parameters come as one flat tensor
//! (see [`Pack`]), because a candle operation has at most three arguments; candle's own `cat` splits the gradient again.
//!
//! The forward pass leaves what the backward pass needs in the operation itself, which lives as long as the graph.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Dims, Params};
use super::simd::vectorized;
use super::{math, norm, slice, with_slice};

/// Where each parameter lies in the flat tensor.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pub(crate) norm: Range<usize>,
    pub(crate) in_proj: Range<usize>,
    pub(crate) conv_w: Range<usize>,
    pub(crate) conv_b: Range<usize>,
    pub(crate) dt_bias: Range<usize>,
    pub(crate) a_log: Range<usize>,
    pub(crate) d: Range<usize>,
    pub(crate) gated_norm: Range<usize>,
    pub(crate) out_proj: Range<usize>,
}

impl Pack {
    pub(crate) fn new(dims: &Dims, d_model: usize) -> Self {
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

    fn params<'a>(&self, flat: &'a [f32]) -> Params<'a> {
        Params {
            conv_w: &flat[self.conv_w.clone()],
            conv_b: &flat[self.conv_b.clone()],
            dt_bias: &flat[self.dt_bias.clone()],
            a_log: &flat[self.a_log.clone()],
            d: &flat[self.d.clone()],
            norm_w: &flat[self.gated_norm.clone()],
        }
    }
}

/// State carried in and out of a block, `conv (b, K-1, C)` and `ssm (b, H, N, P)`.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) conv: Vec<f32>,
    pub(crate) ssm: Vec<f32>,
}

/// What the backward pass needs of the forward pass.
struct Saved {
    tails: Vec<f32>,
    normed: CpuStorage, // (b l, d)
    zx: CpuStorage,     // (b l, J)
    xbc: Vec<f32>,      // (b, l, C)
    raw_dt: Vec<f32>,   // (b, H, l)
    y: Vec<f32>,        // (b, H, l, P)
    kept: Vec<f32>,
    gated: CpuStorage, // (b l, E)
}

/// The operation; see the module. Arguments: x `(b, l, d)` and the flat parameters.
pub(crate) struct BlockOp {
    pub(crate) dims: Dims,
    pub(crate) d_model: usize,
    pub(crate) carried: Carried,
    /// Receives the state after the sequences.
    pub(crate) after: Arc<Mutex<Option<Carried>>>,
    /// Keep what the backward pass needs.
    pub(crate) keep: bool,
    saved: Mutex<Option<Saved>>,
}

impl BlockOp {
    pub(crate) fn new(dims: Dims, d_model: usize, carried: Carried, keep: bool) -> Self {
        Self { dims, d_model, carried, after: Arc::new(Mutex::new(None)), keep, saved: Mutex::new(None) }
    }

    fn pack(&self) -> Pack {
        Pack::new(&self.dims, self.d_model)
    }
}

/// `(rows, cols)` row-major at an offset, transposed if asked.
fn matrix(rows: usize, cols: usize, at: usize, transposed: bool) -> Layout {
    if transposed {
        Layout::new(Shape::from((cols, rows)), vec![1, cols], at)
    } else {
        Layout::new(Shape::from((rows, cols)), vec![cols, 1], at)
    }
}

/// Adds `a` to `y`, in parallel.
fn add(y: &mut [f32], a: &[f32]) {
    const PIECE: usize = 1 << 14;
    y.par_chunks_mut(PIECE).zip(a.par_chunks(PIECE)).for_each(|(y, a)| add_piece(y, a));
}

vectorized! {
    fn add_piece<'a>(y: &'a mut [f32], a: &'a [f32]) {
        math::add_to(y, a);
    }
}

fn values(s: CpuStorage) -> candle_core::Result<Vec<f32>> {
    match s {
        CpuStorage::F32(v) => Ok(v),
        other => candle_core::bail!("expected f32, got {:?}", other.dtype()),
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
        let (dims, d, pack) = (&self.dims, self.d_model, self.pack());
        let (rows, e, j) = (dims.b * dims.l, dims.e, dims.j());
        let flat = slice(packed, lp, "block parameters")?;
        let xs = slice(x, lx, "block input")?;
        let params = pack.params(flat);
        let base = lp.start_offset();

        let mut normed = vec![0f32; rows * d];
        norm::rms_forward(xs, &flat[pack.norm.clone()], dims.eps, &mut normed);
        let normed = CpuStorage::F32(normed);
        let w = matrix(j, d, base + pack.in_proj.start, true);
        let zx = normed.matmul(packed, (1, rows, j, d), &matrix(rows, d, 0, false), &w)?;
        let zxs = zx.as_slice::<f32>()?;

        let xbc = kernels::conv_forward(dims, &params, zxs, &self.carried.conv);
        let raw_dt = kernels::raw_steps(dims, zxs, j, e + dims.c(), params.dt_bias);
        let mut ssm = self.carried.ssm.clone();
        let scanned = kernels::scan_forward(dims, &params, &xbc, &raw_dt, &mut ssm, self.keep);
        let gated = CpuStorage::F32(kernels::gated_forward(dims, &params, &scanned.y, zxs));

        let w = matrix(d, e, base + pack.out_proj.start, true);
        let out = gated.matmul(packed, (1, rows, d, e), &matrix(rows, e, 0, false), &w)?;
        let mut out = values(out)?;
        add(&mut out, xs);

        let conv = kernels::conv_tails(dims, zxs, &self.carried.conv);
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(Carried { conv, ssm });
        if self.keep {
            let tails = self.carried.conv.clone();
            let saved = Saved { tails, normed, zx, xbc, raw_dt, y: scanned.y, kept: scanned.kept, gated };
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        }
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
        let (grad_x, grad_p) = with_slice(x, "block input", |x| {
            with_slice(packed, "block parameters", |flat| {
                with_slice(grad, "block gradient", |grad| self.backward(x, flat, grad, saved))
            })
        })?;
        let grad_x = Tensor::from_vec(grad_x, x.shape(), x.device())?;
        let grad_p = Tensor::from_vec(grad_p, packed.shape(), packed.device())?;
        Ok((Some(grad_x), Some(grad_p)))
    }
}

impl BlockOp {
    fn backward(
        &self,
        x: &[f32],
        flat: &[f32],
        grad: &[f32],
        saved: Saved,
    ) -> candle_core::Result<(Vec<f32>, Vec<f32>)> {
        let (dims, d, pack) = (&self.dims, self.d_model, self.pack());
        let (rows, e, j) = (dims.b * dims.l, dims.e, dims.j());
        let params = pack.params(flat);
        let mut grad_p = vec![0f32; flat.len()];
        // The matrix products take storages; these two copies are small beside the products.
        let grad_out = CpuStorage::F32(grad.to_vec());
        let w_out = CpuStorage::F32(flat[pack.out_proj.clone()].to_vec());
        let w_in = CpuStorage::F32(flat[pack.in_proj.clone()].to_vec());

        let grad_w = grad_out.matmul(
            &saved.gated,
            (1, d, e, rows),
            &matrix(rows, d, 0, true),
            &matrix(rows, e, 0, false),
        )?; // (d, E)
        grad_p[pack.out_proj.clone()].copy_from_slice(grad_w.as_slice::<f32>()?);
        let grad_gated =
            grad_out.matmul(&w_out, (1, rows, e, d), &matrix(rows, d, 0, false), &matrix(d, e, 0, false))?;

        let zx = saved.zx.as_slice::<f32>()?;
        let mut grad_zx = vec![0f32; rows * j];
        let (grad_y, grad_norm) =
            kernels::gated_backward(dims, &params, &saved.y, zx, grad_gated.as_slice::<f32>()?, &mut grad_zx);
        let scan = kernels::scan_backward(dims, &params, &saved.xbc, &saved.raw_dt, &saved.kept, &grad_y);
        let (conv_w, conv_b) = kernels::conv_backward(dims, &params, zx, &saved.tails, &scan, &mut grad_zx);
        for (range, grad) in [
            (&pack.gated_norm, &grad_norm),
            (&pack.conv_w, &conv_w),
            (&pack.conv_b, &conv_b),
            (&pack.dt_bias, &scan.dt_bias),
            (&pack.a_log, &scan.a_log),
            (&pack.d, &scan.d),
        ] {
            grad_p[range.clone()].copy_from_slice(grad);
        }

        let grad_zx = CpuStorage::F32(grad_zx);
        let grad_w = grad_zx.matmul(
            &saved.normed,
            (1, j, d, rows),
            &matrix(rows, j, 0, true),
            &matrix(rows, d, 0, false),
        )?; // (J, d)
        grad_p[pack.in_proj.clone()].copy_from_slice(grad_w.as_slice::<f32>()?);
        let grad_normed =
            grad_zx.matmul(&w_in, (1, rows, d, j), &matrix(rows, j, 0, false), &matrix(j, d, 0, false))?;
        let mut grad_x = grad.to_vec(); // the residual's
        let grad_norm = norm::rms_backward(
            x,
            &flat[pack.norm.clone()],
            dims.eps,
            grad_normed.as_slice::<f32>()?,
            &mut grad_x,
        );
        grad_p[pack.norm.clone()].copy_from_slice(&grad_norm);
        Ok((grad_x, grad_p))
    }
}
