//! The profile as the user writes it: every key, its meaning, unit, default and range.
//!
//! These structs mirror the TOML one to one and check types only. [`super::check`] turns them into the values of
//! [`super::validated`]. A value that can be wrong carries its place in the file ([`Spanned`]), so that a message can
//! point at line and column. Unknown keys are errors. The `Default` of each struct is the only place for its defaults.
//! The command line takes its own defaults from here. A default that belongs to a library comes from the library's
//! `Default`.

use netssm_model::precision::Precision;
use netssm_model::sample::Policy;
use netssm_replay::sink::rolling::RollingConfig;
use serde::Deserialize;
use toml::Spanned;

/// Wraps a default value. It has no place in the file, which the empty range shows.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// The value of a key that has no default and was not given. The profile is then refused.
fn required() -> Spanned<String> {
    unplaced(String::new())
}

/// Whether a key stands in the file.
pub(super) fn is_given<T>(value: &Spanned<T>) -> bool {
    value.span() != (0..0)
}

/// A whole replay profile.
///
/// ```toml
/// name = "demo"
/// seed = 1
/// [[traffic]]
/// label = "youtube"
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawProfile {
    /// A short name for logs and the summary of a run. Default: "unnamed".
    pub name: String,
    /// Seed of everything that is drawn: sessions, arrivals, addresses, payload. The same seed, profile and model give
    /// the same sessions in the same order. Default: 1.
    pub seed: u64,
    /// Which model generates, and how it samples.
    pub model: RawModel,
    /// How many sessions are kept ready, and how often each may be played.
    pub pool: RawPool,
    /// What to generate. At least one entry.
    pub traffic: Vec<Spanned<RawTraffic>>,
    /// When sessions start.
    pub schedule: RawSchedule,
    /// The prefixes that the hosts of a session are mapped into.
    pub addresses: RawAddresses,
    /// Where packets go. At least one of `[[output.interface]]` and `[output.pcap]`.
    pub output: RawOutput,
    /// Which addresses may leave at all.
    pub guard: RawGuard,
    /// Prometheus and health endpoints.
    pub metrics: RawMetrics,
    /// How the daemon stops.
    pub shutdown: RawShutdown,
}

impl Default for RawProfile {
    fn default() -> Self {
        Self {
            name: "unnamed".into(),
            seed: 1,
            model: RawModel::default(),
            pool: RawPool::default(),
            traffic: Vec::new(),
            schedule: RawSchedule::default(),
            addresses: RawAddresses::default(),
            output: RawOutput::default(),
            guard: RawGuard::default(),
            metrics: RawMetrics::default(),
            shutdown: RawShutdown::default(),
        }
    }
}

/// Default of `model.min_p`. A session takes thousands of draws. The model gives a small probability to each of the
/// many tokens that never follow, and together these add up. Without a cut nearly every session would hold a few such
/// tokens, and then continue in a way that the model never saw in training (docs/adr/0010).
const MIN_P: f64 = 0.1;

/// `[model]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawModel {
    /// A checkpoint directory, or "builtin" for the model that ships with netssmd. Relative paths are taken from
    /// the working directory. Default: "builtin".
    pub checkpoint: Spanned<String>,
    /// "auto" (a GPU if this build and this host have one, else the CPU), "cpu" or "cuda:N". Default: "auto".
    pub device: Spanned<String>,
    /// Precision of decoding: "f32"; "int8", which is faster, on the CPU only; "bf16" or "bf16-state" (the state too),
    /// which are faster, on a GPU only. Each gives other sessions for the same seed. Default: "f32".
    pub precision: Spanned<String>,
    /// Sessions generated side by side, 1 to 4096. A larger batch is faster in total and slower for each session.
    /// Default: 32.
    pub batch: Spanned<u64>,
    /// CPU threads for the model, 0 for all. Default: 0.
    pub threads: Spanned<u64>,
    /// Sampling temperature. Below 1 likely tokens become likelier, above 1 less so. 0 always takes the likeliest
    /// token. Default: 1.0.
    pub temperature: Spanned<f64>,
    /// Sample among the k likeliest tokens only; 0 for all. Default: 0.
    pub top_k: Spanned<u64>,
    /// Sample among the likeliest tokens that hold this share of the probability, in (0, 1]. Default: 1.0.
    pub top_p: Spanned<f64>,
    /// Drop tokens that are less likely than this share of the likeliest token's probability, in [0, 1). Default: 0.1.
    pub min_p: Spanned<f64>,
    /// Drop tokens less likely than this, in [0, 1). Fewer are dropped where many tokens are about equally unlikely.
    /// Default: 0.0.
    pub eta: Spanned<f64>,
    /// Makes tokens less likely that were drawn lately. 1.0 is no penalty. Header bytes repeat by design, so use it
    /// with care. Default: 1.0.
    pub repetition_penalty: Spanned<f64>,
}

