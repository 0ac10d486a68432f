//! `netssm.json`: what turns a model's tokens into sessions, besides its shape and weights.

use std::path::Path;

use netssm_tokens::codec::{CodecId, Vocab};
use netssm_tokens::timing::TimingTable;
use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// Version of the checkpoint directory format that this build writes and reads.
pub const FORMAT: u32 = 1;

/// The content of `netssm.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version, [`FORMAT`].
    pub format: u32,
    /// The codec and its parameters (packet width, canonical or raw form).
    pub codec: CodecId,
    /// The alphabet with its labels.
    pub vocab: Vocab,
    /// Inter-arrival times by label, for codecs without time. Sessions that are timed from it are marked as drawn.
    pub timing: TimingTable,
    /// How the weights came about.
    pub training: TrainFacts,
    /// Hex sha256 of `model.safetensors`; the name of this model in labels and metrics.
    pub weights_sha256: String,
}

/// Facts about a training run for readers of a model card. No code computes with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainFacts {
    /// Number of updates.
    pub steps: u64,
    /// Tokens with a loss term. Repeats count.
    pub tokens: u64,
    /// Where the data came from, in words.
    pub data: String,
    /// Seed of the initial weights and of the session order.
    pub seed: u64,
    /// Validation loss in nats per token, over everything that was validated.
    pub nats_per_token: Option<f64>,
    /// The same loss in nats per packet.
    pub nats_per_packet: Option<f64>,
    /// Name of the JSON Lines file with the loss curve, in the run's directory.
    pub loss_curve: Option<String>,
    /// Hex sha256 of the weights that a fine-tuning started from. `None` for other runs.
    pub init: Option<String>,
}

impl Manifest {
    /// Parses `netssm.json`. It checks the format version first, so that a file of a later version is reported as such
    /// and not as malformed.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|e| CheckpointError::format(path, format!("not JSON: {e}")))?;
        match value.get("format") {
            Some(v) if v.as_u64() == Some(u64::from(FORMAT)) => {}
            other => {
                return Err(CheckpointError::Version {
                    path: path.to_owned(),
                    expected: FORMAT,
                    got: other.map_or("missing".into(), ToString::to_string),
                });
            }
        }
        serde_json::from_str(text).map_err(|e| CheckpointError::format(path, e.to_string()))
    }

    /// Writes the manifest into the checkpoint directory `dir`. One rename replaces the file that stands there.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), CheckpointError> {
        let path = dir.join(super::MANIFEST_FILE);
        super::files::write(&path, &super::json(self, &path)?)
    }
}
