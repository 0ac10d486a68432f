//! Codecs: packets to tokens and back.
//!
//! ```text
//! capture -> FrameRef -> Encoder -> u16 tokens -> (model) -> u32 tokens -> Decoder -> RawPacket -> repair -> Packet
//! ```
//!
//! A codec is a [`Vocab`] and a grammar over it. Encoders are stateful, one per session; what they cannot carry they
//! refuse with a [`Skip`] and leave the stream as it was. Decoders take *any* token and never panic; their
//! [`legal`](Decoder::legal) mask tells the sampler which tokens continue the grammar. A checkpoint and a corpus name
//! their codec by [`CodecId`]; [`open`] makes the codec from it and refuses what this build does not know.
//!
//! [`FlowCodec`] is the default: a few tokens a packet, time among them; its decoder keeps state from packet to packet,
//! and a packet ends only where the next one begins. [`BytesCodec`] is NetSSM's alphabet: one token a header byte, no
//! time, every packet by itself.

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
/// Same id and same [`Vocab`] means same tokens for the same packets, for ever; a changed grammar is a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodecId {
    /// `flow` or `bytes`.
    pub name: String,
    /// Version of the grammar.
    pub version: u32,
    /// Parameters by name; [`FlowCodec`] has `fine`, `slots` and the hashes of its alphabet and tables, [`BytesCodec`] has `width` (`variable` or a number of bytes) and `form` (`canonical` or `raw`).
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
    /// The recording ended here: the vocabulary's end token (if it has one) says so.
    Ended,
    /// The recording goes on; only the encoding stops (a packet limit, a prompt). No end token.
    Cut,
}

/// What a decoder answers to one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing complete yet.
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

    /// Lets the session's maps see a frame without writing it, when only a part of a session is encoded.
    ///
    /// # Errors
    /// [`Skip`], as for [`Encoder::push`].
    fn observe(&mut self, frame: FrameRef<'_>) -> Result<(), Skip>;

    /// Closes the stream. Writes nothing when no packet was pushed. `out` must be the vector that every packet of the
    /// session was pushed to, with nothing taken out: a codec may know only now what belongs at the stream's start.
    fn finish(&mut self, end: SessionEnd, out: &mut Vec<u16>);

    /// What the packets so far hold beside the tokens, where no model sees it; a codec whose tokens say everything has
    /// nothing there.
    fn side_channel_bits(&self) -> SideChannelBits {
        SideChannelBits::default()
    }
}

/// Bits that a codec keeps beside its tokens: values without behaviour, drawn at random when generating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideChannelBits {
    /// Of time: what is below the resolution of its tokens.
    pub time_bits: u64,
    /// Of everything else: addresses, initial sequence numbers, ciphertext, the like.
    pub other_bits: u64,
}

/// Tokens to packets, for one session. Never panics, whatever the tokens are.
pub trait Decoder: Send {
    /// Takes the next token; the label at the start may be pushed too.
    fn push(&mut self, token: u32) -> Step;

    /// Bit mask over token ids (bit `t % 64` of word `t / 64`) of what may come next; ids beyond the mask are illegal.
    /// `None`: every token. The mask always has at least one bit set. The end of the session is never the only choice
    /// where the session could go on, so that a sampler may rule it out.
    fn legal(&self) -> Option<&[u64]>;

    /// Appends what is known behind the tokens so far, a row for each field of [`Codec::context`]. It depends on tokens alone.
    fn context(&self, _out: &mut Vec<u32>) {}

    /// The packet that was read so far, if it is complete as it stands: for a caller that stops in the middle of a
    /// session. Afterwards the decoder expects the next packet, or the end.
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

    /// The tokens that start a session of `label`: what generation feeds first when there is no seed capture.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`].
    fn prompt(&self, label: &str) -> Result<Vec<u16>, DataError>;

    /// A fresh encoder for a session of `label`.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`].
    fn encoder(&self, label: &str) -> Result<Box<dyn Encoder>, DataError>;

    /// A fresh decoder. It expects the tokens after the prompt. What the tokens leave open (addresses, initial sequence
    /// numbers, the like) is a function of `seed`; a codec whose tokens say everything ignores it.
    fn decoder(&self, seed: u64) -> Box<dyn Decoder>;

    /// Whether packets carry the time since the one before.
    fn timed(&self) -> bool {
        false
    }

    /// Whether a decoder must see a whole session: tokens refer to what earlier packets left behind.
    fn stateful(&self) -> bool {
        false
    }

    /// How many tokens of a stream come before its first packet: the label, and what else introduces a session.
    fn head(&self) -> usize {
        1
    }

    /// The side information that decoders give a model, if there is any.
    fn context(&self) -> Option<ContextShape> {
        None
    }

    /// Whether `token` says when a packet comes, so that a likelihood can be told with and without time.
    fn is_time(&self, _token: u16) -> bool {
        false
    }
}
