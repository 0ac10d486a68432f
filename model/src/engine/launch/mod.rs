//! Kernel launches as plain data: what a list of them says, whichever device runs it.

mod float;
mod gemm;

pub use float::Float;
pub use gemm::Gemm;

/// A parameter of a kernel; `B` stands for a buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument<B> {
    /// A pointer to a buffer, which the kernel may write even where `B` is a shared reference.
    Buffer(B),
    /// A pointer to nothing.
    Null,
    /// `int`; values of 2^31 and more are errors of the launch.
    Int(usize),
    /// `size_t`.
    Size(usize),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch<B> {
    /// File of `model/kernels`, without its ending.
    pub module: &'static str,
    /// Kernel.
    pub function: String,
    /// Blocks along each axis. A grid without blocks is no launch.
    pub grid: (usize, usize, usize),
    /// Threads of a block.
    pub block: usize,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
    /// Parameters in order.
    pub arguments: Vec<Argument<B>>,
}
