//! A training pass on a GPU as plain data: which kernels run with what, from tokens to loss and gradients.
//!
//! Nothing here touches a GPU or needs feature `cuda`: a [`Backend`] allocates, launches and multiplies. The backend of
//! `crate::engine::gpu::train` is a device. That of the tests runs the same kernels compiled for the host, so that
//! whole models are compared with [`crate::engine::cpu`] without a device.
//!
//! ```text
//! model       tokens -> embedding -> blocks -> norm -> logits -> loss, and back
//! block       norm, in_proj, convolution, scan, gated norm, out_proj; backward recomputes them from the block's input
//! scan        the kernels of the chunked scan
//! calls       the other kernels, and matrix products
//! scatter     the gradient of a table without atomics
//! sizes       shapes, and the memory that a pass takes
//! places      where the gradient of each parameter lies
//! optimizer   the update that follows a pass
//! ```
//! The residual stream, weights, their gradients, the scan's state and every sum are f32. Values between two kernels
//! and operands of products are f32 or bf16 ([`Sizes::float`]); a bf16 matrix is a copy of an f32 one.
//!
//! Rows of a batch do not depend on one another, and no two threads add to the same value: the same call gives the same
//! bits on the same device.

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

/// A product of row-major matrices, summed in f32.
#[derive(Debug)]
pub struct Matmul<'a, B> {
    /// Which operands are stored transposed.
    pub form: Gemm,
    /// Left operand.
    pub a: &'a B,
    /// Right operand.
    pub b: &'a B,
    /// Result `(m, n)`.
    pub to: &'a B,
    /// m, n, k.
    pub sizes: (usize, usize, usize),
    /// Format of both operands.
    pub operands: Float,
    /// Format of the result.
    pub result: Float,
    /// Adds to what is there (f32 results only).
    pub add: bool,
}

/// A device that a pass runs on. It does its work in the order of the calls. `what` names an array in errors.
pub trait Backend {
    /// Device memory of one array. Dropping it may free it, after the calls made so far.
    type Buffer;

    /// An array of `len` values that are not written yet.
    ///
    /// # Errors
    /// If the device does not have the memory.
    fn alloc(&self, what: &'static str, float: Float, len: usize) -> Result<Self::Buffer>;

    /// `len` f32 zeros.
    ///
    /// # Errors
    /// As [`Self::alloc`].
    fn zeros(&self, what: &'static str, len: usize) -> Result<Self::Buffer>;

    /// A copy of `len` f32 values.
    ///
    /// # Errors
    /// As [`Self::alloc`].
    fn copy(&self, what: &'static str, from: &Self::Buffer, len: usize) -> Result<Self::Buffer>;

    /// Copies u32 values to the device.
    ///
    /// # Errors
    /// As [`Self::alloc`].
    fn upload_u32(&self, what: &'static str, values: &[u32]) -> Result<Self::Buffer>;

    /// Copies f32 values to the device.
    ///
    /// # Errors
    /// As [`Self::alloc`].
    fn upload_f32(&self, what: &'static str, values: &[f32]) -> Result<Self::Buffer>;

    /// Copies the first `len` f32 values of an array to the host, after the calls made so far.
    ///
    /// # Errors
    /// If the device failed.
    fn download(&self, from: &Self::Buffer, len: usize) -> Result<Vec<f32>>;

    /// Launches a kernel. A grid without blocks is no launch.
    ///
    /// # Errors
    /// If the device refuses.
    fn launch(&self, launch: &Launch<&Self::Buffer>) -> Result<()>;

    /// Multiplies two matrices.
    ///
    /// # Errors
    /// If the device refuses.
    fn matmul(&self, matmul: &Matmul<'_, Self::Buffer>) -> Result<()>;
}
