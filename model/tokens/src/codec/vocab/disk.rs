//! A vocabulary as JSON, in a corpus and in a checkpoint.

use serde::{Deserialize, Serialize};

use super::{Delimiting, GRAMMAR_END, GRAMMAR_PAD, Vocab};
use crate::error::DataError;

/// The form on disk. `bytes` is absent if byte `b` has id `b`. Exactly one of `packet` and `grammar` is present.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VocabFile {
    size: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packet: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grammar: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pad: Option<u16>,
    labels: Vec<LabelEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelEntry {
    name: String,
    id: u16,
}

impl TryFrom<VocabFile> for Vocab {
    type Error = DataError;

    fn try_from(file: VocabFile) -> Result<Self, DataError> {
        let bytes = match file.bytes {
            None => std::array::from_fn(|byte| byte as u16),
            Some(ids) => ids.try_into().map_err(|ids: Vec<u16>| {
                DataError::Vocab(format!("expected 256 byte ids, got {}", ids.len()))
            })?,
        };
        let delimiting = match (file.packet, file.grammar) {
            (Some(id), None) => Delimiting::Packet(id),
            (None, Some(ids)) if (file.end, file.pad) == (Some(GRAMMAR_END), Some(GRAMMAR_PAD)) => {
                Delimiting::Grammar(ids)
            }
            (None, Some(_)) => {
                return Err(DataError::Vocab(format!(
                    "a grammar has end {GRAMMAR_END} and padding {GRAMMAR_PAD}, got {:?} and {:?}",
                    file.end, file.pad
                )));
            }
            _ => {
                return Err(DataError::Vocab(
                    "expected either a packet delimiter or the ids of a grammar".to_owned(),
                ));
            }
        };
        let labels = file.labels.into_iter().map(|label| (label.name, label.id)).collect();
        Self::from_parts(file.size, bytes, delimiting, file.end, file.pad, labels)
    }
}

impl From<Vocab> for VocabFile {
    fn from(vocab: Vocab) -> Self {
        let plain = vocab.bytes.iter().enumerate().all(|(byte, &id)| byte == usize::from(id));
        Self {
            size: vocab.kinds.len(),
            bytes: (!plain).then(|| vocab.bytes.to_vec()),
            packet: vocab.packet,
            grammar: (vocab.grammar > 0).then_some(vocab.grammar),
            end: vocab.end,
            pad: vocab.pad,
            labels: vocab
                .labels
                .into_iter()
                .zip(vocab.label_ids)
                .map(|(name, id)| LabelEntry { name, id })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_on_disk_is_checked() {
        let vocab = Vocab::new(&["a"]).expect("legal label");
        let text = serde_json::to_string(&vocab).expect("serialises");
        assert_eq!(serde_json::from_str::<Vocab>(&text).expect("reads back"), vocab);
        for (bad, why) in [
            (text.replace(r#""packet":256"#, r#""packet":7"#), "two meanings"),
            (text.replace(r#""id":260"#, r#""id":900"#), "beyond the size"),
            (text.replace(r#""size":261"#, r#""size":100"#), "too small"),
            (text.replace(r#""name":"a""#, r#""name":"pkt""#), "reserved"),
        ] {
            assert_ne!(bad, text, "the case '{why}' changed nothing");
            assert!(serde_json::from_str::<Vocab>(&bad).is_err(), "accepted: {why}");
        }
        let vocab = Vocab::flow(&["a"]).expect("legal label");
        let text = serde_json::to_string(&vocab).expect("serialises");
        assert_eq!(
            text,
            r#"{"size":1025,"grammar":1024,"end":257,"pad":256,"labels":[{"name":"a","id":1024}]}"#
        );
        assert_eq!(serde_json::from_str::<Vocab>(&text).expect("reads back"), vocab);
        for (bad, why) in [
            (text.replace(r#""grammar":1024,"#, ""), "neither delimiter nor grammar"),
            (text.replace(r#""end":257"#, r#""packet":258,"end":257"#), "both"),
            (text.replace(r#""end":257,"#, ""), "no end"),
            (text.replace(r#""pad":256"#, r#""pad":300"#), "padding elsewhere"),
            (text.replace(r#""grammar":1024"#, r#""grammar":2000"#), "beyond the size"),
            (text.replace(r#""id":1024"#, r#""id":1000"#), "a label among the grammar's ids"),
        ] {
            assert_ne!(bad, text, "the case '{why}' changed nothing");
            assert!(serde_json::from_str::<Vocab>(&bad).is_err(), "accepted: {why}");
        }
    }
}
