//! A copy, a rewritten copy and fresh sessions each fail what they should and nothing else.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::runs::Equality;
use super::*;
use crate::input::session::SessionBuilder;
use crate::page::Item;
use crate::testing::Frames;
use netssm_wire::capture::Record;

/// Frames of a session that no other seed has: a few connections and queries at random sizes and times. Addresses come
/// from `network`.
fn frames(seed: u64, network: u8) -> Frames {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut frames = Frames::new();
    let mut at_us = random.random_range(0..1_000_000_000_i64);
    let (style, pace) = (random.random_range(100..900), random.random_range(100..100_000));
    for flow in 0..random.random_range(4..10) {
        let port = random.random_range(40_000..60_000);
        let secure = flow % 3 > 0;
        if secure {
            frames.handshake(at_us, port);
        }
        let (mut seq, mut ack) = (101, 501);
        for _ in 0..random.random_range(4..40) {
            at_us += random.random_range(1..pace);
            let size = random.random_range(0..style);
            match (secure, random.random_bool(0.5)) {
                (true, true) => {
                    frames.tcp(at_us, (port, 443), "PA", (seq, ack), size);
                    seq += size as u32;
                }
                (true, false) => {
                    frames.tcp(at_us, (443, port), "A", (ack, seq), size);
                    ack += size as u32;
                }
                (false, true) => frames.udp(at_us, (port, 53), size),
                (false, false) => frames.udp(at_us, (53, port), size),
            }
        }
    }
    for record in &mut frames.records {
        readdress(&mut record.frame, network, seed as u8);
    }
    frames
}

fn readdress(frame: &mut [u8], network: u8, host: u8) {
    frame[..6].copy_from_slice(&[0, 0x1b, 0x21, network, 3, host]);
    frame[6..12].copy_from_slice(&[0, 0x1b, 0x21, network, 4, host]);
    frame[26..28].copy_from_slice(&[10, network]);
    frame[29] = host;
    frame[30..32].copy_from_slice(&[100, network]);
    frame[33] = host;
}

fn side(seeds: std::ops::Range<u64>, network: u8) -> Side {
    Side::of(seeds.map(|seed| frames(seed, network).session("web")).collect())
}

/// What the measures say: identifiers found, exact copied, shape copied, sessions copied.
fn answers(result: &Memorising) -> (bool, Option<bool>, Option<bool>, Option<bool>) {
    let of =
        |equality| result.runs.iter().find(|runs| runs.equality == equality).and_then(|runs| runs.copied);
    (!result.gate(), of(Equality::Exact), of(Equality::Shape), result.neighbours[0].copied)
}

#[test]
fn a_verbatim_copy_fails_everything() {
    let (training, fresh) = (side(0..20, 1), side(50..60, 2));
    let copy = side(3..12, 1);
    let result = analyse(&training, &copy, Some(&fresh), &Options::default());
    assert_eq!(answers(&result), (true, Some(true), Some(true), Some(true)));
    assert!(result.runs.iter().all(|runs| runs.synthetic.whole == 9 && runs.copied == Some(true)));
    assert_eq!(result.neighbours[0].relative, Some(0.0));
    assert_eq!(
        (result.neighbours[0].synthetic.close, result.neighbours[0].synthetic.twins),
        (Some(1.0), Some(1.0))
    );
    let run = result.runs[0].synthetic.longest.as_ref().expect("a run");
    assert_eq!(run.at.session + 3, run.from.session);
    assert_eq!(run.packets as usize, training.sessions()[run.from.session].packets.len());
    let flows = result.neighbours[1].synthetic.twins;
    assert_eq!(flows, Some(1.0));
    assert!(result.chapter().verdict.contains("copies"), "{}", result.chapter().verdict);
}

#[test]
fn fresh_sessions_fail_nothing() {
    let (training, fresh) = (side(0..20, 1), side(50..60, 2));
    let result = analyse(&training, &side(100..120, 3), Some(&fresh), &Options::default());
    assert_eq!(answers(&result), (false, Some(false), Some(false), Some(false)));
    assert_eq!(result.runs[0].synthetic.longest, None);
    let relative = result.neighbours[0].relative.expect("a value");
    assert!((0.6..1.6).contains(&relative), "{relative}");
    // The same with training given on its own, and the real side held out.
    let options = Options { training: Some(&training), ..Options::default() };
    let other = analyse(&fresh, &side(100..120, 3), Some(&training), &options);
    assert_eq!((&other.runs, &other.neighbours), (&result.runs, &result.neighbours));
    assert!(other.basis.training_given && other.basis.held_out == 10 && other.basis.in_training == 0);
}

