//! What does the grammar cost a token, beside choosing the token?
//!
//! The flow codec's own tokens of a made session are walked through by a decoder, as generation does. "push" is the
//! decoder alone, "push and mask" also gathers what may come next: the difference is the mask's price. "draw" chooses a
//! token under these masks, and "draw without masks" among all tokens, which is what sampling would cost without a
//! grammar. The mask should cost no more than the draw. Throughput is in tokens. Run with `cargo bench -p netssm-model
//! --bench masks`.
#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netssm_model::network::masks::Masks;
use netssm_model::sample::{Policy, Recent, Sampler};
use netssm_tokens::codec::flow::Parameters;
use netssm_tokens::codec::{Codec, FlowCodec, FrameRef, SessionEnd, Vocab};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A session of TCP segments with timestamps, over connections that open with a handshake.
fn frames() -> Vec<(i64, Vec<u8>)> {
    let mut frames = Vec::new();
    for index in 0..1_000_u32 {
        let (connection, step) = (index % 25, index / 25);
        let (up, flags) = match step {
            0 => (true, 0x02),
            1 => (false, 0x12),
            _ => (step % 2 == 0, 0x18),
        };
        let payload: u16 = if step < 2 { 0 } else { (index * 37 % 1_400) as u16 };
        let mut frame = vec![0x3c, 0x5a, 0xb4, 1, 2, 3, 0xa4, 0x77, 0x33, 4, 5, 6, 8, 0, 0x45, 0];
        let hosts = [[192, 168, 7, 9], [93, 184, 216, (connection % 7) as u8]];
        let ports = [(40_000 + connection) as u16, 443];
        let (from, to) = if up { (0, 1) } else { (1, 0) };
        frame.extend((52 + payload).to_be_bytes());
        frame.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([hosts[from], hosts[to]].concat());
        frame.extend([ports[from].to_be_bytes(), ports[to].to_be_bytes()].concat());
        frame.extend([(step * 700).to_be_bytes(), (step * 700).to_be_bytes()].concat());
        frame.extend([0x80, flags, 0xfa, 0xf0, 0, 0, 0, 0, 1, 1, 8, 10]);
        frame.extend([(1_000 + index).to_be_bytes(), (900 + index).to_be_bytes()].concat());
        frames.push((i64::from(index) * 731_000, frame));
    }
    frames
}

fn bench(c: &mut Criterion) {
    let codec =
        FlowCodec::new(Vocab::flow(&["x"]).expect("a label"), Parameters::default()).expect("a codec");
    let mut encoder = codec.encoder("x").expect("a label");
    let mut tokens = Vec::new();
    for (time_ns, bytes) in &frames() {
        let wire_len = u32::from(u16::from_be_bytes([bytes[16], bytes[17]])) + 14;
        let _ = encoder.push(FrameRef { time_ns: *time_ns, wire_len, bytes }, &mut tokens);
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    let vocabulary = codec.vocab().size();
    let mut decoder = codec.decoder(1);
    let masks: Vec<Vec<u64>> = tokens
        .iter()
        .map(|&token| {
            drop(decoder.push(token.into()));
            decoder.legal().expect("the flow codec has a grammar").to_vec()
        })
        .collect();
    let legal: u32 = masks.iter().flatten().map(|word| word.count_ones()).sum();
    let mean = f64::from(legal) / masks.len() as f64;
    eprintln!("{} tokens; {mean:.0} of {vocabulary} may come next, on average", tokens.len());

    let mut group = c.benchmark_group("masks");
    group.throughput(Throughput::Elements(tokens.len() as u64));
    group.bench_function("push", |b| {
        b.iter(|| {
            let mut decoder = codec.decoder(1);
            tokens.iter().for_each(|&token| drop(black_box(decoder.push(token.into()))));
        });
    });
    group.bench_function("push and mask", |b| {
        let mut wanted = Masks::default();
        b.iter(|| {
            let mut decoder = codec.decoder(1);
            for &token in &tokens {
                drop(black_box(decoder.push(token.into())));
                wanted.clear(vocabulary);
                wanted.push(black_box(decoder.legal()));
            }
        });
    });
    let logits: Vec<f32> = (0..vocabulary).map(|i| (i * 7919 % 1009) as f32 / 100.0).collect();
    let mut sampler = Sampler::new(Policy::default()).expect("a policy");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let recent = Recent::default();
    group.bench_function("draw", |b| {
        b.iter(|| {
            for mask in &masks {
                let drawn = sampler.sample(black_box(&logits), Some(mask), &recent, &mut rng);
                let _ = black_box(drawn);
            }
        });
    });
    group.bench_function("draw without masks", |b| {
        b.iter(|| {
            for _ in &masks {
                let _ = black_box(sampler.sample(black_box(&logits), None, &recent, &mut rng));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
