//! The arguments of `netssmd prepare` and `netssmd train`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use netssm_tokens::prepare::{Phase, SplitBy};

use super::codec::CodecArgs;
use super::values;
use crate::profile::DeviceChoice;

fn split(text: &str) -> Result<SplitBy, String> {
    text.parse().map_err(|error: netssm_tokens::DataError| error.to_string())
}

fn phase(text: &str) -> Result<Phase, String> {
    text.parse().map_err(|error: netssm_tokens::DataError| error.to_string())
}

/// Arguments of `netssmd prepare`.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Captures, or folders that are searched for them. Repeat it for more.
    #[arg(long = "in", value_name = "PATH", required = true)]
    pub input: Vec<PathBuf>,
    /// CSV with the columns file,label. A file is a file name, a folder ending in "/", or a pattern with * and **,
    /// which must match the end of a capture's path. The first line that matches wins, and {folder} in a label is the
    /// capture's folder. Without it, the label is the folder's name.
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Rename a label: OLD=NEW, after --labels has applied. Repeat it, also to merge several labels into one.
    #[arg(long, value_name = "OLD=NEW", value_parser = rename)]
    pub rename: Vec<(String, String)>,
    /// The corpus directory to create. It must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub codec: CodecArgs,
    /// What one sequence is: "sessions" for everything in a capture with its flows interleaved, or "flows" for one
    /// five-tuple.
    #[arg(long, default_value = "sessions", value_parser = split)]
    pub split: SplitBy,
    /// With --split flows, the part of each flow that is kept, to fine-tune one model per phase: all, handshake, data
    /// or teardown.
    #[arg(long, default_value = "all", value_parser = phase)]
    pub phase: Phase,
    /// Validate on this share of each label's captures.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, conflicts_with = "val")]
    pub val_share: f64,
    /// Validate on these captures or folders instead. Repeat it for more.
    #[arg(long, value_name = "PATH")]
    pub val: Vec<PathBuf>,
    /// Most packets of a session. The rest is left out.
    #[arg(long, value_name = "N")]
    pub max_packets: Option<u64>,
    /// Leave out sessions with fewer packets.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub min_packets: u64,
    /// A silence longer than this ends a session and starts another. 0s for never.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::duration)]
    pub gap: Duration,
    /// Take codec and labels of this checkpoint (or "builtin") and add the new labels, so that it can be fine-tuned on
    /// the corpus.
    #[arg(long, value_name = "DIR")]
    pub extend: Option<PathBuf>,
    /// Seed that chooses the validation captures.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print a report as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

fn rename(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.into(), new.into())),
        _ => Err("expected OLD=NEW".into()),
    }
}

/// Arguments of `netssmd train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// A corpus that `prepare` made.
    #[arg(long, value_name = "DIR")]
    pub corpus: PathBuf,
    /// Sizes and training parameters as TOML. Every key has a default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the run: checkpoints, the log train.jsonl, the effective configuration.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Continue from the newest checkpoint in --out, or start a new run if there is none.
    #[arg(long, conflicts_with = "init")]
    pub resume: bool,
    /// Start from the weights of this checkpoint (or "builtin"): fine-tuning. Labels of the corpus that it does not
    /// know extend its vocabulary.
    #[arg(long, value_name = "DIR")]
    pub init: Option<String>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Number of training steps, instead of the configuration's.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
