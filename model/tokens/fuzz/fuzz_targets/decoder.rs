//! Any tokens: no panic, a mask with at least one bit, packets no longer than the limit; and repair takes what comes
//! out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_tokens::{
    codec::{BytesCodec, Codec, Form, MAX_HEADER_BYTES, Step, Vocab, Width},
    repair::Repair,
};

fuzz_target!(|input: (u8, Vec<u16>)| {
    let (choice, tokens) = input;
    let form = if choice & 1 == 0 { Form::Canonical } else { Form::Raw };
    let width = if choice & 2 == 0 { Width::Variable } else { Width::Fixed(106) };
    let codec = BytesCodec::new(Vocab::new(&["a", "b"]).expect("labels"), width, form);
    let mut decoder = codec.decoder(0);
    let mut repair = Repair::new();
    for token in tokens {
        assert!(decoder.legal().expect("a mask").iter().any(|&word| word != 0));
        // Most 16-bit numbers are no token: fold them so that bytes and delimiters are met often.
        let token =
            if choice & 4 == 0 { u32::from(token) } else { u32::from(token) % codec.vocab().size() as u32 };
        if let Step::Packet(packet) = decoder.push(token) {
            assert!(!packet.header.is_empty() && packet.header.len() <= MAX_HEADER_BYTES);
            let _ = repair.repair(&packet);
        }
    }
});
