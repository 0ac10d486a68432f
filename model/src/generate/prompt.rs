//! Seed captures: the first packets of a capture as the tokens that a session begins with.
//!
//! This is NetSSM's generation seed (arXiv 2503.22663, section 4.3): the label's token, then packets in the model's own
//! form. In canonical form the tokens hold no address of the capture.

use std::path::Path;
use std::sync::Arc;

use netssm_tokens::DataError;
use netssm_tokens::codec::{Codec, FrameRef, SessionEnd, Skip};
use netssm_wire::capture::{Capture, CaptureError};

/// Why a capture gives no prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The capture cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The label is unknown.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No packet of the capture can be encoded.
    #[error("seed capture: none of {frames} packets can be encoded{}", first.map_or(String::new(), |s| format!(" (the first: {})", s.as_str())))]
    Nothing {
        /// Number of packets read.
        frames: u64,
        /// Why the encoder refused the first packet.
        first: Option<Skip>,
    },
}

/// The label, then the tokens of the first `packets` frames that the codec can encode.
///
/// # Errors
/// [`PromptError`].
pub fn prompt_from_frames<'a>(
    codec: &dyn Codec,
    label: &str,
    frames: impl IntoIterator<Item = FrameRef<'a>>,
    packets: u64,
) -> Result<Arc<[u16]>, PromptError> {
    let mut prompt = Builder::new(codec, label)?;
    for frame in frames {
        if prompt.packets >= packets {
            break;
        }
        prompt.push(frame);
    }
    prompt.finish()
}

/// As [`prompt_from_frames`], from a capture file.
///
/// # Errors
/// [`PromptError`]. A read error after enough packets is no error.
pub fn prompt_from_capture(
    codec: &dyn Codec,
    label: &str,
    path: &Path,
    packets: u64,
) -> Result<Arc<[u16]>, PromptError> {
    let mut prompt = Builder::new(codec, label)?;
    let mut capture = Capture::open(path)?;
    while prompt.packets < packets {
        match capture.next_record()? {
            Some(record) => prompt.push(FrameRef::from(&record)),
            None => break,
        }
    }
    prompt.finish()
}

struct Builder {
    encoder: Box<dyn netssm_tokens::codec::Encoder>,
    tokens: Vec<u16>,
    packets: u64,
    frames: u64,
    first: Option<Skip>,
}

impl Builder {
    fn new(codec: &dyn Codec, label: &str) -> Result<Self, DataError> {
        Ok(Self { encoder: codec.encoder(label)?, tokens: Vec::new(), packets: 0, frames: 0, first: None })
    }

    fn push(&mut self, frame: FrameRef<'_>) {
        self.frames += 1;
        match self.encoder.push(frame, &mut self.tokens) {
            Ok(()) => self.packets += 1,
            Err(skip) => self.first = self.first.or(Some(skip)),
        }
    }

    fn finish(mut self) -> Result<Arc<[u16]>, PromptError> {
        if self.packets == 0 {
            return Err(PromptError::Nothing { frames: self.frames, first: self.first });
        }
        self.encoder.finish(SessionEnd::Cut, &mut self.tokens);
        Ok(self.tokens.into())
    }
}
