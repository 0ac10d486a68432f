//! One step of gradients: the batch is split into shards, each on its own thread.
//!
//! Most of a small model's step is not matmuls, and that part runs on one thread. So splitting rows between threads
//! uses the cores better than splitting every matmul. Each shard has the carried state of its rows and a rayon pool of
//! one thread, in which every nested parallel section runs serially. Gradients are added in shard order. So the number
//! of shards is part of a run's result, and the scheduling of threads is not.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::ThreadPool;

use super::TrainError;
use super::streams::{Window, counted};
use crate::lm::Mamba2;
use crate::network::config::ModelConfig;
use crate::network::input::Input;
use crate::network::state::State;

/// Loss and gradients of one shard over a window.
pub(super) struct ShardGradients {
    /// Share of the window's targets that this shard has. It weights the shard's mean loss and gradients.
    pub(super) weight: f64,
    /// Mean loss of its targets, in nats.
    pub(super) loss: f64,
    /// Gradient of that mean, by tensor name.
    pub(super) gradients: BTreeMap<String, Tensor>,
}

/// Rows of the batch that one thread reads.
struct Shard {
    rows: Range<usize>,
    /// One carried state for each batch that takes turns.
    states: Vec<State>,
    pool: Option<ThreadPool>,
}

/// The shards of a batch.
pub(super) struct Shards {
    shards: Vec<Shard>,
    layers: usize,
    device: Device,
}

impl Shards {
    /// `threads` shards over `rows` rows, with zero state for each of `turns` batches. A single shard uses the caller's
    /// pool.
    pub(super) fn new(
        config: &ModelConfig,
        (rows, turns): (usize, usize),
        threads: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let threads = threads.clamp(1, rows.max(1));
        let mut shards = Vec::with_capacity(threads);
        for i in 0..threads {
            let rows = rows * i / threads..rows * (i + 1) / threads;
            let pool = if threads == 1 { None } else { Some(serial_pool()?) };
            let states = (0..turns).map(|_| State::zeros(config, rows.len(), device));
            shards.push(Shard { states: states.collect::<Result<_, _>>()?, rows, pool });
        }
        Ok(Self { shards, layers: config.n_layer, device: device.clone() })
    }

    /// Forward and backward over a window. The results are in shard order.
    pub(super) fn gradients(
        &mut self,
        model: &Mamba2,
        window: &Window,
    ) -> Result<Vec<ShardGradients>, TrainError> {
        let device = &self.device;
        std::thread::scope(|scope| {
            let Some((first, rest)) = self.shards.split_first_mut() else { return Ok(Vec::new()) };
            let threads: Vec<_> = rest
                .iter_mut()
                .map(|shard| scope.spawn(move || shard.gradients(model, window, device)))
                .collect();
            let mut results = vec![first.gradients(model, window, device)];
            results.extend(threads.into_iter().map(|t| t.join().unwrap_or(Err(TrainError::Panicked))));
            results.into_iter().collect()
        })
    }

    /// Number of layers of the model that the states belong to.
    pub(super) fn layers(&self) -> usize {
        self.layers
    }

    /// The carried states, in order of shard, then of turn.
    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.shards.iter().flat_map(|s| &s.states)
    }

    /// The same states, mutable: a resumed run restores them from a checkpoint.
    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut State> {
        self.shards.iter_mut().flat_map(|s| &mut s.states)
    }
}

impl Shard {
    fn gradients(
        &mut self,
        model: &Mamba2,
        window: &Window,
        device: &Device,
    ) -> Result<ShardGradients, TrainError> {
        let Self { rows, states, pool } = self;
        let state = &mut states[window.turn]; // the streams made as many turns as the shards were made for
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
            let targets = &window.targets[span.clone()];
            let fields = window.context.len() / window.inputs.len().max(1);
            let context = &window.context[span.start * fields..span.end * fields];
            let input = Input { tokens: &inputs, context };
            let (loss, gradients) = model.loss_and_gradients(input, targets, Some(lengths), Some(state))?;
            let weight = counted(targets) as f64 / window.valid() as f64;
            Ok(ShardGradients { weight, loss, gradients })
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    }
}

/// A rayon pool of one thread. Parallel sections inside run serially on it.
pub(super) fn serial_pool() -> Result<ThreadPool, TrainError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|e| TrainError::Config(format!("run.threads: cannot start a thread: {e}")))
}
