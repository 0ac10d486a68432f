//! The bytes codec: one token a header byte, as NetSSM does it (arXiv 2503.22663, section 4.1).
//!
//! ```text
//! session := label packet ( <|pkt|> packet )* <|pkt|> [ <|end|> ]
//! packet  := byte{width}          fixed width: header bytes, cut or padded with zeros
//!          | byte+                variable width: the header bytes and nothing else
//! ```
//! NetSSM's preprocessor writes `label packet ( <|pkt|> packet )*`: the same stream except that we close the last packet
//! too, so that a reader of the stream knows that it is whole. `<|end|>` follows where the recording really ended; a
//! vocabulary imported from NetSSM has no such token and its streams stop after `<|pkt|>`.
//!
//! The header bytes are: Ethernet with up to two tags; ARP; IPv4 with options or IPv6 (with a short hop-by-hop header);
//! TCP with options; UDP with up to 12 bytes of payload; 8 bytes of ICMP; whole IGMP, neighbour and listener messages.
//! Unlike NetSSM's preprocessor this carries ARP, ICMP and IGMP, and keeps UDP payloads of under 12 bytes whole (there
//! they lose their last byte). What it cannot carry it refuses with a [`Skip`].
//!
//! [`Form::Raw`] takes the bytes as captured. [`Form::Canonical`] passes each session through
//! [`Canonical`](crate::canonical::Canonical) first; then a header is always whole, and the decoder's mask knows from the
//! bytes so far whether the next token is a byte or the delimiter.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Codec, CodecId, DataError, Decoder, Encoder, FrameRef, MAX_HEADER_BYTES, RawPacket, SessionEnd, Skip,
    Step, TokenKind, Vocab,
    shape::{self, Extent, UdpPrefix},
};
use crate::canonical::Canonical;

/// How many bytes a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Exactly this many, zero padded. NetSSM uses 94 (TCP only), 106 (with DNS headers) and 128.
    Fixed(u16),
    /// As many as the header has.
    Variable,
}

impl Width {
    /// Checks a fixed width: at least an Ethernet header and one byte, at most [`MAX_HEADER_BYTES`].
    ///
    /// # Errors
    /// [`DataError::Codec`] with the range.
    pub fn fixed(bytes: u16) -> Result<Self, DataError> {
        if (15..=MAX_HEADER_BYTES as u16).contains(&bytes) {
            Ok(Self::Fixed(bytes))
        } else {
            Err(DataError::Codec(format!("width {bytes} is not between 15 and {MAX_HEADER_BYTES}")))
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => bytes.fmt(f),
            Self::Variable => f.write_str("variable"),
        }
    }
}

impl FromStr for Width {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "variable" => Ok(Self::Variable),
            number => number
                .parse()
                .map_err(|_| DataError::Codec(format!("width '{number}' is neither 'variable' nor a number")))
                .and_then(Self::fixed),
        }
    }
}

/// What happens to a session's frames before they become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Identifiers are replaced by small numbers in order of use: see [`crate::canonical`]. The default.
    Canonical,
    /// Exactly the captured bytes, as NetSSM trains on. Tokens then hold the addresses of the capture.
    Raw,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canonical => "canonical",
            Self::Raw => "raw",
        })
    }
}

impl FromStr for Form {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "canonical" => Ok(Self::Canonical),
            "raw" => Ok(Self::Raw),
            other => Err(DataError::Codec(format!("form '{other}' is neither 'canonical' nor 'raw'"))),
        }
    }
}

impl Form {
    fn udp_prefix(self) -> UdpPrefix {
        match self {
            Self::Canonical => UdpPrefix::DnsOnly,
            Self::Raw => UdpPrefix::Always,
        }
    }
}

/// NetSSM's byte alphabet; see the module documentation for the grammar.
#[derive(Clone, Debug)]
pub struct BytesCodec {
    vocab: Vocab,
    width: Width,
    form: Form,
}

impl BytesCodec {
    /// The codec's name in a [`CodecId`].
    pub const NAME: &'static str = "bytes";
    /// Version of the grammar above and of the canonical form.
    pub const VERSION: u32 = 1;

    /// A codec over `vocab`.
    pub fn new(vocab: Vocab, width: Width, form: Form) -> Self {
        Self { vocab, width, form }
    }

