//! Decoding on the GPU: [`crate::engine::step_program`]'s regions allocated, its launches captured as graphs, half-batches as lanes.
//!
//! ```text
//! plan: does it fit?   weights: once a model, shared by its lanes   lane: state, buffers, a graph for each size
//! ```
//! A step of a lane is one graph launch: two copies up, the kernels, one copy down, all at fixed addresses. Each lane has a stream,
//! so one lane's copies and kernels run beside another's; they share nothing that is written.
//!
//! cudarc tracks buffers by events so that streams wait for one another; a captured graph must not contain such waits.
//! So buffers are owned here by cudarc and used by their addresses, and every lane waits for its stream before it frees.

mod memory;
mod probe;
mod stream;

use candle_core::{Device, Tensor};

use super::{CudaError, Gpu};
use crate::engine::step_program::{Decoding, Types};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::Params;
use crate::sample::Policy;

pub use probe::Probe;
pub(crate) use stream::GpuLane;

/// Left free on the device beside what is planned: the driver's graphs and modules, and other programs' moods.
const RESERVE: usize = 256 << 20;

/// A model to decode.
pub(crate) struct Order<'a> {
    /// The model's configuration.
    pub(crate) cfg: &'a ModelConfig,
    /// Its parameters, on any device.
    pub(crate) params: &'a Params<Tensor>,
    /// Tokens that may be chosen.
    pub(crate) vocab: usize,
}

/// How sessions are decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Half-batches in flight.
    pub(crate) batches: usize,
    /// Sessions of each.
    pub(crate) rows: usize,
    /// Formats.
    pub(crate) types: Types,
    /// How tokens are chosen.
    pub(crate) policy: Policy,
}

impl Plan {
    /// The largest step, which is also the slots of a lane.
    fn slots(&self) -> usize {
        Decoding::buckets(self.rows).last().copied().unwrap_or(self.rows)
    }

    fn decoding(&self, order: &Order<'_>) -> Result<Decoding> {
        Decoding::new(order.cfg, self.types, self.policy, order.vocab)
    }

    /// Checks, before anything is allocated, that the models and their sessions fit the device.
    ///
    /// # Errors
    /// [`CudaError::Memory`] with the batch that would fit, else as [`Decoding::new`] and [`Gpu::of`].
    pub(crate) fn check(&self, device: &Device, orders: &[Order<'_>]) -> Result<()> {
        let gpu = Gpu::of(device)?;
        let free = gpu.memory()?.0.saturating_sub(RESERVE);
        let decodings = orders.iter().map(|order| self.decoding(order)).collect::<Result<Vec<_>>>()?;
        let needed: usize = decodings.iter().map(|d| d.memory(self.slots(), self.batches)).sum();
        if needed <= free {
            return Ok(());
        }
        // Each model of a chain may get an equal share of what its sessions need.
        let share = free / decodings.len().max(1);
        let fits = decodings.iter().map(|d| d.rows_that_fit(share, self.batches)).min().unwrap_or(0);
        let fits = fits / 16 * 16 * self.batches;
        let advice = match fits {
            0 => "the model does not fit at all".to_owned(),
            fits => format!("a batch of {fits} fits"),
        };
        Err(CudaError::Memory { what: "generation", needed, free, advice }.into())
    }

    /// The lanes of the models, one model after the other.
    ///
    /// # Errors
    /// As [`Self::check`], and [`CudaError`] for what the driver refuses.
    pub(crate) fn lanes(&self, device: &Device, orders: &[Order<'_>]) -> Result<Vec<GpuLane>> {
        self.check(device, orders)?;
        let gpu = Gpu::of(device)?;
        let mut lanes = Vec::new();
        for order in orders {
            let decoding = self.decoding(order)?;
            let weights = memory::weights(&gpu, order.params, &decoding)?;
            for _ in 0..self.batches {
                lanes.push(GpuLane::new(&gpu, &decoding, &weights, self.rows)?);
            }
        }
        Ok(lanes)
    }
}
