//! How the model is computed.
//!
//! [`cpu`] is the f32 and int8 engine of the CPU; [`tensors`] is candle's tensor operations, on any device and for
//! comparison; `gpu` (feature `cuda`) launches the kernels of `model/kernels`. Which kernels run with what is plain
//! data, [`step_program`] for a token and [`train_pass`] for a training pass: the tests run the same lists on the host.

pub mod cpu;
#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "launching kernels is unsafe; the only folder where it is")]
pub mod gpu;
pub mod launch;
pub mod scan;
pub(crate) mod simd;
pub mod step_program;
pub mod tensors;
pub mod train_pass;
