//! Side information: in range whatever the tokens are, the same for whoever reads them, and what it says is so.

use super::{Random, tcp};
use crate::codec::{
    Codec, Decoder, FlowCodec, FrameRef, SessionEnd, Vocab,
    flow::{
        Parameters,
        context::Note,
        vocab::{self, GRAMMAR_SIZE},
    },
};

const LABELS: [&str; 3] = ["a", "b", "c"];

fn codec() -> FlowCodec {
    let rules = Parameters { fine: false, ..Parameters::default() };
    FlowCodec::new(Vocab::flow(&LABELS).expect("a vocabulary"), rules).expect("a codec")
}

fn context(decoder: &dyn Decoder) -> Vec<u32> {
    let mut rows = Vec::new();
    decoder.context(&mut rows);
    rows
}

#[test]
fn any_tokens_give_rows_of_the_table() {
    let codec = codec();
    let shape = codec.context().expect("side information");
    let mut random = Random(9);
    for seed in 0..20 {
        let mut decoder = codec.decoder(seed);
        for _ in 0..2_000 {
            let token = match random.below(3) {
                0 => random.below(usize::from(GRAMMAR_SIZE) + LABELS.len()) as u32,
                1 => u32::from(random.of(vocab::CLASSES).at(0)),
                _ => random.below(256) as u32,
            };
            if token == u32::from(vocab::EOS.at(0)) {
                continue;
            }
            let _ = decoder.push(token);
            let rows = context(decoder.as_ref());
            assert_eq!(rows.len(), shape.fields);
            assert!(rows.iter().all(|&row| (row as usize) < shape.rows), "{rows:?}");
        }
    }
}

/// Tokens of a session that a generator could have written.
fn stream(codec: &FlowCodec, label: &str) -> Vec<u16> {
    let frames = tcp::capture(&mut Random(3 << 32), 400, usize::MAX);
    let (mut encoder, mut tokens) = (codec.encoder(label).expect("a label"), Vec::new());
    for frame in &frames {
        let frame =
            FrameRef { time_ns: frame.time_us * 1_000, wire_len: frame.wire_len, bytes: &frame.bytes };
        let _ = encoder.push(frame, &mut tokens);
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    tokens
}

#[test]
fn it_follows_from_the_tokens_and_not_from_the_seed() {
    let codec = codec();
    let tokens = stream(&codec, "b");
    assert!(tokens.len() > 100);
    let (mut one, mut two) = (codec.decoder(1), codec.decoder(2));
    let (mut differ, mut asked) = (0, 0);
    for &token in &tokens {
        let _ = (one.push(token.into()), two.push(token.into()));
        let (one, two) = (context(one.as_ref()), context(two.as_ref()));
        asked += one.len();
        differ += one.iter().zip(&two).filter(|(one, two)| one != two).count();
    }
    // Only times, over the edge of an octave.
    assert!(differ * 20 < asked, "{differ} of {asked} rows");
}

#[test]
fn the_label_is_the_last_row_and_the_flow_is_told_once_it_is_known() {
    let codec = codec();
    let shape = codec.context().expect("side information");
    let tokens = stream(&codec, "c");
    let mut decoder = codec.decoder(1);
    let mut told = 0;
    let mut before = context(decoder.as_ref());
    assert_eq!(*before.last().expect("rows") as usize, shape.rows - 1 - LABELS.len(), "no label yet");
    for &token in &tokens {
        let _ = decoder.push(token.into());
        let now = context(decoder.as_ref());
        assert_eq!(*now.last().expect("rows") as usize, shape.rows - 1);
        let known = vocab::FLOW_FORTH.has(token) || vocab::FLOW_BACK.has(token);
        if known {
            // Service and direction begin the fields of the open packet's flow, which only the label follows.
            let open = shape.fields - 1 - Note::default().len();
            assert_ne!(now[open..open + 2], before[open..open + 2], "{}", vocab::name(token));
            told += 1;
        }
        before = now;
    }
    assert!(told > 20, "{told} packets of known flows");
}
