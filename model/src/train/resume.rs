//! What a running training keeps besides the weights, so that it resumes bit for bit.
//!
//! ```text
//! CHECKPOINT/resume/run.json                 step, data position, best loss, configuration
//! CHECKPOINT/resume/optimizer.safetensors    both moments of every parameter
//! CHECKPOINT/resume/carry.safetensors        recurrent state of every row
//! ```
//! The order of sessions and the label dropout are functions of seed and position, so no random generator's state is
//! stored. A resumed run must have the same corpus, model, data, optimiser, seed and threads. Its length, schedule,
//! validation and checkpoint settings may change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::streams::Cursor;
use super::{TrainError, shards::Shards};
use crate::checkpoint::{CheckpointError, files};
use crate::error::Error;
use crate::network::state::{State, Store};
use crate::optim::AdamW;

const DIRECTORY: &str = "resume";
const RUN_FILE: &str = "run.json";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const CARRY_FILE: &str = "carry.safetensors";
const STEP_PREFIX: &str = "step-";

/// The small part of the saved run: everything but the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunState {
    /// Windows read: the updates made and skipped, times the accumulation.
    pub(super) windows: u64,
    /// Steps done, skipped ones included. This is the position in the schedule.
    pub(super) step: u64,
    /// Updates the optimiser made.
    pub(super) updates: u64,
    /// Tokens with a loss term.
    pub(super) tokens: u64,
    /// Position in the data.
    pub(super) cursor: Cursor,
    /// Step and nats per token of the best validation.
    pub(super) best: Option<(u64, f64)>,
    /// Validations since the best one.
    pub(super) stale: u64,
    /// Number of shards, after 0 was resolved.
    pub(super) threads: usize,
    /// Fingerprint of the training tokens.
    pub(super) fingerprint: String,
    /// Sha256 of the weights that the run started from, if it is a fine-tuning.
    pub(super) init: Option<String>,
    /// The configuration in use.
    pub(super) config: TrainConfig,
}

/// Writes the resume directory into a checkpoint that is being made.
pub(super) fn write(dir: &Path, run: &RunState, optim: &AdamW, shards: &Shards) -> Result<(), TrainError> {
    let dir = dir.join(DIRECTORY);
    std::fs::create_dir_all(&dir).map_err(TrainError::io("create", &dir))?;
    for (name, tensors) in [(OPTIMIZER_FILE, optim.moments()?), (CARRY_FILE, carry(shards)?)] {
        let path = dir.join(name);
        files::write_synced(&path, &serialize(&tensors, &path)?)?;
    }
    let path = dir.join(RUN_FILE);
    let text = serde_json::to_vec_pretty(run).map_err(|e| CheckpointError::format(&path, e.to_string()))?;
    files::write_synced(&path, &text)?;
    Ok(())
}

/// Reads the small part of a saved run.
pub(super) fn read(checkpoint: &Path) -> Result<RunState, TrainError> {
    let path = checkpoint.join(DIRECTORY).join(RUN_FILE);
    let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
    serde_json::from_str(&text).map_err(|e| CheckpointError::format(&path, e.to_string()).into())
}

/// Restores the tensors: the optimiser's moments and the carried state.
pub(super) fn restore(
    checkpoint: &Path,
    run: &RunState,
    optim: &mut AdamW,
    shards: &mut Shards,
) -> Result<(), TrainError> {
    let dir = checkpoint.join(DIRECTORY);
    let path = dir.join(OPTIMIZER_FILE);
    let moments = read_tensors(&path)?;
    optim.restore(&moments, run.updates).map_err(CheckpointError::model(&path))?;
    let path = dir.join(CARRY_FILE);
    let tensors = read_tensors(&path)?;
    put_back(shards, &tensors).map_err(CheckpointError::model(&path))?;
    Ok(())
}

/// Tensors as the bytes of a safetensors file, sorted by name.
fn serialize(tensors: &HashMap<String, Tensor>, path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let sorted: std::collections::BTreeMap<&String, &Tensor> = tensors.iter().collect();
    safetensors::serialize(sorted, None).map_err(|e| CheckpointError::format(path, e.to_string()))
}

