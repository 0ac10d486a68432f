//! Errors of everything between a capture and tokens: vocabularies, codecs, `prepare`, the corpus on disk.
//!
//! A frame that a codec cannot carry and a packet that a model got wrong are *not* errors: they are
//! `Skip` and `RepairDrop`, values that callers count.

use std::path::{Path, PathBuf};

use netssm_wire::capture::InputError;

/// What went wrong, with the file it went wrong in. Messages are lower case and meant for an operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted: "read", "write", "create", "rename".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A JSON file does not have the expected shape.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file, or `<memory>`.
        path: PathBuf,
        /// serde's message with line and column.
        source: serde_json::Error,
    },
    /// A vocabulary breaks one of its rules.
    #[error("vocabulary: {0}")]
    Vocab(String),
    /// A NetSSM `tokenizer.json` has a shape that is not understood.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A label that the vocabulary does not hold.
    #[error("unknown label '{label}': the vocabulary knows {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownLabel {
        /// The label asked for.
        label: String,
        /// Every label there is, in order of ids.
        known: Vec<String>,
    },
    /// A codec id that this build cannot open.
    #[error("codec: {0}")]
    Codec(String),
    /// A corpus directory that contradicts itself or was cut short.
    #[error("corpus file {}: {reason}", path.display())]
    Corpus {
        /// The file that is wrong.
        path: PathBuf,
        /// What is wrong, with expected and found values.
        reason: String,
    },
    /// Captures that cannot be found, or a label list that cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Options of `prepare` that contradict each other.
    #[error("prepare: {0}")]
    Options(String),
    /// Nothing usable was found; the message names the first files and their reasons.
    #[error("no session left from {files} capture file(s): {reasons}")]
    NothingLeft {
        /// How many files were looked at.
        files: usize,
        /// The first few reasons.
        reasons: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the end")]
    Stopped,
}

impl DataError {
    /// For `map_err`: an I/O error while doing `action` to `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err`: a JSON error in `path`.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Json { path, source }
    }

    pub(crate) fn corpus(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corpus { path: path.to_owned(), reason: reason.into() }
    }
}