impl Default for RawModel {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            checkpoint: unplaced("builtin".into()),
            device: unplaced("auto".into()),
            precision: unplaced(Precision::default().as_str().into()),
            batch: unplaced(32),
            threads: unplaced(0),
            temperature: unplaced(policy.temperature),
            top_k: unplaced(policy.top_k as u64),
            top_p: unplaced(policy.top_p),
            min_p: unplaced(MIN_P),
            eta: unplaced(policy.eta),
            repetition_penalty: unplaced(policy.repetition_penalty),
        }
    }
}

/// `[pool]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPool {
    /// Sessions kept ready ahead of the player, 1 to 1,000,000. Labels share them by weight, and each gets at least
    /// one. A session of 200 packets takes about 30 kB. Default: 32.
    pub sessions: Spanned<u64>,
    /// How often one session may be played, 1 to 1,000,000. Each replay gets new addresses, ports, sequence numbers, IP
    /// ids and timestamps. A session is replayed only when no fresh one of its label is ready. When all replays are
    /// used up, the arrival waits and an underrun is counted. Default: 4.
    pub reuse: Spanned<u64>,
}

impl Default for RawPool {
    fn default() -> Self {
        Self { sessions: unplaced(32), reuse: unplaced(4) }
    }
}

/// `[[traffic]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawTraffic {
    /// A label that the model knows. For any other label, `netssmd check` lists the labels that it knows. No default.
    pub label: Spanned<String>,
    /// Share of sessions with this label, relative to the other entries, above 0. Default: 1.0.
    pub weight: Spanned<f64>,
    /// Packets generated for one session, 1 to 1,000,000. The model may end a session earlier. Default: 200.
    pub packets: Spanned<u64>,
}

impl Default for RawTraffic {
    fn default() -> Self {
        Self { label: required(), weight: unplaced(1.0), packets: unplaced(200) }
    }
}

/// `[schedule]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawSchedule {
    /// Sessions started per second on average, above 0. Arrivals are a Poisson process. Default: 2.0.
    pub rate: Spanned<f64>,
    /// Sessions on the wire at one time, 1 to 1,000,000. At the cap the next arrival waits. Default: 64.
    pub max_concurrent: Spanned<u64>,
    /// Speed of time inside a session, above 0. At 2.0 all gaps are halved. Default: 1.0.
    pub speed: Spanned<f64>,
    /// Stop after this many sessions. 0 runs until a signal stops it. Default: 0.
    pub sessions: u64,
}

impl Default for RawSchedule {
    fn default() -> Self {
        Self { rate: unplaced(2.0), max_concurrent: unplaced(64), speed: unplaced(1.0), sessions: 0 }
    }
}

/// `[addresses]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAddresses {
    /// Prefixes that clients are mapped into, IPv4 and IPv6 in one list. Default: 10.10.0.0/16 and fd00:10:10::/64.
    pub clients: Vec<Spanned<String>>,
    /// Prefixes that servers are mapped into. None may overlap a client prefix. Default: 10.20.0.0/16 and
    /// fd00:10:20::/64.
    pub servers: Vec<Spanned<String>>,
    /// Source MAC address of client frames: one address for all, or "per-host" for a locally administered address per
    /// host. Default: "per-host".
    pub client_mac: Spanned<String>,
    /// Source MAC address of server frames, as `client_mac`. Default: "per-host".
    pub server_mac: Spanned<String>,
    /// 802.1Q tag on every frame, 1 to 4094. 0 is no tag. Default: 0.
    pub vlan: Spanned<u64>,
    /// "fresh" draws new ephemeral ports for every replay, "keep" uses the session's. Default: "fresh".
    pub ports: Spanned<String>,
    /// "keep" sends multicast and broadcast packets, "drop" drops them. Default: "keep".
    pub multicast: Spanned<String>,
}

