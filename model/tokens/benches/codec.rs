//! How many packets a second go through codec, canonical form and repair? Each must be far above what a model generates
//! and what a wire takes, so that none is ever the limit.
//!
//! The baseline of encoding is copying the header bytes alone; that of repair is parsing the same header once. The flow
//! codec runs over captures (`NETSSMD_DATA`, else `../shared/data` beside the workspace), the first packets of each;
//! over the made session where there are none. Both ways are counted from bytes to bytes: reading the headers of a
//! frame is part of encoding it, and writing them part of decoding.
//!
//! Run with `cargo bench -p netssm-model --bench codec`.
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use std::{
    env,
    hint::black_box,
    path::{Path, PathBuf},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netssm_tokens::{
    codec::{
        BytesCodec, Codec, Form, FrameRef, RawPacket, SessionEnd, Step, Vocab, Width,
        flow::{
            Parameters, RecordReader, Recorder,
            record::Record,
            side_channel::{Discard, SideTable},
        },
    },
    repair::Repair,
};
use netssm_wire::{capture::Capture, frame::Layout};

/// Packets of a capture that are measured.
const PACKETS: usize = 2_000;

/// Time in microseconds, length on the wire and bytes of a frame.
type Frame = (i64, u32, Vec<u8>);

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

/// The files under a folder, in a fixed order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The first packets of a capture; none of what is not one.
fn session(path: &Path) -> Vec<Frame> {
    let Ok(mut capture) = Capture::open(path) else { return Vec::new() };
    let records = std::iter::from_fn(|| capture.next_record().ok().flatten()).take(PACKETS);
    records.map(|record| (record.time_ns.div_euclid(1_000), record.wire_len, record.frame)).collect()
}

/// Captures by group, or the made session.
fn sessions() -> Vec<(&'static str, Vec<Vec<Frame>>)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = env::var_os("NETSSMD_DATA").map_or(beside, PathBuf::from);
    let groups = [("requet", "requet/val"), ("iot", "iot/val"), ("apps", "apps")].map(|(name, folder)| {
        let sessions: Vec<_> = files(&data.join(folder)).iter().map(|path| session(path)).collect();
        (name, sessions)
    });
    let mut groups: Vec<_> =
        groups.into_iter().filter(|(_, sessions)| sessions.iter().any(|frames| !frames.is_empty())).collect();
    if groups.is_empty() {
        let made = (0..).zip(frames()).map(|(index, bytes)| (1_000 * index, 1_466, bytes)).collect();
        groups.push(("made", vec![made]));
    }
    groups
}

fn flow(c: &mut Criterion) {
    let rules = Parameters::default();
    let mut group = c.benchmark_group("flow");
    group.sample_size(20);
    for (name, sessions) in sessions() {
        group.throughput(Throughput::Elements(sessions.iter().map(|frames| frames.len() as u64).sum()));
        group.bench_function(format!("encode {name}"), |b| {
            let mut tokens = Vec::new();
            b.iter(|| {
                for frames in &sessions {
                    tokens.clear();
                    let mut recorder = Recorder::new(rules);
                    for (time_us, wire_len, bytes) in frames {
                        let record = Record::parse(*time_us, *wire_len, bytes);
                        black_box(recorder.push(&record, &mut tokens, &mut Discard));
                    }
                }
            });
        });
        let coded: Vec<(Vec<u16>, SideTable)> = sessions
            .iter()
            .map(|frames| {
                let (mut tokens, mut side) = (Vec::new(), SideTable::default());
                let mut recorder = Recorder::new(rules);
                for (time_us, wire_len, bytes) in frames {
                    recorder.push(&Record::parse(*time_us, *wire_len, bytes), &mut tokens, &mut side);
                }
                (tokens, side)
            })
            .collect();
        group.bench_function(format!("decode {name}"), |b| {
            let mut bytes = Vec::new();
            b.iter_batched_ref(
                || coded.iter().map(|(_, side)| side.clone()).collect::<Vec<_>>(),
                |sides| {
                    for ((tokens, _), side) in coded.iter().zip(sides) {
                        let mut reader = RecordReader::new(rules, tokens, side);
                        while let Ok(Some(record)) = reader.next_record() {
                            bytes.clear();
                            record.emit(&mut bytes);
                            black_box(&bytes);
                        }
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, codec, flow);
criterion_main!(benches);
