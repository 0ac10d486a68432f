//! `netssmd replay`: rewrites a capture and sends it on an interface with the daemon's player.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use netssm_replay::pace::Speed;
use netssm_replay::rewrite::{Allocator, Rewriter};
use serde::Serialize;

use super::{addresses, capture, tell};
use crate::app::{OutputSummary, Summary, Testbed};
use crate::cli::wire::ReplayArgs;
use crate::exit::{Failure, Outcome};
use crate::health::{Health, PLAYER_LIMIT};
use crate::metrics::Metrics;
use crate::pipeline::{Control, Limits, Parts, Plan, Player, Pool, Timeline};
use crate::profile::{Arrivals, Interface, MtuChoice, Outputs, Sends, Traffic};
use crate::signals::{self, Signal};
use netssm_replay::clock::{Clock, SystemClock};

/// Rate of arrivals, per second, that is high enough for "as soon as the session before has ended". The cap of one
/// session at a time sets the actual pace.
const AT_ONCE: f64 = 1e6;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    seconds: f64,
    packets_per_second: f64,
    bits_per_second: f64,
    outputs: Vec<OutputSummary>,
    dropped: BTreeMap<&'static str, u64>,
    lateness_p50_s: Option<f64>,
    lateness_p99_s: Option<f64>,
    lateness_max_s: Option<f64>,
}

/// Runs the command.
pub(crate) fn run(args: &ReplayArgs) -> Outcome {
    let plan = addresses::plan(&args.addresses)?;
    let recording = capture::read(&args.file, args.seed)?;
    let outputs = outputs(args);
    let allow =
        addresses::allowlist(&plan)?.with_interfaces(outputs.interfaces.iter().map(|i| i.name.clone()));
    let label: Arc<str> = recording.session.label.as_str().into();
    let limits = Limits {
        traffic: vec![Traffic { label, weight: 1.0, packets: recording.session.packets.len() as u64 }],
        depth: 1,
        reuse: args.times,
        seed: args.seed,
    };
    let pool: Arc<Pool<()>> = Arc::new(Pool::new(&limits));
    if let Some(order) = pool.next_order() {
        pool.deliver_session(&order, Some(recording.session));
    }
    let policy = super::rewrite::payload_policy(args.synthetic_payload);
    let rewriter = Rewriter::new(plan, Allocator::new()).map_err(Failure::config)?.payload(policy);
    let arrivals = Arrivals { rate: AT_ONCE, max_concurrent: 1, limit: args.times, weights: vec![1.0] };
    let testbed = Testbed::open(&outputs, allow, !args.no_nftables, &[])?;
    let (control, orders) = channel();
    signals::listen(move |signal| {
        if signal == Signal::Stop {
            // An error means that the player has ended, so there is nothing left to stop.
            let _ = control.send(Control::Cut);
        }
    })?;
    let health = Health::default();
    if let Err(error) = SystemClock::sharpen_this_thread() {
        tracing::debug!(%error, "timer slack stays as it is");
    }
    let clock = SystemClock::new();
    let begun = clock.now();
    let played = Player::new(Parts {
        time: Timeline::real(),
        pool,
        plan: Plan { arrivals, limits, speed: args.speed, rewriter },
        outputs: testbed.outputs,
        gate: testbed.gate,
        metrics: Metrics::new(),
        pulse: health.pulse("player", PLAYER_LIMIT, begun),
        stop_after: None,
    })
    .play(&orders);
    let seconds = played.took;
    let cut = played.cut;
    let summary = Summary::new("replay", &played, &netssm_model::generate::Stats::default());
    if let Some(watch) = testbed.watch {
        watch.stop()?;
    }
    let failure = Summary::failure(played.end);
    tell(args.json, &report(args, summary, seconds, matches!(args.speed, Speed::Top)), lines)?;
    if let Some(failure) = failure {
        return Err(failure.failure);
    }
    if cut > 0 {
        return Err(Failure::Run(anyhow::anyhow!("stopped before the end of the capture")));
    }
    match recording.damage {
        None => Ok(()),
        Some(error) => Err(Failure::from(error).context("the capture was replayed up to its damage only")),
    }
}

fn outputs(args: &ReplayArgs) -> Outputs {
    let interface = |name: &str, sends, flag: &str| Interface {
        name: name.to_owned(),
        sends,
        mtu: MtuChoice::Drop,
        place: flag.to_owned(),
    };
    let interfaces = match &args.server_interface {
        None => vec![interface(&args.interface, Sends::Both, "--interface")],
        Some(server) => vec![
            interface(&args.interface, Sends::ToServer, "--interface"),
            interface(server, Sends::ToClient, "--server-interface"),
        ],
    };
    Outputs { interfaces, pcap: None }
}

fn report(args: &ReplayArgs, summary: Summary, took: Duration, top: bool) -> Report {
    let seconds = took.as_secs_f64();
    let (frames, bytes) = summary.outputs.iter().fold((0, 0), |(f, b), o| (f + o.frames, b + o.bytes));
    // At top speed no packet has a deadline, so lateness means nothing.
    let lateness = summary.lateness.filter(|_| !top);
    Report {
        file: args.file.display().to_string(),
        seconds,
        packets_per_second: frames as f64 / seconds,
        bits_per_second: 8.0 * bytes as f64 / seconds,
        outputs: summary.outputs,
        dropped: summary.dropped,
        lateness_p50_s: lateness.as_ref().map(|l| l.p50),
        lateness_p99_s: lateness.as_ref().map(|l| l.p99),
        lateness_max_s: lateness.as_ref().map(|l| l.max),
    }
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for output in &report.outputs {
        let dropped: u64 = output.dropped.values().sum();
        text += &format!(
            "{}: {} packets, {} bytes sent, {dropped} dropped",
            output.name, output.frames, output.bytes
        );
        if let Some(tx) = output.interface_tx_packets {
            text += &format!("; the interface counted {tx}");
        }
        text += "\n";
    }
    for (reason, n) in &report.dropped {
        text += &format!("{n} packets not rewritten: {reason}\n");
    }
    text += &format!(
        "{:.3} s, {:.0} packets/s, {:.3} Mbit/s",
        report.seconds,
        report.packets_per_second,
        report.bits_per_second / 1e6
    );
    if let Some((p50, p99)) = report.lateness_p50_s.zip(report.lateness_p99_s) {
        text += &format!(
            "; late by at most {:.0} us for half of them, {:.0} us for 99 of 100",
            p50 * 1e6,
            p99 * 1e6
        );
    }
    text
}
