//! The error type of this crate: what was attempted, with the names and numbers an operator needs.
//!
//! Messages are lower case and end without a full stop. Malformed model *output* is not an error anywhere in this
//! crate: it is a value the codecs and the repair stage count.

#[cfg(feature = "cuda")]
mod cuda;

use std::path::PathBuf;

#[cfg(feature = "cuda")]
pub use cuda::CudaError;
#[cfg(feature = "cuda")]
pub(crate) use cuda::{Attempt, allocation};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in configuration, weights and tensor work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb ("read", "write", "rename").
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is there and cannot be understood.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, with offset or field.
        what: String,
    },
    /// A model configuration that this implementation cannot run.
    #[error("model configuration: {field}: {what}")]
    Config {
        /// The field as the file spells it.
        field: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A weights file or map lacks a tensor.
    #[error("tensor {name} is missing (expected shape {expected:?})")]
    MissingTensor {
        /// The reference implementation's name of it.
        name: String,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("tensor {name} has the wrong shape: expected {expected:?}, got {got:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
        /// The shape found.
        got: Vec<usize>,
    },
    /// A tensor has a dtype that weights cannot have.
    #[error("tensor {name} has dtype {got}: expected f32, f16, bf16 or f64")]
    TensorDtype {
        /// The tensor.
        name: String,
        /// The dtype found.
        got: String,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor {name} holds {got} at element {at}: expected finite values")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The value.
        got: f64,
        /// Its position in row-major order.
        at: usize,
    },
    /// A tensor in a weights file is none of this model's.
    #[error("tensor {name} does not belong to this model")]
    UnknownTensor {
        /// The tensor.
        name: String,
    },
    /// A call's input does not fit the model or its state.
    #[error("{what}: expected {expected}, got {got}")]
    Input {
        /// Which input.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it was.
        got: String,
    },
    /// A tensor operation failed in candle.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The GPU could not be used.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

impl Error {
    /// Shorthand for [`Error::Input`].
    pub(crate) fn input(what: &'static str, expected: impl ToString, got: impl ToString) -> Self {
        Error::Input { what, expected: expected.to_string(), got: got.to_string() }
    }
}
