//! The arguments of `netssmd evaluate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};
use ipnet::IpNet;
use netssm_fidelity::analyses::dynamics::Servers;
use netssm_fidelity::{ANALYSES, ROWS};
use netssm_model::precision::Precision;

use super::values;
use crate::profile::{CheckpointChoice, DeviceChoice};

/// Arguments of `netssmd evaluate`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["synthetic", "likelihood"]).required(true))]
pub(crate) struct EvaluateArgs {
    /// Real captures: a file, or a folder that is searched. Repeat it for more.
    #[arg(long, value_name = "PATH", required = true)]
    pub real: Vec<PathBuf>,
    /// Synthetic captures: a file, or a folder that is searched. Repeat it for more. If FILE.labels.jsonl lies beside a
    /// capture, as generate writes it, it splits the capture into sessions and labels them. Any other capture is one
    /// session.
    #[arg(long, value_name = "PATH", requires = "out")]
    pub synthetic: Vec<PathBuf>,
    /// A second set of real captures. The report also compares the real captures with it, as the floor.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub floor: Vec<PathBuf>,
    /// The captures that the generator was trained on, if they are not the real ones. The report checks that their
    /// identifiers and sessions do not come back.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub training: Vec<PathBuf>,
    /// The captures that generation began with. The report shows how far the sessions have moved from them.
    #[arg(long, value_name = "PATH", requires = "synthetic")]
    pub prompts: Vec<PathBuf>,
    /// An address, prefix, MAC address, name or name end (.example.org) of the training set that may come back. Repeat
    /// it for more.
    #[arg(long, value_name = "IDENTIFIER", value_parser = values::identifier, requires = "synthetic")]
    pub allow: Vec<String>,
    /// Packets at the start of each session that the similarity analysis leaves out on all sides: those of a prompt,
    /// which are real.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "synthetic")]
    pub seed_packets: usize,
    /// Servers whose downloads the application dynamics analyse, by TCP or UDP port. [default: 443 and 80]
    #[arg(long, value_name = "PORT", value_delimiter = ',', group = "servers", requires = "synthetic")]
    pub server_port: Vec<u16>,
    /// Servers whose downloads the application dynamics analyse, by address.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',', group = "servers", requires = "synthetic")]
    pub server_prefix: Vec<IpNet>,
    /// Servers whose downloads the application dynamics analyse, by name: the addresses that a session's DNS answers
    /// give for this name or one below it. If the synthetic side has no such answers, the real side's count.
    #[arg(long, value_name = "NAME", value_delimiter = ',', group = "servers", requires = "synthetic")]
    pub server_name: Vec<String>,
    /// CSV with the columns label,service: which labels downstream utility groups as one service. Without it, the
    /// service is the first part of the label (video/netflix).
    #[arg(long, value_name = "CSV", requires = "synthetic")]
    pub services: Option<PathBuf>,
    /// Directory for report.json and index.html (likelihood.json with --likelihood). It is created if it does not
    /// exist.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// CSV with the columns file,label, as prepare takes it, for all captures without a label file. Without it, the
    /// label is the folder's name.
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Packets to read of each session, 0 for all. Use it if synthetic sessions are shorter than real ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_packets: u64,
    /// A silence longer than this ends a session and starts another. 0s for never.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::duration)]
    pub gap: Duration,
    /// Run and show only these parts of the report. Repeat it, or separate by commas.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = parts(), requires = "synthetic")]
    pub only: Vec<String>,
    /// Leave these parts of the report out. Repeat it, or separate by commas.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = parts(), conflicts_with = "only", requires = "synthetic")]
    pub skip: Vec<String>,
    /// Exit with code 1 if the report says that the synthetic captures must not be given away, or if no analysis ran
    /// that can tell.
    #[arg(long, requires = "synthetic")]
    pub gate: bool,
    /// Rules for Suricata. Their alerts are then counted on all sides. Without rules it only decodes packets and
    /// follows streams.
    #[arg(long, value_name = "FILE", requires = "synthetic")]
    pub ids_rules: Option<PathBuf>,
    /// Longest time that an IDS may take for a side. Then it is stopped and its answer left out.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = values::duration)]
    pub ids_limit: Duration,
    /// Instead of comparing, report how well a checkpoint predicts the real captures: nats per token and per packet.
    #[arg(long)]
    pub likelihood: bool,
    /// With --likelihood, the checkpoint directory, or "builtin".
    #[arg(long, value_name = "DIR", default_value = "builtin")]
    pub model: String,
    /// With --likelihood, the device of the model: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// With --likelihood, the precision of the model: f32, or int8, on the CPU only. With int8 sessions are read token
    /// by token, as in generation, which is several times slower.
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// CPU threads, 0 for all.
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Name of the report's part that asks an IDS. The names of all other parts come from the library.
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

    /// The servers whose downloads are analysed.
    pub(crate) fn servers(&self) -> Servers {
        if !self.server_name.is_empty() {
            Servers::Names(self.server_name.clone())
        } else if !self.server_prefix.is_empty() {
            Servers::Prefixes(self.server_prefix.clone())
        } else if !self.server_port.is_empty() {
            Servers::Ports(self.server_port.clone())
        } else {
            Servers::default()
        }
    }

    /// The checkpoint that `--model` names.
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
    fn servers_are_chosen_in_one_way() {
        let servers = |more: &[&str]| parse(more).map(|args| args.servers());
        assert_eq!(servers(&[]).expect("default"), Servers::default());
        assert_eq!(servers(&["--server-port", "443,8443"]).expect("ports"), Servers::Ports(vec![443, 8443]));
        let names =
            servers(&["--server-name", "example.org", "--server-name", "example.net"]).expect("names");
        assert_eq!(names, Servers::Names(vec!["example.org".into(), "example.net".into()]));
        let prefix = servers(&["--server-prefix", "10.0.0.0/8"]).expect("a prefix");
        assert_eq!(prefix, Servers::Prefixes(vec!["10.0.0.0/8".parse().expect("a prefix")]));
        assert!(servers(&["--server-port", "443", "--server-name", "example.org"]).is_err());
        assert!(servers(&["--server-prefix", "10.0.0.0/33"]).is_err());
    }

    #[test]
    fn what_may_come_back_has_a_form() {
        let good = ["10.0.0.0/8", "fe80::1", "02:00:00:00:00:01", "printer", "1234", ".example.org"];
        good.iter().for_each(|entry| assert!(parse(&["--allow", entry]).is_ok(), "{entry}"));
        let bad = ["10.0.0.0/33", "192.168.1.300", "02:00:00:00:01", "", "name/8"];
        bad.iter().for_each(|entry| assert!(parse(&["--allow", entry]).is_err(), "{entry}"));
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

    #[test]
    fn a_precision_is_one_of_those_there_are() {
        assert_eq!(parse(&[]).expect("fine").precision, Precision::F32);
        assert_eq!(parse(&["--precision", "int8"]).expect("fine").precision, Precision::Int8);
        let error = parse(&["--precision", "fp8"]).expect_err("there is none").to_string();
        assert!(
            error.contains("unknown precision \"fp8\"; expected f32, int8, bf16 or bf16-state"),
            "{error}"
        );
    }
}