    /// The codec that `id` names.
    ///
    /// # Errors
    /// [`DataError::Codec`] for another name or version, or a parameter that is missing, unknown or out of range.
    pub fn from_id(id: &CodecId, vocab: Vocab) -> Result<Self, DataError> {
        if id.name != Self::NAME || id.version != Self::VERSION {
            let known = format!("{}/{}", Self::NAME, Self::VERSION);
            return Err(DataError::Codec(format!("'{id}' needs another build: this one has {known}")));
        }
        let param = |name: &str| {
            id.params
                .get(name)
                .ok_or_else(|| DataError::Codec(format!("'{id}' lacks the parameter '{name}'")))
        };
        let codec = Self::new(vocab, param("width")?.parse()?, param("form")?.parse()?);
        match id.params.keys().find(|name| !["width", "form"].contains(&name.as_str())) {
            Some(unknown) => Err(DataError::Codec(format!("'{id}' has the unknown parameter '{unknown}'"))),
            None => Ok(codec),
        }
    }

    /// The width of a packet.
    pub fn width(&self) -> Width {
        self.width
    }

    /// What happens to frames before encoding.
    pub fn form(&self) -> Form {
        self.form
    }
}

impl Codec for BytesCodec {
    fn id(&self) -> CodecId {
        let params = BTreeMap::from([
            ("width".to_owned(), self.width.to_string()),
            ("form".to_owned(), self.form.to_string()),
        ]);
        CodecId { name: Self::NAME.to_owned(), version: Self::VERSION, params }
    }

    fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    fn prompt(&self, label: &str) -> Result<Vec<u16>, DataError> {
        Ok(vec![self.vocab.require_label(label)?])
    }

    fn encoder(&self, label: &str) -> Result<Box<dyn Encoder>, DataError> {
        let prompt = self.prompt(label)?;
        let canonical = (self.form == Form::Canonical).then(Canonical::new);
        Ok(Box::new(BytesEncoder { codec: self.clone(), prompt, canonical, packets: 0 }))
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(BytesDecoder::new(self))
    }
}

// --- Packets to tokens -----------------------------------------------------------------------------------------------

struct BytesEncoder {
    codec: BytesCodec,
    prompt: Vec<u16>,
    canonical: Option<Canonical>,
    packets: u64,
}

impl BytesEncoder {
    fn header(&mut self, frame: FrameRef<'_>) -> Result<Vec<u8>, Skip> {
        if let Some(canonical) = &mut self.canonical {
            return canonical.apply(frame.bytes, frame.wire_len);
        }
        match shape::extent(frame.bytes, UdpPrefix::Always) {
            Extent::Whole(shape) => Ok(frame.bytes[..shape.end.min(frame.bytes.len())].to_vec()),
            // The capture length cut the header. As in NetSSM, what is there is what is learned.
            Extent::More(_) if frame.bytes.len() >= shape::ETHERNET_BYTES => Ok(frame.bytes.to_vec()),
            Extent::More(_) => Err(Skip::Cut),
            Extent::Foreign(why) => Err(why),
        }
    }
}

impl Encoder for BytesEncoder {
    fn push(&mut self, frame: FrameRef<'_>, out: &mut Vec<u16>) -> Result<(), Skip> {
        let mut header = self.header(frame)?;
        if let Width::Fixed(width) = self.codec.width {
            header.resize(usize::from(width), 0);
        }
        let vocab = &self.codec.vocab;
        if self.packets == 0 {
            out.extend_from_slice(&self.prompt);
        } else {
            out.push(vocab.packet());
        }
        out.extend(header.iter().map(|&byte| vocab.byte(byte)));
        self.packets += 1;
        Ok(())
    }

    fn observe(&mut self, frame: FrameRef<'_>) -> Result<(), Skip> {
        self.header(frame).map(drop)
    }

    fn finish(&mut self, end: SessionEnd, out: &mut Vec<u16>) {
        if self.packets == 0 {
            return;
        }
        out.push(self.codec.vocab.packet());
        if end == SessionEnd::Ended {
            out.extend(self.codec.vocab.end());
        }
    }
}

// --- Tokens to packets -----------------------------------------------------------------------------------------------

/// What may come next; one precomputed mask for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first byte of the session's first packet.
    Byte,
    /// Another packet or the end.
    ByteOrEnd,
    /// The packet is whole.
    Delimiter,
    /// A raw header may have been cut here by the capture length.
    ByteOrDelimiter,
    /// After the end nothing follows; the end itself keeps the mask from being empty.
    Nothing,
}

struct BytesDecoder {
    vocab: Vocab,
    width: Width,
    form: Form,
    masks: [Vec<u64>; 5],
    header: Vec<u8>,
    /// The walk has nothing new to say before the header is this long.
    known_at: usize,
    packets: u64,
    next: Next,
}

