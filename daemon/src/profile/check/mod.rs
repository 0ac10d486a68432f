//! Makes a [`Profile`] from a raw profile. Checks every value, and notes every problem with its place and what would be
//! right.
//!
//! Checking goes on after a problem, with a stand-in where the value cannot be used. So all problems come out at once.
//! If there is a problem, no profile is made.

mod network;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use netssm_model::precision::Precision;
use netssm_model::sample::Policy;
use netssm_replay::pace::Speed;
use netssm_replay::rewrite::AddressPlan;
use toml::Spanned;

use super::Labels;
use super::problem::{Collector, nearest};
use super::raw::{RawAddresses, RawModel, RawProfile, RawTraffic, is_given};
use super::validated::{Arrivals, CheckpointChoice, DeviceChoice, Model, Outputs, Profile, Traffic};
use network::{check_addresses, check_allow, check_interfaces, check_listen, check_pcap, check_quiet};

/// Checks every value. `None` if a problem was noted.
pub(super) fn validate(
    raw: &RawProfile,
    labels: Labels<'_>,
    problems: &mut Collector<'_>,
) -> Option<Profile> {
    let model = check_model(&raw.model, problems);
    let traffic = check_traffic(raw, &model.checkpoint, labels, problems);
    let pool_sessions = whole(&raw.pool.sessions, "pool.sessions", 1, 1_000_000, problems);
    let reuse = whole(&raw.pool.reuse, "pool.reuse", 1, 1_000_000, problems);
    let rate = number(&raw.schedule.rate, "schedule.rate", 1e-6, 1e6, problems);
    let max_concurrent =
        whole(&raw.schedule.max_concurrent, "schedule.max_concurrent", 1, 1_000_000, problems);
    let speed = number(&raw.schedule.speed, "schedule.speed", Speed::MIN, Speed::MAX, problems);
    let addresses = check_addresses(&raw.addresses, problems);
    let interfaces = check_interfaces(&raw.output.interface, problems);
    let pcap = raw.output.pcap.as_ref().map(|p| check_pcap(p, problems));
    if interfaces.is_empty() && pcap.is_none() {
        problems.whole(
            "no output: packets would go nowhere",
            "add [[output.interface]] with a name, or [output.pcap] with a directory",
        );
    }
    let allow = check_allow(raw, addresses.as_ref(), !interfaces.is_empty(), problems);
    let quiet = check_quiet(&raw.guard.quiet, problems);
    let metrics = check_listen(&raw.metrics.listen, problems);
    let grace = number(&raw.shutdown.grace_seconds, "shutdown.grace_seconds", 0.0, 86_400.0, problems);
    if !problems.is_empty() {
        return None;
    }
    let weights = traffic.iter().map(|t| t.weight).collect();
    Some(Profile {
        name: raw.name.clone(),
        seed: raw.seed,
        model,
        pool_sessions,
        reuse,
        traffic,
        arrivals: Arrivals { rate, max_concurrent, limit: raw.schedule.sessions, weights },
        speed: Speed::factor(speed).ok()?,
        addresses: addresses?,
        outputs: Outputs { interfaces, pcap },
        allow,
        nftables: raw.guard.nftables,
        quiet,
        metrics,
        grace: Duration::try_from_secs_f64(grace).unwrap_or_default(),
    })
}

/// Checks `[addresses]` alone.
pub(super) fn addresses(raw: &RawAddresses, problems: &mut Collector<'_>) -> Option<AddressPlan> {
    check_addresses(raw, problems)
}

/// Whether the user gave a key that has no default. If not, notes a problem at the table.
fn given(value: &Spanned<String>, key: &str, table: Range<usize>, problems: &mut Collector<'_>) -> bool {
    let given = is_given(value);
    if !given {
        problems.at(table, format!("missing key \"{key}\""), "it has no default");
    }
    given
}

/// The value. Notes a problem if it is not within `low..=high`.
fn whole(value: &Spanned<u64>, key: &str, low: u64, high: u64, problems: &mut Collector<'_>) -> u64 {
    let got = *value.get_ref();
    if !(low..=high).contains(&got) {
        problems.at(value.span(), format!("{key} is {got}"), format!("expected {low} to {high}"));
    }
    got
}

/// The value. Notes a problem if it is not within `low..=high`; NaN is not.
fn number(value: &Spanned<f64>, key: &str, low: f64, high: f64, problems: &mut Collector<'_>) -> f64 {
    let got = *value.get_ref();
    if !(low..=high).contains(&got) {
        let what = if got < 0.0 { format!("{key} is negative: {got}") } else { format!("{key} is {got}") };
        problems.at(value.span(), what, format!("expected {low} to {high}"));
    }
    got
}

