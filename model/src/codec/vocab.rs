//! The token alphabet: which id means which byte, delimiter or label.
//!
//! A fresh vocabulary has byte `b` at id `b`, then `<|pkt|>` 256, `<|end|>` 257, `<|pad|>` 258, one unused id, and the
//! labels from 260 on in the order given. One that was imported from NetSSM keeps NetSSM's ids, which put the bytes
//! elsewhere and have no end token; see [`Vocab::from_netssm_tokenizer`]. Ids never move: [`Vocab::extend`] only appends.
//!
//! Contract: a `Vocab` has all 256 bytes and the packet delimiter, each id means one thing, and every id fits in `u16`.
//! Constructors and `serde` check that once; everything else relies on it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::error::DataError;

/// Label names that would be mistaken for a delimiter in NetSSM's `<|name|>` notation.
const RESERVED: [&str; 8] = ["pkt", "end", "pad", "padding", "unk", "endoftext", "bos", "eos"];
const FIRST_LABEL: u16 = 260;

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
    /// An id without meaning (reserved, or a token of an imported tokenizer that NetSSM never writes).
    Unused,
}

/// The alphabet of a codec; see the module's contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "VocabFile", into = "VocabFile")]
pub struct Vocab {
    kinds: Vec<TokenKind>,
    bytes: [u16; 256],
    packet: u16,
    end: Option<u16>,
    pad: Option<u16>,
    labels: Vec<String>,
    label_ids: Vec<u16>,
    by_label: HashMap<String, usize>,
}

/// The form on disk. `bytes` is absent when byte `b` has id `b`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabFile {
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u16>>,
    packet: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pad: Option<u16>,
    labels: Vec<LabelEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelEntry {
    name: String,
    id: u16,
}

impl Vocab {
    /// A fresh vocabulary with these labels, in this order.
    ///
    /// # Errors
    /// [`DataError::Vocab`] for a label that is empty, repeated, reserved or not writable as `<|label|>`.
    ///
    /// ```
    /// # use netssm_model::codec::Vocab;
    /// let vocab = Vocab::new(&["youtube", "Aria"])?;
    /// assert_eq!((vocab.byte(7), vocab.packet(), vocab.label("Aria")), (7, 256, Some(261)));
    /// # Ok::<(), netssm_model::codec::DataError>(())
    /// ```
    pub fn new<S: AsRef<str>>(labels: &[S]) -> Result<Self, DataError> {
        let mut vocab = Self::from_parts(
            usize::from(FIRST_LABEL),
            std::array::from_fn(|byte| byte as u16),
            256,
            Some(257),
            Some(258),
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

    /// The id of the packet delimiter.
    pub fn packet(&self) -> u16 {
        self.packet
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
        packet: u16,
        end: Option<u16>,
        pad: Option<u16>,
        labels: Vec<(String, u16)>,
    ) -> Result<Self, DataError> {
        if size > usize::from(u16::MAX) + 1 {
            return Err(DataError::Vocab(format!("{size} tokens do not fit in 16 bits")));
        }
        let mut vocab = Self {
            kinds: vec![TokenKind::Unused; size],
            bytes,
            packet,
            end,
            pad,
            labels: Vec::new(),
            label_ids: Vec::new(),
            by_label: HashMap::new(),
        };
        for (byte, &id) in bytes.iter().enumerate() {
            vocab.claim(id, TokenKind::Byte(byte as u8))?;
        }
        vocab.claim(packet, TokenKind::Packet)?;
        end.map_or(Ok(()), |id| vocab.claim(id, TokenKind::End))?;
        pad.map_or(Ok(()), |id| vocab.claim(id, TokenKind::Pad))?;
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

impl TryFrom<VocabFile> for Vocab {
    type Error = DataError;

    fn try_from(file: VocabFile) -> Result<Self, DataError> {
        let bytes = match file.bytes {
            None => std::array::from_fn(|byte| byte as u16),
            Some(ids) => ids.try_into().map_err(|ids: Vec<u16>| {
                DataError::Vocab(format!("expected 256 byte ids, got {}", ids.len()))
            })?,
        };
        let labels = file.labels.into_iter().map(|label| (label.name, label.id)).collect();
        Self::from_parts(file.size, bytes, file.packet, file.end, file.pad, labels)
    }
}

impl From<Vocab> for VocabFile {
    fn from(vocab: Vocab) -> Self {
        let plain = vocab.bytes.iter().enumerate().all(|(byte, &id)| byte == usize::from(id));
        Self {
            size: vocab.kinds.len(),
            bytes: (!plain).then(|| vocab.bytes.to_vec()),
            packet: vocab.packet,
            end: vocab.end,
            pad: vocab.pad,
            labels: vocab
                .labels
                .into_iter()
                .zip(vocab.label_ids)
                .map(|(name, id)| LabelEntry { name, id })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_where_the_module_says() {
        let vocab = Vocab::new(&["a", "b"]).expect("legal labels");
        assert_eq!((vocab.packet(), vocab.end(), vocab.pad()), (256, Some(257), Some(258)));
        assert_eq!((vocab.label("a"), vocab.label("b"), vocab.size()), (Some(260), Some(261), 262));
        assert_eq!(vocab.kind(261), TokenKind::Label(1));
        assert_eq!(vocab.kind(259), TokenKind::Unused);
        assert_eq!(vocab.kind(u32::MAX), TokenKind::Unused);
    }

    #[test]
    fn extending_keeps_old_ids() {
        let mut vocab = Vocab::new(&["a", "b"]).expect("legal labels");
        assert_eq!(vocab.extend(&["b", "c"]).expect("legal label"), 1);
        assert_eq!((vocab.label("b"), vocab.label("c")), (Some(261), Some(262)));
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

    #[test]
    fn the_form_on_disk_is_checked() {
        let vocab = Vocab::new(&["a"]).expect("legal label");
        let text = serde_json::to_string(&vocab).expect("serialises");
        assert_eq!(serde_json::from_str::<Vocab>(&text).expect("reads back"), vocab);
        for (bad, why) in [
            (text.replace(r#""packet":256"#, r#""packet":7"#), "two meanings"),
            (text.replace(r#""id":260"#, r#""id":900"#), "beyond the size"),
            (text.replace(r#""size":261"#, r#""size":100"#), "too small"),
            (text.replace(r#""name":"a""#, r#""name":"pkt""#), "reserved"),
        ] {
            assert_ne!(bad, text, "the case '{why}' changed nothing");
            assert!(serde_json::from_str::<Vocab>(&bad).is_err(), "accepted: {why}");
        }
    }
}
