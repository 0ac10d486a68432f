//! The state-space scan of Mamba-2 (SSD), in four forms behind one signature.
//!
//! Per head, with `x` (P channels), `B`, `C` (N values of the head's group), step `dt` and `A < 0`:
//!
//! ```text
//! s_t = exp(dt_t A) s_{t-1} + dt_t B_t x_t^T      state (N, P)
//! y_t = C_t^T s_t + D x_t
//! ```
//!
//! [`mod@crate::engine::tensors::reference`] is the plain loop in f64 and defines what is correct. [`crate::engine::tensors::chunked`] is the paper's four-step algorithm in
//! tensor operations (any device, gradients from autograd). `cpu` is the recurrence in f32, vectorised, with a
//! hand-written gradient. [`crate::engine::train_pass`] has the chunked form as CUDA kernels. Each is tested against the one before. Source: Dao and Gu, "Transformers are SSMs", 2024,
//! section 6 and listing 1.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::cpu::buffers::{Buffer, Buffers};
use crate::engine::cpu::mixer::{self, Dims, HeadParams};
use crate::engine::cpu::{slice, with_slice};
use crate::engine::tensors::{chunked, reference};
use crate::engine::train_pass::{Float, Sizes};
use crate::error::{Error, Result};

/// Arguments of a scan. `C = E + 2 G N`, `E = H P`.
#[derive(Debug, Clone, Copy)]
pub struct ScanInput<'a> {
    /// x, B and C after convolution and activation, `(b, l, C)`.
    pub xbc: &'a Tensor,
    /// Steps before bias and softplus, `(b, l, H)`.
    pub dt: &'a Tensor,
    /// Logarithm of `-A`, `(H)`.
    pub a_log: &'a Tensor,
    /// Skip weights, `(H)`.
    pub d: &'a Tensor,
    /// Bias of the steps, `(H)`.
    pub dt_bias: &'a Tensor,
    /// Groups `G` that share one B and C.
    pub groups: usize,
    /// State size `N`.
    pub d_state: usize,
    /// Steps per chunk of the chunked form.
    pub chunk_size: usize,
    /// Steps that count in each row; what lies beyond gives `y = 0` and leaves the state alone. All, if absent.
    pub lengths: Option<&'a [usize]>,
    /// State before the first step, `(b, H, P, N)`; no gradient flows into it. Zero, if absent.
    pub initial: Option<&'a Tensor>,
}

/// Which implementation of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Plain loop in f64 on the CPU; no gradient.
    Reference,
    /// Tensor operations; any device and dtype.
    Chunked,
    /// Vectorised recurrence; f32 on the CPU.
    Fused,
    /// The kernels of `model/kernels`: chunked; f32 and bf16 on a GPU, in a build with feature `cuda`.
    Kernels,
}

/// Runs the scan in the form that suits device and dtype: [`Form::Fused`] for f32 on the CPU, [`Form::Kernels`] on a GPU where
/// they have the shape, else [`Form::Chunked`].
///
/// Returns y `(b, l, E)` and the detached state after each row's last step `(b, H, P, N)`.
///
/// # Errors
/// [`Error::Input`] for shapes that do not fit, [`Error::Tensor`] for a failed operation.
pub fn scan(input: &ScanInput<'_>) -> Result<(Tensor, Tensor)> {
    scan_as(suitable(input), input)
}

/// The form for [`scan`].
pub(crate) fn suitable(input: &ScanInput<'_>) -> Form {
    let (device, dtype) = (input.xbc.device(), input.xbc.dtype());
    let kernels = || ScanShape::of(input).and_then(|shape| shape.for_kernels(dtype)).is_ok();
    match dtype {
        DType::F32 if device.is_cpu() => Form::Fused,
        DType::F32 | DType::BF16 if cfg!(feature = "cuda") && device.is_cuda() && kernels() => Form::Kernels,
        _ => Form::Chunked,
    }
}

/// Runs the scan in the given form.
///
/// # Errors
/// As [`scan`]; also if the form does not run on that device or dtype.
pub fn scan_as(form: Form, input: &ScanInput<'_>) -> Result<(Tensor, Tensor)> {
    let shape = ScanShape::of(input)?;
    match form {
        Form::Reference => reference::scan(input, &shape),
        Form::Chunked => chunked::scan(input, &shape),
        Form::Fused => fused(input, &shape),
        Form::Kernels => kernels(input, &shape),
    }
}

