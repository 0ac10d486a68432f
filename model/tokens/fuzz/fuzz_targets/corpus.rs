//! Any files in a corpus directory: it opens and every session can be read, or there is an error.
//!
//! With the first byte even, hashes and token counts are made to fit, so that the checks behind them are met too.
#![no_main]

use std::{fs, path::PathBuf, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use netssm_tokens::corpus::{Corpus, Split};
use sha2::{Digest, Sha256};

fn dir() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("netssm-fuzz-corpus-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("created");
        dir
    })
}

fuzz_target!(|input: (u8, String, Vec<u8>, String)| {
    let (choice, meta, tokens, index) = input;
    let split = |tokens: &[u8]| {
        serde_json::json!({"total": {"sessions": 1, "packets": 1, "tokens": tokens.len() / 2},
            "labels": {"a": {"sessions": 1, "packets": 1, "tokens": tokens.len() / 2}},
            "sha256": hex::encode(Sha256::digest(tokens))})
    };
    let meta = if choice & 1 == 1 {
        meta
    } else {
        serde_json::json!({"format": 1, "codec": {"name": "bytes", "version": 1, "params": {"form": "raw", "width": "variable"}},
            "vocab": {"size": 261, "packet": 256, "end": 257, "labels": [{"name": "a", "id": 260}]},
            "made": {}, "train": split(&tokens), "val": split(&tokens), "skipped": {}, "timing": {"labels": {}},
            "sources": [{"sha256": "", "label": "a", "split": "train", "records": 1}]})
        .to_string()
    };
    for (name, bytes) in [
        ("corpus.json", meta.as_bytes()),
        ("train.tokens", &tokens),
        ("val.tokens", &tokens),
        ("train.index", index.as_bytes()),
        ("val.index", index.as_bytes()),
    ] {
        fs::write(dir().join(name), bytes).expect("written");
    }
    if let Ok(corpus) = Corpus::open(dir()) {
        for split in Split::ALL {
            for (i, session) in corpus.sessions(split).iter().enumerate() {
                assert_eq!(corpus.tokens(split, i).len() as u64, session.tokens);
            }
        }
    }
});
