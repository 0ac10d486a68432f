//! What the next model of a chain reads first: the tokens that introduce the session, and the tokens of its last
//! packets.

use std::collections::VecDeque;

use netssm_tokens::codec::Codec;

use crate::network::input::Prompt;

/// Tokens and their side information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnedPrompt {
    pub(super) tokens: Vec<u32>,
    pub(super) context: Vec<u32>,
}

impl OwnedPrompt {
    /// The tokens in the form that a model takes.
    pub(super) fn prompt(&self) -> Prompt<'_> {
        Prompt { tokens: &self.tokens, context: &self.context }
    }

    fn push(&mut self, token: u32, context: &[u32]) {
        self.tokens.push(token);
        self.context.extend_from_slice(context);
    }

    fn extend(&mut self, other: &Self) {
        self.tokens.extend_from_slice(&other.tokens);
        self.context.extend_from_slice(&other.context);
    }
}

/// The first and the last tokens of a session.
pub(super) struct Tail {
    /// Tokens before the first packet. The codec says how many (`head_tokens`).
    head: OwnedPrompt,
    head_tokens: usize,
    /// Whether the codec has a delimiter. A delimiter belongs to the packet that it closes. Without one, the token that
    /// completes a packet is the first of the next packet.
    delimited: bool,
    /// Tokens of the packet in progress.
    current: OwnedPrompt,
    /// Tokens of the last packets that passed repair.
    packets: VecDeque<OwnedPrompt>,
    keep: usize,
}

impl Tail {
    /// A tail of a session's last `keep` packets.
    pub(super) fn new(codec: &dyn Codec, keep: usize) -> Self {
        Self {
            head: OwnedPrompt::default(),
            head_tokens: codec.head(),
            delimited: codec.vocab().packet().is_some(),
            current: OwnedPrompt::default(),
            packets: VecDeque::new(),
            keep,
        }
    }

    /// Adds a token and its side information `context`; `None` stands for the end of a stage. `completes`: the token
    /// completed a packet. `kept`: that packet passed repair.
    pub(super) fn token(&mut self, token: Option<u32>, context: &[u32], completes: bool, kept: bool) {
        if let Some(token) = token.filter(|_| self.head.tokens.len() < self.head_tokens) {
            self.head.push(token, context);
            return;
        }
        if let Some(token) = token.filter(|_| self.delimited) {
            self.current.push(token, context);
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
        if let Some(token) = token.filter(|_| !self.delimited) {
            self.current.push(token, context);
        }
    }

    /// The prompt of a next stage whose decoder starts anew, and the length of its head. After the head it holds whole
    /// packets only.
    pub(super) fn anew(&mut self) -> (OwnedPrompt, usize) {
        self.current = OwnedPrompt::default();
        (self.onward(), self.head.tokens.len())
    }

    /// The prompt of a next stage whose decoder continues. It includes the tokens of the packet in progress.
    pub(super) fn onward(&self) -> OwnedPrompt {
        let mut all = self.head.clone();
        self.packets.iter().chain([&self.current]).for_each(|part| all.extend(part));
        all
    }
}

#[cfg(test)]
mod tests {
    use netssm_tokens::codec::{BytesCodec, Form, Vocab, Width};

    use super::*;

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
            tail.token(Some(token), &[token + 1], completes, kept);
        }
        assert_eq!(tail.onward().tokens, [260, 2, 256, 4]);
        let context = vec![261, 3, 257];
        assert_eq!(tail.anew(), (OwnedPrompt { tokens: vec![260, 2, 256], context }, 1));
    }

    #[test]
    fn without_one_the_token_that_completes_a_packet_begins_the_next() {
        let codec = BytesCodec::new(Vocab::flow(&["x"]).unwrap(), Width::Variable, Form::Raw);
        let mut tail = Tail { head_tokens: 3, ..Tail::new(&codec, 2) };
        for token in [1024, 258, 262] {
            tail.token(Some(token), &[token + 1], false, false);
        }
        for (token, completes) in [(300, false), (9, false), (301, true), (8, false), (302, true)] {
            tail.token(Some(token), &[token + 1], completes, completes);
        }
        assert_eq!(tail.onward().tokens, [1024, 258, 262, 300, 9, 301, 8, 302]);
        // The end of a stage completes the packet. It is no token of the next packet.
        tail.token(None, &[], true, true);
        assert_eq!(tail.onward().tokens, [1024, 258, 262, 301, 8, 302]);
    }
}