#[cfg(feature = "cuda")]
fn kernels(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    crate::engine::gpu::train::scan(input, shape.for_kernels(input.xbc.dtype())?)
}

#[cfg(not(feature = "cuda"))]
fn kernels(input: &ScanInput<'_>, _: &ScanShape) -> Result<(Tensor, Tensor)> {
    let got = format!("a build without it, on {:?}", input.xbc.device().location());
    Err(Error::input("scan by kernels", "feature cuda and a GPU", got))
}

/// Sizes of a scan, checked against every argument.
#[derive(Debug, Clone, Copy)]
pub struct ScanShape {
    /// Batch.
    pub b: usize,
    /// Length.
    pub l: usize,
    /// Heads.
    pub h: usize,
    /// Channels per head.
    pub p: usize,
    /// Groups.
    pub g: usize,
    /// State size.
    pub n: usize,
}

impl ScanShape {
    fn of(input: &ScanInput<'_>) -> Result<Self> {
        let (b, l, c) = input.xbc.dims3()?;
        let (bd, ld, h) = input.dt.dims3()?;
        let (g, n) = (input.groups, input.d_state);
        if (bd, ld) != (b, l) || b == 0 || l == 0 || h == 0 {
            return Err(Error::input(
                "scan dt",
                format!("({b}, {l}, heads)"),
                format!("{:?}", input.dt.dims()),
            ));
        }
        if g == 0 || n == 0 || h % g != 0 || c <= 2 * g * n || (c - 2 * g * n) % h != 0 {
            let expected = format!("{h} heads of equal width and {g} groups of B and C of {n}");
            return Err(Error::input("scan channels", expected, c));
        }
        for (what, t) in [("scan a_log", input.a_log), ("scan d", input.d), ("scan dt_bias", input.dt_bias)] {
            if t.dims() != [h] {
                return Err(Error::input(what, format!("[{h}]"), format!("{:?}", t.dims())));
            }
        }
        if let Some(lengths) = input.lengths
            && (lengths.len() != b || lengths.iter().any(|&x| x > l))
        {
            return Err(Error::input("scan lengths", format!("{b} of at most {l}"), format!("{lengths:?}")));
        }
        let p = (c - 2 * g * n) / h;
        if let Some(s) = input.initial
            && s.dims() != [b, h, p, n]
        {
            return Err(Error::input(
                "scan state",
                format!("[{b}, {h}, {p}, {n}]"),
                format!("{:?}", s.dims()),
            ));
        }
        if input.chunk_size == 0 {
            return Err(Error::input("scan chunk size", "at least 1", 0));
        }
        Ok(Self { b, l, h, p, g, n })
    }

    /// The kernels' sizes of it.
    fn for_kernels(&self, dtype: DType) -> Result<Sizes> {
        let float = match dtype {
            DType::F32 => Float::F32,
            DType::BF16 => Float::Bf16,
            other => return Err(Error::input("scan by kernels", "f32 or bf16", format!("{other:?}"))),
        };
        Sizes::of_scan((self.b, self.l), (self.h, self.p, self.g, self.n), float)
    }

    fn dims(&self, input: &ScanInput<'_>) -> Dims {
        Dims {
            b: self.b,
            l: self.l,
            e: self.h * self.p,
            h: self.h,
            p: self.p,
            g: self.g,
            n: self.n,
            k: 1,
            lengths: input.lengths.map_or_else(|| vec![self.l; self.b], <[usize]>::to_vec),
            eps: 0.0,
        }
    }
}

fn fused(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    let ScanShape { b, h, p, n, .. } = *shape;
    let params = Tensor::cat(&[input.a_log, input.d, input.dt_bias], 0)?;
    let keep = input.xbc.track_op() || input.dt.track_op() || params.track_op();
    let initial = match input.initial {
        Some(s) => s.transpose(2, 3)?.contiguous()?.flatten_all()?.to_vec1::<f32>()?, // (b, h, n, p)
        None => vec![0f32; b * h * n * p],
    };
    let after = Arc::new(Mutex::new(vec![]));
    let op = ScanOp {
        dims: shape.dims(input),
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
