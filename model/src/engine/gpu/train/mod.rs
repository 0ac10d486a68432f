//! Training passes on a GPU: [`crate::engine::train_pass`] over device memory, the kernels of `model/kernels`, and
//! cuBLAS.
//!
//! Parameters stay where candle has them (f32 tensors, the optimiser's variables); gradients come back as tensors of
//! the same device without a copy. Everything is done on the stream of candle's device, in order, so nothing waits but
//! the read of the loss.

mod backend;
mod matmul;
mod optimizer;
mod scan;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

pub(crate) use backend::Runner;
pub(crate) use optimizer::{adamw, length};
pub(crate) use scan::scan;

use super::{CudaError, Gpu};
use crate::engine::train_pass::{self, Sizes};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::Params;
use crate::network::state::LayerState;
use backend::Memory;

/// Refuses a run that the device has no room for: `what` needs `passes` bytes at once besides five numbers for each of
/// `parameters` (weight, gradient, its sum over a step, two moments), of which the weights are there already.
///
/// # Errors
/// [`CudaError::Memory`] with what is needed and free, else the driver's.
pub(crate) fn check_memory(
    device: &Device,
    what: &'static str,
    (passes, parameters): (usize, usize),
) -> Result<(), CudaError> {
    let (free, _) = Gpu::of(device)?.memory()?;
    let needed = passes + 4 * 4 * parameters;
    if needed <= free {
        return Ok(());
    }
    let advice = "train with a shorter data.bptt, a smaller data.batch, or run.dtype = \"bf16\"".to_owned();
    Err(CudaError::Memory { what, needed, free, advice })
}

/// A model and the sizes of a call.
pub(crate) struct Call<'a> {
    pub(crate) cfg: &'a ModelConfig,
    pub(crate) sizes: &'a Sizes,
    /// f32 on the runner's device.
    pub(crate) params: &'a Params<Tensor>,
}

impl Call<'_> {
    fn weights(&self, runner: &Runner) -> Result<Params<Memory>> {
        self.params.as_ref().try_map(|tensor| runner.borrow(tensor))
    }
}

/// The state in the layout of passes: `(b, K - 1, C)` and `(b, H, N, P)`.
fn carried(runner: &Runner, layers: &[LayerState<Tensor>]) -> Result<Vec<LayerState<Memory>>> {
    let of = |layer: &LayerState<Tensor>| -> Result<_> {
        let ssm = layer.ssm.transpose(2, 3)?;
        Ok(LayerState { conv: runner.borrow(&layer.conv)?, ssm: runner.borrow(&ssm)? })
    };
    layers.iter().map(of).collect()
}

/// The state in the layout of tensors: `(b, K - 1, C)` and `(b, H, P, N)`.
fn uncarried(sizes: &Sizes, layers: Vec<LayerState<Memory>>) -> Result<Vec<LayerState<Tensor>>> {
    let Sizes { b, h, p, n, k, .. } = *sizes;
    let of = |layer: LayerState<Memory>| -> Result<_> {
        let conv =
            layer.conv.tensor()?.narrow(0, 0, b * (k - 1) * sizes.c())?.reshape((b, k - 1, sizes.c()))?;
        let ssm = layer.ssm.tensor()?.narrow(0, 0, b * h * n * p)?.reshape((b, h, n, p))?;
        let ssm = ssm.transpose(2, 3)?.contiguous()?;
        Ok(LayerState { conv, ssm })
    };
    layers.into_iter().map(of).collect()
}

/// Mean nats, gradients by name, and the state after the sequences.
///
/// # Errors
/// [`CudaError`], or a failed tensor operation.
pub(crate) fn loss_and_gradients(
    runner: &Runner,
    call: &Call<'_>,
    input: &train_pass::Input<'_>,
    targets: &[u32],
    layers: &[LayerState<Tensor>],
) -> Result<(f64, BTreeMap<String, Tensor>, Vec<LayerState<Tensor>>)> {
    let weights = call.weights(runner)?;
    let mut state = carried(runner, layers)?;
    let (nats, gradients) =
        train_pass::loss_and_gradient(runner, call.sizes, &weights, input, targets, &mut state)?;
    let places = gradients.places(call.cfg).named().into_iter();
    let out = places.zip(Params::shapes(call.cfg).named()).map(|((name, place), (_, shape))| {
        let len = shape.iter().product();
        Ok((name, place.buffer.tensor()?.narrow(0, place.at, len)?.reshape(shape)?))
    });
    let out = out.collect::<Result<BTreeMap<_, _>>>()?;
    Ok((nats, out, uncarried(call.sizes, state)?))
}

/// The blocks over `x (b, l, d)`, f32: their output, and the state after the sequences.
///
/// # Errors
/// As [`loss_and_gradients`].
pub(crate) fn blocks(
    runner: &Runner,
    call: &Call<'_>,
    x: &Tensor,
    lengths: &[usize],
    layers: &[LayerState<Tensor>],
) -> Result<(Tensor, Vec<LayerState<Tensor>>)> {
    let Sizes { b, l, d, .. } = *call.sizes;
    let weights = call.weights(runner)?;
    let mut state = carried(runner, layers)?;
    let x = runner.borrow(&x.to_dtype(DType::F32)?)?;
    let out = train_pass::blocks(runner, call.sizes, &weights, x, lengths, &mut state)?;
    let out = out.tensor()?.narrow(0, 0, b * l * d)?.reshape((b, l, d))?;
    Ok((out, uncarried(call.sizes, state)?))
}
