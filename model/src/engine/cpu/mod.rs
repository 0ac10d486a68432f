//! The CPU's engine: f32 passes over sequences, and steps of single tokens in f32 or int8.
//!
//! As separate tensor operations, what a block does besides its two matrix products would cost more than the products.
//! So here it is fused: plain loops over slices, compiled for AVX2 and AVX-512 and chosen at run time by `pulp`
//! (`simd`).
//!
//! ```text
//! passes   gradient -> block -> norm, conv, mixer -> recurrence; gemm, loss, buffers
//! steps    step -> packed -> panels (f32), int8; workspace
//! candle   block, scan, norm and loss also as operations with a gradient
//! ```
//! The kernels of `int8`, the hint in `simd::prefetch` and the call in `gemm` are this crate's only unsafe code on the CPU.

pub(crate) mod block;
pub(crate) mod buffers;
pub(crate) mod context;
pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod gradient;
pub(crate) mod int8;
pub mod loss;
pub(crate) mod mixer;
pub(crate) mod norm;
pub mod packed;
pub(crate) mod panels;
pub(crate) mod recurrence;
pub(crate) mod scan;
pub(crate) mod step;
pub(crate) mod workspace;

use candle_core::{CpuStorage, Layout, Storage, Tensor};

/// The values of a contiguous f32 CPU storage.
pub(crate) fn slice<'a>(s: &'a CpuStorage, l: &Layout, what: &str) -> candle_core::Result<&'a [f32]> {
    let values = s.as_slice::<f32>()?;
    match l.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => candle_core::bail!("{what}: expected a contiguous tensor, got {l:?}"),
    }
}

/// Runs `f` over the storage of a contiguous CPU tensor.
pub(crate) fn with_storage<R>(
    t: &Tensor,
    what: &str,
    f: impl FnOnce(&CpuStorage, &Layout) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let t = t.contiguous()?;
    let (storage, layout) = t.storage_and_layout();
    match &*storage {
        Storage::Cpu(s) => f(s, layout),
        _ => candle_core::bail!("{what}: expected a tensor on the cpu"),
    }
}

/// Runs `f` over the values of a contiguous f32 CPU tensor.
pub(crate) fn with_slice<R>(
    t: &Tensor,
    what: &str,
    f: impl FnOnce(&[f32]) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    with_storage(t, what, |s, layout| f(slice(s, layout, what)?))
}
