//! `netssmd evaluate`

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use netssm_model::fidelity::{ANALYSES, ROWS};

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
    /// The captures that the generator was trained on, if they are not the real ones: what must not come back.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub training: Vec<PathBuf>,
    /// The captures that generation began with: how far the sessions have moved from them.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub prompts: Vec<PathBuf>,
    /// An address, prefix, MAC address, name or name end (.example.org) of the training set that may come back. Repeat it for
    /// more.
    #[arg(long, value_name = "IDENTIFIER", requires = "synthetic")]
    pub allow: Vec<String>,
    /// Directory for report.json and index.html (likelihood.json with --likelihood); made if it is not there.
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
    /// Run and show only these parts of the report. Repeat it, or separate by commas.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = parts(), requires = "synthetic")]
    pub only: Vec<String>,
    /// Leave these parts out, likewise.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = parts(), conflicts_with = "only", requires = "synthetic")]
    pub skip: Vec<String>,
    /// Exit with 1 if the synthetic captures must not be given away, or if nothing has run that could tell.
    #[arg(long, requires = "synthetic")]
    pub gate: bool,
    /// Rules for Suricata, whose alerts are then counted on all sides. Without them it decodes and follows streams only.
    #[arg(long, value_name = "FILE", requires = "synthetic")]
    pub ids_rules: Option<PathBuf>,
    /// An IDS that takes longer than this for a side is stopped, and its answer left out.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = values::duration)]
    pub ids_limit: Duration,
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

/// The part of the report that asks an IDS; the other ones are the library's.
pub(crate) const IDS: &str = "ids";

fn parts() -> PossibleValuesParser {
    PossibleValuesParser::new([ROWS].into_iter().chain(ANALYSES.iter().copied()).chain([IDS]))
}

impl EvaluateArgs {
    /// Whether a part of the report was asked for.
    pub(crate) fn wants(&self, part: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == part);
        if self.only.is_empty() { !named(&self.skip) } else { named(&self.only) }
    }

    /// The checkpoint that is meant.
    pub(crate) fn checkpoint(&self) -> CheckpointChoice {
        CheckpointChoice::parse(&self.model)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: EvaluateArgs,
    }

    fn parse(more: &[&str]) -> Result<EvaluateArgs, clap::Error> {
        let always = ["evaluate", "--real", "r", "--synthetic", "s", "--out", "o"];
        Cli::try_parse_from(always.iter().chain(more)).map(|cli| cli.args)
    }

    #[test]
    fn parts_are_chosen_by_name() {
        let only = parse(&["--only", "rows,ids"]).expect("names that there are");
        assert!(only.wants("rows") && only.wants(IDS) && !only.wants("baseline"));
        let skip = parse(&["--skip", "rows", "--skip", "ids"]).expect("names that there are");
        assert!(!skip.wants("rows") && !skip.wants(IDS) && skip.wants("baseline"));
        assert!(parse(&[]).expect("fine").wants("anything"));
        assert!(parse(&["--only", "no-such-part"]).is_err());
        assert!(parse(&["--only", "rows", "--skip", "ids"]).is_err());
    }
}
