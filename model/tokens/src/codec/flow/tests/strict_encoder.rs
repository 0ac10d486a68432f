//! What the strict encoder writes: legal tokens only, whatever a capture holds, and a packet that a decoder
//! understands.

use super::{Captured, Random, Scenario, frames, tcp};
use crate::codec::{
    Codec, FlowCodec, FrameRef, SessionEnd, Skip, Step, Vocab,
    flow::{
        Parameters, Slots,
        vocab::{CHECKSUM, ESC, MAC, NEW, SNAP, closes, name},
    },
};

fn codec(slots: Slots) -> FlowCodec {
    let rules = Parameters { fine: false, slots };
    FlowCodec::new(Vocab::flow(&["a"]).expect("a vocabulary"), rules).expect("a codec")
}

/// The tokens of a session, with why a packet was not accepted.
fn encode(codec: &FlowCodec, frames: &[Captured]) -> (Vec<u16>, Vec<Option<Skip>>) {
    let (mut encoder, mut tokens) = (codec.encoder("a").expect("a label"), Vec::new());
    let push = |frame: &Captured| {
        let bytes = &frame.bytes;
        let frame =
            FrameRef { time_ns: frame.time_us.saturating_mul(1_000), wire_len: frame.wire_len, bytes };
        let before = tokens.len();
        let skip = encoder.push(frame, &mut tokens).err();
        assert!(skip.is_none() || tokens.len() == before, "a packet that is not accepted leaves nothing");
        skip
    };
    let skips = frames.iter().map(push).collect();
    encoder.finish(SessionEnd::Ended, &mut tokens);
    (tokens, skips)
}

/// Reads the tokens as a generator writes them: each must be legal where it stands, and every packet must come.
///
/// Values that are drawn are not those of the capture, so what depends on them (a time, a timestamp) may differ, and
/// with it what the next token stands for: only the classes of tokens are compared.
fn assert_writable(codec: &FlowCodec, tokens: &[u16], packets: usize) {
    let mut decoder = codec.decoder(1);
    let mut decoded = 0;
    for (at, &token) in tokens.iter().enumerate() {
        if at > 0 {
            let legal = decoder.legal().expect("a grammar");
            let has = |token: u16| {
                legal.get(usize::from(token) / 64).is_some_and(|word| word >> (token % 64) & 1 == 1)
            };
            assert!(has(token), "token {at}, {}, is not legal", name(token));
        }
        match decoder.push(token.into()) {
            Step::Need => {}
            Step::Packet(_) => decoded += 1,
            Step::End(packet) => decoded += usize::from(packet.is_some()),
        }
    }
    assert_eq!(decoded, packets);
}

#[test]
fn whatever_a_capture_holds_only_legal_tokens_are_written() {
    let mut some = 0;
    for seed in 0..40 {
        let frames = frames::crowd(&mut Random(seed), 200);
        for slots in [Slots::Recent, Slots::Fixed] {
            let (tokens, skips) = encode(&codec(slots), &frames);
            some += skips.iter().filter(|skip| skip.is_none()).count();
            for class in [MAC, SNAP, CHECKSUM, ESC] {
                assert!(!tokens.iter().any(|&token| class.has(token)), "{}", class.name);
            }
        }
    }
    assert!(some > 500, "{some} packets accepted");
}

#[test]
fn connections_in_good_and_bad_order_can_be_written() {
    for (seed, scenario) in (0..).zip([
        Scenario::default(),
        Scenario { timestamps: false, ..Scenario::default() },
        Scenario { lost: 5, repeated: 5, reordered: 5, ..Scenario::default() },
    ]) {
        let codec = codec(Slots::Recent);
        let frames = tcp::connection(&mut Random(seed), scenario, 0);
        let (tokens, skips) = encode(&codec, &frames);
        let accepted = skips.iter().filter(|skip| skip.is_none()).count();
        assert!(accepted * 10 >= frames.len() * 9, "{accepted} of {}", frames.len());
        // Timestamps follow from drawn times here, so a connection with them is not read back.
        if !scenario.timestamps {
            assert_writable(&codec, &tokens, accepted);
        }
    }
}

#[test]
fn a_connection_whose_opening_was_not_captured_is_left_out() {
    let codec = codec(Slots::Recent);
    let frames = tcp::connection(&mut Random(3), Scenario::default(), 0);
    let (_, skips) = encode(&codec, &frames[3..]);
    assert!(skips.iter().all(|skip| *skip == Some(Skip::Unwritable)));
    // Another connection beside it is not.
    let mut both = frames[3..40].to_vec();
    let mut other = tcp::connection(&mut Random(4), Scenario { port: 41_000, ..Scenario::default() }, 1);
    other.truncate(37);
    let (alone, _) = encode(&codec, &other);
    both.extend(other);
    both.sort_by_key(|frame| frame.time_us);
    let (tokens, _) = encode(&codec, &both);
    let opened = |tokens: &[u16]| tokens.iter().filter(|&&token| NEW.has(token)).count();
    assert_eq!((opened(&tokens), opened(&alone)), (1, 1));
}

#[test]
fn clocks_that_jump_are_accepted_as_clocks_that_do_not() {
    let codec = codec(Slots::Recent);
    let mut frames =
        tcp::connection(&mut Random(9), Scenario { timestamps: false, ..Scenario::default() }, 0);
    frames.truncate(30);
    for (at, by) in [(10, -5_000_000_i64), (20, 86_400_000_000)] {
        frames[at..].iter_mut().for_each(|frame| frame.time_us += by);
    }
    let (tokens, skips) = encode(&codec, &frames);
    assert!(skips.iter().all(Option::is_none), "{skips:?}");
    assert_eq!(tokens.iter().filter(|&&token| closes(token)).count(), 31, "a time each, and the end");
    assert_writable(&codec, &tokens, 30);
}
