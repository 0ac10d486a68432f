//! The token alphabet: which id means which byte, delimiter or label.
//!
//! There are two kinds. The alphabet of the **bytes** codec has byte `b` at id `b`, then `<|pkt|>` 256, `<|end|>` 257,
//! `<|pad|>` 258, one unused id, and the labels from 260 on in the order given. One that was imported from NetSSM keeps
//! NetSSM's ids, which put the bytes elsewhere and have no end token; see [`Vocab::from_netssm_tokenizer`]. The
//! alphabet of the **flow** codec has byte `b` at id `b`, padding 256, end 257, then ids whose meaning only the codec's
//! grammar knows, and the labels from [`GRAMMAR_IDS`] on. It has no packet delimiter. Ids never move: [`Vocab::extend`]
//! only appends.
//!
//! Contract: a `Vocab` has all 256 bytes, and either the packet delimiter or ids of a grammar with padding and end;
//! each id means one thing, and every id fits in `u16`. Constructors and deserialisation check this once.

mod disk;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use self::disk::VocabFile;
use crate::error::DataError;

/// Names that NetSSM's `<|name|>` notation uses for delimiters, so no label may have them.
const RESERVED: [&str; 8] = ["pkt", "end", "pad", "padding", "unk", "endoftext", "bos", "eos"];
const FIRST_LABEL: u16 = 260;

/// Ids of the flow codec's alphabet before the labels: those that its grammar uses, and a reserve.
pub const GRAMMAR_IDS: u16 = 1_024;
/// Where that alphabet has padding and end.
const GRAMMAR_PAD: u16 = 256;
const GRAMMAR_END: u16 = 257;

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A header byte.
    Byte(u8),
    /// `<|pkt|>`: closes a packet.
    Packet,
    /// `<|end|>`: closes the session.
    End,
    /// Padding of training batches; never in a stream.
    Pad,
    /// The label with this index in [`Vocab::labels`].
    Label(usize),
    /// An id whose meaning a codec's grammar knows.
    Grammar,
    /// An id without meaning (reserved, or a token of an imported tokenizer that NetSSM never writes).
    Unused,
}

/// The alphabet of a codec; see the module's contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "VocabFile", into = "VocabFile")]
pub struct Vocab {
    kinds: Vec<TokenKind>,
    bytes: [u16; 256],
    packet: Option<u16>,
    /// Ids below this one are a grammar's; 0 in an alphabet with a packet delimiter.
    grammar: u16,
    end: Option<u16>,
    pad: Option<u16>,
    labels: Vec<String>,
    label_ids: Vec<u16>,
    by_label: HashMap<String, usize>,
}

impl Vocab {
    /// A fresh alphabet of the bytes codec with these labels, in this order.
    ///
    /// # Errors
    /// [`DataError::Vocab`] for a label that is empty, repeated, reserved or not writable as `<|label|>`.
    ///
    /// ```
    /// # use netssm_tokens::codec::Vocab;
    /// let vocab = Vocab::new(&["youtube", "Aria"])?;
    /// assert_eq!((vocab.byte(7), vocab.packet(), vocab.label("Aria")), (7, Some(256), Some(261)));
    /// # Ok::<(), netssm_tokens::DataError>(())
    /// ```
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Result<Self, DataError> {
        let mut vocab = Self::from_parts(
            usize::from(FIRST_LABEL),
            std::array::from_fn(|byte| byte as u16),
            Delimiting::Packet(256),
            Some(257),
            Some(258),
            Vec::new(),
        )?;
        vocab.extend(labels)?;
        Ok(vocab)
    }

    /// A fresh alphabet of the flow codec with these labels, in this order.
    ///
    /// # Errors
    /// [`DataError::Vocab`] as for [`Vocab::new`].
    ///
    /// ```
    /// # use netssm_tokens::codec::Vocab;
    /// let vocab = Vocab::flow(&["youtube", "Aria"])?;
    /// assert_eq!((vocab.byte(7), vocab.packet(), vocab.label("Aria")), (7, None, Some(1025)));
    /// # Ok::<(), netssm_tokens::DataError>(())
    /// ```
    pub fn flow<S: AsRef<str>>(labels: &[S]) -> Result<Self, DataError> {
        let mut vocab = Self::from_parts(
            usize::from(GRAMMAR_IDS),
            std::array::from_fn(|byte| byte as u16),
            Delimiting::Grammar(GRAMMAR_IDS),
            Some(GRAMMAR_END),
            Some(GRAMMAR_PAD),
            Vec::new(),
        )?;
        vocab.extend(labels)?;
        Ok(vocab)
    }

