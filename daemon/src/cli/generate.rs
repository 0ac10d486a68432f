//! The arguments of `netssmd generate`, and the flags that every generating command shares.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use ipnet::IpNet;
use netssm_model::precision::Precision;
use netssm_model::sample::Policy;
use netssm_tokens::codec::Width;

use super::codec::width;
use super::values;
use crate::exit::{Failure, Outcome};
use crate::profile::{CheckpointChoice, DeviceChoice, RawModel, RawSchedule, RawTraffic};

/// Which model to use, and how it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// A checkpoint directory, or "builtin" for the model that ships with netssmd.
    #[arg(long, value_name = "DIR", default_value_t = RawModel::default().checkpoint.into_inner())]
    pub model: String,
    /// The directory is one of NetSSM's own training (config.json, weights, tokenizer.json), with this many bytes per
    /// packet: 94 for single flows, 106 with DNS headers, 128 for all.
    #[arg(long, value_name = "BYTES", value_parser = width)]
    pub width: Option<Width>,
    /// auto (a GPU if this build and host have one, else the CPU), cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Precision of decoding: f32; int8, on the CPU only; bf16 or bf16-state (the state too), on a GPU only. All but
    /// f32 are faster, and each gives other sessions.
    #[arg(long, default_value_t)]
    pub precision: Precision,
    /// Sessions generated side by side.
    #[arg(long, default_value_t = *RawModel::default().batch.get_ref() as u16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// CPU threads for the model, 0 for all.
    #[arg(long, default_value_t = *RawModel::default().threads.get_ref() as usize)]
    pub threads: usize,
}

impl ModelArgs {
    /// The checkpoint that `--model` names.
    pub(crate) fn checkpoint(&self) -> CheckpointChoice {
        CheckpointChoice::parse(&self.model)
    }
}

/// How tokens are drawn.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Divides the logits: below 1 likely tokens become likelier, above 1 less so, 0 always takes the likeliest token.
    #[arg(long, default_value_t = *RawModel::default().temperature.get_ref())]
    pub temperature: f64,
    /// Draw from the K likeliest tokens only, 0 for all.
    #[arg(long, value_name = "K", default_value_t = *RawModel::default().top_k.get_ref() as usize)]
    pub top_k: usize,
    /// Draw from the likeliest tokens that hold this share of the probability.
    #[arg(long, value_name = "P", default_value_t = *RawModel::default().top_p.get_ref())]
    pub top_p: f64,
    /// Drop tokens less likely than this share of the likeliest token's probability, 0 for none.
    #[arg(long, value_name = "P", default_value_t = *RawModel::default().min_p.get_ref())]
    pub min_p: f64,
    /// Drop tokens less likely than this, but fewer where many are about equally unlikely.
    #[arg(long, value_name = "P", default_value_t = *RawModel::default().eta.get_ref())]
    pub eta: f64,
    /// Make tokens less likely that were drawn lately, 1 for no penalty.
    #[arg(long, value_name = "R", default_value_t = *RawModel::default().repetition_penalty.get_ref())]
    pub repetition_penalty: f64,
}

impl SamplingArgs {
    /// The sampling policy of these flags.
    ///
    /// # Errors
    /// A usage failure if a value is out of range.
    pub(crate) fn policy(&self) -> Outcome<Policy> {
        let policy = Policy {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            eta: self.eta,
            repetition_penalty: self.repetition_penalty,
            ..Policy::default()
        };
        policy.validate().map_err(|error| Failure::usage(format_args!("{error}")))?;
        Ok(policy)
    }
}

/// The prefixes that hosts are mapped into.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct AddressArgs {
    /// Prefixes of the client side, separated by commas, IPv4 and IPv6. Default: 10.10.0.0/16,fd00:10:10::/64.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub clients: Vec<IpNet>,
    /// Prefixes of the server side. Default: 10.20.0.0/16,fd00:10:20::/64.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub servers: Vec<IpNet>,
    /// Take addresses, VLAN and policies from the `addresses` section of a profile.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["clients", "servers"])]
    pub profile: Option<PathBuf>,
}

/// Arguments of `netssmd generate`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("length").args(["packets", "tokens", "chain"]))]
pub(crate) struct GenerateArgs {
    /// Label of the sessions. Repeat it to mix labels in equal parts.
    #[arg(long, value_name = "LABEL", required = true)]
    pub label: Vec<String>,
    /// Sessions to generate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub sessions: u64,
    /// Packets of each session, unless the model ends it earlier.
    #[arg(long, default_value_t = *RawTraffic::default().packets.get_ref(), value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: u64,
    /// Tokens of each session instead of packets.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub tokens: Option<u64>,
    /// Chain models, each of which writes this many packets of a session: DIR=packets,DIR=packets,... for example one
    /// for handshakes, one for data, one for teardown.
    #[arg(long, value_name = "LINKS", value_delimiter = ',', value_parser = values::link, conflicts_with = "model")]
    pub chain: Vec<values::Link>,
    /// Seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The capture to write: a file, a pipe, a character device, or - for standard output. The label file of a capture
    /// file lies beside it, with .labels.jsonl in place of the extension.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Start sessions from the first packets of captures, which the model continues: a file, or a folder that is
    /// searched. The sessions of a label take the captures in turn, in order of path. With several labels, a capture in
    /// a folder with the name of one of them is for that label only.
    #[arg(long, value_name = "PATH")]
    pub prompt: Vec<PathBuf>,
    /// Packets of --prompt to start from.
    #[arg(long, value_name = "N", default_value_t = 16, requires = "prompt", value_parser = clap::value_parser!(u64).range(1..))]
    pub prompt_packets: u64,
    /// Packets at the end of a link of --chain that the next link reads before it continues.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "chain", value_parser = clap::value_parser!(u64).range(1..))]
    pub chain_seed: u64,
    /// Sessions started per second on average, in the time of the capture.
    #[arg(long, default_value_t = *RawSchedule::default().rate.get_ref())]
    pub rate: f64,
    /// First moment of the capture: RFC 3339, seconds since 1970, or "now".
    #[arg(long, value_name = "TIME", default_value = values::EPOCH, value_parser = values::wall_time)]
    pub start: values::Start,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub addresses: AddressArgs,
    /// Time between packets for a model that has none, such as NetSSM's own: 20ms for example.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub gap: Option<Duration>,
    /// Print a summary as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
