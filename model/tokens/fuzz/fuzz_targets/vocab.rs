//! Any text: a NetSSM tokenizer, a vocabulary and a codec id give a value that survives its own form on disk, or an
//! error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_tokens::codec::{self, CodecId, TokenKind, Vocab};

fuzz_target!(|text: &str| {
    let vocabs = [Vocab::from_netssm_tokenizer(text).ok(), serde_json::from_str::<Vocab>(text).ok()];
    for vocab in vocabs.into_iter().flatten() {
        for byte in 0..=255 {
            assert_eq!(vocab.kind(vocab.byte(byte).into()), TokenKind::Byte(byte));
        }
        for label in vocab.labels() {
            assert!(vocab.label(label).is_some());
        }
        let again = serde_json::to_string(&vocab).expect("serialises");
        assert_eq!(serde_json::from_str::<Vocab>(&again).expect("reads back"), vocab);
    }
    if let Ok(id) = serde_json::from_str::<CodecId>(text) {
        let _ = codec::open(&id, Vocab::new(&["a"]).expect("a label"));
    }
});
