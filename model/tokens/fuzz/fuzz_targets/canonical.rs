//! Any session of frames, whole or cut: what the encoder carries is whole, and the decoder gives it back under its
//! mask.
#![no_main]

mod frames;

use libfuzzer_sys::fuzz_target;
use netssm_tokens::codec::{BytesCodec, Codec, Form, FrameRef, SessionEnd, Step, Vocab, Width};
use netssm_wire::frame::{Layout, Stop};

fuzz_target!(|data: &[u8]| {
    let codec = BytesCodec::new(Vocab::new(&["a"]).expect("a label"), Width::Variable, Form::Canonical);
    let mut encoder = codec.encoder("a").expect("a label");
    let (mut tokens, mut carried) = (Vec::new(), 0);
    for bytes in &frames::frames(data) {
        // The frame may be longer than what was captured of it.
        let wire_len = bytes.len() as u32 + 64 * u32::from(bytes.len() % 2 == 1);
        carried += usize::from(encoder.push(FrameRef { time_ns: 0, wire_len, bytes }, &mut tokens).is_ok());
    }
    encoder.finish(SessionEnd::Ended, &mut tokens);
    let mut decoder = codec.decoder(0);
    let mut decoded = 0;
    for (index, &token) in tokens.iter().enumerate() {
        let mask = decoder.legal().expect("a mask");
        assert!(index == 0 || mask[usize::from(token) / 64] >> (token % 64) & 1 == 1);
        if let Step::Packet(packet) = decoder.push(token.into()) {
            assert_eq!(Layout::parse(&packet.header).stop, Stop::Whole);
            decoded += 1;
        }
    }
    assert_eq!(decoded, carried);
});
