//! A training pass as a GPU is told to compute it: which kernels run with what, from tokens to loss and gradients.
//!
//! Nothing here touches a GPU, and nothing needs feature `cuda`: a [`Backend`] allocates, launches and multiplies. That of
//! `crate::engine::gpu::train` is a device; that of the tests runs the same kernels compiled for the host, so that whole models are
//! compared with [`crate::lm::Mamba2::loss_and_gradients`] without one.
//!
//! ```text
//! model    tokens -> embedding -> blocks -> norm -> logits -> loss, and all the way back
//! block    norm, in_proj, convolution, scan, gated norm, out_proj; backward recomputes them from the block's input
//! scan     the chunked scan's kernels        calls    the other kernels        sizes    shapes, memory
//! optimizer   the update that follows a pass
//! ```
//! The residual stream, weights, their gradients, the scan's state and every sum are f32. What lies between two kernels or is
//! multiplied is f32 or bf16 ([`Sizes::float`]); of a matrix in bf16 the f32 one remains the truth.
//!
//! Rows of a batch do not know of one another, and nothing is added by two threads in an order left open: the same call
//! gives the same bits on the same device.

mod block;
mod calls;
mod model;
mod optimizer;
mod places;
mod scan;
mod scatter;
mod sizes;

pub use block::BlockGrads;
pub use model::{Gradients, Input, blocks, loss_and_gradient};
pub use optimizer::{Factors, adamw, length};
pub use places::Place;
pub use scan::{ScanBuffers, scan, scan_gradient};
pub use sizes::{CHUNK, CONV_STEPS, NORM_ROWS, Sizes};

use crate::engine::launch::{Float, Gemm, Launch};
use crate::error::Result;

/// A matrix product of row-major matrices, summed in f32.
#[derive(Debug)]
pub struct Product<'a, B> {
    /// What is transposed.
    pub form: Gemm,
    /// Left operand.
    pub a: &'a B,
    /// Right operand.
    pub b: &'a B,
    /// Result `(m, n)`.
    pub to: &'a B,
    /// m, n, k.
    pub sizes: (usize, usize, usize),
    /// Of both operands.
    pub operands: Float,
    /// Of the result.
    pub result: Float,
    /// Adds to what is there (f32 results only).
    pub add: bool,
}

/// A device that a pass runs on. Work is done in the order of the calls.
pub trait Backend {
    /// Device memory of one array. Dropping it may free it, after the calls made so far.
    type Buffer;

    /// Room for `len` values that were never written.
    ///
    /// # Errors
    /// If the device has no room.
    fn room(&self, what: &'static str, float: Float, len: usize) -> Result<Self::Buffer>;

    /// `len` f32 zeros.
    ///
    /// # Errors
    /// As [`Self::room`].
    fn zeros(&self, what: &'static str, len: usize) -> Result<Self::Buffer>;

    /// A copy of `len` f32 values.
    ///
    /// # Errors
    /// As [`Self::room`].
    fn copy(&self, what: &'static str, from: &Self::Buffer, len: usize) -> Result<Self::Buffer>;

    /// Whole numbers from the host.
    ///
    /// # Errors
    /// As [`Self::room`].
    fn numbers(&self, what: &'static str, values: &[u32]) -> Result<Self::Buffer>;

    /// f32 values from the host.
    ///
    /// # Errors
    /// As [`Self::room`].
    fn values(&self, what: &'static str, values: &[f32]) -> Result<Self::Buffer>;

    /// `len` f32 values to the host.
    ///
    /// # Errors
    /// If the device failed.
    fn read(&self, from: &Self::Buffer, len: usize) -> Result<Vec<f32>>;

    /// Launches a kernel. A grid without blocks is no launch.
    ///
    /// # Errors
    /// If the device refuses.
    fn launch(&self, launch: &Launch<&Self::Buffer>) -> Result<()>;

    /// Multiplies.
    ///
    /// # Errors
    /// If the device refuses.
    fn product(&self, product: &Product<'_, Self::Buffer>) -> Result<()>;
}
