//! The profile as the program uses it: addresses parsed, ranges checked, choices made. Nothing is opened here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use netssm_model::precision::Precision;
use netssm_model::sample::Policy;
use netssm_replay::pace::Speed;
use netssm_replay::rewrite::AddressPlan;

/// A checked profile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    /// Name of the profile, for logs and the summary of a run.
    pub name: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Which model, and how it samples.
    pub model: Model,
    /// How many sessions should be ready.
    pub pool_sessions: u64,
    /// How often one session may be played.
    pub reuse: u64,
    /// The labels to generate. At least one.
    pub traffic: Vec<Traffic>,
    /// When sessions start.
    pub arrivals: Arrivals,
    /// How fast time runs inside sessions.
    pub speed: Speed,
    /// The prefixes that hosts are mapped into. It has passed [`AddressPlan::validate`].
    pub addresses: AddressPlan,
    /// The outputs. At least one.
    pub outputs: Outputs,
    /// Prefixes that may occur in a frame.
    pub allow: Vec<IpNet>,
    /// Whether to install nftables rules.
    pub nftables: bool,
    /// Interfaces that traffic arrives on, each with its place in the file (`file:line:column`).
    pub quiet: Vec<(String, String)>,
    /// Where the admin server listens. `None` for no server.
    pub metrics: Option<SocketAddr>,
    /// How long live sessions may go on after a stop.
    pub grace: Duration,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    /// The checkpoint.
    pub checkpoint: CheckpointChoice,
    /// The device that the model runs on.
    pub device: DeviceChoice,
    /// The precision of decoding.
    pub precision: Precision,
    /// Number of sessions that are generated side by side.
    pub batch: usize,
    /// CPU threads, 0 for all.
    pub threads: usize,
    /// How tokens are drawn.
    pub policy: Policy,
}

/// Which checkpoint to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointChoice {
    /// The checkpoint that ships with the program.
    Builtin,
    /// A checkpoint directory.
    Path(PathBuf),
}

impl CheckpointChoice {
    /// Parses "builtin" or a path.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "builtin" { Self::Builtin } else { Self::Path(text.into()) }
    }
}

/// Which device the model runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// A GPU if this build and host have one.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("unknown device \"{other}\"; expected auto, cpu or cuda:N")),
        }
    }
}

/// The parameters of the arrival process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrivals {
    /// Sessions per second, on average.
    pub rate: f64,
    /// Most sessions on the wire at one time.
    pub max_concurrent: u64,
    /// Number of sessions in all. 0 for no end.
    pub limit: u64,
    /// Weight of each label.
    pub weights: Vec<f64>,
}

/// `[[traffic]]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Traffic {
    /// A label of the model.
    pub label: Arc<str>,
    /// Weight relative to the other entries.
    pub weight: f64,
    /// Most packets of one session.
    pub packets: u64,
}

/// `[output]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// Interfaces to send on.
    pub interfaces: Vec<Interface>,
    /// Rolling captures to write.
    pub pcap: Option<Pcap>,
}

/// `[[output.interface]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name of the interface.
    pub name: String,
    /// The direction that it sends.
    pub sends: Sends,
    /// What happens to frames that are too long for it.
    pub mtu: MtuChoice,
    /// `file:line:column` of the name, for messages that only a look at the host can give.
    pub place: String,
}

/// The direction that an interface sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
    /// All frames.
    Both,
    /// Frames from clients.
    ToServer,
    /// Frames from servers.
    ToClient,
}

/// What happens to frames that are too long for an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MtuChoice {
    /// They are dropped and counted.
    Drop,
    /// Stop the run.
    Refuse,
}

/// `[output.pcap]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pcap {
    /// Directory of the files.
    pub directory: PathBuf,
    /// Start of every file name.
    pub prefix: String,
    /// Most bytes of a file. 0 for no limit.
    pub max_bytes: u64,
    /// Most seconds of wall-clock time in a file. 0 for no limit.
    pub max_seconds: u64,
    /// Most packets of a file. 0 for no limit.
    pub max_packets: u64,
    /// Most bytes of all files in the directory. 0 for no limit.
    pub directory_bytes: u64,
}
