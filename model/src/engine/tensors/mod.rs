//! The model in candle's tensor operations: any device, any float dtype, gradients from autograd.

pub(crate) mod block;
pub mod chunked;
pub(crate) mod conv;
pub(crate) mod norm;
pub mod reference;
