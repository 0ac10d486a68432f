//! Generation on the GPU: allocates the regions of [`crate::engine::step_program`] and captures its launches as graphs.
//!
//! ```text
//! StepOptions   checks that models and sessions fit, makes the streams
//! memory        parameters, once a model, shared by its streams
//! stream        a half-batch: state, buffers, and a graph for each size of a step
//! ```
//! A step is one graph launch at fixed addresses: two copies to the device, the kernels, one copy back. Each half-batch
//! has a CUDA stream of its own, so that the copies and kernels of one run beside those of another. They share nothing
//! that is written.
//!
//! cudarc tracks buffers by events, so that CUDA streams wait for one another. A captured graph must not contain such
//! waits. So cudarc owns the buffers here, the launches use their addresses, and a half-batch waits for its CUDA stream
//! before it frees them.

mod memory;
mod probe;
mod stream;

use candle_core::{Device, Tensor};

use super::{CudaError, Gpu};
use crate::engine::step_program::{StepProgram, Types};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::Params;
use crate::sample::Policy;

pub use probe::Probe;
pub(crate) use stream::GpuStream;

/// Bytes left free on the device: for the driver's graphs and modules, and for what other programs allocate later.
const RESERVE: usize = 256 << 20;

/// A model to generate with.
pub(crate) struct GpuModel<'a> {
    /// The model's configuration.
    pub(crate) cfg: &'a ModelConfig,
    /// Its parameters, on any device.
    pub(crate) params: &'a Params<Tensor>,
    /// Tokens that may be chosen.
    pub(crate) vocab: usize,
}

/// How sessions are generated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepOptions {
    /// Half-batches in flight.
    pub(crate) batches: usize,
    /// Sessions of each.
    pub(crate) rows: usize,
    /// Formats.
    pub(crate) types: Types,
    /// How tokens are chosen.
    pub(crate) policy: Policy,
}

impl StepOptions {
    /// Rows of the largest step, which is also the number of slots of a half-batch.
    fn slots(&self) -> usize {
        StepProgram::buckets(self.rows).last().copied().unwrap_or(self.rows)
    }

    fn program(&self, model: &GpuModel<'_>) -> Result<StepProgram> {
        StepProgram::new(model.cfg, self.types, self.policy, model.vocab)
    }

    /// Checks, before anything is allocated, that the models and their sessions fit the device.
    ///
    /// # Errors
    /// [`CudaError::Memory`] with the batch that would fit, else as [`StepProgram::new`] and [`Gpu::of`].
    pub(crate) fn check(&self, device: &Device, models: &[GpuModel<'_>]) -> Result<()> {
        let gpu = Gpu::of(device)?;
        let free = gpu.memory()?.0.saturating_sub(RESERVE);
        let programs = models.iter().map(|model| self.program(model)).collect::<Result<Vec<_>>>()?;
        let needed: usize = programs.iter().map(|d| d.memory(self.slots(), self.batches)).sum();
        if needed <= free {
            return Ok(());
        }
        // Each model of a chain may get an equal share of what its sessions need.
        let share = free / programs.len().max(1);
        let fits = programs.iter().map(|d| d.rows_that_fit(share, self.batches)).min().unwrap_or(0);
        let fits = fits / 16 * 16 * self.batches;
        let advice = match fits {
            0 => "the model does not fit at all".to_owned(),
            fits => format!("a batch of {fits} fits"),
        };
        Err(CudaError::Memory { what: "generation", needed, free, advice }.into())
    }

    /// The half-batches of the models, one model after the other.
    ///
    /// # Errors
    /// As [`Self::check`], and [`CudaError`] for what the driver refuses.
    pub(crate) fn streams(&self, device: &Device, models: &[GpuModel<'_>]) -> Result<Vec<GpuStream>> {
        self.check(device, models)?;
        let gpu = Gpu::of(device)?;
        let mut streams = Vec::new();
        for model in models {
            let program = self.program(model)?;
            let weights = memory::weights(&gpu, model.params, &program)?;
            for _ in 0..self.batches {
                streams.push(GpuStream::new(&gpu, &program, &weights, self.rows)?);
            }
        }
        Ok(streams)
    }
}
