//! `netssmd evaluate`

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::values;
use crate::profile::{CheckpointChoice, DeviceChoice};

/// `netssmd evaluate`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["synthetic", "likelihood"]).required(true))]
pub(crate) struct EvaluateArgs {
    /// Real captures: a file, or a folder that is searched; repeat it for more.
    #[arg(long, value_name = "PATH", required = true)]
    pub real: Vec<PathBuf>,
    /// Synthetic captures, likewise. One with FILE.labels.jsonl beside it, as generate writes, is cut into its sessions and
    /// labelled by that; any other is one session.
    #[arg(long, value_name = "PATH", requires = "out")]
    pub synthetic: Vec<PathBuf>,
    /// A second set of real captures: how far real is from real, shown beside.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub floor: Vec<PathBuf>,
    /// Directory for report.json (likelihood.json with --likelihood); made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// CSV with the columns file,label, as prepare takes it, for all captures without a label file. Without it the label is
    /// the folder's name.
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Look at this many packets of each session, 0 for all: synthetic sessions may be shorter than real ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_packets: u64,
    /// A silence longer than this ends a session and starts another; 0s for never.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::duration)]
    pub gap: Duration,
    /// Instead of comparing, say how well a checkpoint predicts the real captures: nats a token and a packet.
    #[arg(long)]
    pub likelihood: bool,
    /// With --likelihood, the checkpoint directory, or "builtin".
    #[arg(long, value_name = "DIR", default_value = "builtin")]
    pub model: String,
    /// With --likelihood, where it runs: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// CPU threads, 0 for all.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

impl EvaluateArgs {
    /// The checkpoint that is meant.
    pub(crate) fn checkpoint(&self) -> CheckpointChoice {
        CheckpointChoice::parse(&self.model)
    }
}
