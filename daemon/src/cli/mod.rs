//! The command line. Its help text is the reference documentation of the program.
//!
//! These structs hold the parsed arguments. [`crate::commands`] checks them against files and against each other.

pub(crate) mod bench;
pub(crate) mod codec;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod train;
pub(crate) mod values;
pub(crate) mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::logging::LogOptions;

/// Synthetic network sessions on a wire and in rolling captures.
///
/// netssmd generates multi-flow sessions with a Mamba-2 model, maps every address into a testbed, and injects the
/// packets on interfaces or writes them to rolling captures. Exit codes: 0 ok, 1 run time, 64 usage, 78 configuration.
#[derive(Debug, Parser)]
#[command(name = "netssmd", version, propagate_version = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub log: LogOptions,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon: play generated sessions as a profile says, until told to stop.
    ///
    /// SIGHUP reads the profile again. A bad profile is refused, and the old one stays. A good one applies to new
    /// sessions, while live ones finish. SIGTERM and SIGINT stop: no new session starts, live ones get the profile's
    /// grace period, then outputs are closed. A second one stops at once.
    Run(RunArgs),
    /// Check a profile: OK with a summary, or every problem with file:line:column and what would be right.
    ///
    /// Opens no device and no socket. Reads the label list of the checkpoint that the profile names.
    Check(CheckArgs),
    /// Generate sessions into one capture file, as fast as the model can.
    ///
    /// Sessions start by a Poisson process on a virtual clock, which begins at --start. The same options and seed give
    /// the same bytes on the CPU, whatever --batch and --threads are. The labels of all flows are written beside the
    /// capture, in FILE.labels.jsonl.
    Generate(generate::GenerateArgs),
    /// Turn captures into a training corpus.
    Prepare(train::PrepareArgs),
    /// Train a model on a corpus, or fine-tune one.
    ///
    /// SIGTERM and SIGINT stop after the current step and write a checkpoint. --resume continues from it; on the CPU
    /// the result is bit for bit the same as without the stop.
    Train(train::TrainArgs),
    /// Encode captures with a codec: does it give back what it was given, and how many tokens does it take?
    #[command(subcommand)]
    Codec(codec::CodecCommand),
    /// Compare synthetic captures with real ones, or report how well a checkpoint predicts real ones.
    ///
    /// docs/fidelity.md defines every measure. The result is a table on standard output and report.json in --out.
    Evaluate(evaluate::EvaluateArgs),
    /// Replay a capture on an interface through the rewriter, like tcpreplay, on the daemon's engine.
    Replay(wire::ReplayArgs),
    /// Rewrite a capture into the addresses of a testbed, into another capture.
    Rewrite(wire::RewriteArgs),
    /// Measure speed. The numbers in README come from here.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Arguments of `netssmd run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The replay profile.
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// Stop after this time, such as 30s, 10m or 8h, as if SIGTERM had come.
    #[arg(long = "for", value_name = "TIME", value_parser = values::duration)]
    pub stop_after: Option<Duration>,
    /// Run the schedule on a virtual clock, as fast as sessions are generated, for profiles that only write captures.
    /// The same profile, model and seed then give the same bytes. Times in the captures begin at --start. No session is
    /// played twice.
    #[arg(long)]
    pub virtual_clock: bool,
    /// First moment of the virtual clock: RFC 3339, seconds since 1970, or "now".
    #[arg(long, value_name = "TIME", default_value = values::EPOCH, value_parser = values::wall_time)]
    pub start: values::Start,
    /// Print a summary as JSON on standard output at the end.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `netssmd check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The replay profile.
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// Also check what depends on this host, such as whether the interfaces exist. Without it that is only a warning,
    /// since a profile is often checked on another machine.
    #[arg(long)]
    pub host: bool,
    /// Print the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_line_s_defaults_are_those_of_a_profile() {
        use crate::profile::{CheckpointChoice, RawModel};
        let cli = Cli::try_parse_from(["netssmd", "generate", "--label", "x", "--out", "y"]).unwrap();
        let Command::Generate(args) = cli.command else { panic!("another command") };
        let profile = RawModel::default();
        assert_eq!(args.model.checkpoint(), CheckpointChoice::parse(profile.checkpoint.get_ref()));
        assert_eq!(Ok(args.model.device), profile.device.get_ref().parse());
        assert_eq!(args.model.precision.as_str(), profile.precision.get_ref());
    }

    #[test]
    fn every_command_and_flag_has_help() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path} {} has no help", arg.get_id());
            }
            command.get_subcommands().for_each(|sub| visit(sub, &path));
        }
        visit(&Cli::command(), "");
    }

    #[test]
    fn the_design_s_command_lines_parse() {
        for line in [
            "netssmd run --profile P --for 30s",
            "netssmd check P",
            "netssmd generate --label L --sessions 3 --packets 200 --seed 7 --out F.pcap --model builtin --device cpu \
             --prompt SEED.pcap --temperature 0.9 --top-k 5 --top-p 0.9 --min-p 0.01",
            "netssmd prepare --in DIR --labels labels.csv --out CORPUS --codec bytes --split sessions",
            "netssmd prepare --in DIR --out CORPUS --codec flow --fine false --slots fixed",
            "netssmd train --corpus CORPUS --config M.toml --out DIR --resume",
            "netssmd train --corpus CORPUS --config M.toml --out DIR --init DIR",
            "netssmd codec roundtrip --codec bytes A.pcap B.pcap",
            "netssmd codec stats --codec bytes A.pcap",
            "netssmd codec roundtrip --codec flow --limit 8000 A.pcap",
            "netssmd evaluate --real DIR --synthetic DIR --floor DIR --out REPORT --labels labels.csv",
            "netssmd evaluate --likelihood --model CHECKPOINT --real DIR --max-packets 500 --json",
            "netssmd replay FILE.pcap --interface I --speed top",
            "netssmd replay FILE.pcap --interface I --speed 1.5 --profile P",
            "netssmd rewrite IN.pcap OUT.pcap --profile P",
            "netssmd bench generate --json",
            "netssmd bench scan",
            "netssmd bench inject",
            "netssmd bench write",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for line in [
            "netssmd run",
            "netssmd generate --label L --packets 3 --tokens 4 --out F",
            "netssmd generate --out F",
            "netssmd generate --label L --chain d=1 --model x --out F",
            "netssmd train --corpus C --out D --resume --init E",
            "netssmd run --profile P --for 3parsecs",
            "netssmd codec roundtrip",
            "netssmd evaluate --real DIR",
            "netssmd evaluate --real DIR --synthetic DIR",
            "netssmd evaluate --real DIR --synthetic DIR --likelihood --out R",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
