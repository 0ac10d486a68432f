//! A corpus: encoded sessions on disk, ready to train on.
//!
//! ```text
//! CORPUS/corpus.json     codec, vocabulary, counts, timing table, sources            (CorpusMeta)
//!        train.tokens    16-bit little-endian tokens, sessions back to back           val.tokens alike
//!        train.index     one JSON line a session, in the order of the tokens          val.index alike
//! ```
//! Contract: [`Corpus::open`] checks everything once: that this build has the codec, lengths and hashes, that sessions
//! lie back to back, begin with the token of their label and use no id beyond the vocabulary. Later access cannot fail.
//! The tokens are read into memory, 2 bytes each (200 MB for 100 million), because a memory map needs unsafe code.

mod writer;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    codec::{self, CodecId, Vocab},
    error::DataError,
    timing::TimingTable,
};

pub(crate) use self::writer::CorpusWriter;

/// Version of the directory format.
pub const CORPUS_FORMAT: u32 = 1;
const META_FILE: &str = "corpus.json";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The model is fitted to it.
    Train,
    /// Only measured, to choose hyperparameters and to stop in time.
    Val,
}

impl Split {
    /// Both, in the order of the fields of [`CorpusMeta`].
    pub const ALL: [Split; 2] = [Split::Train, Split::Val];

    /// `train` or `val`, the stem of the split's files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
        }
    }
}

/// One session in an index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEntry {
    /// Its label.
    pub label: String,
    /// First token, counted from the start of the split's tokens.
    pub offset: u64,
    /// Number of tokens.
    pub tokens: u64,
    /// Number of packets.
    pub packets: u64,
    /// Index into [`CorpusMeta::sources`].
    pub source: usize,
}

/// Totals of a split, or of a label in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Sessions.
    pub sessions: u64,
    /// Packets in them.
    pub packets: u64,
    /// Tokens in them.
    pub tokens: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, packets: u64, tokens: u64) {
        self.sessions += 1;
        self.packets += packets;
        self.tokens += tokens;
    }
}

/// Facts about one split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitMeta {
    /// Everything in it.
    pub total: Counts,
    /// By label; only labels that occur.
    pub labels: BTreeMap<String, Counts>,
    /// Hex SHA-256 of the tokens file.
    pub sha256: String,
}

/// A capture that sessions came from. It is named by its hash, because a corpus holds no path of the machine that made
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Hex SHA-256 of the file.
    pub sha256: String,
    /// Its sessions' label.
    pub label: String,
    /// Where its sessions went.
    pub split: Split,
    /// Records read from it.
    pub records: u64,
}

/// The content of `corpus.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusMeta {
    /// [`CORPUS_FORMAT`].
    pub format: u32,
    /// Grammar of the tokens, with its parameters.
    pub codec: CodecId,
    /// Alphabet and labels.
    pub vocab: Vocab,
    /// The options that the corpus was made with, by name.
    pub made: BTreeMap<String, String>,
    /// Facts about the training sessions.
    pub train: SplitMeta,
    /// Facts about the validation sessions.
    pub val: SplitMeta,
    /// Records left out, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Inter-arrival times by label, from the training sessions; empty where the tokens carry the time.
    pub timing: TimingTable,
    /// The captures.
    pub sources: Vec<Source>,
}

impl CorpusMeta {
    /// Facts about one split.
    pub fn split(&self, split: Split) -> &SplitMeta {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }

    pub(crate) fn split_mut(&mut self, split: Split) -> &mut SplitMeta {
        match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
        }
    }
}

#[derive(Debug)]
struct Sessions {
    entries: Vec<SessionEntry>,
    tokens: Vec<u16>,
}

/// An open corpus.
#[derive(Debug)]
pub struct Corpus {
    meta: CorpusMeta,
    train: Sessions,
    val: Sessions,
}

