//! Errors that stop a training run.

use std::path::PathBuf;

use netssm_tokens::DataError;

use crate::checkpoint::CheckpointError;
use crate::error::Error;

/// Why a run did not start or did not continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration cannot be used. The message names the field or the line.
    #[error("training configuration: {0}")]
    Config(String),
    /// The corpus has nothing to train on.
    #[error("corpus: no training session has 2 tokens or more")]
    NothingToTrain,
    /// `--resume` does not fit the run directory.
    #[error("cannot resume from {}: {what}", path.display())]
    Resume {
        /// The checkpoint directory or the run's.
        path: PathBuf,
        /// What does not fit, with expected and found values.
        what: String,
    },
    /// The output directory already holds a run and `--resume` was not given.
    #[error("{} already holds a run: resume it or choose another directory", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Another process trains in the output directory.
    #[error("{} is in use by another training run", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The codec of the checkpoint to start from or resume differs from the corpus' codec.
    #[error("the checkpoint has codec {checkpoint}, the corpus has {corpus}")]
    CodecMismatch {
        /// Codec of the checkpoint.
        checkpoint: String,
        /// Codec of the corpus.
        corpus: String,
    },
    /// The loss or the gradient had no finite value for too many updates in a row.
    #[error("diverged: {updates} updates in a row without a finite gradient, the last at step {step}")]
    Diverged {
        /// Step of the last of these updates.
        step: u64,
        /// Number of these updates.
        updates: u32,
    },
    /// A worker thread of the run died.
    #[error("a training thread panicked")]
    Panicked,
    /// A file of the run could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A checkpoint could not be written or opened.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The corpus or its vocabulary.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model.
    #[error(transparent)]
    Model(#[from] Error),
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl TrainError {
    /// For `map_err`: an I/O error while doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
