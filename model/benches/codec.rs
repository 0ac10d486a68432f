//! How many packets a second go through codec, canonical form and repair? Each must be far above what a model generates
//! and what a wire takes, so that none is ever the limit.
//!
//! The baseline of encoding is copying the header bytes alone; that of repair is parsing the same header once.
//! Run with `cargo bench -p netssm-model --bench codec`.
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netssm_model::{
    codec::{BytesCodec, Codec, Form, FrameRef, RawPacket, SessionEnd, Step, Vocab, Width},
    repair::Repair,
};
use netssm_wire::frame::Layout;
use std::hint::black_box;

/// A session of a thousand TCP segments with timestamps, over fifty connections.
fn frames() -> Vec<Vec<u8>> {
    (0..1_000_u32)
        .map(|index| {
            let (connection, step) = (index % 50, index / 50);
            let up = step % 2 == 0;
            let mut frame = vec![0x3c, 0x5a, 0xb4, 1, 2, 3, 0xa4, 0x77, 0x33, 4, 5, 6, 8, 0, 0x45, 0];
            let hosts = [[192, 168, 7, 9], [93, 184, 216, (connection % 7) as u8]];
            let ports = [(40_000 + connection) as u16, 443];
            let (from, to) = if up { (0, 1) } else { (1, 0) };
            frame.extend(1_452_u16.to_be_bytes());
            frame.extend([0x12, 0x34, 0x40, 0, 64, 6, 0xaa, 0xbb]);
            frame.extend([hosts[from], hosts[to]].concat());
            frame.extend([ports[from].to_be_bytes(), ports[to].to_be_bytes()].concat());
            frame.extend([(step * 700).to_be_bytes(), (step * 700).to_be_bytes()].concat());
            frame.extend([0x80, 0x18, 0xfa, 0xf0, 0xcc, 0xdd, 0, 0, 1, 1, 8, 10]);
            frame.extend([(1_000 + index).to_be_bytes(), (900 + index).to_be_bytes()].concat());
            frame
        })
        .collect()
}

fn encode(codec: &BytesCodec, frames: &[Vec<u8>]) -> Vec<u16> {
    let mut encoder = codec.encoder("x").expect("a label");
    let mut tokens = Vec::new();
    for bytes in frames {
        let _ = encoder.push(FrameRef { time_ns: 0, wire_len: 1_466, bytes }, &mut tokens);
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    tokens
}

fn codec(c: &mut Criterion) {
    let frames = frames();
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("copy (baseline)", |b| {
        b.iter(|| {
            frames
                .iter()
                .flat_map(|frame| frame[..66].iter().map(|&byte| u16::from(byte)))
                .collect::<Vec<_>>()
        });
    });
    for form in [Form::Raw, Form::Canonical] {
        let codec = BytesCodec::new(Vocab::new(&["x"]).expect("a label"), Width::Variable, form);
        group.bench_function(format!("encode {form}"), |b| b.iter(|| encode(&codec, black_box(&frames))));
        let tokens = encode(&codec, &frames);
        group.bench_function(format!("decode {form}"), |b| {
            b.iter(|| {
                let mut decoder = codec.decoder(0);
                tokens.iter().filter(|&&token| matches!(decoder.push(token.into()), Step::Packet(_))).count()
            });
        });
        group.bench_function(format!("decode with mask {form}"), |b| {
            b.iter(|| {
                let mut decoder = codec.decoder(0);
                let mut bits = 0;
                for &token in &tokens {
                    bits += decoder.legal().map_or(0, |mask| mask[0].count_ones());
                    decoder.push(token.into());
                }
                bits
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("repair");
    group.throughput(Throughput::Elements(frames.len() as u64));
    let packets: Vec<_> = frames.iter().map(|header| RawPacket::new(header.clone())).collect();
    group.bench_function("parse (baseline)", |b| {
        b.iter(|| {
            packets.iter().filter(|packet| Layout::parse(&packet.header).payload_at().is_some()).count()
        });
    });
    group.bench_function("repair", |b| {
        b.iter(|| {
            let mut repair = Repair::new();
            packets.iter().filter(|packet| repair.repair(packet).is_ok()).count()
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
