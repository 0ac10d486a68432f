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
mod error;
pub mod flow;
pub mod report;
pub(crate) mod shape;
mod tokenizer;
mod vocab;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use netssm_wire::capture::Record;
use serde::{Deserialize, Serialize};

use crate::context::ContextShape;

pub use self::{
    bytes::{BytesCodec, Form, Width},
    choice::CodecChoice,
    error::DataError,
    flow::FlowCodec,
    vocab::{GRAMMAR_IDS, TokenKind, Vocab},
};

/// Longest header, in bytes, that any codec emits or a decoder keeps: 14 Ethernet + 8 tags + 40 IPv6 + 24 hop-by-hop +
/// 72 of ICMPv6 is 158, 14 + 8 + 60 + 60 of IPv4 and TCP is 142; the rest is room for fixed widths.
pub const MAX_HEADER_BYTES: usize = 256;

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

/// A captured frame in Ethernet form, as an encoder takes it.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// Nanoseconds since the epoch. The bytes codec has no time; a codec with time does.
    pub time_ns: i64,
    /// Length on the wire, bytes.
    pub wire_len: u32,
    /// The captured bytes, at most `wire_len` of them.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a Record> for FrameRef<'a> {
    fn from(record: &'a Record) -> Self {
        Self { time_ns: record.time_ns, wire_len: record.wire_len, bytes: &record.frame }
    }
}

/// A packet as the model wrote it: header bytes of which nothing is checked yet. [`Repair`](crate::repair::Repair) makes
/// it legal or drops it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawPacket {
    /// Frame prefix from the destination MAC on; with a fixed width it may end in zero padding.
    pub header: Vec<u8>,
    /// Length of the whole frame in bytes, when the codec carries it apart from the length in the IP header: a short
    /// frame may be padded. `None`: as long as its headers say.
    pub wire_len: Option<u32>,
    /// Time since the packet before, when the codec carries time.
    pub gap: Option<Duration>,
}

impl RawPacket {
    /// A packet of a codec that carries neither frame lengths nor time.
    pub fn new(header: Vec<u8>) -> Self {
        Self { header, wire_len: None, gap: None }
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

/// Why an encoder refused a frame. The session goes on with the next one; callers count these by [`Skip::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// Neither IPv4, IPv6 nor ARP (LLC, EAPOL, LLDP, PPPoE, more than two VLAN tags ...).
    Ethertype,
    /// ARP for something other than IPv4 over Ethernet.
    ArpKind,
    /// An IP protocol other than TCP, UDP, ICMP, ICMPv6 and IGMP.
    Protocol,
    /// An IPv6 extension header other than a short hop-by-hop header.
    Extension,
    /// A fragment without a transport header.
    Fragment,
    /// Header fields that contradict each other.
    Malformed,
    /// The capture length cut a header that the canonical form needs whole.
    Cut,
    /// The canonical form ran out of addresses.
    Hosts,
    /// The header is longer than the codec carries.
    TooLong,
    /// A generator may not write it, so a model must not learn it: above all connections whose opening was not captured.
    Unwritable,
}

impl Skip {
    /// A short name for reports and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ethertype => "ethertype",
            Self::ArpKind => "arp-kind",
            Self::Protocol => "ip-protocol",
            Self::Extension => "ipv6-extension",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::Cut => "cut",
            Self::Hosts => "too-many-hosts",
            Self::TooLong => "header-too-long",
            Self::Unwritable => "not-for-a-generator",
        }
    }
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
    fn beside(&self) -> Beside {
        Beside::default()
    }
}

/// Bits that a codec keeps beside its tokens: values without behaviour, drawn at random when generating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
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
