//! The sessions that a run trains and validates on, independent of their source.
//!
//! [`Dataset::from_corpus`] borrows a corpus' tokens. A run may start from a checkpoint with another vocabulary. Then
//! [`Dataset::onto`] renumbers the tokens once into owned copies.

use std::borrow::Cow;
use std::sync::Arc;

use netssm_tokens::codec::{self, Codec, CodecId, TokenKind, Vocab};
use netssm_tokens::corpus::{Corpus, Split};
use netssm_tokens::timing::TimingTable;
use sha2::{Digest, Sha256};

use super::TrainError;

/// One session's tokens.
#[derive(Clone, Debug)]
pub struct Sequence<'a> {
    /// Its label.
    pub label: String,
    /// The prompt, the packets and, where the recording ended, the end token.
    pub tokens: Cow<'a, [u16]>,
    /// Packets in it.
    pub packets: u64,
}

/// Sessions and their alphabet.
#[derive(Clone, Debug)]
pub struct Dataset<'a> {
    /// Grammar of the tokens.
    pub codec: CodecId,
    /// Alphabet of the tokens.
    pub vocab: Vocab,
    /// Inter-arrival times by label.
    pub timing: TimingTable,
    /// Sessions to train on.
    pub train: Vec<Sequence<'a>>,
    /// Sessions to validate on.
    pub val: Vec<Sequence<'a>>,
    /// A description of the data, for the checkpoint's manifest.
    pub about: String,
}

impl<'a> Dataset<'a> {
    /// All sessions of an open corpus.
    pub fn from_corpus(corpus: &'a Corpus) -> Self {
        let read = |split| {
            let entries = corpus.sessions(split).iter().enumerate();
            entries
                .map(|(i, entry)| Sequence {
                    label: entry.label.clone(),
                    tokens: Cow::Borrowed(corpus.tokens(split, i)),
                    packets: entry.packets,
                })
                .collect::<Vec<_>>()
        };
        let meta = corpus.meta();
        let (train, val) = (read(Split::Train), read(Split::Val));
        let count = |s: &[Sequence<'_>]| s.iter().map(|s| s.packets).sum::<u64>();
        let about = format!(
            "{} sessions ({} packets) of {} labels to train on, {} ({}) to validate on",
            train.len(),
            count(&train),
            meta.vocab.labels().len(),
            val.len(),
            count(&val)
        );
        Self {
            codec: meta.codec.clone(),
            vocab: meta.vocab.clone(),
            timing: meta.timing.clone(),
            train,
            val,
            about,
        }
    }

    /// The same sessions in the alphabet `vocab`, extended by the labels that it lacks. Fine-tuning needs this: the ids
    /// of the checkpoint must not change. Tokens without a counterpart in `vocab` (an end token) are left out.
    ///
    /// # Errors
    /// [`TrainError::Data`] if a label cannot be added.
    pub fn onto(mut self, mut vocab: Vocab) -> Result<Self, TrainError> {
        vocab.extend(self.vocab.labels())?;
        let map: Vec<Option<u16>> = (0..self.vocab.size() as u32)
            .map(|id| match self.vocab.kind(id) {
                TokenKind::Byte(b) => Some(vocab.byte(b)),
                TokenKind::Packet => vocab.packet(),
                TokenKind::End => vocab.end(),
                TokenKind::Pad => vocab.pad(),
                TokenKind::Label(i) => self.vocab.labels().get(i).and_then(|label| vocab.label(label)),
                // Every vocabulary with a grammar gives its tokens the same ids.
                TokenKind::Grammar => u16::try_from(id).ok().filter(|_| vocab.kind(id) == TokenKind::Grammar),
                TokenKind::Unused => None,
            })
            .collect();
        for sequence in self.train.iter_mut().chain(&mut self.val) {
            let same = |&t: &u16| map.get(usize::from(t)).is_some_and(|&to| to == Some(t));
            if !sequence.tokens.iter().all(same) {
                let renumbered = sequence.tokens.iter();
                let renumbered =
                    renumbered.filter_map(|&t| map.get(usize::from(t)).copied().flatten()).collect();
                sequence.tokens = Cow::Owned(renumbered);
            }
        }
        self.vocab = vocab;
        Ok(self)
    }

    /// The codec that wrote the tokens.
    ///
    /// # Errors
    /// [`TrainError::Data`] if this build does not have it.
    pub fn open_codec(&self) -> Result<Arc<dyn Codec>, TrainError> {
        Ok(codec::open(&self.codec, self.vocab.clone())?)
    }

    /// Hex sha256 over the training tokens and their boundaries. A resumed run must have the same.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut bytes = Vec::new();
        for sequence in &self.train {
            bytes.clear();
            bytes.extend((sequence.tokens.len() as u64).to_le_bytes());
            bytes.extend(sequence.tokens.iter().flat_map(|t| t.to_le_bytes()));
            hash.update(&bytes);
        }
        hex::encode(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_move_to_the_checkpoints_numbers() {
        let own = Vocab::new(&["b", "new"]).unwrap();
        let theirs = Vocab::new(&["a", "b"]).unwrap();
        let tokens: &[u16] = &[260, 1, 2, 256, 257];
        let other: &[u16] = &[261, 3, 256];
        let set =
            |tokens, label: &str| Sequence { label: label.into(), tokens: Cow::Borrowed(tokens), packets: 1 };
        let data = Dataset {
            codec: CodecId { name: "bytes".into(), version: 1, params: Default::default() },
            vocab: own,
            timing: TimingTable::default(),
            train: vec![set(tokens, "b"), set(other, "new")],
            val: vec![],
            about: String::new(),
        };
        let before = data.fingerprint();
        let data = data.onto(theirs).unwrap();
        assert_eq!(data.vocab.labels(), ["a", "b", "new"]);
        assert_eq!(&*data.train[0].tokens, [261, 1, 2, 256, 257]);
        assert_eq!(&*data.train[1].tokens, [262, 3, 256]);
        assert_ne!(data.fingerprint(), before);
    }

    #[test]
    fn tokens_of_a_grammar_keep_their_numbers() {
        let tokens: &[u16] = &[1024, 900, 7, 300, 257];
        let sequence = Sequence { label: "b".into(), tokens: Cow::Borrowed(tokens), packets: 1 };
        let data = Dataset {
            codec: CodecId { name: "flow".into(), version: 1, params: Default::default() },
            vocab: Vocab::flow(&["b"]).unwrap(),
            timing: TimingTable::default(),
            train: vec![sequence],
            val: vec![],
            about: String::new(),
        };
        let data = data.onto(Vocab::flow(&["a", "c"]).unwrap()).unwrap();
        assert_eq!(data.vocab.labels(), ["a", "c", "b"]);
        assert_eq!(&*data.train[0].tokens, [1026, 900, 7, 300, 257]);
    }
}
