//! How many frames a second leave an interface, beside tcpreplay in the same run?
//!
//! A veth pair between two namespaces that the bench makes. Both send the same frames, tcpreplay as fast as
//! it can and from memory (`--topspeed --preload-pcap`), we in each of the ways that an `InterfaceSink` has:
//! around the queueing discipline and through it, and with the guard's rules in the kernel. Allowlist and all
//! other checks are on, as in the daemon. Nobody captures at the far end, which only counts. Rounds are
//! interleaved, so that a busy machine slows all alike; the best round of each counts.
//!
//! `cargo bench -p netssm-replay --bench inject`; needs root, and tcpreplay for the rival.

#![expect(clippy::print_stdout, reason = "what a bench prints is its result")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use netssm_replay::clock::{SystemClock, WallTime};
use netssm_replay::guard::nft::{NftGuard, NftPlan};
use netssm_replay::rewrite::TestbedFrame;
use netssm_replay::sink::Sink;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceSink};
use netssm_replay::sink::inject::measure;
use netssm_replay::sink::rolling::{RollingConfig, RollingSink};
use support::frames::{frames, guard};
use support::netns::{Wire, available};

/// Frames a round: about a second of work.
const TOTAL: u64 = 500_000;
/// Different frames, sent in turn.
const DISTINCT: usize = 1_000;
const ROUNDS: usize = 5;

fn main() {
    // `cargo test` runs benches too, without this flag.
    if !std::env::args().any(|a| a == "--bench") || !available("the inject bench") {
        return;
    }
    for len in [72, 1_400] {
        let sent = frames(DISTINCT, len);
        let tmp = tempfile::tempdir().unwrap();
        let capture = write_capture(&sent, tmp.path());
        let wire = Wire::new("bench");
        type Way<'a> = (&'a str, Box<dyn Fn() -> Option<f64> + 'a>);
        let ours = |bypass, guarded| {
            let (wire, sent) = (&wire, &sent);
            Box::new(move || Some(wire.near.within(|| inject(sent, bypass, guarded))))
        };
        let ways: [Way<'_>; 4] = [
            ("tcpreplay --topspeed", Box::new(|| tcpreplay(&wire, &capture))),
            ("qdisc bypass", ours(true, false)),
            ("through the qdisc", ours(false, false)),
            ("qdisc bypass, nftables guard", ours(true, true)),
        ];
        let mut best = [None::<f64>; 4];
        for _ in 0..ROUNDS {
            for (best, (_, way)) in best.iter_mut().zip(&ways) {
                *best = way().map(|pps| best.map_or(pps, |b| b.max(pps))).or(*best);
            }
        }
        let rival = best[0];
        for (best, (name, _)) in best.iter().zip(&ways) {
            let Some(pps) = best else { continue };
            let ratio = rival.map_or("-".into(), |r| format!("{:.2}", pps / r));
            println!("{len:>5} bytes  {name:<30} {:>9.0} pps  {ratio:>5} of tcpreplay", pps);
        }
    }
}

fn inject(sent: &[TestbedFrame], qdisc_bypass: bool, guarded: bool) -> f64 {
    let clock = SystemClock::new();
    let gate = guard(&["tx0"]);
    let names = ["tx0".to_owned()];
    let rules = guarded
        .then(|| NftGuard::install(NftPlan { send: &names, quiet: &[], allow: gate.allowlist() }).unwrap());
    let mark = rules.as_ref().map(NftGuard::mark);
    let config = InterfaceConfig { qdisc_bypass, mark, ..InterfaceConfig::new("tx0") };
    let mut sink = InterfaceSink::open(config, gate, Arc::new(clock)).unwrap();
    let measured = measure(&mut sink, sent, TOTAL, &clock).unwrap();
    let stats = Box::new(sink).close().unwrap();
    assert_eq!((stats.frames, stats.wire.unwrap().tx_packets), (TOTAL, TOTAL), "sent means on the wire");
    measured.pps()
}

fn write_capture(sent: &[TestbedFrame], dir: &Path) -> std::path::PathBuf {
    let config = RollingConfig { max_bytes: 0, max_seconds: 0, ..RollingConfig::new(dir) };
    let mut sink = Box::new(RollingSink::open(config, guard(&[]), Arc::new(SystemClock::new())).unwrap());
    for frame in sent {
        sink.send_frame(frame, WallTime(0) + frame.offset()).unwrap();
    }
    sink.close().unwrap();
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.into_iter().find(|p| p.extension().is_some_and(|e| e == "pcap")).unwrap()
}

fn tcpreplay(wire: &Wire, capture: &Path) -> Option<f64> {
    let loops = format!("--loop={}", TOTAL / DISTINCT as u64);
    let mut command = wire.near.command("tcpreplay");
    command.args(["--intf1=tx0", "--topspeed", "--preload-pcap", "--quiet", &loops]).arg(capture);
    let output = command.output().ok()?;
    if !output.status.success() {
        eprintln!("tcpreplay did not run: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    // "Rated: 53512.1 Bps, 0.428 Mbps, 743223.56 pps"
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate =
        told.lines().find_map(|l| l.trim().strip_prefix("Rated:")?.rsplit(", ").next()?.strip_suffix(" pps"));
    let parsed = rate.and_then(|r| r.trim().parse().ok());
    assert!(parsed.is_some(), "no rate in what tcpreplay says: {told}");
    parsed
}
