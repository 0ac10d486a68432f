//! Reminders: the grammar gives them, a generator has no choice, and nothing of a session depends on them.

use super::{Random, walk::choose};
use crate::codec::{
    Codec, FlowCodec, FrameRef, SessionEnd, Step, Vocab,
    flow::{
        Parameters, Session, Taken,
        record::Record,
        vocab::{BYTE, DIR, EOS, RATE, closes},
    },
};

const LABELS: [&str; 3] = ["a", "b", "c"];
const EVERY: u16 = 8;

fn codec(remind: u16) -> FlowCodec {
    let rules = Parameters { fine: false, remind, ..Parameters::default() };
    FlowCodec::new(Vocab::flow(&LABELS).expect("a vocabulary"), rules).expect("a codec")
}

/// Encodes records as a capture that began at 0.
fn encode(codec: &FlowCodec, records: &[Record]) -> Vec<u16> {
    let (mut encoder, mut tokens) = (codec.encoder("b").expect("a label"), Vec::new());
    let first_us = records.first().map_or(0, |record| record.time_us);
    for record in records {
        let bytes = super::emitted(record);
        let time_ns = (record.time_us - first_us) * 1_000;
        let frame = FrameRef { time_ns, wire_len: record.wire_len, bytes: &bytes };
        encoder.push(frame, &mut tokens).expect("a record that a generator writes");
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    tokens
}

/// The tokens and packets of a session without any sense, up to where the last packet ends.
fn sample(codec: &FlowCodec, seed: u64, packets: usize) -> (Vec<u16>, Vec<Record>) {
    let mut random = Random(seed << 40);
    let label = codec.prompt("b").expect("a label")[0];
    let mut session = Session::new(codec.rules(), seed, true);
    let (mut tokens, mut records) = (vec![label], Vec::new());
    assert_eq!(session.push(label), Taken::More);
    while records.len() < packets {
        let token = session.given().unwrap_or_else(|| choose(&session.legal(), &mut random));
        match session.push(token) {
            Taken::Record(record) => records.push(*record),
            taken => assert_eq!(taken, Taken::More, "token {token}"),
        }
        tokens.push(token);
    }
    // The time of the packet that has just begun is of none of them.
    while tokens.pop().is_some_and(|token| !closes(token)) {}
    (tokens, records)
}

/// The stream without what is given.
fn plain(codec: &FlowCodec, tokens: &[u16]) -> Vec<u16> {
    let given = codec.given();
    (0..tokens.len()).filter(|&at| !given.at(tokens, at)).map(|at| tokens[at]).collect()
}

#[test]
fn a_sampled_session_has_its_reminders_and_encodes_to_the_same_tokens() {
    for seed in 0..8 {
        let codec = codec(EVERY);
        let (tokens, records) = sample(&codec, seed, 100);
        let reminders: Vec<usize> = (1..tokens.len()).filter(|&at| tokens[at] == tokens[0]).collect();
        assert_eq!(reminders.len(), (records.len() - 1) / usize::from(EVERY));
        let again = encode(&codec, &records);
        assert_eq!(again.len(), tokens.len() + 1, "and the end");
        for (at, (&told, &token)) in again.iter().zip(&tokens).enumerate() {
            // Direction and rate are what the model says when it generates, and what was measured when it is taught.
            let measured = |token| DIR.has(token) || RATE.has(token);
            assert!(told == token || measured(token) && measured(told), "token {at}");
        }
        for at in reminders {
            assert_eq!((tokens[at + 1], again[at + 1]), (tokens[2], again[2]), "the rate of the head");
            assert!(closes(tokens[at - 1]) && BYTE.has(tokens[at + 2]));
        }
    }
}

#[test]
fn reminders_add_nothing_else() {
    let (without, records) = sample(&codec(0), 5, 300);
    for every in [1, 7, 32] {
        let codec = codec(every);
        let with = encode(&codec, &records);
        let plain = plain(&codec, &with);
        assert_eq!(plain[3..plain.len() - 1], without[3..], "every {every}");
        let reminders = (records.len() - 1) / usize::from(every);
        assert_eq!(with.len(), without.len() + 1 + 3 * reminders, "every {every}, and the end");
    }
}

#[test]
fn a_decoder_leaves_no_choice_while_a_reminder_is_due() {
    let codec = codec(1);
    let label = codec.prompt("c").expect("a label")[0];
    let mut decoder = codec.decoder(3);
    let mut random = Random(77);
    let (mut packets, mut asked) = (0, 0);
    decoder.push(u32::from(label));
    while packets < 40 {
        let legal: Vec<u32> = {
            let words = decoder.legal().expect("a grammar");
            (0..words.len() as u32 * 64).filter(|&t| words[t as usize / 64] >> (t % 64) & 1 == 1).collect()
        };
        assert!(!legal.is_empty());
        if legal == [u32::from(label)] {
            asked += 1;
            // Nothing else gets in its way.
            for other in [5, 257, 260, 400, 1_023, u32::from(u16::MAX) + 9] {
                assert_eq!(decoder.push(other), Step::Need);
            }
            assert_eq!(decoder.flush(), None);
            assert_eq!(decoder.legal().map(<[u64]>::len), Some(usize::from(label) / 64 + 1));
        }
        let going = legal.iter().copied().filter(|&token| !EOS.has(token as u16)).collect::<Vec<_>>();
        let token = going[random.below(going.len())];
        packets += usize::from(matches!(decoder.push(token), Step::Packet(_)));
    }
    assert_eq!(asked, packets - 1, "one for each but the first, and the last has not been asked for yet");
}
