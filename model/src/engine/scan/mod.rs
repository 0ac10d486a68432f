//! The state-space scan of Mamba-2 (SSD), in four forms behind one signature.
//!
//! Per head, with `x` (P channels), `B`, `C` (N values of the head's group), step `dt` and `A < 0`:
//!
//! ```text
//! s_t = exp(dt_t A) s_{t-1} + dt_t B_t x_t^T      state (N, P)
//! y_t = C_t^T s_t + D x_t
//! ```
//!
//! [`mod@crate::engine::tensors::reference`] is the plain loop in f64 and defines what is correct.
//! [`crate::engine::tensors::chunked`] is the paper's four-step algorithm in tensor operations: any device, gradients
//! from autograd. [`crate::engine::cpu`] has the recurrence in f32, vectorised, with a hand-written gradient.
//! [`crate::engine::train_pass`] has the chunked form as CUDA kernels. Each is tested against the one before.
//!
//! Source: Dao and Gu, "Transformers are SSMs", 2024 (arXiv 2405.21060), section 6 and listing 1.

use candle_core::{DType, Tensor};

use crate::engine::cpu;
use crate::engine::launch::Float;
use crate::engine::tensors::{chunked, reference};
use crate::engine::train_pass::Sizes;
use crate::error::{Error, Result};
pub use crate::network::scan::{ScanInput, ScanShape};

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

/// Runs the scan in the form that suits device and dtype: [`Form::Fused`] for f32 on the CPU, [`Form::Kernels`] on a
/// GPU where they have the shape, else [`Form::Chunked`].
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
    let kernels = || ScanShape::of(input).and_then(|shape| for_kernels(&shape, dtype)).is_ok();
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
        Form::Fused => cpu::scan::scan(input, &shape),
        Form::Kernels => kernels(input, &shape),
    }
}

#[cfg(feature = "cuda")]
fn kernels(input: &ScanInput<'_>, shape: &ScanShape) -> Result<(Tensor, Tensor)> {
    crate::engine::gpu::train::scan(input, for_kernels(shape, input.xbc.dtype())?)
}

#[cfg(not(feature = "cuda"))]
fn kernels(input: &ScanInput<'_>, _: &ScanShape) -> Result<(Tensor, Tensor)> {
    let got = format!("a build without it, on {:?}", input.xbc.device().location());
    Err(Error::input("scan by kernels", "feature cuda and a GPU", got))
}

/// The kernels' sizes of a scan.
fn for_kernels(shape: &ScanShape, dtype: DType) -> Result<Sizes> {
    let float = match dtype {
        DType::F32 => Float::F32,
        DType::BF16 => Float::Bf16,
        other => return Err(Error::input("scan by kernels", "f32 or bf16", format!("{other:?}"))),
    };
    Sizes::of_scan((shape.b, shape.l), (shape.h, shape.p, shape.g, shape.n), float)
}
