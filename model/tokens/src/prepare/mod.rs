//! Captures to a corpus: find, label, split, cut into sessions, encode in parallel, write.
//!
//! A file belongs to training or to validation as a whole, so no flow is in both. Files with equal content count once.
//! The output depends on the content of the files, the options and the seed. It does not depend on the number of
//! threads, or on the order in which a folder lists its entries.
//!
//! A damaged file gives the sessions before the damage. The report names files that could not be read. Records that the
//! codec cannot carry are counted by reason. It is an error only if no session is left.

mod cut;
mod options;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
};

use netssm_wire::capture::{Labels, Progress, find_captures};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub use self::options::{Phase, PrepareOptions, SplitBy, Validation};
use crate::{
    codec::{self, Codec},
    corpus::{CORPUS_FORMAT, CorpusMeta, CorpusWriter, Source, Split, SplitMeta},
    error::DataError,
    timing::TimingTable,
};

/// Files encoded between two writes: enough to keep every core busy, few enough that their tokens fit in memory.
const BATCH_FILES: usize = 64;

/// What [`prepare`] did.
#[derive(Clone, Debug)]
pub struct PrepareReport {
    /// The new corpus' `corpus.json`: counts, sources, timing.
    pub meta: CorpusMeta,
    /// Captures found.
    pub files: u64,
    /// Captures that could not be read, or not to their end, each with the reason.
    pub faults: Vec<(PathBuf, String)>,
    /// Captures without a label.
    pub unlabelled: Vec<PathBuf>,
    /// Captures left out because another one has the same content.
    pub duplicates: Vec<PathBuf>,
    /// Sessions left out because they have fewer packets than [`PrepareOptions::min_packets`].
    pub short_sessions: u64,
    /// Labels of the vocabulary without a training session.
    pub empty_labels: Vec<String>,
}

/// A capture with its label and the split that it belongs to.
struct Input {
    path: PathBuf,
    label: String,
    split: Split,
    bytes: u64,
    sha256: String,
}