impl Default for RawAddresses {
    fn default() -> Self {
        let list = |items: [&str; 2]| items.map(|item| unplaced(item.to_owned())).to_vec();
        Self {
            clients: list(["10.10.0.0/16", "fd00:10:10::/64"]),
            servers: list(["10.20.0.0/16", "fd00:10:20::/64"]),
            client_mac: unplaced("per-host".into()),
            server_mac: unplaced("per-host".into()),
            vlan: unplaced(0),
            ports: unplaced("fresh".into()),
            multicast: unplaced("keep".into()),
        }
    }
}

/// `[output]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawOutput {
    /// Interfaces to send on.
    pub interface: Vec<Spanned<RawInterface>>,
    /// Rolling captures to write.
    pub pcap: Option<Spanned<RawPcap>>,
}

/// `[[output.interface]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawInterface {
    /// Name of the interface, such as "veth0". No default.
    pub name: Spanned<String>,
    /// The direction that this interface sends: "both", "to-server" or "to-client". Two interfaces with one direction
    /// each put a middlebox between them. Default: "both".
    pub sends: Spanned<String>,
    /// What happens to a frame that is longer than the interface allows: "drop" drops and counts it, "refuse" stops the
    /// run. Default: "drop".
    pub mtu_policy: Spanned<String>,
}

impl Default for RawInterface {
    fn default() -> Self {
        Self { name: required(), sends: unplaced("both".into()), mtu_policy: unplaced("drop".into()) }
    }
}

/// `[output.pcap]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPcap {
    /// Directory of the captures. It is created if its parent exists. No default.
    pub directory: Spanned<String>,
    /// Start of every file name. Default: "netssmd".
    pub prefix: Spanned<String>,
    /// A file is closed before it grows beyond this many bytes. 0 is no limit. Default: 100,000,000.
    pub max_bytes: Spanned<u64>,
    /// A file is closed at every multiple of this many seconds of wall-clock time. 0 is no limit. Default: 60.
    pub max_seconds: Spanned<u64>,
    /// A file is closed after this many packets. 0 is no limit. Default: 0.
    pub max_packets: u64,
    /// The oldest captures are deleted when the directory holds more bytes than this. 0 is no limit. Default:
    /// 10,000,000,000.
    pub directory_bytes: Spanned<u64>,
}

impl Default for RawPcap {
    fn default() -> Self {
        let rolling = RollingConfig::new("");
        Self {
            directory: required(),
            prefix: unplaced(rolling.prefix),
            max_bytes: unplaced(rolling.max_bytes),
            max_seconds: unplaced(rolling.max_seconds),
            max_packets: rolling.max_packets,
            directory_bytes: unplaced(rolling.directory_bytes),
        }
    }
}

/// `[guard]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawGuard {
    /// Prefixes that may occur as an address of a frame. They must cover `[addresses]`. Required if an interface sends.
    /// For captures alone the default is the prefixes of `[addresses]`.
    pub allow: Option<Spanned<Vec<Spanned<String>>>>,
    /// Install nftables rules that keep this host from answering or forwarding test traffic on the interfaces in use.
    /// Needs CAP_NET_ADMIN. Default: true.
    pub nftables: bool,
    /// Interfaces of this host that the traffic arrives on, such as the far end of a veth pair in the same network
    /// namespace. The rules keep the host from answering there too. Leave out interfaces that a middlebox under test
    /// forwards between. Default: none.
    pub quiet: Vec<Spanned<String>>,
}

impl Default for RawGuard {
    fn default() -> Self {
        Self { allow: None, nftables: true, quiet: Vec::new() }
    }
}

/// `[metrics]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawMetrics {
    /// Address and port of /metrics, /live and /ready, or "off". Port 0 takes a free port and logs it. Default:
    /// "127.0.0.1:9477".
    pub listen: Spanned<String>,
}

impl Default for RawMetrics {
    fn default() -> Self {
        Self { listen: unplaced("127.0.0.1:9477".into()) }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawShutdown {
    /// Seconds that live sessions get to finish after the first SIGTERM, 0 to 86,400. Keep it below TimeoutStopSec of
    /// the systemd unit. Default: 10.
    pub grace_seconds: Spanned<f64>,
}

impl Default for RawShutdown {
    fn default() -> Self {
        Self { grace_seconds: unplaced(10.0) }
    }
}
