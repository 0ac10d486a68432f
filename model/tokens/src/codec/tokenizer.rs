//! Import of NetSSM's `tokenizer.json` (the format of Hugging Face's tokenizers library).
//!
//! Two shapes are in use and both are read. The script in NetSSM's repository makes a `WordLevel` model: byte `b` at id
//! `b`, `<|unk|>` 256, then the added tokens. The tokenizer that was published with the multi-flow model is a `BPE`
//! one: delimiters and labels first, then the decimal strings in the order in which their merges were learned, with one
//! token (`256`) that no byte maps to. In both, the content of a token decides its meaning, so only the map from
//! content to id is read. The merges build the decimal numbers and are not needed.
//!
//! NetSSM's streams have no end token (`<|endoftext|>` is defined but never written), so the result has none either.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::vocab::{Delimiting, Vocab};
use crate::error::DataError;

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u64,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: serde_json::Value,
}

impl Vocab {
    /// Reads NetSSM's `tokenizer.json`: every id keeps its meaning, labels come in the order of their ids.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the text is not JSON, the model is neither `WordLevel` nor `BPE`, a byte or
    /// `<|pkt|>` has no id, an id has two meanings, or a token is neither a number nor `<|name|>`.
    pub fn from_netssm_tokenizer(json: &str) -> Result<Self, DataError> {
        let file: TokenizerFile =
            serde_json::from_str(json).map_err(|error| DataError::Tokenizer(error.to_string()))?;
        let by_id = tokens_by_id(&file)?;
        let mut bytes = [None; 256];
        let (mut packet, mut pad, mut labels) = (None, None, Vec::new());
        for (&id, content) in &by_id {
            if let Ok(number) = content.parse::<u32>() {
                // "256" is in the published vocabulary and stands for no byte: it stays unused.
                if let Some(slot) = bytes.get_mut(number as usize) {
                    *slot = Some(id);
                }
                continue;
            }
            match content.strip_prefix("<|").and_then(|rest| rest.strip_suffix("|>")) {
                Some("pkt") => packet = Some(id),
                Some("padding") => pad = Some(id),
                Some("endoftext" | "unk") => {}
                Some(label) => labels.push((label.to_owned(), id)),
                None => {
                    return Err(DataError::Tokenizer(format!(
                        "token {id} is '{}', expected a number or a name like <|netflix|>",
                        content.escape_debug()
                    )));
                }
            }
        }
        let mut ids = [0; 256];
        for (byte, (id, slot)) in ids.iter_mut().zip(bytes).enumerate() {
            *id = slot.ok_or_else(|| DataError::Tokenizer(format!("byte {byte} has no token")))?;
        }
        let packet = packet.ok_or_else(|| DataError::Tokenizer("<|pkt|> has no token".to_owned()))?;
        let size = by_id.keys().next_back().map_or(0, |&last| usize::from(last) + 1);
        Self::from_parts(size, ids, Delimiting::Packet(packet), None, pad, labels)
            .map_err(|error| DataError::Tokenizer(error.to_string()))
    }
}

