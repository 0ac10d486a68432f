//! What a session of the flow codec keeps in memory, counted by the allocator.

use std::alloc::System;

use netssm_tokens::codec::{
    Codec, Decoder, FlowCodec, Vocab,
    flow::{Parameters, Recorder, record::Record, side_channel::Discard},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A session of fifty flows may take this much.
const SESSION_BYTES: usize = 64 * 1024;
/// No session takes more, whatever it is made of: every table is full.
const LARGEST_BYTES: usize = 8 << 20;

/// Bytes that are held now and were not when the region began.
fn held(region: &Region<'_, System>) -> usize {
    let stats = region.change();
    // What a reallocation adds or takes is in these two as well.
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// A TCP segment between a client and one of many servers.
fn segment(flow: u16, back: bool, seq: u32, ack: u32, len: u16, ticks: [u32; 2]) -> Vec<u8> {
    let (client, server) = ([192, 168, 1, 5], [93, 184, (flow % 20) as u8, 34]);
    let (src, dst) = if back { (server, client) } else { (client, server) };
    let ports = if back { (443, 40_000 + flow) } else { (40_000 + flow, 443) };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((52 + len).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([src, dst].concat());
    frame.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat());
    frame.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    frame.extend([8 << 4, 0x10, 1, 0xf5, 0, 0, 0, 0, 1, 1, 8, 10]);
    frame.extend(ticks.map(u32::to_be_bytes).concat());
    frame
}

/// A DNS query or its answer; every flow has a port of its own.
fn lookup(flow: u16, back: bool, id: u16) -> Vec<u8> {
    let (client, server) = ([192, 168, 1, 5], [192, 168, 1, 1]);
    let (src, dst) = if back { (server, client) } else { (client, server) };
    let ports = if back { [53, 40_000 + flow] } else { [40_000 + flow, 53] };
    let mut frame =
        vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 68, 0, 0, 0x40, 0, 64, 17, 0, 0];
    frame.extend([src, dst].concat());
    frame.extend(
        [ports[0], ports[1], 48, 0, id, if back { 0x8180 } else { 0x0100 }, 1, u16::from(back), 0, 0]
            .map(u16::to_be_bytes)
            .concat(),
    );
    frame
}

/// Packets of fifty flows at a time: three in five are connections with requests, answers in a few segments, and their
/// acknowledgements; the others look names up, as browsers do.
fn session(mut each: impl FnMut(i64, Vec<u8>)) {
    let mut time_us = 0;
    for round in 0..40_u32 {
        for flow in 0..50 {
            time_us += 700;
            let back = round % 4 != 0;
            // The other side's last packet was so many rounds of the flows ago.
            let ago = if back { round % 4 } else { 1 };
            let ticks = [0, i64::from(ago)].map(|ago| ((time_us - ago * 50 * 700).max(0) / 1_000) as u32);
            let (mine, yours) = (1_000 + round / 4 * 300, 9_000 + round * 1_400);
            let frame = if flow % 5 > 2 {
                lookup(flow, back, round as u16 / 4)
            } else if back {
                segment(flow, true, yours, mine + 300, 1_400, ticks)
            } else {
                segment(flow, false, mine, yours, 300, ticks)
            };
            each(time_us, frame);
        }
    }
}

#[test]
fn memory_is_bounded() {
    // One test: what another thread allocates would be counted too.
    let region = Region::new(ALLOCATOR);
    let mut recorder = Recorder::new(Parameters::default());
    let mut tokens = Vec::with_capacity(4_096);
    let before = held(&region);
    let mut most = 0;
    session(|time_us, frame| {
        let wire_len = u32::from(u16::from_be_bytes([frame[16], frame[17]])) + 14;
        tokens.clear();
        recorder.push(&Record::parse(time_us, wire_len, &frame), &mut tokens, &mut Discard);
        drop(frame);
        most = most.max(held(&region) - before);
    });
    eprintln!("a session of 50 flows holds {most} bytes at most");
    assert!(most < SESSION_BYTES, "{most} bytes");
    drop(recorder);

    let codec =
        FlowCodec::new(Vocab::flow(&["a"]).expect("a vocabulary"), Parameters::default()).expect("a codec");
    let mut decoder: Box<dyn Decoder> = codec.decoder(3);
    let before = held(&region);
    let (mut random, mut most) = (1_u64, 0);
    for _ in 0..400_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Openers and times half of the time, any legal token else.
        let words = decoder.legal().expect("a mask");
        let legal: Vec<u32> = (258..1_024_u32)
            .chain(0..256)
            .filter(|&token| words[token as usize / 64] >> (token % 64) & 1 == 1)
            .collect();
        let token = legal[(random >> 33) as usize % legal.len()];
        drop(decoder.push(token));
        most = most.max(held(&region) - before);
    }
    eprintln!("a session of 400,000 random tokens holds {most} bytes at most");
    assert!(most < LARGEST_BYTES, "{most} bytes");
}
