//! `netssmd bench inject`: how many packets per second leave on an interface, compared with tcpreplay.
//!
//! Both send the same frames on the same interface, in turn, within one run of the command. If no interface is named,
//! the command makes a veth pair. The counter of its far end then says how many packets arrived.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use netssm_replay::clock::{Clock, SystemClock};
use netssm_replay::interface::Interface;
use netssm_replay::sink::Sink;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceSink};
use netssm_replay::sink::inject::measure;
use nix::sched::{CloneFlags, unshare};
use serde::Serialize;

use super::{median, traffic};
use crate::cli::bench::BenchInjectArgs;
use crate::commands::files::CaptureFile;
use crate::commands::tell;
use crate::exit::{Failure, Outcome};

/// Number of different frames, sent over and over. tcpreplay gets them as a capture.
const FRAMES: usize = 1000;
/// The two ends of the veth pair in the bench's own network namespace.
const PAIR: [&str; 2] = ["bench0", "bench1"];

#[derive(Debug, Serialize)]
struct Report {
    interface: String,
    tcpreplay: Option<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    size: usize,
    packets: u64,
    /// Packets per second of each run.
    netssmd: Vec<f64>,
    tcpreplay: Vec<f64>,
    netssmd_median: f64,
    tcpreplay_median: Option<f64>,
    ratio: Option<f64>,
    /// Whether the interface's own counter agreed with netssmd's in every run.
    counted_alike: bool,
    /// Packets that arrived at the far end, over all runs of netssmd.
    arrived: Option<u64>,
    sent: u64,
}

/// Runs the command. A network namespace belongs to a thread, so the bench runs in a thread of its own.
pub(super) fn run(args: &BenchInjectArgs) -> Outcome {
    let report = std::thread::scope(|scope| {
        scope
            .spawn(|| measure_all(args))
            .join()
            .unwrap_or_else(|_| Err(Failure::Run(anyhow!("the bench panicked"))))
    })?;
    tell(args.json, &report, |r| {
        let mut text = format!(
            "interface {}, tcpreplay {}\n{:>8} {:>14} {:>14} {:>8} {:>10}\n",
            r.interface,
            r.tcpreplay.as_deref().unwrap_or("not installed"),
            "bytes",
            "netssmd pps",
            "tcpreplay pps",
            "ratio",
            "arrived"
        );
        for row in &r.rows {
            let or_dash = |v: Option<f64>, digits: usize| v.map_or("-".into(), |v| format!("{v:.digits$}"));
            let arrived =
                row.arrived.map_or("-".into(), |n| format!("{:.1} %", 100.0 * n as f64 / row.sent as f64));
            text += &format!(
                "{:>8} {:>14.0} {:>14} {:>8} {:>10}\n",
                row.size,
                row.netssmd_median,
                or_dash(row.tcpreplay_median, 0),
                or_dash(row.ratio, 2),
                arrived
            );
        }
        text
    })
}

fn measure_all(args: &BenchInjectArgs) -> Outcome<Report> {
    let (interface, far) = match &args.interface {
        Some(name) => (name.clone(), None),
        None => {
            make_pair()?;
            (PAIR[0].to_owned(), Some(PAIR[1]))
        }
    };
    let tcpreplay = tcpreplay_version();
    let mut rows = Vec::new();
    for &size in &args.sizes {
        let mut row = Row {
            size,
            packets: args.packets,
            netssmd: Vec::new(),
            tcpreplay: Vec::new(),
            netssmd_median: 0.0,
            tcpreplay_median: None,
            ratio: None,
            counted_alike: true,
            arrived: far.map(|_| 0),
            sent: 0,
        };
        for _ in 0..args.repeat.max(1) {
            send(&interface, far, &mut row)?;
            if tcpreplay.is_some() {
                row.tcpreplay.push(send_with_tcpreplay(&interface, size, args.packets)?);
            }
        }
        row.netssmd_median = median(&row.netssmd);
        if !row.tcpreplay.is_empty() {
            let theirs = median(&row.tcpreplay);
            row.tcpreplay_median = Some(theirs);
            row.ratio = Some(row.netssmd_median / theirs);
        }
        rows.push(row);
    }
    Ok(Report { interface, tcpreplay, rows })
}

