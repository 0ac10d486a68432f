//! `netssmd bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::generate::{ModelArgs, SamplingArgs};
use crate::profile::DeviceChoice;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Tokens and packets a second of generation, by batch size, beside what this machine can copy and multiply at most.
    /// Copying is measured with half a GiB a thread.
    Generate(BenchGenerateArgs),
    /// Tokens a second of the selective scan, every implementation side by side, with the largest difference to the
    /// reference, beside what this machine can copy and multiply at most.
    Scan(BenchScanArgs),
    /// Packets a second on an interface, against tcpreplay in the same run where it is installed. Without --interface
    /// on a veth pair in a network namespace of its own, with the far end's count beside.
    Inject(BenchInjectArgs),
    /// Packets and bytes a second into rolling captures.
    Write(BenchWriteArgs),
}

/// `netssmd bench generate`
#[derive(Debug, Args)]
pub(crate) struct BenchGenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Measure a model that nobody trained: random weights in the sizes of this training configuration, over --model's codec
    /// and labels.
    #[arg(long, value_name = "M.toml")]
    pub untrained: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Label to generate; the model's first one if none is given.
    #[arg(long)]
    pub label: Option<String>,
    /// Batch sizes to measure, in place of --batch.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub batches: Vec<u16>,
    /// Packets of each session.
    #[arg(long, default_value_t = 50)]
    pub packets: u64,
    /// Seconds to measure each batch size for.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `netssmd bench scan`
#[derive(Debug, Args)]
pub(crate) struct BenchScanArgs {
    /// Tokens of each sequence.
    #[arg(long, value_delimiter = ',', default_values_t = [256, 1024, 4096])]
    pub lengths: Vec<usize>,
    /// Sequences side by side.
    #[arg(long, default_value_t = 2)]
    pub batch: usize,
    /// Heads.
    #[arg(long, default_value_t = 8)]
    pub heads: usize,
    /// Channels of a head.
    #[arg(long, default_value_t = 64)]
    pub headdim: usize,
    /// State size.
    #[arg(long, default_value_t = 64)]
    pub d_state: usize,
    /// Tokens of a chunk, of the form in tensor operations.
    #[arg(long, default_value_t = 128)]
    pub chunk: usize,
    /// cpu, or cuda:N for the forms that a GPU has.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceChoice,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `netssmd bench inject`
#[derive(Debug, Args)]
pub(crate) struct BenchInjectArgs {
    /// Interface to send on, in place of a veth pair in a namespace of its own.
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Frame lengths in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [72, 1400])]
    pub sizes: Vec<usize>,
    /// Frames of each measurement.
    #[arg(long, default_value_t = 1_000_000)]
    pub packets: u64,
    /// Measurements of each; the median is told, and all of them with --json.
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `netssmd bench write`
#[derive(Debug, Args)]
pub(crate) struct BenchWriteArgs {
    /// Directory to write in; a temporary one that is removed again if none is given.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Frame lengths in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [72, 1400])]
    pub sizes: Vec<usize>,
    /// Frames of each measurement.
    #[arg(long, default_value_t = 1_000_000)]
    pub packets: u64,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}