    /// Appends the labels that are not there yet and returns how many were new. Old ids stay.
    ///
    /// # Errors
    /// [`DataError::Vocab`] as for [`Vocab::new`]; the vocabulary is then unchanged.
    pub fn extend<S: AsRef<str>>(&mut self, labels: &[S]) -> Result<usize, DataError> {
        let mut next = self.clone();
        for label in labels {
            let label = label.as_ref();
            if next.by_label.contains_key(label) {
                continue;
            }
            let id = u16::try_from(next.kinds.len())
                .map_err(|_| DataError::Vocab("no id is left for another label (65536 tokens)".to_owned()))?;
            next.kinds.push(TokenKind::Unused);
            next.add_label(label, id)?;
        }
        let added = next.labels.len() - self.labels.len();
        *self = next;
        Ok(added)
    }

    /// Number of ids, including unused ones; the model's embedding has at least this many rows.
    pub fn size(&self) -> usize {
        self.kinds.len()
    }

    /// What `id` means; ids beyond the vocabulary are [`TokenKind::Unused`].
    pub fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// The id of a byte.
    pub fn byte(&self, byte: u8) -> u16 {
        self.bytes[usize::from(byte)]
    }

    /// The id of the packet delimiter, if the alphabet has one.
    pub fn packet(&self) -> Option<u16> {
        self.packet
    }

    /// Number of ids, counted from 0, that belong to a grammar. 0 in an alphabet with a packet delimiter.
    pub fn grammar(&self) -> u16 {
        self.grammar
    }

    /// The id that replaces the label where a model must not see it. No other stream starts with this id.
    pub fn unlabelled(&self) -> u16 {
        self.packet.or(self.pad).unwrap_or_default()
    }

    /// The id of the end of a session, if the vocabulary has one.
    pub fn end(&self) -> Option<u16> {
        self.end
    }

    /// The id that training batches are padded with, if there is one.
    pub fn pad(&self) -> Option<u16> {
        self.pad
    }

    /// The id of a label.
    pub fn label(&self, label: &str) -> Option<u16> {
        self.by_label.get(label).map(|&index| self.label_ids[index])
    }

    /// The id of a label, or an error that lists the known ones.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`].
    pub fn require_label(&self, label: &str) -> Result<u16, DataError> {
        self.label(label)
            .ok_or_else(|| DataError::UnknownLabel { label: label.to_owned(), known: self.labels.clone() })
    }

    /// Every label, in the order of their ids.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Puts the parts together and checks the module's contract.
    pub(super) fn from_parts(
        size: usize,
        bytes: [u16; 256],
        delimiting: Delimiting,
        end: Option<u16>,
        pad: Option<u16>,
        labels: Vec<(String, u16)>,
    ) -> Result<Self, DataError> {
        if size > usize::from(u16::MAX) + 1 {
            return Err(DataError::Vocab(format!("{size} tokens do not fit in 16 bits")));
        }
        let (packet, grammar) = match delimiting {
            Delimiting::Packet(id) => (Some(id), 0),
            Delimiting::Grammar(ids) => (None, ids),
        };
        let mut vocab = Self {
            kinds: vec![TokenKind::Unused; size],
            bytes,
            packet,
            grammar,
            end,
            pad,
            labels: Vec::new(),
            label_ids: Vec::new(),
            by_label: HashMap::new(),
        };
        for (byte, &id) in bytes.iter().enumerate() {
            vocab.claim(id, TokenKind::Byte(byte as u8))?;
        }
        packet.map_or(Ok(()), |id| vocab.claim(id, TokenKind::Packet))?;
        end.map_or(Ok(()), |id| vocab.claim(id, TokenKind::End))?;
        pad.map_or(Ok(()), |id| vocab.claim(id, TokenKind::Pad))?;
        if usize::from(grammar) > size {
            return Err(DataError::Vocab(format!(
                "{grammar} ids of a grammar are more than the size {size}"
            )));
        }
        for kind in &mut vocab.kinds[..usize::from(grammar)] {
            if *kind == TokenKind::Unused {
                *kind = TokenKind::Grammar;
            }
        }
        for (name, id) in labels {
            vocab.add_label(&name, id)?;
        }
        Ok(vocab)
    }