/// Merges `model.vocab` and `added_tokens`; both may list a token, but then under the same id.
fn tokens_by_id(file: &TokenizerFile) -> Result<BTreeMap<u16, String>, DataError> {
    match file.model.kind.as_deref() {
        // Old files leave the type out.
        None | Some("WordLevel" | "BPE") => {}
        Some(other) => {
            return Err(DataError::Tokenizer(format!("model type '{other}', expected WordLevel or BPE")));
        }
    }
    let vocab = file
        .model
        .vocab
        .as_object()
        .ok_or_else(|| DataError::Tokenizer("model.vocab is not a map from token to id".to_owned()))?;
    let mut by_id = BTreeMap::<u16, String>::new();
    let mut ids = BTreeMap::<String, u16>::new();
    let listed = vocab.iter().map(|(content, id)| (content, id.as_u64()));
    for (content, id) in listed.chain(file.added_tokens.iter().map(|token| (&token.content, Some(token.id))))
    {
        let id = id.and_then(|id| u16::try_from(id).ok()).ok_or_else(|| {
            DataError::Tokenizer(format!(
                "the id of '{}' is not a number below 65536",
                content.escape_debug()
            ))
        })?;
        if let Some(old) = ids.insert(content.clone(), id).filter(|&old| old != id) {
            return Err(DataError::Tokenizer(format!(
                "'{}' has the ids {old} and {id}",
                content.escape_debug()
            )));
        }
        if let Some(old) = by_id.insert(id, content.clone()).filter(|old| old != content) {
            return Err(DataError::Tokenizer(format!(
                "id {id} is both '{}' and '{}'",
                old.escape_debug(),
                content.escape_debug()
            )));
        }
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TokenKind;

    /// The shape of the published tokenizer: delimiters first, bytes shuffled, one number too many.
    fn bpe() -> serde_json::Value {
        let mut vocab = serde_json::Map::new();
        for (id, name) in ["<|endoftext|>", "<|padding|>", "<|pkt|>", "<|netflix|>"].into_iter().enumerate() {
            vocab.insert(name.to_owned(), id.into());
        }
        for number in 0..=256_u32 {
            vocab.insert(number.to_string(), (4 + (number * 7) % 257).into());
        }
        let added: Vec<_> = (0..4)
            .map(|id| {
                let content = ["<|endoftext|>", "<|padding|>", "<|pkt|>", "<|netflix|>"][id];
                serde_json::json!({"id": id, "content": content, "special": true})
            })
            .collect();
        serde_json::json!({"version": "1.0", "added_tokens": added,
            "model": {"type": "BPE", "vocab": vocab, "merges": ["1 2"]}})
    }

    /// The shape that NetSSM's script writes: bytes in place, the rest only among the added tokens.
    fn word_level() -> serde_json::Value {
        let mut vocab = serde_json::Map::new();
        for number in 0..256 {
            vocab.insert(number.to_string(), number.into());
        }
        vocab.insert("<|unk|>".to_owned(), 256.into());
        let names = ["<|endoftext|>", "<|padding|>", "<|pkt|>", "<|unk|>", "<|netflix|>", "<|youtube|>"];
        let ids = [257, 258, 259, 256, 260, 261];
        let added: Vec<_> =
            names.iter().zip(ids).map(|(name, id)| serde_json::json!({"id": id, "content": name})).collect();
        serde_json::json!({"added_tokens": added, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<|unk|>"}})
    }

    #[test]
    fn the_published_shape_keeps_its_ids() {
        let vocab = Vocab::from_netssm_tokenizer(&bpe().to_string()).expect("imports");
        assert_eq!((vocab.size(), vocab.packet(), vocab.pad(), vocab.end()), (261, Some(2), Some(1), None));
        assert_eq!((vocab.byte(0), vocab.byte(1), vocab.byte(255)), (4, 11, 4 + (255 * 7 % 257) as u16));
        assert_eq!(vocab.labels(), ["netflix"]);
        assert_eq!(vocab.kind(4 + 256 * 7 % 257), TokenKind::Unused);
        let text = serde_json::to_string(&vocab).expect("serialises");
        assert_eq!(serde_json::from_str::<Vocab>(&text).expect("reads back"), vocab);
    }

    #[test]
    fn the_scripts_shape_gives_labels_in_order_and_can_grow() {
        let mut vocab = Vocab::from_netssm_tokenizer(&word_level().to_string()).expect("imports");
        assert_eq!(vocab.labels(), ["netflix", "youtube"]);
        assert_eq!((vocab.byte(200), vocab.packet(), vocab.label("youtube")), (200, Some(259), Some(261)));
        vocab.extend(&["twitch"]).expect("legal label");
        assert_eq!(vocab.label("twitch"), Some(262));
    }

    #[test]
    fn unknown_shapes_are_named() {
        let mut cases = Vec::new();
        let mut edit = |what: &'static str, change: &dyn Fn(&mut serde_json::Value)| {
            let mut file = bpe();
            change(&mut file);
            cases.push((what, file.to_string()));
        };
        edit("Unigram", &|file| file["model"]["type"] = "Unigram".into());
        edit("byte 17 has no token", &|file| {
            file["model"]["vocab"].as_object_mut().expect("a map").remove("17");
        });
        edit("a map from token to id", &|file| file["model"]["vocab"] = serde_json::json!([["a", -1.0]]));
        edit("'hello'", &|file| file["model"]["vocab"]["hello"] = 300.into());
        edit("id 2 is both", &|file| file["model"]["vocab"]["<|other|>"] = 2.into());
        edit("below 65536", &|file| file["model"]["vocab"]["<|other|>"] = 70_000.into());
        edit("missing field `model`", &|file| {
            file.as_object_mut().expect("a map").remove("model");
        });
        cases.push(("EOF", "{\"model\":".to_owned()));
        for (expected, text) in cases {
            let error = Vocab::from_netssm_tokenizer(&text).expect_err(expected).to_string();
            assert!(error.contains(expected), "expected '{expected}' in: {error}");
        }
    }
}
