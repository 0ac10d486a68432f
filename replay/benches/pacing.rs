//! How late do packets leave, and does it add up?
//!
//! Twenty thousand deadlines a second for ten seconds through an `InterfaceSink` on a veth pair, as the
//! daemon plays: sleep to the deadline, send, flush. Printed are the quantiles of how late the frame was
//! handed to the kernel and how late the last one was, with a clock that sleeps all the way and with one that
//! spins through the last stretch. The naive player beside them sleeps between packets, as the tools that
//! drift do.
//!
//! `cargo bench -p netssm-replay --bench pacing`; needs root. Numbers of a busy machine say little about an
//! idle one.

#![expect(clippy::print_stdout, reason = "what a bench prints is its result")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::clock::{Clock, MonoTime, SystemClock, WallTime};
use netssm_replay::pace::{Pacer, Speed};
use netssm_replay::rewrite::TestbedFrame;
use netssm_replay::sink::Sink;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceSink};
use support::frames::{frames, guard};
use support::netns::{Wire, available};

const GAP: Duration = Duration::from_micros(50);
const PACKETS: u32 = 200_000;

fn main() {
    // `cargo test` runs benches too, without this flag.
    if !std::env::args().any(|a| a == "--bench") || !available("the pacing bench") {
        return;
    }
    let sent = frames(1_000, 200);
    let wire = Wire::new("pace");
    for (name, spin) in [("sleep", Duration::ZERO), ("sleep, spin 100 us", Duration::from_micros(100))] {
        report(name, wire.near.within(|| paced(&sent, SystemClock::with_spin(spin))));
    }
    report("naive: sleep between packets", wire.near.within(|| naive(&sent)));
}

fn open() -> InterfaceSink {
    SystemClock::sharpen_this_thread().unwrap();
    InterfaceSink::open(InterfaceConfig::new("tx0"), guard(&["tx0"]), Arc::new(SystemClock::new())).unwrap()
}

fn send(sink: &mut InterfaceSink, frame: &TestbedFrame) {
    sink.send_frame(frame, WallTime(0)).unwrap();
    sink.flush().unwrap();
}

/// How late each packet was.
fn paced(sent: &[TestbedFrame], clock: SystemClock) -> Vec<Duration> {
    let mut sink = open();
    let anchor = clock.now();
    let pacer = Pacer::new(Duration::from_millis(10), Speed::REAL_TIME);
    let frames = sent.iter().cycle().zip(0..PACKETS);
    frames
        .map(|(frame, i)| {
            let due = anchor + pacer.deadline(GAP * i);
            clock.sleep_until(due);
            send(&mut sink, frame);
            clock.now().since(due)
        })
        .collect()
}

fn naive(sent: &[TestbedFrame]) -> Vec<Duration> {
    let clock = SystemClock::new();
    let mut sink = open();
    let start: MonoTime = clock.now();
    let frames = sent.iter().cycle().zip(0..PACKETS);
    frames
        .map(|(frame, i)| {
            send(&mut sink, frame);
            let late = clock.now().since(start + GAP * i);
            clock.sleep_until(clock.now() + GAP);
            late
        })
        .collect()
}

fn report(name: &str, mut late: Vec<Duration>) {
    let last = late[late.len() - 1];
    late.sort_unstable();
    let at = |q: f64| late[((late.len() - 1) as f64 * q) as usize];
    println!(
        "{name:<30} p50 {:>9.1?}  p99 {:>9.1?}  p99.9 {:>9.1?}  most {:>9.1?}  last packet {last:>9.1?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
}