    fn claim(&mut self, id: u16, kind: TokenKind) -> Result<(), DataError> {
        let size = self.kinds.len();
        match self.kinds.get_mut(usize::from(id)) {
            Some(slot @ TokenKind::Unused) => *slot = kind,
            Some(taken) => {
                return Err(DataError::Vocab(format!("id {id} stands for both {taken:?} and {kind:?}")));
            }
            None => {
                return Err(DataError::Vocab(format!("id {id} of {kind:?} is not below the size {size}")));
            }
        }
        Ok(())
    }

    fn add_label(&mut self, label: &str, id: u16) -> Result<(), DataError> {
        check_label(label)?;
        if self.by_label.contains_key(label) {
            return Err(DataError::Vocab(format!("label '{label}' occurs twice")));
        }
        let index = self.labels.len();
        self.claim(id, TokenKind::Label(index))?;
        self.labels.push(label.to_owned());
        self.label_ids.push(id);
        self.by_label.insert(label.to_owned(), index);
        Ok(())
    }
}

/// How an alphabet separates packets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delimiting {
    /// By a token with this id.
    Packet(u16),
    /// By a grammar, to which the first so many ids belong.
    Grammar(u16),
}

/// A label must survive NetSSM's notation, a CSV cell, a file name and a metric label.
pub(crate) fn check_label(label: &str) -> Result<(), DataError> {
    let fault = if label.is_empty() {
        "is empty"
    } else if label.len() > 64 {
        "is longer than 64 bytes"
    } else if RESERVED.contains(&label) {
        "is the name of a delimiter"
    } else if label.chars().any(|c| c.is_whitespace() || c.is_control() || "<|>,\"'/\\".contains(c)) {
        "has a character other than letters, digits and plain punctuation"
    } else {
        return Ok(());
    };
    Err(DataError::Vocab(format!("label '{}' {fault}", label.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_where_the_module_says() {
        let vocab = Vocab::new(&["a", "b"]).expect("legal labels");
        assert_eq!((vocab.packet(), vocab.end(), vocab.pad()), (Some(256), Some(257), Some(258)));
        assert_eq!((vocab.label("a"), vocab.label("b"), vocab.size()), (Some(260), Some(261), 262));
        assert_eq!(vocab.kind(261), TokenKind::Label(1));
        assert_eq!(vocab.kind(259), TokenKind::Unused);
        assert_eq!(vocab.kind(u32::MAX), TokenKind::Unused);
    }

    #[test]
    fn a_grammar_has_its_ids_before_the_labels() {
        let vocab = Vocab::flow(&["a", "b"]).expect("legal labels");
        assert_eq!((vocab.packet(), vocab.end(), vocab.pad()), (None, Some(257), Some(256)));
        assert_eq!((vocab.label("a"), vocab.label("b"), vocab.size()), (Some(1024), Some(1025), 1026));
        let kinds = [255, 256, 257, 258, 1023, 1024].map(|id| vocab.kind(id));
        use TokenKind::{Byte, End, Grammar, Label, Pad};
        assert_eq!(kinds, [Byte(255), Pad, End, Grammar, Grammar, Label(0)]);
        assert_eq!((vocab.grammar(), vocab.unlabelled()), (1024, 256));
    }

    #[test]
    fn extending_keeps_old_ids() {
        let mut vocab = Vocab::new(&["a", "b"]).expect("legal labels");
        assert_eq!(vocab.extend(&["b", "c"]).expect("legal label"), 1);
        assert_eq!((vocab.label("b"), vocab.label("c")), (Some(261), Some(262)));
        let mut vocab = Vocab::flow(&["a"]).expect("legal label");
        assert_eq!(vocab.extend(&["a", "b"]).expect("legal label"), 1);
        assert_eq!((vocab.label("a"), vocab.label("b")), (Some(1024), Some(1025)));
    }

    #[test]
    fn a_bad_label_is_refused_and_changes_nothing() {
        let mut vocab = Vocab::new(&["a"]).expect("legal label");
        for bad in ["", "x y", "<|x|>", "pkt", "x,y", "a/b", "x\n"] {
            let before = vocab.clone();
            assert!(vocab.extend(&["fine", bad]).is_err(), "{bad:?} was accepted");
            assert_eq!(vocab, before);
        }
    }
}
