//! `netssmd prepare`: encodes captures into a corpus.

use std::collections::BTreeMap;

use netssm_tokens::DataError;
use netssm_tokens::codec::{CodecId, Vocab};
use netssm_tokens::corpus::Split;
use netssm_tokens::prepare::{PrepareOptions, PrepareReport, Validation, prepare};
use netssm_wire::capture::InputError;
use serde::Serialize;

use super::follow::Follower;
use super::tell;
use crate::cli::train::PrepareArgs;
use crate::exit::{Failure, Outcome};
use crate::models;
use crate::profile::CheckpointChoice;
use crate::signals::StopFlag;

#[derive(Debug, Serialize)]
struct Report {
    corpus: String,
    codec: String,
    files: u64,
    duplicates: usize,
    unlabelled: usize,
    faults: BTreeMap<String, String>,
    short_sessions: u64,
    labels: usize,
    empty_labels: Vec<String>,
    train: Counted,
    val: Counted,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Counted {
    sessions: u64,
    packets: u64,
    tokens: u64,
}

/// Runs the command.
pub(crate) fn run(args: &PrepareArgs) -> Outcome {
    let codec = args.codec.choice()?;
    let extend = extend(args)?;
    let options = PrepareOptions {
        inputs: args.input.clone(),
        labels: args.labels.clone(),
        label_map: args.rename.iter().cloned().collect(),
        out: args.out.clone(),
        codec,
        extend,
        split: args.split,
        phase: args.phase,
        validation: if args.val.is_empty() {
            Validation::Fraction(args.val_share)
        } else {
            Validation::Inputs(args.val.clone())
        },
        max_packets: args.max_packets,
        min_packets: args.min_packets,
        gap: (!args.gap.is_zero()).then_some(args.gap),
        seed: args.seed,
    };
    let follower = Follower::new("prepare", StopFlag::install()?, args.json);
    let report = prepare(&options, &follower).map_err(|error| match error {
        DataError::Options(_) => Failure::Usage(error.into()),
        DataError::Input(InputError::Labels { .. }) => Failure::Config(error.into()),
        other => Failure::Run(other.into()),
    })?;
    let seconds = follower.finish().as_secs_f64();
    tell(args.json, &summarise(args, &report, seconds), |r| {
        let mut text = String::new();
        for (path, why) in &r.faults {
            text += &format!("damaged: {path}: {why}\n");
        }
        text += &format!(
            "{}: {} of {} labels; to train {} sessions, {} packets, {} tokens; to validate {}, {}, {}; {:.1} s",
            r.corpus,
            r.codec,
            r.labels,
            r.train.sessions,
            r.train.packets,
            r.train.tokens,
            r.val.sessions,
            r.val.packets,
            r.val.tokens,
            r.seconds
        );
        text
    })
}

/// Codec and vocabulary of the checkpoint to extend. If the user names a codec, it must be the checkpoint's.
fn extend(args: &PrepareArgs) -> Outcome<Option<(CodecId, Vocab)>> {
    let Some(dir) = &args.extend else { return Ok(None) };
    let checkpoint = models::open(&CheckpointChoice::parse(&dir.to_string_lossy()))?;
    let manifest = checkpoint.manifest();
    if args.codec.is_given() {
        let typed = args.codec.choice()?.over(checkpoint.labels())?.id();
        if typed != manifest.codec {
            return Err(Failure::usage(format_args!(
                "{} has codec {}, but {typed} was asked for: a checkpoint is fine-tuned with its own codec",
                dir.display(),
                manifest.codec
            )));
        }
    }
    Ok(Some((manifest.codec.clone(), manifest.vocab.clone())))
}

fn summarise(args: &PrepareArgs, report: &PrepareReport, seconds: f64) -> Report {
    let counted = |split| {
        let total = report.meta.split(split).total;
        Counted { sessions: total.sessions, packets: total.packets, tokens: total.tokens }
    };
    Report {
        corpus: args.out.display().to_string(),
        codec: report.meta.codec.to_string(),
        files: report.files,
        duplicates: report.duplicates.len(),
        unlabelled: report.unlabelled.len(),
        faults: report.faults.iter().map(|(path, why)| (path.display().to_string(), why.clone())).collect(),
        short_sessions: report.short_sessions,
        labels: report.meta.vocab.labels().len(),
        empty_labels: report.empty_labels.clone(),
        train: counted(Split::Train),
        val: counted(Split::Val),
        seconds,
    }
}
