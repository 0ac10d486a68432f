//! The recurrence over a batch as a candle operation with a gradient, behind [`crate::engine::scan::scan_as`].

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::buffers::{Buffer, Buffers};
use super::mixer::{self, Dims, HeadParams};
use super::{slice, with_slice};
use crate::error::Result;
use crate::network::scan::{ScanInput, ScanShape};

fn dims(shape: &ScanShape, input: &ScanInput<'_>) -> Dims {
    Dims {
        b: shape.b,
        l: shape.l,
        e: shape.h * shape.p,
        h: shape.h,
        p: shape.p,
        g: shape.g,
        n: shape.n,
        k: 1,
        lengths: input.lengths.map_or_else(|| vec![shape.l; shape.b], <[usize]>::to_vec),
        eps: 0.0,
    }
}

/// y `(b, l, E)` and the detached state after each row's last step `(b, H, P, N)`, for f32 on the CPU.
///
/// # Errors
/// A failed tensor operation.
pub(crate) fn scan(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    let ScanShape { b, h, p, n, .. } = *shape;
    let params = Tensor::cat(&[input.a_log, input.d, input.dt_bias], 0)?;
    let keep = input.xbc.track_op() || input.dt.track_op() || params.track_op();
    let initial = match input.initial {
        Some(s) => s.transpose(2, 3)?.contiguous()?.flatten_all()?.to_vec1::<f32>()?, // (b, h, n, p)
        None => vec![0f32; b * h * n * p],
    };
    let after = Arc::new(Mutex::new(vec![]));
    let op = ScanOp {
        dims: dims(shape, input),
        initial,
        after: after.clone(),
        keep,
        buffers: Buffers::default(),
        kept: Mutex::new(None),
    };
    let y = input.xbc.contiguous()?.apply_op3(&input.dt.contiguous()?, &params, op)?;
    let after = std::mem::take(&mut *after.lock().unwrap_or_else(PoisonError::into_inner));
    let after = Tensor::from_vec(after, (b, h, n, p), input.xbc.device())?.transpose(2, 3)?.contiguous()?;
    Ok((y, after))
}

/// The recurrence as a candle operation: xBC `(b, l, C)`, raw dt `(b, l, H)`, a_log, D and dt_bias in one `(3 H)`.
struct ScanOp {
    dims: Dims,
    initial: Vec<f32>,
    after: Arc<Mutex<Vec<f32>>>,
    keep: bool,
    buffers: Buffers,
    kept: Mutex<Option<Buffer>>,
}

impl ScanOp {
    /// The heads' parameters and the steps' bias `(H)`.
    fn params<'a>(&self, flat: &'a [f32]) -> (HeadParams<'a>, &'a [f32]) {
        let h = self.dims.h;
        (HeadParams { a_log: &flat[..h], d: &flat[h..2 * h] }, &flat[2 * h..])
    }
}

impl CustomOp3 for ScanOp {
    fn name(&self) -> &'static str {
        "ssd-scan"
    }

    fn cpu_fwd(
        &self,
        xbc: &CpuStorage,
        lx: &Layout,
        dt: &CpuStorage,
        ld: &Layout,
        flat: &CpuStorage,
        lf: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let dims = &self.dims;
        let (xbc, dt) = (slice(xbc, lx, "scan input")?, slice(dt, ld, "scan dt")?);
        let (heads, dt_bias) = self.params(slice(flat, lf, "scan parameters")?);
        let raw_dt = mixer::raw_steps(dims, dt, dims.h, 0, dt_bias);
        let mut state = self.initial.clone();
        let scanned = mixer::scan_forward(dims, heads, xbc, &raw_dt, &mut state, self.keep, &self.buffers);
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = state;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = self.keep.then_some(scanned.kept);
        let y = mixer::gather(dims, &scanned.y);
        Ok((CpuStorage::F32(y), Shape::from((dims.b, dims.l, dims.e))))
    }

    fn bwd(
        &self,
        xbc: &Tensor,
        dt: &Tensor,
        flat: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dims = &self.dims;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else {
            candle_core::bail!("this scan was run without keeping what its gradient needs");
        };
        let (rows, h) = (dims.b * dims.l, dims.h);
        let (mut grad_xbc, mut grad_dt) = (vec![0f32; rows * dims.c()], vec![0f32; rows * h]);
        let mut grad_flat = vec![];
        with_slice(xbc, "scan input", |xs| {
            with_slice(dt, "scan dt", |dts| {
                with_slice(flat, "scan parameters", |flat| {
                    with_slice(grad, "scan gradient", |grad| {
                        let (heads, dt_bias) = self.params(flat);
                        let raw = mixer::raw_steps(dims, dts, h, 0, dt_bias);
                        let g = mixer::scan_backward(dims, heads, xs, &raw, kept, grad, &self.buffers);
                        for r in 0..rows {
                            let (b, t) = (r / dims.l, r % dims.l);
                            mixer::gather_grad(
                                dims,
                                &g,
                                b,
                                t,
                                &mut grad_xbc[r * dims.c()..(r + 1) * dims.c()],
                            );
                            mixer::scatter_dt(dims, &g, b, t, &mut grad_dt[r * h..(r + 1) * h]);
                        }
                        grad_flat = [g.a_log, g.d, g.dt_bias].concat();
                        Ok(())
                    })
                })
            })
        })?;
        Ok((
            Some(Tensor::from_vec(grad_xbc, xbc.shape(), xbc.device())?),
            Some(Tensor::from_vec(grad_dt, dt.shape(), dt.device())?),
            Some(Tensor::from_vec(grad_flat, flat.shape(), flat.device())?),
        ))
    }
}