fn read_tensors(path: &Path) -> Result<HashMap<String, Tensor>, CheckpointError> {
    let bytes = std::fs::read(path).map_err(CheckpointError::io("read", path))?;
    let whole = safetensors::SafeTensors::deserialize(&bytes).map(drop);
    whole.map_err(|e| CheckpointError::format(path, format!("not a whole safetensors file: {e}")))?;
    candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|e| CheckpointError::format(path, e.to_string()))
}

/// The step directories of a run, oldest first.
pub(super) fn steps(out: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(out) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        other => other.map_err(TrainError::io("list", out))?,
    };
    for entry in entries {
        let entry = entry.map_err(TrainError::io("list", out))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|n| n.strip_prefix(STEP_PREFIX)).and_then(|n| n.parse().ok());
        if let Some(step) = step {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The directory of the checkpoint of `step`.
pub(super) fn step_path(out: &Path, step: u64) -> PathBuf {
    out.join(format!("{STEP_PREFIX}{step:08}"))
}

/// The carried state as tensors. Each name starts with the number of its shard. The layout is that of the state itself,
/// so only the same build and device kind can read it. A mismatch shows in name or shape.
fn carry(shards: &Shards) -> Result<HashMap<String, Tensor>, TrainError> {
    let mut out = HashMap::new();
    for (shard, state) in shards.states().enumerate() {
        match &state.store {
            Store::Rows(rows) => {
                for (r, row) in rows.iter().enumerate() {
                    for layer in 0..shards.layers() {
                        let (conv, ssm) = row.layer(layer);
                        for (part, values) in [("conv", conv), ("ssm", ssm)] {
                            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
                            out.insert(format!("{shard}.row.{r}.layer.{layer}.{part}"), tensor);
                        }
                    }
                }
            }
            Store::Tensors { layers, .. } => {
                for (i, layer) in layers.iter().enumerate() {
                    for (part, tensor) in [("conv", &layer.conv), ("ssm", &layer.ssm)] {
                        let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
                        out.insert(format!("{shard}.layer.{i}.{part}"), tensor);
                    }
                }
            }
        }
    }
    Ok(out)
}

fn put_back(shards: &mut Shards, tensors: &HashMap<String, Tensor>) -> Result<(), Error> {
    let find = |name: String, expected: &[usize]| match tensors.get(&name) {
        None => Err(Error::MissingTensor { name, expected: expected.to_vec() }),
        Some(t) if t.dims() != expected => {
            Err(Error::TensorShape { name, expected: expected.to_vec(), got: t.dims().to_vec() })
        }
        Some(t) => Ok(t),
    };
    let layers = shards.layers();
    for (shard, state) in shards.states_mut().enumerate() {
        restore_state(state, layers, |name, shape| find(format!("{shard}.{name}"), shape))?;
    }
    Ok(())
}

fn restore_state<'a>(
    state: &mut State,
    layers: usize,
    find: impl Fn(String, &[usize]) -> Result<&'a Tensor, Error>,
) -> Result<(), Error> {
    match &mut state.store {
        Store::Rows(rows) => {
            for (r, row) in rows.iter_mut().enumerate() {
                for layer in 0..layers {
                    let (conv, ssm) = row.layer_mut(layer);
                    for (part, values) in [("conv", conv), ("ssm", ssm)] {
                        let tensor = find(format!("row.{r}.layer.{layer}.{part}"), &[values.len()])?;
                        values.copy_from_slice(&tensor.to_vec1::<f32>()?);
                    }
                }
            }
        }
        Store::Tensors { device, layers: tensors, .. } => {
            for (i, layer) in tensors.iter_mut().enumerate() {
                layer.conv = find(format!("layer.{i}.conv"), layer.conv.dims())?.to_device(device)?;
                layer.ssm = find(format!("layer.{i}.ssm"), layer.ssm.dims())?.to_device(device)?;
            }
        }
    }
    Ok(())
}
