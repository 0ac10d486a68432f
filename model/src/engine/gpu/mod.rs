//! The GPU: opening a device, its kernels, and what runs on it. Only with feature `cuda`.
//!
//! [`Gpu`] is the door: it checks driver and capability, and gives functions of `model/kernels` by name. Buffers and
//! launches are cudarc's, the version that candle uses, so that a [`candle_core::Device`] and this module share one
//! context. Launching kernels is `unsafe`: each block says why it is sound. (On the CPU, `ops` has the other unsafe code.)
//!
//! Every failure is a [`CudaError`]; nothing here falls back to the CPU.

mod gpu;
mod images;
mod launcher;
pub mod step;
pub(crate) mod train;

pub use crate::error::CudaError;
use crate::error::{Attempt, allocation};
pub use gpu::Gpu;