impl BytesDecoder {
    fn new(codec: &BytesCodec) -> Self {
        let vocab = codec.vocab.clone();
        let mask = |legal: &dyn Fn(TokenKind) -> bool| {
            let mut words = vec![0_u64; vocab.size().div_ceil(64)];
            for id in (0..vocab.size()).filter(|&id| legal(vocab.kind(id as u32))) {
                words[id / 64] |= 1 << (id % 64);
            }
            words
        };
        let byte = |kind| matches!(kind, TokenKind::Byte(_));
        let masks = [
            mask(&byte),
            mask(&|kind| byte(kind) || kind == TokenKind::End),
            mask(&|kind| kind == TokenKind::Packet),
            mask(&|kind| byte(kind) || kind == TokenKind::Packet),
            mask(&|kind| kind == vocab.end().map_or(TokenKind::Packet, |_| TokenKind::End)),
        ];
        let (width, form) = (codec.width, codec.form);
        Self { vocab, width, form, masks, header: Vec::new(), known_at: 0, packets: 0, next: Next::Byte }
    }

    /// Works out what may follow the bytes in `header`.
    fn advance(&mut self) {
        let len = self.header.len();
        self.next = match self.width {
            _ if len >= MAX_HEADER_BYTES => Next::Delimiter,
            Width::Fixed(width) if len >= usize::from(width) => Next::Delimiter,
            Width::Fixed(_) => Next::Byte,
            Width::Variable if len < self.known_at => self.next,
            Width::Variable => {
                let (known_at, complete) = match shape::extent(&self.header, self.form.udp_prefix()) {
                    Extent::Whole(shape) => (shape.end, len >= shape.end),
                    Extent::More(needed) => (needed, false),
                    // Repair will drop it: the sooner it is closed, the fewer tokens are lost.
                    Extent::Foreign(_) => (0, true),
                };
                // A raw header may end where a capture length cut it, but never inside the Ethernet header.
                self.known_at = if self.form == Form::Raw { known_at.min(len + 1) } else { known_at };
                match self.form {
                    _ if complete => Next::Delimiter,
                    Form::Raw if len >= shape::ETHERNET_BYTES => Next::ByteOrDelimiter,
                    _ => Next::Byte,
                }
            }
        };
    }

    fn close_packet(&mut self) -> Step {
        self.known_at = 0;
        if self.header.is_empty() {
            return Step::Need;
        }
        self.packets += 1;
        self.next = Next::ByteOrEnd;
        Step::Packet(RawPacket { header: std::mem::take(&mut self.header), gap: None })
    }
}

impl Decoder for BytesDecoder {
    fn push(&mut self, token: u32) -> Step {
        if self.next == Next::Nothing {
            return Step::Need;
        }
        match self.vocab.kind(token) {
            TokenKind::Byte(byte) => {
                if self.header.len() < MAX_HEADER_BYTES {
                    self.header.push(byte);
                    self.advance();
                }
                Step::Need
            }
            TokenKind::Packet => self.close_packet(),
            TokenKind::End => {
                self.next = Next::Nothing;
                self.header = Vec::new();
                Step::End
            }
            TokenKind::Label(_) | TokenKind::Pad | TokenKind::Unused => Step::Need,
        }
    }

    fn legal(&self) -> Option<&[u64]> {
        Some(&self.masks[self.next as usize])
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn codec(width: Width, form: Form) -> BytesCodec {
        BytesCodec::new(Vocab::new(&["x", "y"]).expect("labels"), width, form)
    }

    fn frame(bytes: &[u8]) -> FrameRef<'_> {
        FrameRef { time_ns: 0, wire_len: bytes.len() as u32, bytes }
    }