/// The choice with the name that the user gave. For an unknown name it notes a problem and gives the first choice.
fn choice<T: Copy>(
    value: &Spanned<String>,
    key: &str,
    choices: &[(&'static str, T)],
    problems: &mut Collector<'_>,
) -> T {
    let typed = value.get_ref().as_str();
    if let Some((_, found)) = choices.iter().find(|(name, _)| *name == typed) {
        return *found;
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let help = match nearest(typed, names.iter().copied()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("expected one of \"{}\"", names.join("\", \"")),
    };
    problems.at(value.span(), format!("{key} is \"{typed}\""), help);
    choices[0].1
}

fn check_model(raw: &RawModel, problems: &mut Collector<'_>) -> Model {
    let device = raw.device.get_ref().parse().unwrap_or_else(|error: String| {
        let (what, help) = error.split_once("; ").unwrap_or((&error, ""));
        problems.at(raw.device.span(), what, help);
        DeviceChoice::Auto
    });
    if raw.checkpoint.get_ref().is_empty() {
        problems.at(
            raw.checkpoint.span(),
            "model.checkpoint is empty",
            "expected \"builtin\" or a directory",
        );
    }
    let top_p = number(&raw.top_p, "model.top_p", 0.0, 1.0, problems);
    if top_p == 0.0 {
        problems.at(raw.top_p.span(), "model.top_p is 0", "expected above 0, at most 1");
    }
    let min_p = number(&raw.min_p, "model.min_p", 0.0, 1.0, problems);
    if min_p == 1.0 {
        problems.at(raw.min_p.span(), "model.min_p is 1", "expected at least 0, below 1");
    }
    let eta = number(&raw.eta, "model.eta", 0.0, 1.0, problems);
    if eta == 1.0 {
        problems.at(raw.eta.span(), "model.eta is 1", "expected at least 0, below 1");
    }
    Model {
        checkpoint: CheckpointChoice::parse(raw.checkpoint.get_ref()),
        device,
        precision: choice(
            &raw.precision,
            "model.precision",
            &Precision::ALL.map(|precision| (precision.as_str(), precision)),
            problems,
        ),
        batch: whole(&raw.batch, "model.batch", 1, 4096, problems) as usize,
        threads: whole(&raw.threads, "model.threads", 0, 1024, problems) as usize,
        policy: Policy {
            temperature: number(&raw.temperature, "model.temperature", 0.0, 100.0, problems),
            top_k: whole(&raw.top_k, "model.top_k", 0, 1 << 20, problems) as usize,
            top_p,
            min_p,
            eta,
            repetition_penalty: number(
                &raw.repetition_penalty,
                "model.repetition_penalty",
                1.0,
                100.0,
                problems,
            ),
            ..Policy::default()
        },
    }
}

fn check_traffic(
    raw: &RawProfile,
    checkpoint: &CheckpointChoice,
    labels: Labels<'_>,
    problems: &mut Collector<'_>,
) -> Vec<Traffic> {
    if raw.traffic.is_empty() {
        problems.whole("no traffic: nothing would be generated", "add [[traffic]] with a label");
    }
    let known = labels(checkpoint)
        .inspect_err(|error| problems.at(raw.model.checkpoint.span(), error, "give a checkpoint directory"))
        .ok()
        .flatten();
    let mut traffic: Vec<Traffic> = Vec::new();
    for entry in &raw.traffic {
        let RawTraffic { label, weight, packets } = entry.get_ref();
        if !given(label, "label", entry.span(), problems) {
            continue;
        }
        let name = label.get_ref();
        if let Some(known) = known.as_ref().filter(|known| !known.contains(name)) {
            let list = known.join(", ");
            let help = match nearest(name, known.iter().map(String::as_str)) {
                Some(close) => format!("did you mean \"{close}\"? It knows {list}"),
                None => format!("it knows {list}"),
            };
            problems.at(label.span(), format!("the model does not know the label \"{name}\""), help);
        }
        if traffic.iter().any(|t| *t.label == **name) {
            problems.at(
                label.span(),
                format!("label \"{name}\" occurs twice"),
                "add up the weights in one entry",
            );
        }
        let weight_value = number(weight, "traffic.weight", 0.0, 1e9, problems);
        if weight_value == 0.0 {
            problems.at(
                weight.span(),
                "traffic.weight is 0",
                "leave the entry out, or give it a weight above 0",
            );
        }
        traffic.push(Traffic {
            label: Arc::from(name.as_str()),
            weight: weight_value,
            packets: whole(packets, "traffic.packets", 1, 1_000_000, problems),
        });
    }
    traffic
}
