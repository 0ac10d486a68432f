//! What does one packet cost on its way through this crate, in nanoseconds and bytes per second?
//!
//! The walk is what rewriting, flow keys and checksums stand on, so it must be small against the budget of a
//! packet at line rate (67 ns at 64 bytes and 10 Gbit/s). The checksum is compared with the plain loop of RFC
//! 1071, and the incremental update with a full one over the same packet.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netssm_wire::checksum::{self, Stored, Sum};
use netssm_wire::flow::community_id;
use netssm_wire::frame::Layout;

/// TCP over IPv4 with timestamps and as much payload as makes `len` bytes.
fn tcp(len: usize) -> Vec<u8> {
    let mut frame = vec![2; len];
    let total = (len - 14) as u16;
    frame[12..34]
        .copy_from_slice(&[0x08, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1]);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[34..66].fill(0);
    frame[34..38].copy_from_slice(&[0xc0, 0, 1, 0xbb]);
    frame[46] = 0x80;
    frame[54..58].copy_from_slice(&[1, 1, 8, 10]);
    checksum::fill(&mut frame).expect("a whole frame");
    frame
}

/// UDP over IPv6 behind a hop-by-hop header and two tags.
fn udp6() -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 116, 0, 64]);
    frame.extend([0xfd; 32]);
    frame.extend([17, 0, 5, 2, 0, 0, 1, 0, 0xc3, 0x50, 0, 53, 0, 108, 0, 0]);
    frame.extend([7; 100]);
    frame
}

/// The loop of RFC 1071 section 4.1, word by word.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, frame) in [("tcp 1514", tcp(1514)), ("udp6 qinq", udp6())] {
        group.bench_function(format!("layout, {name}"), |b| b.iter(|| Layout::parse(black_box(&frame))));
        let layout = Layout::parse(&frame);
        group.bench_function(format!("five-tuple key, {name}"), |b| {
            b.iter(|| black_box(&layout).five_tuple(&frame).map(|t| t.key()));
        });
    }
    let frame = tcp(74);
    let tuple = Layout::parse(&frame).five_tuple(&frame).expect("tcp");
    group.bench_function("community id", |b| b.iter(|| community_id(black_box(&tuple), 0)));
    group.finish();
}

fn checksums(c: &mut Criterion) {
    for len in [74, 590, 1514] {
        let frame = tcp(len);
        assert_eq!(naive(&frame), Sum::default().bytes(&frame).stored().0);
        let mut group = c.benchmark_group(format!("checksum {len}"));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("naive sum", |b| b.iter(|| naive(black_box(&frame))));
        group.bench_function("sum", |b| b.iter(|| Sum::default().bytes(black_box(&frame)).stored()));
        group.bench_function("fill", |b| {
            b.iter_batched_ref(|| frame.clone(), |f| checksum::fill(f), BatchSize::SmallInput);
        });
        group.bench_function("verify", |b| b.iter(|| checksum::verify(black_box(&frame))));
        group.bench_function("replace 4 bytes", |b| {
            b.iter(|| Stored(0x1234).replace(black_box(&[10, 0, 0, 1]), black_box(&[198, 18, 0, 1])));
        });
        group.finish();
    }
}

criterion_group!(benches, parse, checksums);
criterion_main!(benches);
