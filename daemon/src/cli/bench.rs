//! The arguments of `netssmd bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::generate::{ModelArgs, SamplingArgs};
use crate::profile::DeviceChoice;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Tokens and packets per second of generation, by batch size, and their share of what this machine can copy and
    /// multiply at most. Copying is measured with half a GiB per thread.
    Generate(BenchGenerateArgs),
    /// Tokens per second of each form of the selective scan, its largest difference from the reference, and its share
    /// of what this machine can copy and multiply at most.
    Scan(BenchScanArgs),
    /// Packets per second on an interface, compared with tcpreplay in the same run if it is installed. Without
    /// --interface it uses a veth pair in a network namespace of its own, and also shows how many packets arrived at
    /// the far end.
    Inject(BenchInjectArgs),
    /// Packets and bytes per second into rolling captures.
    Write(BenchWriteArgs),
}

/// Arguments of `netssmd bench generate`.
#[derive(Debug, Args)]
pub(crate) struct BenchGenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Measure an untrained model: random weights in the sizes of this training configuration, with --model's codec and
    /// labels.
    #[arg(long, value_name = "M.toml")]
    pub untrained: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Label to generate. Without it, the model's first label.
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

/// Arguments of `netssmd bench scan`.
#[derive(Debug, Args)]
pub(crate) struct BenchScanArgs {
    /// Tokens of each sequence.
    #[arg(long, value_delimiter = ',', default_values_t = [256, 1024, 4096])]
    pub lengths: Vec<usize>,
    /// Number of sequences in a batch.
    #[arg(long, default_value_t = 2)]
    pub batch: usize,
    /// Number of heads.
    #[arg(long, default_value_t = 8)]
    pub heads: usize,
    /// Channels of each head.
    #[arg(long, default_value_t = 64)]
    pub headdim: usize,
    /// State size.
    #[arg(long, default_value_t = 64)]
    pub d_state: usize,
    /// Tokens of each chunk, for the chunked form.
    #[arg(long, default_value_t = 128)]
    pub chunk: usize,
    /// cpu, or cuda:N for the forms that a GPU has.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceChoice,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `netssmd bench inject`.
#[derive(Debug, Args)]
pub(crate) struct BenchInjectArgs {
    /// Interface to send on, instead of a veth pair in a namespace of its own.
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Frame lengths in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [72, 1400])]
    pub sizes: Vec<usize>,
    /// Frames of each measurement.
    #[arg(long, default_value_t = 1_000_000)]
    pub packets: u64,
    /// Measurements of each frame length. The median is shown, and all of them with --json.
    #[arg(long, default_value_t = 3)]
    pub repeat: usize,
    /// Print the numbers as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `netssmd bench write`.
#[derive(Debug, Args)]
pub(crate) struct BenchWriteArgs {
    /// Directory to write in. Without it, a temporary directory that is removed afterwards.
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