#[test]
fn a_rewritten_copy_has_no_identifier_and_is_still_a_copy() {
    let (training, fresh) = (side(0..20, 1), side(50..60, 2));
    let rewritten = (3..12).map(|seed| {
        let mut frames = frames(seed, 1);
        for record in &mut frames.records {
            readdress(&mut record.frame, 9, 77); // shapes and times stay
            record.time_ns += 86_400_000_000_000;
        }
        frames.session("web")
    });
    let result = analyse(&training, &Side::of(rewritten.collect()), Some(&fresh), &Options::default());
    assert_eq!(answers(&result), (false, Some(false), Some(true), Some(true)));
    assert_eq!(result.runs[0].synthetic.longest, None);
    assert_eq!(result.runs[2].copied, Some(true));
}

#[test]
fn fresh_packets_with_training_addresses_fail_the_gate_only() {
    let (training, fresh) = (side(0..20, 1), side(50..60, 2));
    // Seeds 256 later have the same hosts, as host numbers are a byte.
    let result = analyse(&training, &side(256..270, 1), Some(&fresh), &Options::default());
    assert_eq!(answers(&result), (true, Some(false), Some(false), Some(false)));
}

#[test]
fn the_seed_s_capture_is_compared_where_it_is_given() {
    let (training, fresh) = (side(0..20, 1), side(50..60, 2));
    let seed = side(4..5, 1);
    let options = Options { prompts: Some(&seed), ..Options::default() };
    let copy = analyse(&training, &side(4..5, 1), Some(&fresh), &options);
    let change = copy.change.as_ref().expect("a pair");
    let packets = seed.sessions()[0].packets.len().min(100) as u64;
    assert_eq!((change.packets, change.identical, change.differing_bytes), (packets, packets as f64, None));
    assert!(change.fields.iter().all(|row| row.change == 0.0 && row.only_one == 0));
    let held_out = copy.change_held_out.as_ref().expect("pairs");
    assert!(held_out.sessions == 10 && held_out.identical == 0.0 && held_out.differing_bytes.is_some());
    let tables = copy.chapter().items.iter().filter(|item| matches!(item, Item::Table(_))).count();
    assert_eq!(tables, 5);
}

#[test]
fn nothing_to_compare_is_said() {
    let none = Side::default();
    let some = side(0..1, 1);
    for (real, synthetic, floor) in [
        (&none, &none, None),
        (&some, &none, Some(&none)),
        (&none, &some, Some(&some)),
        (&some, &some, Some(&none)),
    ] {
        let result = analyse(real, synthetic, floor, &Options::default());
        let chapter = result.chapter();
        assert!(!chapter.verdict.is_empty());
        let json = serde_json::to_string(&result).expect("JSON");
        assert!(!json.contains("NaN") && !json.contains("inf"));
    }
    let alone = analyse(&some, &some, None, &Options::default());
    assert_eq!((alone.basis.held_out, alone.basis.in_training), (0, 1));
    assert_eq!(answers(&alone).1, Some(true));
}

#[test]
fn results_do_not_depend_on_threads() {
    let (training, fresh, made) = (side(0..20, 1), side(50..60, 2), side(90..99, 3));
    let options = Options { flows: 20, training_flows: 40, ..Options::default() };
    let run = || analyse(&training, &made, Some(&fresh), &options);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool").install(run);
    assert_eq!(one, run());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_capture_panics(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..90), any::<i64>(), any::<u32>()), 0..30),
        ip in any::<bool>(),
    ) {
        let session = |from: usize| {
            let mut builder = SessionBuilder::new(None);
            for (bytes, time_ns, wire_len) in packets.iter().skip(from) {
                let mut frame = bytes.clone();
                if ip && frame.len() > 24 {
                    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                    frame[23] = if frame[22] & 1 == 0 { 6 } else { 17 };
                }
                builder.push(&Record { time_ns: *time_ns, wire_len: *wire_len, frame });
            }
            builder.finish()
        };
        let (a, b, c) = (Side::of(vec![session(0), session(3)]), Side::of(vec![session(1)]), Side::of(vec![session(5)]));
        let result = analyse(&a, &b, Some(&c), &Options { prompts: Some(&a), ..Options::default() });
        let _ = result.chapter();
        prop_assert!(serde_json::to_string(&result).is_ok());
    }
}
