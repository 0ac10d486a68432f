//! Checkpoints of NetSSM's own training: config.json, weights and tokenizer.json.
//!
//! The reference implementation's `save_pretrained` writes `config.json` and `pytorch_model.bin`. Converters write
//! `model.safetensors` under the same tensor names or under Hugging Face's. NetSSM does not model time. No file states
//! the packet width, so the caller gives it.

use std::path::Path;

use candle_core::{DType, Device};
use netssm_tokens::codec::{BytesCodec, Codec, Form, Vocab, Width};
use netssm_tokens::timing::TimingTable;
use sha2::{Digest, Sha256};

use super::{Checkpoint, CheckpointError, FORMAT, Manifest, TrainFacts, WEIGHTS_FILE};
use crate::error::Error;
use crate::network::config::ModelConfig;
use crate::network::weights::{self, Weights};

impl Checkpoint {
    /// Opens a directory with config.json, tokenizer.json and model.safetensors or pytorch_model.bin. The result is a
    /// checkpoint of the bytes codec in raw form with `width` bytes per packet (94 single flows, 106 with DNS headers,
    /// 128 in NetSSM). Its timing table is empty.
    ///
    /// # Errors
    /// [`CheckpointError`], as for [`Checkpoint::open`].
    pub fn open_netssm(dir: &Path, width: Width) -> Result<Self, CheckpointError> {
        let tokenizer_path = dir.join("tokenizer.json");
        let text =
            std::fs::read_to_string(&tokenizer_path).map_err(CheckpointError::io("read", &tokenizer_path))?;
        let vocab = Vocab::from_netssm_tokenizer(&text).map_err(CheckpointError::codec(&tokenizer_path))?;
        let config_path = dir.join(super::CONFIG_FILE);
        let config = ModelConfig::read(&config_path).map_err(CheckpointError::model(&config_path))?;
        if vocab.size() > config.padded_vocab() {
            return Err(CheckpointError::format(
                &tokenizer_path,
                format!(
                    "the tokenizer has {} tokens, expected at most the embedding's {} rows",
                    vocab.size(),
                    config.padded_vocab()
                ),
            ));
        }
        let (weights_sha256, weights) = read_weights(dir, &config)?;
        let manifest = Manifest {
            format: FORMAT,
            codec: BytesCodec::new(vocab.clone(), width, Form::Raw).id(),
            vocab,
            timing: TimingTable::default(),
            training: TrainFacts::default(),
            weights_sha256,
        };
        Self::with_codec(dir, config, manifest, weights)
    }
}

/// The hash of the weights file, and the weights in it.
fn read_weights(dir: &Path, config: &ModelConfig) -> Result<(String, Weights), CheckpointError> {
    let path = dir.join(WEIGHTS_FILE);
    if path.exists() {
        let bytes = std::fs::read(&path).map_err(CheckpointError::io("read", &path))?;
        let weights = weights::from_bytes(config, &bytes, &path, &Device::Cpu);
        return Ok((hex::encode(Sha256::digest(&bytes)), weights.map_err(CheckpointError::model(&path))?));
    }
    let path = dir.join("pytorch_model.bin");
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => CheckpointError::NotACheckpoint {
            path: dir.to_owned(),
            what: format!("it has neither {WEIGHTS_FILE} nor pytorch_model.bin"),
        },
        _ => CheckpointError::Io { action: "read", path: path.clone(), source },
    })?;
    let tensors = candle_core::pickle::read_all(&path)
        .map_err(|e| CheckpointError::format(&path, format!("not a PyTorch state dictionary: {e}")))?;
    let check = || {
        let floats = tensors.iter().map(|(n, t)| Ok((n.clone(), t.to_dtype(DType::F32)?)));
        let weights = weights::checked(config, &floats.collect::<Result<Weights, Error>>()?)?;
        weights::check_finite(&weights)?;
        Ok(weights)
    };
    let weights = check().map_err(CheckpointError::model(&path))?;
    Ok((hex::encode(Sha256::digest(&bytes)), weights))
}