    /// Ethernet, IPv4, UDP 4000 -> 4001 with `payload`.
    fn udp(payload: &[u8]) -> Vec<u8> {
        let len = payload.len() as u8;
        let mut frame = vec![0xee; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28 + len, 1, 2, 0, 0, 64, 17, 9, 9, 192, 168, 0, 1, 8, 8, 8, 8]);
        frame.extend([0x0f, 0xa0, 0x0f, 0xa1, 0, 8 + len, 7, 7]);
        frame.extend_from_slice(payload);
        frame
    }

    fn encode(codec: &BytesCodec, frames: &[Vec<u8>], end: SessionEnd) -> Vec<u16> {
        let mut encoder = codec.encoder("y").expect("a label");
        let mut tokens = Vec::new();
        for bytes in frames {
            encoder.push(frame(bytes), &mut tokens).expect("carried");
        }
        encoder.finish(end, &mut tokens);
        tokens
    }

    #[test]
    fn the_raw_stream_is_netssms() {
        let frames = [udp(&[1, 2, 3]), udp(&[9; 20])];
        let bytes = |range: &[u8]| range.iter().map(|&byte| u16::from(byte)).collect::<Vec<_>>();
        // All of a short payload (NetSSM loses its last byte), twelve bytes of a long one.
        let expected = [vec![261], bytes(&frames[0]), vec![256], bytes(&frames[1][..54]), vec![256]].concat();
        let raw = codec(Width::Variable, Form::Raw);
        assert_eq!(encode(&raw, &frames, SessionEnd::Cut), expected);
        assert_eq!(encode(&raw, &frames, SessionEnd::Ended), [&expected[..], &[257]].concat());
        let fixed = encode(&codec(Width::Fixed(94), Form::Raw), &frames, SessionEnd::Cut);
        assert_eq!(fixed.len(), 1 + 2 * 95);
        assert_eq!(fixed[1..46], expected[1..46]);
        assert!(fixed[46..95].iter().all(|&token| token == 0));
    }

    #[test]
    fn a_raw_header_may_be_cut_and_a_canonical_one_is_whole() {
        let cut = udp(&[1; 12])[..40].to_vec();
        let tokens = encode(&codec(Width::Variable, Form::Raw), std::slice::from_ref(&cut), SessionEnd::Cut);
        assert_eq!(tokens.len(), 1 + 40 + 1);
        let mut canonical = codec(Width::Variable, Form::Canonical).encoder("x").expect("a label");
        let mut out = Vec::new();
        let whole = FrameRef { wire_len: 54, ..frame(&cut) };
        assert_eq!(canonical.push(whole, &mut out), Err(Skip::Cut));
        canonical.finish(SessionEnd::Ended, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn ids_open_the_same_codec_and_others_are_refused() {
        let id = codec(Width::Fixed(106), Form::Raw).id();
        assert_eq!(id.to_string(), "bytes/1 form=raw width=106");
        let vocab = Vocab::new(&["x"]).expect("a label");
        assert_eq!(super::super::open(&id, vocab.clone()).expect("known").id(), id);
        let mut edit = |change: &dyn Fn(&mut CodecId), expected: &str| {
            let mut id = id.clone();
            change(&mut id);
            let error = super::super::open(&id, vocab.clone()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        edit(&|id| id.name = "flow".to_owned(), "'flow' is not a codec of this build");
        edit(&|id| id.version = 2, "needs another build");
        edit(&|id| drop(id.params.insert("width".to_owned(), "9999".to_owned())), "not between 15 and 256");
        edit(&|id| drop(id.params.insert("width".to_owned(), "wide".to_owned())), "neither 'variable' nor");
        edit(&|id| drop(id.params.remove("form")), "lacks the parameter 'form'");
        edit(&|id| drop(id.params.insert("fine".to_owned(), "1".to_owned())), "unknown parameter 'fine'");
    }

    #[test]
    fn nothing_follows_the_end() {
        let codec = codec(Width::Variable, Form::Canonical);
        let mut decoder = codec.decoder();
        assert_eq!(decoder.push(257), Step::End);
        assert_eq!(decoder.push(256), Step::Need);
        let mask = decoder.legal().expect("a mask");
        assert_eq!(mask.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn obeying_the_mask_never_cuts_a_header(
            start in prop_oneof![Just(udp(&[])), Just(vec![0; 12])],
            skip in 12..24_usize,
            choices in vec(any::<u32>(), 1..400),
        ) {
            let codec = codec(Width::Variable, Form::Canonical);
            let mut decoder = codec.decoder();
            for &byte in &start[..skip.min(start.len())] {
                decoder.push(codec.vocab().byte(byte).into());
            }
            for choice in choices {
                let mask = decoder.legal().expect("a mask").to_vec();
                let legal: Vec<u32> = (0..codec.vocab().size() as u32)
                    .filter(|&id| mask[id as usize / 64] >> (id % 64) & 1 == 1)
                    .collect();
                match decoder.push(legal[choice as usize % legal.len()]) {
                    Step::Packet(packet) => match shape::extent(&packet.header, UdpPrefix::DnsOnly) {
                        Extent::Whole(shape) => prop_assert_eq!(shape.end, packet.header.len()),
                        // Closed at once: no codec carries this, and repair drops it.
                        Extent::Foreign(_) => {}
                        Extent::More(needed) => prop_assert!(false, "{needed} bytes are needed"),
                    },
                    Step::End => break,
                    Step::Need => {}
                }
            }
        }
    }
}
