//! Checkpoints: a directory with a model's shape, its weights, and what turns its tokens into sessions.
//!
//! ```text
//! DIR/config.json         shape, in the reference implementation's naming (state-spaces/mamba)
//! DIR/model.safetensors   weights, float32, with the reference implementation's tensor names
//! DIR/netssm.json         format version, codec, vocabulary, timing table, training facts, sha256
//! DIR/README.md           model card, optional
//! DIR/resume/             optimiser and data position of a running training, optional
//! ```
//! [`Checkpoint::save`] makes the directory under a hidden name, syncs it and renames it. [`Checkpoint::open`] verifies
//! everything: the hash, every tensor's name, shape and finiteness, the codec's version and the vocabulary's size.
//! [`Checkpoint::open_netssm`] opens a directory of NetSSM's own training (config.json, weights, tokenizer.json).

mod error;
pub(crate) mod files;
mod foreign;
mod manifest;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use netssm_tokens::codec::{self, Codec};
use sha2::{Digest, Sha256};

pub use self::error::CheckpointError;
pub use self::manifest::{FORMAT, Manifest, TrainFacts};
use crate::error::Error;
use crate::lm::Mamba2;
use crate::network::config::ModelConfig;
use crate::network::init::init_weights;
use crate::network::weights::{self, Weights};

/// File names of a checkpoint directory.
pub const CONFIG_FILE: &str = "config.json";
/// See [`CONFIG_FILE`].
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// See [`CONFIG_FILE`].
pub const MANIFEST_FILE: &str = "netssm.json";

/// An opened and verified checkpoint. Tensors are on the CPU.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    manifest: Manifest,
    weights: Weights,
    codec: Arc<dyn Codec>,
}

