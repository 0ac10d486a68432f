//! One step of gradients: the batch in shards, each on a thread of its own.
//!
//! Most of a small model's step is not matrix products, and what is not runs on one thread, so
//! splitting rows between threads uses the cores better than splitting every product. Each shard
//! has its rows' carried state and a rayon pool of one thread, in which every nested parallel
//! section runs serially. Gradients are added in shard order, so the number of shards is part of a
//! run's result and the scheduling of threads is not.

use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use rayon::ThreadPool;

use super::TrainError;
use super::streams::Window;
use crate::config::ModelConfig;
use crate::lm::Mamba2;
use crate::ops::loss::cross_entropy;
use crate::state::State;

/// Rows of the batch that one thread reads.
struct Shard {
    rows: Range<usize>,
    state: State,
    pool: Option<ThreadPool>,
}

/// The shards of a batch.
pub(super) struct Engine {
    shards: Vec<Shard>,
    layers: usize,
    device: Device,
}

impl Engine {
    /// `threads` shards over `rows` rows, with zero state. One shard uses the caller's pool.
    pub(super) fn new(
        config: &ModelConfig,
        rows: usize,
        threads: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let threads = threads.clamp(1, rows.max(1));
        let mut shards = Vec::with_capacity(threads);
        for i in 0..threads {
            let rows = rows * i / threads..rows * (i + 1) / threads;
            let pool = if threads == 1 { None } else { Some(serial_pool()?) };
            shards.push(Shard { state: State::zeros(config, rows.len(), device)?, rows, pool });
        }
        Ok(Self { shards, layers: config.n_layer, device: device.clone() })
    }

    /// Forward and backward over a window. `scale` multiplies the loss summed over its targets.
    /// Returns that scaled loss and each shard's gradients.
    pub(super) fn gradients(
        &mut self,
        model: &Mamba2,
        window: &Window,
        scale: f64,
    ) -> Result<(f64, Vec<GradStore>), TrainError> {
        let device = &self.device;
        let results: Vec<Result<(f64, GradStore), TrainError>> = std::thread::scope(|scope| {
            let (first, rest) = match self.shards.split_first_mut() {
                Some(split) => split,
                None => return Vec::new(),
            };
            let threads: Vec<_> = rest
                .iter_mut()
                .map(|shard| scope.spawn(move || shard.gradients(model, window, scale, device)))
                .collect();
            let mut results = vec![first.gradients(model, window, scale, device)];
            results.extend(threads.into_iter().map(|t| t.join().unwrap_or(Err(TrainError::Panicked))));
            results
        });
        let mut loss = 0.0;
        let mut grads = Vec::with_capacity(results.len());
        for result in results {
            let (l, g) = result?;
            loss += l;
            grads.push(g);
        }
        Ok((loss, grads))
    }

    /// Layers of the model that the states belong to.
    pub(super) fn layers(&self) -> usize {
        self.layers
    }

    /// The carried states in row order.
    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.shards.iter().map(|s| &s.state)
    }

    /// The same, to put back what a checkpoint holds.
    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut State> {
        self.shards.iter_mut().map(|s| &mut s.state)
    }
}

impl Shard {
    fn gradients(
        &mut self,
        model: &Mamba2,
        window: &Window,
        scale: f64,
        device: &Device,
    ) -> Result<(f64, GradStore), TrainError> {
        let Self { rows, state, pool } = self;
        let mut run = || {
            for (i, row) in rows.clone().enumerate() {
                if window.fresh[row] {
                    state.reset_row(i)?;
                }
            }
            let span = rows.start * window.width..rows.end * window.width;
            let shape = (rows.len(), window.width);
            let inputs = Tensor::from_slice(&window.inputs[span.clone()], shape, device)?; // (b, l)
            let lengths = &window.lengths[rows.clone()];
            let logits = model.forward(&inputs, Some(lengths), Some(state))?; // (b, l, v)
            // The mean over this shard's targets, weighted by their share of the step's.
            let weight = lengths.iter().sum::<usize>() as f64 * scale;
            let loss = (cross_entropy(&logits, &window.targets[span])? * weight)?; // ()
            let grads = loss.backward()?;
            Ok((f64::from(loss.to_scalar::<f32>()?), grads))
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    }
}

/// A rayon pool of one thread: parallel sections inside run serially on it.
pub(super) fn serial_pool() -> Result<ThreadPool, TrainError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|e| TrainError::Config(format!("run.threads: cannot start a thread: {e}")))
}
