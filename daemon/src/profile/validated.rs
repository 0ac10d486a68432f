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
    /// For logs.
    pub name: String,
    /// Seed of everything drawn.
    pub seed: u64,
    /// Which model, and how it samples.
    pub model: Model,
    /// Sessions kept ready.
    pub pool_sessions: u64,
    /// Plays of one session at most.
    pub reuse: u64,
    /// At least one.
    pub traffic: Vec<Traffic>,
    /// When sessions start.
    pub arrivals: Arrivals,
    /// How fast time inside sessions runs.
    pub speed: Speed,
    /// Where hosts are mapped to; passed [`AddressPlan::validate`].
    pub addresses: AddressPlan,
    /// At least one.
    pub outputs: Outputs,
    /// Prefixes that may occur in a frame.
    pub allow: Vec<IpNet>,
    /// Put up nftables rules.
    pub nftables: bool,
    /// Interfaces that traffic arrives on, and where in the file each is named.
    pub quiet: Vec<(String, String)>,
    /// Where the admin server listens; `None` for not at all.
    pub metrics: Option<SocketAddr>,
    /// How long live sessions may go on after a stop.
    pub grace: Duration,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    /// Where the weights are.
    pub checkpoint: CheckpointChoice,
    /// Where it runs.
    pub device: DeviceChoice,
    /// What it multiplies in.
    pub precision: Precision,
    /// Sessions side by side.
    pub batch: usize,
    /// CPU threads, 0 for all.
    pub threads: usize,
    /// How tokens are chosen.
    pub policy: Policy,
}

/// Which checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointChoice {
    /// The one that ships with the program.
    Builtin,
    /// A directory.
    Path(PathBuf),
}

impl CheckpointChoice {
    /// "builtin" or a path.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "builtin" { Self::Builtin } else { Self::Path(text.into()) }
    }
}

/// Where the model runs.
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

/// What decides arrivals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrivals {
    /// Sessions a second, on average.
    pub rate: f64,
    /// Sessions on the wire at one time at most.
    pub max_concurrent: u64,
    /// Sessions in all, 0 for no end.
    pub limit: u64,
    /// Weight of each label.
    pub weights: Vec<f64>,
}

/// `[[traffic]]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Traffic {
    /// A label of the model.
    pub label: Arc<str>,
    /// Share relative to the others.
    pub weight: f64,
    /// Packets of one session at most.
    pub packets: u64,
}

/// `[output]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// Interfaces to inject on.
    pub interfaces: Vec<Interface>,
    /// Captures to write.
    pub pcap: Option<Pcap>,
}

/// `[[output.interface]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name.
    pub name: String,
    /// What leaves here.
    pub sends: Sends,
    /// What happens to frames that are too long.
    pub mtu: MtuChoice,
    /// `file:line:column` of the name, for messages that need the system.
    pub place: String,
}

/// Directions that leave on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
    /// All frames.
    Both,
    /// Frames from clients.
    ToServer,
    /// Frames from servers.
    ToClient,
}

/// Frames longer than the interface takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MtuChoice {
    /// Are dropped and counted.
    Drop,
    /// Stop the run.
    Refuse,
}

/// `[output.pcap]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pcap {
    /// Where the files are.
    pub directory: PathBuf,
    /// Start of their names.
    pub prefix: String,
    /// Limits of one file, 0 for none.
    pub max_bytes: u64,
    /// Seconds of wall clock, 0 for none.
    pub max_seconds: u64,
    /// Packets, 0 for none.
    pub max_packets: u64,
    /// Limit of the directory in bytes, 0 for none.
    pub directory_bytes: u64,
}
