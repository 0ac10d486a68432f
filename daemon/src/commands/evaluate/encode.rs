//! Encodes captures with a checkpoint's codec, to compute their likelihood.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use netssm_fidelity::{Captures, File, Found, Take, read};
use netssm_model::likelihood::EncodedSession;
use netssm_tokens::codec::{Codec, Encoder, FrameRef, SessionEnd};
use netssm_wire::capture::{Progress, Record};

use super::failure;
use crate::exit::{Failure, Outcome};

/// The sessions that can be predicted, and what was left out.
#[derive(Default)]
pub(super) struct Encoded {
    /// Sessions with at least one packet, in order of their paths.
    pub(super) sessions: Vec<EncodedSession>,
    pub(super) found: Found,
    /// Packets that the codec does not carry, by reason.
    pub(super) skipped: BTreeMap<&'static str, u64>,
    /// Labels that the checkpoint does not know. Their sessions are left out.
    pub(super) unknown_labels: Vec<String>,
}

/// A session being encoded.
struct Encoding {
    /// `None` for a label that the codec does not know.
    encoder: Option<Box<dyn Encoder>>,
    tokens: Vec<u16>,
    packets: u64,
    skipped: BTreeMap<&'static str, u64>,
}

impl Take for Encoding {
    fn take(&mut self, record: &Record) {
        let Some(encoder) = &mut self.encoder else { return };
        match encoder.push(FrameRef::from(record), &mut self.tokens) {
            Ok(()) => self.packets += 1,
            Err(skip) => *self.skipped.entry(skip.as_str()).or_default() += 1,
        }
    }
}

/// Reads captures and encodes each session whose label the checkpoint knows.
///
/// # Errors
/// If captures cannot be read, or no session is left.
pub(super) fn encode(codec: &dyn Codec, captures: &Captures, progress: &dyn Progress) -> Outcome<Encoded> {
    let open = |label: Option<&str>| Encoding {
        encoder: label.and_then(|label| codec.encoder(label).ok()),
        tokens: Vec::new(),
        packets: 0,
        skipped: BTreeMap::new(),
    };
    let mut out = Encoded::default();
    let mut unknown = BTreeSet::new();
    for file in read(captures, progress, open, |file: File<Encoding>| file).map_err(failure)? {
        out.found.merge(file.found);
        for part in file.sessions {
            let Encoding { encoder, mut tokens, packets, skipped } = part.content;
            let Some(label) = part.label else { continue };
            let Some(mut encoder) = encoder else {
                unknown.insert(label);
                continue;
            };
            encoder.finish(if part.cut { SessionEnd::Cut } else { SessionEnd::Ended }, &mut tokens);
            for (reason, count) in skipped {
                *out.skipped.entry(reason).or_default() += count;
            }
            if packets > 0 && tokens.len() > 1 {
                out.sessions.push(EncodedSession {
                    label,
                    tokens,
                    packets,
                    side_channel: encoder.side_channel_bits(),
                });
            }
        }
    }
    out.unknown_labels = unknown.into_iter().collect();
    if out.sessions.is_empty() {
        let found: Vec<&str> = out.found.labels.keys().map(String::as_str).collect();
        return Err(Failure::Run(anyhow!(
            "no session to predict: {} captures, labels {}; the checkpoint knows {}",
            out.found.captures,
            if found.is_empty() { "none".to_owned() } else { found.join(", ") },
            codec.vocab().labels().join(", ")
        )));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use netssm_tokens::codec::{BytesCodec, Form, Vocab, Width};

    use super::*;

    /// Writes a capture of `packets` ARP requests, which are the codecs' shortest packets, and one frame that no codec
    /// carries.
    fn write(path: &Path, packets: u32) {
        let mut out = Vec::new();
        for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
            out.extend(word.to_le_bytes());
        }
        for at in 0..=packets {
            let ethertype = if at < packets { [8, 6] } else { [0x88, 0xcc] };
            let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &ethertype].concat();
            frame.extend([
                0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
            ]);
            for word in [at, 0, frame.len() as u32, frame.len() as u32] {
                out.extend(word.to_le_bytes());
            }
            out.extend(frame);
        }
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(path, out).expect("written");
    }

    #[test]
    fn known_labels_are_encoded_up_to_the_limit() {
        let dir = tempfile::tempdir().expect("a folder");
        write(&dir.path().join("a/long.pcap"), 8);
        write(&dir.path().join("a/short.pcap"), 4);
        write(&dir.path().join("elsewhere/short.pcap"), 4);
        let codec =
            BytesCodec::new(Vocab::new(&["a", "b"]).expect("labels"), Width::Variable, Form::Canonical);
        let mut captures = Captures::of(vec![dir.path().to_owned()]);
        let got = encode(&codec, &captures, &()).expect("encoded");
        assert_eq!(got.unknown_labels, ["elsewhere"]);
        assert_eq!((got.found.captures, got.skipped.values().sum::<u64>()), (3, 2));
        let packets = |got: &Encoded| got.sessions.iter().map(|s| s.packets).collect::<Vec<_>>();
        assert_eq!(packets(&got), [8, 4]);

        captures.max_packets = 3;
        assert_eq!(packets(&encode(&codec, &captures, &()).expect("encoded")), [3, 3]);

        captures.inputs = vec![dir.path().join("elsewhere")];
        let text = encode(&codec, &captures, &()).err().expect("unknown").to_string();
        assert!(text.contains("labels elsewhere") && text.contains("knows a, b"), "{text}");
    }
}
