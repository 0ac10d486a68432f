//! AdamW's kernels over tensors of the device.

use candle_core::Tensor;

use super::backend::{Memory, Runner};
use crate::engine::train_pass::{self, Factors};
use crate::error::{Error, Result};

/// The length of a gradient that is in several tensors.
///
/// # Errors
/// [`crate::engine::gpu::CudaError`].
pub(crate) fn length(runner: &Runner, gradients: &[&Tensor]) -> Result<f64> {
    let borrowed = gradients.iter().map(|gradient| runner.borrow(gradient)).collect::<Result<Vec<_>>>()?;
    let arrays: Vec<_> = borrowed.iter().zip(gradients).map(|(m, g)| (m, g.elem_count())).collect();
    train_pass::length(runner, &arrays)
}

/// Updates a parameter and its moments in place.
///
/// # Errors
/// [`crate::engine::gpu::CudaError`], or [`Error::Input`] for what does not lie in one piece, of which a kernel would
/// update a copy.
pub(crate) fn adamw(
    runner: &Runner,
    parameter: &Tensor,
    gradient: &Tensor,
    (first, second): (&Tensor, &Tensor),
    factors: &Factors,
) -> Result<()> {
    let in_place = |tensor: &Tensor| -> Result<Memory> {
        if !tensor.is_contiguous() {
            return Err(Error::input(
                "a parameter on the device",
                "one piece",
                format!("{:?}", tensor.layout()),
            ));
        }
        runner.borrow(tensor)
    };
    let (to, first, second) = (in_place(parameter)?, in_place(first)?, in_place(second)?);
    let gradient = runner.borrow(gradient)?;
    train_pass::adamw(runner, &to, &gradient, (&first, &second), parameter.elem_count(), factors)
}