/// Makes a corpus directory.
///
/// # Errors
/// [`DataError`]: contradicting options, an unreadable folder or label list, an output that exists or cannot be
/// written, nothing left to write, or a stop that `progress` asked for ([`DataError::Stopped`]), which leaves nothing
/// behind.
pub fn prepare(options: &PrepareOptions, progress: &dyn Progress) -> Result<PrepareReport, DataError> {
    options.check()?;
    let labels = options.labels.as_deref().map_or_else(|| Ok(Labels::by_folder()), Labels::read)?;
    let mut report = Found::default();
    let inputs = find_inputs(options, &labels, progress, &mut report)?;
    let names: BTreeSet<&str> = inputs.iter().map(|input| input.label.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let codec = match &options.extend {
        Some((id, vocab)) => {
            let mut vocab = vocab.clone();
            vocab.extend(&names)?;
            codec::open(id, vocab)?
        }
        None => options.codec.over(&names)?,
    };
    let mut writer = CorpusWriter::create(&options.out)?;
    match encode_all(options, codec.as_ref(), &inputs, progress, &mut writer, report) {
        Ok((meta, report)) => {
            let meta = writer.finish(meta)?;
            let empty =
                |label: &&String| names.contains(&label.as_str()) && !meta.train.labels.contains_key(*label);
            let empty_labels = meta.vocab.labels().iter().filter(empty).cloned().collect();
            let Found { files, faults, unlabelled, duplicates, short_sessions } = report;
            Ok(PrepareReport { meta, files, faults, unlabelled, duplicates, short_sessions, empty_labels })
        }
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

/// What was found so far. It becomes the report.
#[derive(Default)]
struct Found {
    files: u64,
    faults: Vec<(PathBuf, String)>,
    unlabelled: Vec<PathBuf>,
    duplicates: Vec<PathBuf>,
    short_sessions: u64,
}

impl Found {
    fn nothing_left(&self) -> DataError {
        let mut reasons = String::new();
        for (path, fault) in self.faults.iter().take(5) {
            let _ = write!(reasons, "{}: {fault}; ", path.display());
        }
        for path in self.unlabelled.iter().take(5) {
            let _ = write!(reasons, "{}: no label matches; ", path.display());
        }
        if self.short_sessions > 0 {
            let _ = write!(reasons, "{} sessions are too short; ", self.short_sessions);
        }
        let reasons =
            if reasons.is_empty() { "no capture was found" } else { reasons.trim_end_matches("; ") };
        DataError::NothingLeft { files: self.files as usize, reasons: reasons.to_owned() }
    }
}

fn find_inputs(
    options: &PrepareOptions,
    labels: &Labels,
    progress: &dyn Progress,
    report: &mut Found,
) -> Result<Vec<Input>, DataError> {
    let mut paths: Vec<(PathBuf, Split)> = Vec::new();
    let train = find_captures(&options.inputs)?;
    paths.extend(train.into_iter().map(|path| (path, Split::Train)));
    if let Validation::Inputs(inputs) = &options.validation {
        let val = find_captures(inputs)?;
        paths.extend(val.into_iter().map(|path| (path, Split::Val)));
    }
    report.files = paths.len() as u64;
    let hashes: Vec<_> = paths
        .par_iter()
        .map(|(path, _)| if progress.stop() { Err(DataError::Stopped) } else { hash(path) })
        .collect();
    let mut inputs = Vec::new();
    let mut seen = HashSet::new();
    for ((path, split), hash) in paths.into_iter().zip(hashes) {
        let (sha256, bytes) = match hash {
            Ok(hash) => hash,
            Err(DataError::Io { source, .. }) => {
                report.faults.push((path, source.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(label) = labels.label(&path) else {
            report.unlabelled.push(path);
            continue;
        };
        if !seen.insert(sha256.clone()) {
            report.duplicates.push(path);
            continue;
        }
        let label = options.label_map.get(&label).cloned().unwrap_or(label);
        inputs.push(Input { path, label, split, bytes, sha256 });
    }
    if inputs.is_empty() {
        return Err(report.nothing_left());
    }
    if let Validation::Fraction(fraction) = options.validation {
        choose_validation(&mut inputs, fraction, options.seed);
    }
    Ok(inputs)
}

/// Moves a share of each label's files to validation, in the order of a hash of seed and content.
fn choose_validation(inputs: &mut [Input], fraction: f64, seed: u64) {
    let mut by_label = BTreeMap::<String, Vec<([u8; 32], usize)>>::new();
    for (index, input) in inputs.iter().enumerate() {
        let mut order = Sha256::new();
        order.update(seed.to_le_bytes());
        order.update(&input.sha256);
        by_label.entry(input.label.clone()).or_default().push((order.finalize().into(), index));
    }
    for files in by_label.values_mut().filter(|files| fraction > 0.0 && files.len() > 1) {
        files.sort_unstable();
        let share = ((files.len() as f64 * fraction).round() as usize).clamp(1, files.len() - 1);
        for &(_, index) in &files[..share] {
            inputs[index].split = Split::Val;
        }
    }
}

fn hash(path: &Path) -> Result<(String, u64), DataError> {
    let mut file = File::open(path).map_err(DataError::io("read", path))?;
    let mut hash = HashWriter { hash: Sha256::new(), bytes: 0 };
    std::io::copy(&mut file, &mut hash).map_err(DataError::io("read", path))?;
    Ok((hex::encode(hash.hash.finalize()), hash.bytes))
}

struct HashWriter {
    hash: Sha256,
    bytes: u64,
}

impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn encode_all(
    options: &PrepareOptions,
    codec: &dyn Codec,
    inputs: &[Input],
    progress: &dyn Progress,
    writer: &mut CorpusWriter,
    mut report: Found,
) -> Result<(CorpusMeta, Found), DataError> {
    progress.begin(inputs.len() as u64, inputs.iter().map(|input| input.bytes).sum());
    let mut skipped = BTreeMap::<String, u64>::new();
    let mut gaps = BTreeMap::<String, Vec<u64>>::new();
    let mut sources = Vec::new();
    let mut sessions = 0_u64;
    for batch in inputs.chunks(BATCH_FILES) {
        let encoded: Vec<_> = batch
            .par_iter()
            .map(|input| {
                if progress.stop() {
                    return Err(DataError::Stopped);
                }
                let encoded = cut::encode_file(&input.path, &input.label, codec, options)?;
                progress.file(input.bytes, encoded.packets());
                Ok(encoded)
            })
            .collect();
        for (input, encoded) in batch.iter().zip(encoded) {
            let encoded = encoded?;
            if let Some(fault) = encoded.fault {
                report.faults.push((input.path.clone(), fault));
            }
            report.short_sessions += encoded.short_sessions;
            for (reason, count) in encoded.skipped {
                *skipped.entry(reason.to_owned()).or_default() += count;
            }
            let Input { label, split, sha256, .. } = input;
            for session in encoded.sessions {
                writer.push(*split, label, &session.tokens, session.packets, sources.len())?;
                sessions += 1;
                // A codec that carries time needs no table of gaps.
                if *split == Split::Train && !codec.timed() {
                    gaps.entry(label.clone()).or_default().extend(session.gaps);
                }
            }
            let records = encoded.records;
            sources.push(Source { sha256: sha256.clone(), label: label.clone(), split: *split, records });
        }
    }
    if sessions == 0 {
        return Err(report.nothing_left());
    }
    let meta = CorpusMeta {
        format: CORPUS_FORMAT,
        codec: codec.id(),
        vocab: codec.vocab().clone(),
        made: options.summary(),
        train: SplitMeta::default(),
        val: SplitMeta::default(),
        skipped,
        timing: TimingTable::learn(gaps),
        sources,
    };
    Ok((meta, report))
}
