//! Codecs: packets to tokens and back.
//!
//! ```text
//! capture -> FrameRef -> Encoder -> u16 tokens -> (model) -> u32 tokens -> Decoder -> RawPacket -> repair -> Packet
//! ```
//!
//! A codec is a [`Vocab`] and a grammar over it. An encoder keeps the state of one session. It refuses what it cannot
//! carry with a [`Skip`] and leaves the stream unchanged. A decoder takes *any* token and never panics. Its
//! [`legal`](Decoder::legal) mask tells the sampler which tokens may come next. A checkpoint and a corpus name their
//! codec by [`CodecId`]; [`open`] makes the codec and refuses an id that this build does not know.
//!
//! [`FlowCodec`] is the default. It writes a few tokens per packet, with the time. Its decoder keeps state from packet
//! to packet, and a packet ends where the next one begins. [`BytesCodec`] has NetSSM's alphabet: one token per header
//! byte, no time, and no state between packets.

mod bytes;
mod choice;
pub mod flow;
pub mod report;
mod tokenizer;
mod vocab;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{context::ContextShape, error::DataError};

pub use self::{
    bytes::{BytesCodec, Form, Width},
    choice::CodecChoice,
    flow::FlowCodec,
    vocab::{GRAMMAR_IDS, TokenKind, Vocab},
};
pub use crate::packet::{FrameRef, MAX_HEADER_BYTES, RawPacket, Skip};

/// Names a codec on disk: the grammar (`name`, `version`) and its parameters.
///
/// The same id and the same [`Vocab`] always give the same tokens for the same packets. A changed grammar is a new
/// version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecId {
    /// `flow` or `bytes`.
    pub name: String,
    /// Version of the grammar.
    pub version: u32,
    /// Parameters by name. [`FlowCodec`] has `fine`, `slots` and the hashes of its alphabet and tables, [`BytesCodec`]
    /// has `width` (`variable` or a number of bytes) and `form` (`canonical` or `raw`).
    pub params: BTreeMap<String, String>,
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)?;
        self.params.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// Makes the codec that `id` names over `vocab`.
///
/// # Errors
/// [`DataError::Codec`] when the name, the version or a parameter is not known to this build.
pub fn open(id: &CodecId, vocab: Vocab) -> Result<Arc<dyn Codec>, DataError> {
    match id.name.as_str() {
        FlowCodec::NAME => Ok(Arc::new(FlowCodec::from_id(id, vocab)?)),
        BytesCodec::NAME => Ok(Arc::new(BytesCodec::from_id(id, vocab)?)),
        other => Err(DataError::Codec(format!(
            "'{other}' is not a codec of this build (known: {}, {})",
            FlowCodec::NAME,
            BytesCodec::NAME
        ))),
    }
}

/// How a session's token stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The recording ended here. The encoder writes the end token, if the vocabulary has one.
    Ended,
    /// The recording goes on and only the encoding stops, at a packet limit or after a prompt. There is no end token.
    Cut,
}

/// What a decoder answers to one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// No packet is complete yet.
    Need,
    /// This token completed a packet.
    Packet(RawPacket),
    /// This token ended the session, and perhaps the packet that was open; later tokens are ignored.
    End(Option<RawPacket>),
}

/// Packets to tokens, for one session.
pub trait Encoder: Send {
    /// Appends the tokens of `frame` to `out`; the first call writes the session's prompt before them.
    ///
    /// # Errors
    /// [`Skip`] when the codec cannot carry the frame; `out` is then unchanged.
    fn push(&mut self, frame: FrameRef<'_>, out: &mut Vec<u16>) -> Result<(), Skip>;

    /// Updates the encoder's state by a frame without writing it. For callers that encode only a part of a session.
    ///
    /// # Errors
    /// [`Skip`], as for [`Encoder::push`].
    fn observe(&mut self, frame: FrameRef<'_>) -> Result<(), Skip>;

    /// Closes the stream. Writes nothing if no packet was pushed. `out` must hold everything that the session's packets
    /// appended: a codec may complete tokens at the start of the stream only now.
    fn finish(&mut self, end: SessionEnd, out: &mut Vec<u16>);

    /// Bits that the packets so far put into the side channel. Zero for a codec without one.
    fn side_channel_bits(&self) -> SideChannelBits {
        SideChannelBits::default()
    }
}

/// Size of the side channel, in bits. It holds values without behaviour, which generation draws at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideChannelBits {
    /// Remainders of gaps below the resolution of the time tokens.
    pub time_bits: u64,
    /// Everything else: addresses, initial sequence numbers, ciphertext and the like.
    pub other_bits: u64,
}

/// Tokens to packets, for one session. Never panics, whatever the tokens are.
pub trait Decoder: Send {
    /// Takes the next token. The label at the start of a stream is accepted too.
    fn push(&mut self, token: u32) -> Step;

    /// The tokens that may come next, as a bit mask: bit `t % 64` of word `t / 64` is token `t`. Ids beyond the mask
    /// are illegal; `None` allows every token. The mask is never empty. Where the session can go on, the end token is
    /// never the only choice, so a sampler may exclude it.
    fn legal(&self) -> Option<&[u64]>;

    /// Appends the side information of the next token: one row number for each field of [`Codec::context`]. It depends
    /// on the tokens so far alone.
    fn context(&self, _out: &mut Vec<u32>) {}

    /// The open packet, if it is complete. For a caller that stops within a session. Afterwards the decoder expects the
    /// next packet or the end.
    fn flush(&mut self) -> Option<RawPacket> {
        None
    }
}

/// A token alphabet with its grammar.
pub trait Codec: Send + Sync + fmt::Debug {
    /// The id that [`open`] makes this codec from.
    fn id(&self) -> CodecId;

    /// The alphabet.
    fn vocab(&self) -> &Vocab;

    /// The tokens that a session of `label` starts with. Generation feeds them first if there is no prompt from a
    /// capture.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`].
    fn prompt(&self, label: &str) -> Result<Vec<u16>, DataError>;

    /// A fresh encoder for a session of `label`.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`].
    fn encoder(&self, label: &str) -> Result<Box<dyn Encoder>, DataError>;

    /// A fresh decoder. It expects the tokens after the prompt. `seed` decides the values of the side channel; a codec
    /// without one ignores it.
    fn decoder(&self, seed: u64) -> Box<dyn Decoder>;

    /// Whether packets carry the time since the previous one.
    fn timed(&self) -> bool {
        false
    }

    /// Whether tokens refer to earlier packets, so that a decoder must read a session from its start.
    fn stateful(&self) -> bool {
        false
    }

    /// Number of tokens before the first packet: the label and what else the codec writes there.
    fn head(&self) -> usize {
        1
    }

    /// The side information that decoders give a model, if there is any.
    fn context(&self) -> Option<ContextShape> {
        None
    }

    /// Whether `token` encodes time. A likelihood can then be stated with and without time.
    fn is_time(&self, _token: u16) -> bool {
        false
    }
}
