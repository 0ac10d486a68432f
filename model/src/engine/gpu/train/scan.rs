//! The scan's kernels as a candle operation with a gradient, behind [`crate::engine::scan::scan_as`].

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp3, DType, Layout, Shape, Storage, Tensor};

use super::backend::{Memory, Runner};
use crate::engine::launch::Float;
use crate::engine::train_pass::{self, Backend, ScanBuffers, Sizes};
use crate::error::Result;
use crate::network::scan::ScanInput;

/// y `(b, l, E)` in the input's dtype, and the detached state after each row's last step `(b, H, P, N)`.
///
/// # Errors
/// [`crate::engine::gpu::CudaError`], or a tensor that is neither f32 nor bf16 on a GPU.
pub(crate) fn scan(input: &ScanInput<'_>, sizes: Sizes) -> Result<(Tensor, Tensor)> {
    let runner = Runner::new(input.xbc.device())?;
    let Sizes { b, l, h, p, n, .. } = sizes;
    let flat = Tensor::cat(&[input.a_log, input.d, input.dt_bias], 0)?.to_dtype(DType::F32)?;
    let initial = match input.initial {
        Some(state) => state.detach().to_dtype(DType::F32)?.transpose(2, 3)?.contiguous()?,
        None => Tensor::zeros((b, h, n, p), DType::F32, input.xbc.device())?,
    };
    let after = Arc::new(Mutex::new(None));
    let lengths = input.lengths.map_or_else(|| vec![l; b], <[usize]>::to_vec);
    let op = ScanOp { runner, sizes, initial, lengths, after: after.clone() };
    let dt = whole(&input.dt.to_dtype(input.xbc.dtype())?)?;
    let y = whole(input.xbc)?.apply_op3(&dt, &flat, op)?;
    let after = after.lock().unwrap_or_else(PoisonError::into_inner).take();
    let after: Tensor = after.expect("the forward pass of a scan leaves its state");
    let after = after.reshape((b, h, n, p))?.transpose(2, 3)?.contiguous()?;
    Ok((y, after.to_dtype(input.xbc.dtype())?))
}

/// A tensor in row-major order from the first value of its storage on.
fn whole(t: &Tensor) -> Result<Tensor> {
    let plain = t.is_contiguous() && t.layout().start_offset() == 0;
    Ok(if plain { t.clone() } else { t.force_contiguous()? })
}

/// Arguments: xBC `(b, l, C)`, raw dt `(b, l, H)`, and a_log, D, dt_bias in one `(3 H)`, f32.
struct ScanOp {
    runner: Runner,
    sizes: Sizes,
    initial: Tensor, // (b, H, N, P)
    lengths: Vec<usize>,
    /// Receives the state after the sequences, flat.
    after: Arc<Mutex<Option<Tensor>>>,
}

/// Arrays of one call.
struct Arrays {
    xbc: Memory,
    dt: Memory,
    a_log: Memory,
    skip: Memory,
    dt_bias: Memory,
    lengths: Memory,
    initial: Memory,
}

impl Arrays {
    fn buffers(&self, h: usize) -> ScanBuffers<'_, Memory> {
        ScanBuffers {
            xbc: &self.xbc,
            rows: &self.dt,
            width: h,
            at: 0,
            a_log: &self.a_log,
            skip: &self.skip,
            dt_bias: &self.dt_bias,
            lengths: &self.lengths,
            initial: Some(&self.initial),
        }
    }
}

impl ScanOp {
    fn arrays(&self, xbc: &Tensor, dt: &Tensor, flat: &Tensor) -> Result<Arrays> {
        let h = self.sizes.h;
        let lengths: Vec<u32> = self.lengths.iter().map(|&n| u32::try_from(n).unwrap_or(u32::MAX)).collect();
        let part = |i: usize| -> Result<Memory> { self.runner.borrow(&flat.narrow(0, i * h, h)?) };
        Ok(Arrays {
            xbc: self.runner.borrow(xbc)?,
            dt: self.runner.borrow(dt)?,
            a_log: part(0)?,
            skip: part(1)?,
            dt_bias: part(2)?,
            lengths: self.runner.upload_u32("lengths", &lengths)?,
            initial: self.runner.borrow(&self.initial)?,
        })
    }

