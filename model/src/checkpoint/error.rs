//! What can be wrong with a checkpoint directory.

use std::path::{Path, PathBuf};

use netssm_tokens::DataError;

use crate::error::Error;

/// Why a checkpoint could not be opened or written. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The directory holds none of the files that would make it a checkpoint.
    #[error("{} is not a checkpoint: {what}", path.display())]
    NotACheckpoint {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// A file is there but its content is wrong.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with expected and found values.
        what: String,
    },
    /// The file's format version differs from the one that this build reads.
    #[error("{}: checkpoint format {got}, this build reads {expected}", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// What this build reads.
        expected: u32,
        /// What the file says.
        got: String,
    },
    /// The weights are not those that the manifest describes.
    #[error("{}: sha256 of the weights is {got}, expected {expected}", path.display())]
    Hash {
        /// The weights file.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        got: String,
    },
    /// A tensor or the configuration is wrong.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Which tensor or field, expected and got.
        source: Error,
    },
    /// The codec or its vocabulary is wrong.
    #[error("{}: {source}", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DataError,
    },
}

impl CheckpointError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), what: what.into() }
    }

    /// For `map_err`: an error of the model layer about the file `path`, named once.
    pub(crate) fn model(path: &Path) -> impl FnOnce(Error) -> Self {
        let path = path.to_owned();
        move |error| match error {
            Error::Io { action, source, .. } => Self::Io { action, path, source },
            Error::Format { what, .. } => Self::Format { path, what },
            source => Self::Model { path, source },
        }
    }

    pub(crate) fn codec(path: &Path) -> impl FnOnce(DataError) -> Self {
        let path = path.to_owned();
        move |source| Self::Codec { path, source }
    }
}
