//! What the next model of a chain reads before it goes on: how the session was introduced, and the
//! tokens of its last packets.

use std::collections::VecDeque;

use crate::codec::Codec;

/// The beginning and the end of a session's tokens.
pub(super) struct Tail {
    /// Tokens before the first packet, as the codec says.
    head: Vec<u32>,
    head_tokens: usize,
    /// A delimiter belongs to the packet that it closes. Without one, the token that completes a
    /// packet is the first of the next.
    delimited: bool,
    /// Tokens of the packet in progress.
    current: Vec<u32>,
    /// Tokens of the last packets that passed repair.
    packets: VecDeque<Vec<u32>>,
    keep: usize,
}

impl Tail {
    /// Of a session's last `keep` packets.
    pub(super) fn new(codec: &dyn Codec, keep: usize) -> Self {
        Self {
            head: Vec::new(),
            head_tokens: codec.head(),
            delimited: codec.vocab().packet().is_some(),
            current: Vec::new(),
            packets: VecDeque::new(),
            keep,
        }
    }

    /// Takes in a token (`None`: the end of a stage), whether it completed a packet, and whether that
    /// packet passed repair.
    pub(super) fn token(&mut self, token: Option<u32>, completes: bool, kept: bool) {
        if let Some(token) = token.filter(|_| self.head.len() < self.head_tokens) {
            self.head.push(token);
            return;
        }
        if self.delimited {
            self.current.extend(token);
        }
        if completes {
            let packet = std::mem::take(&mut self.current);
            if kept {
                self.packets.push_back(packet);
            }
            while self.packets.len() > self.keep {
                self.packets.pop_front();
            }
        }
        if !self.delimited {
            self.current.extend(token);
        }
    }

    /// The prompt of the next stage whose decoder starts anew. Behind the given number of tokens it
    /// has whole packets only.
    pub(super) fn anew(&mut self) -> (Vec<u32>, usize) {
        self.current.clear();
        (self.onward(), self.head.len())
    }

    /// The prompt of the next stage whose decoder goes on: with the tokens of the packet in progress.
    pub(super) fn onward(&self) -> Vec<u32> {
        let packets = self.packets.iter().flatten();
        self.head.iter().chain(packets).chain(&self.current).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{BytesCodec, Form, Vocab, Width};

    #[test]
    fn a_delimiter_belongs_to_its_packet() {
        let codec = BytesCodec::new(Vocab::new(&["x"]).unwrap(), Width::Variable, Form::Raw);
        let mut tail = Tail::new(&codec, 1);
        for (token, completes, kept) in [
            (260, false, false),
            (1, false, false),
            (256, true, true),
            (2, false, false),
            (256, true, true),
            (3, false, false),
            (256, true, false),
            (4, false, false),
        ] {
            tail.token(Some(token), completes, kept);
        }
        assert_eq!(tail.onward(), [260, 2, 256, 4]);
        assert_eq!(tail.anew(), (vec![260, 2, 256], 1));
    }

    #[test]
    fn without_one_the_token_that_completes_a_packet_begins_the_next() {
        let codec = BytesCodec::new(Vocab::flow(&["x"]).unwrap(), Width::Variable, Form::Raw);
        let mut tail = Tail { head_tokens: 3, ..Tail::new(&codec, 2) };
        for token in [1024, 258, 262] {
            tail.token(Some(token), false, false);
        }
        for (token, completes) in [(300, false), (9, false), (301, true), (8, false), (302, true)] {
            tail.token(Some(token), completes, completes);
        }
        assert_eq!(tail.onward(), [1024, 258, 262, 300, 9, 301, 8, 302]);
        // The end of a stage completes the packet and is no token of the next one.
        tail.token(None, true, true);
        assert_eq!(tail.onward(), [1024, 258, 262, 301, 8, 302]);
    }
}
