//! How many nanoseconds and allocations a packet costs from session to finished frame (rewriting, payload,
//! checksums), and what beginning a replay costs per packet of its session.
//!
//! The naive version that the numbers stand beside is copying the frame and filling its checksums from nothing,
//! which every replay tool that changes an address must at least do.
//!
//! Sessions: TCP acknowledgements without payload (`ack`), full TCP segments of an unknown protocol (`bulk`) and
//! of TLS (`tls`), DNS queries and answers (`dns`), and a mix in the proportions of one page load (`web`).
//!
//! Run: `cargo bench -p netssm-replay --bench rewrite`.
#![allow(clippy::print_stdout, reason = "what was measured and skipped")]

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netssm_replay::rewrite::*;
use netssm_wire::checksum;
use netssm_wire::session::{Origin, Packet, Session};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PACKETS: usize = 10_000;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [198, 18, 0, 1];

fn packet(number: usize, forward: bool, protocol: u8, l4: &[u8], payload: usize) -> Packet {
    let (src, dst) = if forward { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let mut header = vec![2, 0, 0, 0, 0, dst[3], 2, 0, 0, 0, 0, src[3] | 4, 8, 0, 0x45, 0];
    header.extend(((20 + l4.len() + payload) as u16).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(src);
    header.extend(dst);
    header.extend(l4);
    let wire_len = (header.len() + payload) as u32;
    Packet { time: Duration::from_micros(number as u64), wire_len, header }
}

fn tcp(ports: (u16, u16), forward: bool, seq: u32, number: usize, payload: usize) -> Packet {
    let (src, dst) = if forward { ports } else { (ports.1, ports.0) };
    let mut l4 = [src, dst].map(u16::to_be_bytes).concat();
    l4.extend(seq.to_be_bytes());
    l4.extend([0, 0, 0, 1, 0x80, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7]);
    packet(number, forward, 6, &l4, payload)
}

fn udp(ports: (u16, u16), forward: bool, number: usize, payload: usize) -> Packet {
    let (src, dst) = if forward { ports } else { (ports.1, ports.0) };
    let l4 = [src, dst, (payload + 8) as u16, 0].map(u16::to_be_bytes).concat();
    packet(number, forward, 17, &l4, payload)
}

/// A session of [`PACKETS`] packets.
fn session(kind: &str) -> Arc<Session> {
    let mut seq = [1u32; 2];
    let mut stream = |ports, forward: bool, number, payload: usize| {
        let side = &mut seq[usize::from(forward)];
        let packet = tcp(ports, forward, *side, number, payload);
        *side += payload as u32;
        packet
    };
    let packets = (0..PACKETS).map(|n| match kind {
        "ack" => stream((50_000, 6000), n % 2 == 0, n, 0),
        "bulk" => stream((50_000, 25_000), false, n, 1448),
        "tls" => stream((50_000, 443), false, n, 1448),
        "dns" => udp((50_000, 53), n % 2 == 0, n, if n % 2 == 0 { 40 } else { 120 }),
        _ => match n % 20 {
            0 => udp((50_000 + (n % 1000) as u16, 53), true, n, 40),
            1 => udp((50_000 + ((n - 1) % 1000) as u16, 53), false, n, 120),
            2 => stream((51_000, 443), true, n, 517),
            3..8 => stream((51_000, 443), true, n, 0),
            _ => stream((51_000, 443), false, n, 1448),
        },
    });
    Arc::new(Session { label: kind.into(), seed: 1, origin: Origin::Captured, packets: packets.collect() })
}

fn rewriter() -> Rewriter {
    let nets = |p: &str| vec![p.parse().expect("a prefix")];
    let plan = AddressPlan {
        clients: nets("10.10.0.0/16"),
        servers: nets("10.20.0.0/16"),
        client_mac: MacPolicy::PerHost,
        server_mac: MacPolicy::PerHost,
        vlan: None,
        ports: PortPolicy::Fresh,
        multicast: GroupPolicy::Keep,
    };
    Rewriter::new(plan, Allocator::new()).expect("a valid plan")
}

/// Makes every frame, as a player does: the buffer of a sent frame is used again.
fn drain(mut replay: SessionReplay) -> usize {
    let mut bytes = 0;
    while let Some(item) = replay.next() {
        let frame = item.expect("no packet is dropped");
        bytes += black_box(frame.bytes()).len();
        replay.recycle(frame);
    }
    bytes
}

fn frames(c: &mut Criterion) {
    let rewriter = rewriter();
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(PACKETS as u64)).sample_size(20);
    for kind in ["ack", "bulk", "tls", "dns", "web"] {
        let session = session(kind);
        let begin = || rewriter.begin_replay(Arc::clone(&session), 1).expect("room in the prefixes");
        group.bench_function(kind, |b| b.iter_batched(begin, drain, BatchSize::PerIteration));

        let replay = begin();
        let region = Region::new(ALLOCATOR);
        drain(replay);
        let stats = region.change();
        println!(
            "frame/{kind}: {:.4} allocations and {:.1} bytes allocated a packet",
            stats.allocations as f64 / PACKETS as f64,
            stats.bytes_allocated as f64 / PACKETS as f64
        );
    }
    // What any rewriting costs at least.
    for kind in ["ack", "bulk"] {
        let frame: Vec<u8> = drain_one(&rewriter, kind);
        group.bench_function(format!("{kind}-copy-and-checksum"), |b| {
            let mut buffer = Vec::new();
            b.iter(|| {
                for _ in 0..PACKETS {
                    buffer.clear();
                    buffer.extend_from_slice(black_box(&frame));
                    checksum::fill(&mut buffer).expect("a whole frame");
                    black_box(&buffer);
                }
            });
        });
    }
    group.finish();
}

fn drain_one(rewriter: &Rewriter, kind: &str) -> Vec<u8> {
    let mut replay = rewriter.begin_replay(session(kind), 1).expect("room in the prefixes");
    replay.next().expect("a packet").expect("not dropped").into_bytes()
}

fn begin(c: &mut Criterion) {
    let rewriter = rewriter();
    let mut group = c.benchmark_group("begin");
    group.throughput(Throughput::Elements(PACKETS as u64)).sample_size(20);
    for kind in ["ack", "web"] {
        let session = session(kind);
        group.bench_function(kind, |b| {
            b.iter(|| rewriter.begin_replay(Arc::clone(&session), 1).expect("room in the prefixes"));
        });
    }
    group.finish();
}

criterion_group!(benches, frames, begin);
criterion_main!(benches);
