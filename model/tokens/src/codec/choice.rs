//! A codec as a user chooses it: its name and parameters, before there is a vocabulary.

use std::sync::Arc;

use super::flow::{FlowCodec, Parameters};
use super::{BytesCodec, Codec, Form, Vocab, Width};
use crate::error::DataError;

/// Which codec `prepare` encodes with. [`Default`] is the home of the default.
#[derive(Clone, Debug, PartialEq)]
pub enum CodecChoice {
    /// [`FlowCodec`]: a few tokens per packet, with the time.
    Flow(Parameters),
    /// [`BytesCodec`]: NetSSM's alphabet.
    Bytes {
        /// Width of a packet.
        width: Width,
        /// What happens to frames before encoding.
        form: Form,
    },
}

impl Default for CodecChoice {
    fn default() -> Self {
        Self::Flow(Parameters::default())
    }
}

impl CodecChoice {
    /// The codec over a fresh alphabet with these labels.
    ///
    /// # Errors
    /// [`DataError::Vocab`] for a label that cannot be one.
    pub fn over<S: AsRef<str>>(&self, labels: &[S]) -> Result<Arc<dyn Codec>, DataError> {
        Ok(match *self {
            Self::Flow(parameters) => Arc::new(FlowCodec::new(Vocab::flow(labels)?, parameters)?),
            Self::Bytes { width, form } => Arc::new(BytesCodec::new(Vocab::new(labels)?, width, form)),
        })
    }
}