/// Makes a veth pair in a network namespace that lasts as long as this thread.
fn make_pair() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("make a network namespace (this needs root; or name an interface with --interface)")?;
    let [near, far] = PAIR;
    ip(&["link", "add", near, "type", "veth", "peer", "name", far])?;
    for name in PAIR {
        // Without this, packets of the kernel's neighbour discovery would be in the counters.
        ip(&["link", "set", "dev", name, "addrgenmode", "none"])?;
        ip(&["link", "set", "dev", name, "up"])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Outcome {
    let output = Command::new("ip").args(args).output().context("run ip (iproute2)")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Run(anyhow!("ip {}: {}", args.join(" "), said.trim())))
}

fn send(interface: &str, far: Option<&str>, row: &mut Row) -> Outcome {
    let arrived = |name: &str| Interface::find(name).map(|i| i.link.rx_packets);
    let before = far.map(arrived).transpose()?;
    let traffic = traffic::frames(row.size, FRAMES, &[interface.to_owned()])?;
    let clock = SystemClock::new();
    let mut sink = InterfaceSink::open(InterfaceConfig::new(interface), traffic.guard, Arc::new(clock))?;
    let measured = measure(&mut sink, &traffic.frames, row.packets, &clock)?;
    let stats = Box::new(sink).close().map_err(|error| error.error)?;
    row.netssmd.push(measured.pps());
    row.sent += stats.frames;
    row.counted_alike &= stats.wire.is_some_and(|wire| wire.tx_packets == stats.frames);
    if let (Some(far), Some(before), Some(sum)) = (far, before, &mut row.arrived) {
        *sum += arrived(far)? - before;
    }
    Ok(())
}

fn tcpreplay_version() -> Option<String> {
    let output = Command::new("tcpreplay").arg("--version").output().ok()?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("version"))?;
    line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// Sends the same frames with tcpreplay, at its top speed and preloaded into memory. Gives its packets per second.
fn send_with_tcpreplay(interface: &str, size: usize, packets: u64) -> Outcome<f64> {
    let path = std::env::temp_dir().join(format!("netssmd-bench-{}-{size}.pcap", std::process::id()));
    write_capture(&path, size)?;
    let loops = packets.div_ceil(FRAMES as u64).to_string();
    let output = Command::new("tcpreplay")
        .args(["--topspeed", "-K", "--loop", &loops, "-i", interface])
        .arg(&path)
        .output()
        .context("run tcpreplay");
    // The capture is not needed any more, whether tcpreplay succeeded or not.
    let _ = std::fs::remove_file(&path);
    let output = output?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    parse_actual(&text)
        .ok_or_else(|| Failure::Run(anyhow!("tcpreplay did not say how fast it was: {}", text.trim())))
}

fn write_capture(path: &Path, size: usize) -> Outcome {
    let traffic = traffic::frames(size, FRAMES, &[])?;
    let out = CaptureFile::at(path)?;
    let mut sink = out.open(traffic.guard)?.sink;
    let start = SystemClock::new().wall();
    for frame in &traffic.frames {
        sink.send_frame(frame, start + frame.offset())?;
    }
    sink.close().map_err(|error| error.error)?;
    // Nothing reads the labels of this capture.
    let _ = out.labels().map(std::fs::remove_file);
    Ok(())
}

/// Packets per second by tcpreplay's own clock, from a line such as "Actual: 1000000 packets (72000000 bytes) sent in
/// 1.92 seconds".
fn parse_actual(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Actual:"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let packets: f64 = words.first()?.parse().ok()?;
    let place = words.iter().position(|word| *word == "in")?;
    let seconds: f64 = words.get(place + 1)?.parse().ok()?;
    (seconds > 0.0).then_some(packets / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcpreplay_s_own_numbers_are_read() {
        let text = "Actual: 1000000 packets (72000000 bytes) sent in 2.00 seconds\nRated: 36000000.0 Bps, 288.00 Mbps, \
                    500000.00 pps\n";
        assert_eq!(parse_actual(text), Some(500_000.0));
        assert_eq!(parse_actual("Actual: 0 packets"), None);
        assert_eq!(parse_actual(""), None);
    }
}
