//! [`Engine::Kernels`](super::Engine): passes over sequences by the kernels of `model/kernels`, where this build and
//! the model's device have them. The one file here that asks for feature `cuda`.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::Mamba2;
use crate::engine::launch::Float;
use crate::engine::train_pass::Sizes;
use crate::error::{Error, Result};
use crate::network::input::Input;
use crate::network::state::State;

/// The device's kernels, loaded when they are first used and shared by clones of the model.
#[derive(Clone, Default)]
pub(super) struct Loaded {
    #[cfg(feature = "cuda")]
    runner: std::sync::Arc<std::sync::OnceLock<crate::engine::gpu::train::Runner>>,
}

#[cfg(feature = "cuda")]
impl Loaded {
    fn get(&self, device: &candle_core::Device) -> Result<&crate::engine::gpu::train::Runner> {
        if let Some(runner) = self.runner.get() {
            return Ok(runner);
        }
        let runner = crate::engine::gpu::train::Runner::new(device)?;
        Ok(self.runner.get_or_init(|| runner))
    }
}

/// Tokens and side information of a checked call.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "read by the kernels"))]
pub(super) struct Checked<'a> {
    pub(super) tokens: &'a [u32],
    pub(super) context: &'a [u32],
    pub(super) targets: &'a [u32],
    pub(super) lengths: &'a [usize],
    pub(super) shape: (usize, usize),
}

impl Mamba2 {
    /// Whether the kernels have this model's shape, dtype and device.
    pub(super) fn has_kernels(&self) -> bool {
        let gpu = cfg!(feature = "cuda") && self.device().is_cuda() && self.dtype() == DType::F32;
        gpu && Sizes::new(&self.cfg, (1, 1), Float::F32).is_ok()
    }

    /// Refuses to train on batches of `shape`, with the carried state of `turns` of them, where the device has no room
    /// for it. For engines whose needs are not known it does nothing.
    ///
    /// # Errors
    /// [`Error::Cuda`] with what is needed and what is free.
    #[cfg(feature = "cuda")]
    pub(crate) fn check_room(&self, shape: (usize, usize), turns: usize) -> Result<()> {
        let super::Engine::Kernels(float) = self.engine else { return Ok(()) };
        let sizes = Sizes::new(&self.cfg, shape, float)?;
        let passes = sizes.memory() + turns * self.cfg.n_layer * sizes.carried();
        let needs = (passes, self.cfg.parameters());
        Ok(crate::engine::gpu::train::check_memory(self.device(), "training", needs)?)
    }

    #[cfg(not(feature = "cuda"))]
    pub(crate) fn check_room(&self, _: (usize, usize), _: usize) -> Result<()> {
        Ok(())
    }

    /// The blocks over `x (b, l, d)`.
    #[cfg(feature = "cuda")]
    pub(super) fn kernel_blocks(
        &self,
        float: Float,
        x: &Tensor,
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<Tensor> {
        let (b, l, _) = x.dims3()?;
        let sizes = Sizes::new(&self.cfg, (b, l), float)?;
        let call = crate::engine::gpu::train::Call { cfg: &self.cfg, sizes: &sizes, params: &self.params };
        let mut own;
        let state = match state {
            Some(state) => state,
            None => {
                own = self.zero_state(b)?;
                &mut own
            }
        };
        let layers = state.tensors(DType::F32, self.device())?;
        let whole = vec![l; b];
        let lengths = lengths.unwrap_or(&whole);
        let runner = self.loaded.get(self.device())?;
        let (x, layers) = crate::engine::gpu::train::blocks(runner, &call, x, lengths, &layers)?;
        state.set_tensors(layers)?;
        Ok(x)
    }

    /// Loss and gradients by name.
    #[cfg(feature = "cuda")]
    pub(super) fn kernel_gradients(
        &self,
        float: Float,
        input: &Checked<'_>,
        state: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        let sizes = Sizes::new(&self.cfg, input.shape, float)?;
        let call = crate::engine::gpu::train::Call { cfg: &self.cfg, sizes: &sizes, params: &self.params };
        let mut own;
        let state = match state {
            Some(state) => state,
            None => {
                own = self.zero_state(input.shape.0)?;
                &mut own
            }
        };
        let layers = state.tensors(DType::F32, self.device())?;
        let runner = self.loaded.get(self.device())?;
        let fields = self.cfg.context_fields();
        let (tokens, context, lengths) = (input.tokens, input.context, input.lengths);
        let of_pass = crate::engine::train_pass::Input { tokens, context, fields, lengths };
        let (nats, gradients, layers) =
            crate::engine::gpu::train::loss_and_gradients(runner, &call, &of_pass, input.targets, &layers)?;
        state.set_tensors(layers)?;
        Ok((nats, gradients))
    }

    #[cfg(not(feature = "cuda"))]
    pub(super) fn kernel_blocks(
        &self,
        _: Float,
        _: &Tensor,
        _: Option<&[usize]>,
        _: Option<&mut State>,
    ) -> Result<Tensor> {
        Err(unavailable())
    }

    #[cfg(not(feature = "cuda"))]
    pub(super) fn kernel_gradients(
        &self,
        _: Float,
        _: &Checked<'_>,
        _: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        Err(unavailable())
    }

    /// Loss and gradients with every check of [`Self::loss_and_gradients`].
    pub(super) fn checked_kernel_gradients(
        &self,
        float: Float,
        input: Input<'_>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<(f64, BTreeMap<String, Tensor>)> {
        let shape = self.check_call(input, targets, lengths, state.as_deref())?;
        let tokens = input.tokens.flatten_all()?.to_vec1::<u32>()?;
        let whole = vec![shape.1; shape.0];
        let lengths = lengths.unwrap_or(&whole);
        let checked = Checked { tokens: &tokens, context: input.context, targets, lengths, shape };
        self.kernel_gradients(float, &checked, state)
    }
}

/// The error where there are no kernels.
pub(super) fn unavailable() -> Error {
    Error::input(
        "kernel engine",
        "an f32 model with headdim at most 64 on a GPU, and a build with feature cuda",
        "another",
    )
}