impl Checkpoint {
    /// Opens and verifies the checkpoint in `dir`.
    ///
    /// # Errors
    /// [`CheckpointError`]. It names the file, what was expected and what was found. Reasons are a file that is missing
    /// or cut short, an unknown format version, a hash that does not match, a tensor that is missing, unknown,
    /// misshapen or not finite, a codec that this build does not have, and a vocabulary whose size differs from the
    /// embedding's.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let manifest_path = dir.join(MANIFEST_FILE);
        let text = match std::fs::read_to_string(&manifest_path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let what = if dir.join("tokenizer.json").exists() {
                    "it has tokenizer.json and no netssm.json, as NetSSM's own: open it with a packet width (--width)"
                } else {
                    "it has no netssm.json"
                };
                return Err(CheckpointError::NotACheckpoint { path: dir.to_owned(), what: what.into() });
            }
            other => other.map_err(CheckpointError::io("read", &manifest_path))?,
        };
        let manifest = Manifest::parse(&text, &manifest_path)?;
        let weights_path = dir.join(WEIGHTS_FILE);
        let bytes = std::fs::read(&weights_path).map_err(CheckpointError::io("read", &weights_path))?;
        let config_path = dir.join(CONFIG_FILE);
        let config = ModelConfig::read(&config_path).map_err(CheckpointError::model(&config_path))?;
        // First the errors that name their cause (a file cut short, a tensor of another shape). The hash detects any
        // other change.
        let weights = weights::from_bytes(&config, &bytes, &weights_path, &Device::Cpu)
            .map_err(CheckpointError::model(&weights_path))?;
        let got = hex::encode(Sha256::digest(&bytes));
        if got != manifest.weights_sha256 {
            return Err(CheckpointError::Hash { path: weights_path, expected: manifest.weights_sha256, got });
        }
        if config.vocab_size != manifest.vocab.size() {
            return Err(CheckpointError::format(
                &manifest_path,
                format!(
                    "the vocabulary has {} tokens, expected vocab_size of config.json, {}",
                    manifest.vocab.size(),
                    config.vocab_size
                ),
            ));
        }
        Self::with_codec(dir, config, manifest, weights)
    }

    /// Checks the codec against this build.
    fn with_codec(
        dir: &Path,
        config: ModelConfig,
        manifest: Manifest,
        weights: Weights,
    ) -> Result<Self, CheckpointError> {
        let codec = codec::open(&manifest.codec, manifest.vocab.clone())
            .map_err(CheckpointError::codec(&dir.join(MANIFEST_FILE)))?;
        if config.context.is_some() && config.context != codec.context() {
            let (theirs, ours) = (config.context, codec.context());
            let what = format!("context: the model reads {theirs:?}, this build's codec gives {ours:?}");
            return Err(CheckpointError::format(&dir.join(CONFIG_FILE), what));
        }
        Ok(Self { path: dir.to_owned(), config, manifest, weights, codec })
    }

    /// An untrained model of other sizes over this checkpoint's codec and vocabulary, to measure its speed. It has no
    /// directory.
    ///
    /// # Errors
    /// [`CheckpointError::Model`] for sizes that contradict each other, or for another vocabulary size.
    pub fn untrained(&self, config: ModelConfig, seed: u64) -> Result<Self, CheckpointError> {
        let made = || {
            if config.vocab_size != self.config.vocab_size {
                return Err(Error::input("vocab_size", self.config.vocab_size, config.vocab_size));
            }
            let weights = init_weights(&config, seed, &Device::Cpu)?;
            let weights_sha256 = hex::encode(Sha256::digest(weights::to_bytes(&weights)?));
            let training = TrainFacts { seed, ..TrainFacts::default() };
            let manifest = Manifest { training, weights_sha256, ..self.manifest.clone() };
            Ok(Self { path: PathBuf::new(), config, manifest, weights, codec: self.codec.clone() })
        };
        made().map_err(CheckpointError::model(Path::new("an untrained model")))
    }

    /// Writes a checkpoint to `dir`. A checkpoint that stands there is replaced only once the new one is complete. The
    /// call computes the hash of the weights, writes it into the manifest and returns it.
    ///
    /// # Errors
    /// [`CheckpointError`] if a file cannot be written. `dir` is then unchanged.
    pub fn save(
        dir: &Path,
        config: &ModelConfig,
        manifest: Manifest,
        weights: &Weights,
    ) -> Result<String, CheckpointError> {
        let mut hash = String::new();
        files::directory(dir, |fresh| {
            hash = Self::write_into(fresh, config, manifest, weights)?;
            Ok::<_, CheckpointError>(())
        })?;
        Ok(hash)
    }

    /// Writes the three files into a directory that [`files::directory`] fills.
    pub(crate) fn write_into(
        dir: &Path,
        config: &ModelConfig,
        mut manifest: Manifest,
        weights: &Weights,
    ) -> Result<String, CheckpointError> {
        let weights_path = dir.join(WEIGHTS_FILE);
        let bytes = weights::to_bytes(weights).map_err(CheckpointError::model(&weights_path))?;
        files::write_synced(&weights_path, &bytes)?;
        manifest.weights_sha256 = hex::encode(Sha256::digest(&bytes));
        let config_path = dir.join(CONFIG_FILE);
        files::write_synced(&config_path, &json(&config.to_json(), &config_path)?)?;
        let manifest_path = dir.join(MANIFEST_FILE);
        files::write_synced(&manifest_path, &json(&manifest, &manifest_path)?)?;
        Ok(manifest.weights_sha256)
    }

    /// The directory that it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The manifest: codec, vocabulary, timing table and training facts.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The weights in float32.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The codec over this checkpoint's vocabulary.
    pub fn codec(&self) -> &Arc<dyn Codec> {
        &self.codec
    }

    /// Hex sha256 of the weights file. It names the model in label files and metrics.
    pub fn sha256(&self) -> &str {
        &self.manifest.weights_sha256
    }

    /// The labels that the model knows.
    pub fn labels(&self) -> &[String] {
        self.manifest.vocab.labels()
    }

    /// The model on a device.
    ///
    /// # Errors
    /// [`CheckpointError::Model`] if the device cannot hold it.
    pub fn model(&self, device: &Device) -> Result<Mamba2, CheckpointError> {
        let load = || {
            let weights = self.weights.iter().map(|(n, t)| Ok((n.clone(), t.to_device(device)?)));
            Mamba2::load(&self.config, &weights.collect::<crate::error::Result<Weights>>()?)
        };
        load().map_err(CheckpointError::model(&self.path.join(WEIGHTS_FILE)))
    }
}

fn json(value: &impl serde::Serialize, path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|e| CheckpointError::format(path, e.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
