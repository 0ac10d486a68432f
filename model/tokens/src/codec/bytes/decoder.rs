//! Tokens to packets: an automaton over the grammar. It also says which tokens may come next.

use super::{BytesCodec, Form, Width};
use crate::codec::{Decoder, Step, TokenKind, Vocab};
use crate::packet::{
    MAX_HEADER_BYTES, RawPacket,
    shape::{self, Extent},
};

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

/// The decoder of one session.
pub(super) struct BytesDecoder {
    vocab: Vocab,
    width: Width,
    form: Form,
    masks: [Vec<u64>; 5],
    header: Vec<u8>,
    /// The result of the walk cannot change before the header is this long.
    known_at: usize,
    packets: u64,
    next: Next,
}

impl BytesDecoder {
    pub(super) fn new(codec: &BytesCodec) -> Self {
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
                    // Repair will drop this packet. Closing it now wastes the fewest tokens.
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
        Step::Packet(RawPacket::new(std::mem::take(&mut self.header)))
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
                // A packet that no delimiter closed is not whole.
                Step::End(None)
            }
            TokenKind::Label(_) | TokenKind::Pad | TokenKind::Grammar | TokenKind::Unused => Step::Need,
        }
    }

    fn legal(&self) -> Option<&[u64]> {
        Some(&self.masks[self.next as usize])
    }
}