    fn forward(&self, xbc: &Tensor, dt: &Tensor, flat: &Tensor) -> Result<Tensor> {
        let Sizes { b, l, e, h, p, n, .. } = self.sizes;
        let arrays = self.arrays(xbc, dt, flat)?;
        let after = self.runner.alloc("state after the sequences", Float::F32, b * h * n * p)?;
        let y = train_pass::scan(&self.runner, &self.sizes, &arrays.buffers(h), Some(&after))?;
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(after.tensor()?);
        Ok(y.tensor()?.reshape((b, l, e))?)
    }

    fn backward(&self, xbc: &Tensor, dt: &Tensor, flat: &Tensor, grad: &Tensor) -> Result<[Tensor; 3]> {
        let Sizes { b, l, e, h, g, n, float, .. } = self.sizes;
        let arrays = self.arrays(xbc, dt, flat)?;
        let above = self.runner.borrow(&grad.to_dtype(xbc.dtype())?)?;
        let steps = self.runner.alloc("gradient of steps", float, b * l * h)?;
        let [x, bc, heads] =
            train_pass::scan_gradient(&self.runner, &self.sizes, &arrays.buffers(h), &above, &steps)?;
        // A group's parts lie one after the other, and each wrote its group's columns alone.
        let parts = self.sizes.bc_parts() / g;
        let bc = bc.tensor()?.reshape((g, parts, b * l * 2, g, n))?;
        let groups = (0..g)
            .map(|i| bc.narrow(0, i, 1)?.narrow(3, i, 1)?.sum(1)?.squeeze(0))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let bc = Tensor::cat(&groups, 1)?.reshape((b, l, 2 * g * n))?.to_dtype(xbc.dtype())?;
        let x = x.tensor()?.reshape((b, l, e))?;
        let heads = heads.tensor()?;
        let heads = [heads.narrow(0, h, 2 * h)?, heads.narrow(0, 0, h)?]; // a_log and D, dt_bias
        Ok([Tensor::cat(&[x, bc], 2)?, steps.tensor()?.reshape((b, l, h))?, Tensor::cat(&heads, 0)?])
    }
}

/// A tensor over a copy of a storage that candle lends for a call.
fn lent(storage: &CudaStorage, layout: &Layout) -> candle_core::Result<Tensor> {
    use candle_core::backend::BackendStorage;
    let copy = Storage::Cuda(storage.try_clone(layout)?);
    let whole =
        Tensor::from_storage(copy, layout.shape().clone(), candle_core::op::BackpropOp::none(), false);
    match layout.contiguous_offsets() {
        Some((0, _)) => Ok(whole),
        _ => candle_core::bail!("a scan on the GPU: expected contiguous tensors, got {layout:?}"),
    }
}

fn inside(error: crate::error::Error) -> candle_core::Error {
    candle_core::Error::Cuda(Box::new(error))
}

impl CustomOp3 for ScanOp {
    fn name(&self) -> &'static str {
        "ssd-scan-kernels"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("the scan's kernels run on a GPU")
    }

    fn cuda_fwd(
        &self,
        xbc: &CudaStorage,
        lx: &Layout,
        dt: &CudaStorage,
        ld: &Layout,
        flat: &CudaStorage,
        lf: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let (xbc, dt, flat) = (lent(xbc, lx)?, lent(dt, ld)?, lent(flat, lf)?);
        let y = self.forward(&xbc, &dt, &flat).map_err(inside)?;
        let (storage, layout) = y.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("the scan's kernels run on a GPU"),
        }
    }

    fn bwd(
        &self,
        xbc: &Tensor,
        dt: &Tensor,
        flat: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [xbc, dt, flat] = self.backward(xbc, dt, flat, grad).map_err(inside)?;
        Ok((Some(xbc), Some(dt), Some(flat)))
    }
}
