//! The bytes codec: one token a header byte, as NetSSM does it (arXiv 2503.22663, section 4.1).
//!
//! ```text
//! session := label packet ( <|pkt|> packet )* <|pkt|> [ <|end|> ]
//! packet  := byte{width}          fixed width: header bytes, cut or padded with zeros
//!          | byte+                variable width: the header bytes and nothing else
//! ```
//! NetSSM's preprocessor writes `label packet ( <|pkt|> packet )*`. This codec closes the last packet too, so that a
//! reader knows that it is whole. `<|end|>` follows if the recording ended there. A vocabulary imported from NetSSM has
//! no end token, so its streams stop after `<|pkt|>`.
//!
//! The header bytes are: Ethernet with up to two tags; ARP; IPv4 with options or IPv6 (with a short hop-by-hop header);
//! TCP with options; UDP with up to 12 bytes of payload; 8 bytes of ICMP; whole IGMP, neighbour and listener messages.
//! NetSSM's preprocessor has neither ARP, ICMP nor IGMP, and it cuts the last byte of UDP payloads of under 12 bytes.
//! This codec carries them. It refuses what it cannot carry with a [`Skip`].
//!
//! [`Form::Raw`] takes the bytes as captured. [`Form::Canonical`] passes each session through
//! [`Canonical`](crate::canonical::Canonical) first; then every header is whole, and the bytes so far determine whether
//! the next token is a byte or the delimiter.

mod decoder;
mod parameters;

use std::collections::BTreeMap;

use self::decoder::BytesDecoder;
pub use self::parameters::{Form, Width};
use super::{Codec, CodecId, Decoder, Encoder, FrameRef, SessionEnd, Skip, Vocab};
use crate::{
    canonical::Canonical,
    error::DataError,
    packet::shape::{self, Extent, UdpPrefix},
};

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
        if codec.vocab.packet().is_none() {
            return Err(DataError::Codec(format!("'{id}' needs an alphabet with a packet delimiter")));
        }
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

    fn decoder(&self, _seed: u64) -> Box<dyn Decoder> {
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
            // The capture length cut the header. As in NetSSM, the model learns the part that was captured.
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
            out.extend(vocab.packet());
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
        out.extend(self.codec.vocab.packet());
        if end == SessionEnd::Ended {
            out.extend(self.codec.vocab.end());
        }
    }
}

#[cfg(test)]
mod tests;
