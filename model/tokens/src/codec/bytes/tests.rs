//! The grammar against hand-made frames, and the mask under arbitrary choices.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::codec::Step;

fn codec(width: Width, form: Form) -> BytesCodec {
    BytesCodec::new(Vocab::new(&["x", "y"]).expect("labels"), width, form)
}

fn frame(bytes: &[u8]) -> FrameRef<'_> {
    FrameRef { time_ns: 0, wire_len: bytes.len() as u32, bytes }
}

/// Ethernet, IPv4, UDP 4000 -> 4001 with `payload`.
fn udp(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u8;
    let mut frame = vec![0xee; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28 + len, 1, 2, 0, 0, 64, 17, 9, 9, 192, 168, 0, 1, 8, 8, 8, 8]);
    frame.extend([0x0f, 0xa0, 0x0f, 0xa1, 0, 8 + len, 7, 7]);
    frame.extend_from_slice(payload);
    frame
}

fn encode(codec: &BytesCodec, frames: &[Vec<u8>], end: SessionEnd) -> Vec<u16> {
    let mut encoder = codec.encoder("y").expect("a label");
    let mut tokens = Vec::new();
    for bytes in frames {
        encoder.push(frame(bytes), &mut tokens).expect("carried");
    }
    encoder.finish(end, &mut tokens);
    tokens
}

#[test]
fn the_raw_stream_is_netssms() {
    let frames = [udp(&[1, 2, 3]), udp(&[9; 20])];
    let bytes = |range: &[u8]| range.iter().map(|&byte| u16::from(byte)).collect::<Vec<_>>();
    // All of a short payload (NetSSM loses its last byte), twelve bytes of a long one.
    let expected = [vec![261], bytes(&frames[0]), vec![256], bytes(&frames[1][..54]), vec![256]].concat();
    let raw = codec(Width::Variable, Form::Raw);
    assert_eq!(encode(&raw, &frames, SessionEnd::Cut), expected);
    assert_eq!(encode(&raw, &frames, SessionEnd::Ended), [&expected[..], &[257]].concat());
    let fixed = encode(&codec(Width::Fixed(94), Form::Raw), &frames, SessionEnd::Cut);
    assert_eq!(fixed.len(), 1 + 2 * 95);
    assert_eq!(fixed[1..46], expected[1..46]);
    assert!(fixed[46..95].iter().all(|&token| token == 0));
}

#[test]
fn a_raw_header_may_be_cut_and_a_canonical_one_is_whole() {
    let cut = udp(&[1; 12])[..40].to_vec();
    let tokens = encode(&codec(Width::Variable, Form::Raw), std::slice::from_ref(&cut), SessionEnd::Cut);
    assert_eq!(tokens.len(), 1 + 40 + 1);
    let mut canonical = codec(Width::Variable, Form::Canonical).encoder("x").expect("a label");
    let mut out = Vec::new();
    let whole = FrameRef { wire_len: 54, ..frame(&cut) };
    assert_eq!(canonical.push(whole, &mut out), Err(Skip::Cut));
    canonical.finish(SessionEnd::Ended, &mut out);
    assert!(out.is_empty());
}

#[test]
fn ids_open_the_same_codec_and_others_are_refused() {
    let id = codec(Width::Fixed(106), Form::Raw).id();
    assert_eq!(id.to_string(), "bytes/1 form=raw width=106");
    let vocab = Vocab::new(&["x"]).expect("a label");
    assert_eq!(crate::codec::open(&id, vocab.clone()).expect("known").id(), id);
    let edit = |change: &dyn Fn(&mut CodecId), expected: &str| {
        let mut id = id.clone();
        change(&mut id);
        let error = crate::codec::open(&id, vocab.clone()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    edit(&|id| id.name = "flows".to_owned(), "'flows' is not a codec of this build (known: flow, bytes)");
    let grammar = Vocab::flow(&["x"]).expect("a label");
    let error = crate::codec::open(&id, grammar).expect_err("another alphabet").to_string();
    assert!(error.contains("needs an alphabet with a packet delimiter"), "{error}");
    edit(&|id| id.version = 2, "needs another build");
    edit(&|id| drop(id.params.insert("width".to_owned(), "9999".to_owned())), "not between 15 and 256");
    edit(&|id| drop(id.params.insert("width".to_owned(), "wide".to_owned())), "neither 'variable' nor");
    edit(&|id| drop(id.params.remove("form")), "lacks the parameter 'form'");
    edit(&|id| drop(id.params.insert("fine".to_owned(), "1".to_owned())), "unknown parameter 'fine'");
}

#[test]
fn nothing_follows_the_end() {
    let codec = codec(Width::Variable, Form::Canonical);
    let mut decoder = codec.decoder(0);
    assert_eq!(decoder.push(257), Step::End(None));
    assert_eq!(decoder.push(256), Step::Need);
    let mask = decoder.legal().expect("a mask");
    assert_eq!(mask.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn obeying_the_mask_never_cuts_a_header(
        start in prop_oneof![Just(udp(&[])), Just(vec![0; 12])],
        skip in 12..24_usize,
        choices in vec(any::<u32>(), 1..400),
    ) {
        let codec = codec(Width::Variable, Form::Canonical);
        let mut decoder = codec.decoder(0);
        for &byte in &start[..skip.min(start.len())] {
            decoder.push(codec.vocab().byte(byte).into());
        }
        for choice in choices {
            let mask = decoder.legal().expect("a mask").to_vec();
            let legal: Vec<u32> = (0..codec.vocab().size() as u32)
                .filter(|&id| mask[id as usize / 64] >> (id % 64) & 1 == 1)
                .collect();
            match decoder.push(legal[choice as usize % legal.len()]) {
                Step::Packet(packet) => match shape::extent(&packet.header, UdpPrefix::DnsOnly) {
                    Extent::Whole(shape) => prop_assert_eq!(shape.end, packet.header.len()),
                    // Closed at once: no codec carries this, and repair drops it.
                    Extent::Foreign(_) => {}
                    Extent::More(needed) => prop_assert!(false, "{needed} bytes are needed"),
                },
                Step::End(_) => break,
                Step::Need => {}
            }
        }
    }
}