impl Corpus {
    /// Opens a corpus directory and checks it.
    ///
    /// # Errors
    /// [`DataError`] that names the file and what is wrong: unreadable, another format version, a codec that this build
    /// does not have, a length, hash, offset, label or token that does not fit.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(META_FILE);
        let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(DataError::json(&path))?;
        // The version comes first, so that the error for a later format says so.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(CORPUS_FORMAT) => {}
            other => {
                let got = other.map_or("none".to_owned(), |format| format.to_string());
                return Err(DataError::corpus(&path, format!("format: expected {CORPUS_FORMAT}, got {got}")));
            }
        }
        let meta: CorpusMeta = serde_json::from_str(&text).map_err(DataError::json(&path))?;
        codec::open(&meta.codec, meta.vocab.clone())
            .map_err(|error| DataError::corpus(&path, error.to_string()))?;
        let train = read_split(dir, &meta, Split::Train)?;
        let val = read_split(dir, &meta, Split::Val)?;
        Ok(Self { meta, train, val })
    }

    /// Codec, vocabulary, counts, timing.
    pub fn meta(&self) -> &CorpusMeta {
        &self.meta
    }

    /// The sessions of a split.
    pub fn sessions(&self, split: Split) -> &[SessionEntry] {
        &self.part(split).entries
    }

    /// Tokens of the `i`-th session of a split; empty when there is no such session.
    pub fn tokens(&self, split: Split, i: usize) -> &[u16] {
        let part = self.part(split);
        part.entries.get(i).map_or(&[], |entry| {
            let start = entry.offset as usize;
            &part.tokens[start..start + entry.tokens as usize]
        })
    }

    fn part(&self, split: Split) -> &Sessions {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }
}

fn paths(dir: &Path, split: Split) -> (PathBuf, PathBuf) {
    (dir.join(format!("{}.tokens", split.as_str())), dir.join(format!("{}.index", split.as_str())))
}

fn read_split(dir: &Path, meta: &CorpusMeta, split: Split) -> Result<Sessions, DataError> {
    let (tokens_path, index_path) = paths(dir, split);
    let expected = meta.split(split);
    let bytes = fs::read(&tokens_path).map_err(DataError::io("read", &tokens_path))?;
    if bytes.len() as u64 != expected.total.tokens * 2 {
        let reason =
            format!("expected {} bytes (two a token), got {}", expected.total.tokens * 2, bytes.len());
        return Err(DataError::corpus(&tokens_path, reason));
    }
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if sha256 != expected.sha256 {
        let reason = format!("sha256: expected {}, got {sha256}", expected.sha256);
        return Err(DataError::corpus(&tokens_path, reason));
    }
    let tokens: Vec<u16> = bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
    if let Some(at) = tokens.iter().position(|&token| usize::from(token) >= meta.vocab.size()) {
        let reason = format!("token {at} is {}, the vocabulary has {}", tokens[at], meta.vocab.size());
        return Err(DataError::corpus(&tokens_path, reason));
    }

    let text = fs::read_to_string(&index_path).map_err(DataError::io("read", &index_path))?;
    let mut entries = Vec::new();
    let mut next = 0;
    let mut counts = SplitMeta { sha256, ..SplitMeta::default() };
    for (line, text) in text.lines().enumerate() {
        let wrong = |reason: String| DataError::corpus(&index_path, format!("line {}: {reason}", line + 1));
        let entry: SessionEntry = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if entry.offset != next {
            return Err(wrong(format!("expected offset {next}, got {}", entry.offset)));
        }
        next = next.checked_add(entry.tokens).filter(|&end| end <= tokens.len() as u64).ok_or_else(|| {
            wrong(format!("{} tokens reach beyond the {} there are", entry.tokens, tokens.len()))
        })?;
        let first = tokens.get(entry.offset as usize).filter(|_| entry.tokens > 0).copied();
        if first.is_none() || first != meta.vocab.label(&entry.label) {
            return Err(wrong(format!("the session does not begin with the token of '{}'", entry.label)));
        }
        if entry.source >= meta.sources.len() {
            return Err(wrong(format!("source {} of {}", entry.source, meta.sources.len())));
        }
        counts.total.add(entry.packets, entry.tokens);
        counts.labels.entry(entry.label.clone()).or_default().add(entry.packets, entry.tokens);
        entries.push(entry);
    }
    if counts != *expected {
        let reason = format!("{} promises {:?}, found {:?}", META_FILE, expected.total, counts.total);
        return Err(DataError::corpus(&index_path, reason));
    }
    Ok(Sessions { entries, tokens })
}
