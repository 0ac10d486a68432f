//! Likelihood: how well a checkpoint predicts captures, in nats a token and a packet.
//!
//! A session is encoded with the checkpoint's codec and read by the model from its first token on, the state carried from
//! zero over the whole session; the loss of every token but the first (the label, which is given) is summed in f64:
//! `-ln p(token | all before it in the session)`. Nats a token compare checkpoints of one codec. **Nats a packet** compare
//! codecs, with these reservations: a codec with time predicts more than one without, so the tokens that say when a packet
//! comes are told apart; tokens that introduce the session (direction, link rate) are told apart too; and what a codec
//! keeps from the model's sight altogether (a side table of values that are drawn at random) is not in these numbers.
//!
//! A model that decodes in f32 is read in passes, one that decodes in eight bits in steps, as it generates: the difference is what
//! eight bits cost.
//!
//! Packets that the codec cannot carry are counted by reason and predicted by nobody: compare codecs on packets that both
//! carry.

mod predict;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use netssm_wire::capture::Record;
use serde::Serialize;

use super::read::{self, Captures, File, Found, Take};
use crate::codec::{Beside, Codec, DataError, Encoder, FrameRef, SessionEnd};
use crate::error::Error;
use crate::lm::Mamba2;
use crate::precision::Precision;
use crate::prepare::Progress;

/// Why a likelihood could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LikelihoodError {
    /// The captures or the codec.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model.
    #[error(transparent)]
    Model(#[from] Error),
    /// No session has a label that the checkpoint knows, or none has a packet that its codec carries.
    #[error("no session to predict: {0}")]
    Nothing(String),
    /// A thread died or could not be started.
    #[error("cannot compute: {0}")]
    Thread(String),
}

impl From<candle_core::Error> for LikelihoodError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// What was predicted and at what cost. Sums; the rates follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Nats {
    /// Sessions read.
    pub sessions: u64,
    /// Packets in them that the codec carries.
    pub packets: u64,
    /// Tokens predicted: all but each session's first.
    pub tokens: u64,
    /// Their summed loss in nats.
    pub nats: f64,
    /// Those of the tokens that say when a packet comes.
    pub time_tokens: u64,
    /// Their part of the loss.
    pub time_nats: f64,
    /// Those of the tokens that introduce the session, after its label.
    pub head_tokens: u64,
    /// Their part of the loss.
    pub head_nats: f64,
    /// Bits of time that the codec keeps beside its tokens; in no loss.
    pub beside_time_bits: u64,
    /// Other bits that it keeps beside them.
    pub beside_other_bits: u64,
    /// `nats / tokens`.
    pub nats_per_token: f64,
    /// `nats / packets`.
    pub nats_per_packet: f64,
    /// `time_nats / packets`.
    pub time_nats_per_packet: f64,
    /// What is left: `(nats - time_nats) / packets`.
    pub other_nats_per_packet: f64,
    /// `(tokens + sessions) / packets`: with the labels.
    pub tokens_per_packet: f64,
    /// `beside_time_bits / packets`.
    pub beside_time_bits_per_packet: f64,
    /// `beside_other_bits / packets`.
    pub beside_other_bits_per_packet: f64,
}

impl Nats {
    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.packets += other.packets;
        self.tokens += other.tokens;
        self.nats += other.nats;
        self.time_tokens += other.time_tokens;
        self.time_nats += other.time_nats;
        self.head_tokens += other.head_tokens;
        self.head_nats += other.head_nats;
        self.beside_time_bits += other.beside_time_bits;
        self.beside_other_bits += other.beside_other_bits;
    }

    fn with_rates(mut self) -> Self {
        let (tokens, packets) = (self.tokens.max(1) as f64, self.packets.max(1) as f64);
        self.nats_per_token = self.nats / tokens;
        self.nats_per_packet = self.nats / packets;
        self.time_nats_per_packet = self.time_nats / packets;
        self.other_nats_per_packet = (self.nats - self.time_nats) / packets;
        self.tokens_per_packet = (self.tokens + self.sessions) as f64 / packets;
        self.beside_time_bits_per_packet = self.beside_time_bits as f64 / packets;
        self.beside_other_bits_per_packet = self.beside_other_bits as f64 / packets;
        self
    }
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Likelihood {
    /// Codec of the checkpoint, in words.
    pub codec: String,
    /// Packets of a session that were read; 0 = all.
    pub max_packets: u64,
    /// All sessions.
    pub total: Nats,
    /// By label.
    pub labels: BTreeMap<String, Nats>,
    /// What was found in the folders.
    pub found: Found,
    /// Packets that the codec does not carry, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Labels of captures that the checkpoint does not know; their sessions are left out.
    pub unknown_labels: Vec<String>,
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

/// A session to be predicted.
struct Encoded {
    label: String,
    tokens: Vec<u16>,
    packets: u64,
    beside: Beside,
}

/// Predicts `captures` with `model`, whose tokens are `codec`'s, on `threads` threads. `progress` follows the encoding;
/// `follow` is then told tokens done and tokens in all, and stops the work with `true`.
///
/// # Errors
/// [`LikelihoodError`]: nothing to predict, folders that cannot be read, a stop asked for
/// ([`DataError::Stopped`]), or a model that cannot be computed.
pub fn likelihood(
    (model, codec): (&Mamba2, &dyn Codec),
    captures: &Captures,
    threads: usize,
    progress: &dyn Progress,
    follow: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Likelihood, LikelihoodError> {
    let mut out = Likelihood {
        codec: codec.id().to_string(),
        max_packets: captures.max_packets,
        ..Likelihood::default()
    };
    let sessions = encode(codec, captures, progress, &mut out)?;
    let nats = match model.precision() {
        // A model of another precision cannot be made: Mamba2::set_precision.
        Precision::F32 | Precision::Bf16 | Precision::Bf16State => {
            predict::predict(model, codec, &sessions, threads, follow)?
        }
        Precision::Int8 => step::predict(model, codec, &sessions, threads, follow)?,
    };
    for (session, nats) in sessions.iter().zip(nats) {
        out.total.add(&nats);
        out.labels.entry(session.label.clone()).or_default().add(&nats);
    }
    out.total = out.total.with_rates();
    out.labels.values_mut().for_each(|nats| *nats = nats.with_rates());
    Ok(out)
}

/// All sessions that can be predicted, the longest first, so that those side by side end at about the same time.
fn encode(
    codec: &dyn Codec,
    captures: &Captures,
    progress: &dyn Progress,
    out: &mut Likelihood,
) -> Result<Vec<Encoded>, LikelihoodError> {
    let open = |label: Option<&str>| Encoding {
        encoder: label.and_then(|label| codec.encoder(label).ok()),
        tokens: Vec::new(),
        packets: 0,
        skipped: BTreeMap::new(),
    };
    let mut sessions = Vec::new();
    let mut unknown = BTreeSet::new();
    for file in read::read(captures, progress, open, |file: File<Encoding>| file)? {
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
                sessions.push(Encoded { label, tokens, packets, beside: encoder.beside() });
            }
        }
    }
    out.unknown_labels = unknown.into_iter().collect();
    if sessions.is_empty() {
        let labels = codec.vocab().labels().join(", ");
        return Err(LikelihoodError::Nothing(format!(
            "{} captures, labels {}; the checkpoint knows {labels}",
            out.found.captures,
            if out.found.labels.is_empty() {
                "none".to_owned()
            } else {
                out.found.labels.keys().cloned().collect::<Vec<_>>().join(", ")
            }
        )));
    }
    sessions.sort_by_key(|session| std::cmp::Reverse(session.tokens.len()));
    Ok(sessions)
}

impl Nats {
    /// A session of which no token is predicted yet.
    fn unread(session: &Encoded) -> Self {
        Self {
            sessions: 1,
            packets: session.packets,
            beside_time_bits: session.beside.time_bits,
            beside_other_bits: session.beside.other_bits,
            ..Self::default()
        }
    }

    fn predicted(&mut self, nats: f64, head: bool, time: bool) {
        self.tokens += 1;
        self.nats += nats;
        if head {
            self.head_tokens += 1;
            self.head_nats += nats;
        } else if time {
            self.time_tokens += 1;
            self.time_nats += nats;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::testing::Frames;
    use super::*;
    use crate::codec::{BytesCodec, Form, Vocab, Width};
    use crate::config::ModelConfig;
    use crate::ops::loss::token_nats;
    use crate::windows::WINDOW;

    fn model(vocab: usize) -> Mamba2 {
        let cfg = ModelConfig {
            d_model: 16,
            n_layer: 2,
            vocab_size: vocab,
            d_state: 8,
            headdim: 8,
            ..ModelConfig::default()
        };
        Mamba2::init(&cfg, 5, &Device::Cpu).expect("a small model")
    }

    fn codec() -> BytesCodec {
        BytesCodec::new(Vocab::new(&["a", "b"]).expect("labels"), Width::Variable, Form::Canonical)
    }

    /// Two sessions of `a` of different lengths, one longer than a window, and one of a label that is unknown.
    fn captures(dir: &std::path::Path) -> Captures {
        let mut long = Frames::new();
        (0..8).for_each(|i| long.handshake(i * 100, 50_001 + i as u16));
        long.write(&dir.join("a/long.pcap"));
        let mut short = Frames::new();
        short.handshake(0, 50001);
        short.arp(100);
        short.write(&dir.join("a/short.pcap"));
        short.write(&dir.join("elsewhere/short.pcap"));
        Captures::of(vec![dir.to_owned()])
    }

    #[test]
    fn sums_are_those_of_one_pass_over_each_session() {
        let dir = tempfile::tempdir().expect("a folder");
        let captures = captures(dir.path());
        let (codec, model) = (codec(), model(codec().vocab().size()));
        let got = likelihood((&model, &codec), &captures, 2, &(), &|_, _| false).expect("a likelihood");
        assert_eq!(got.unknown_labels, ["elsewhere"]);
        assert_eq!((got.total.sessions, got.total.packets), (2, 28));
        assert_eq!(got.labels.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(got.total.time_tokens, 0, "the bytes codec has no time");
        let sessions = encode(&codec, &captures, &(), &mut Likelihood::default()).expect("encoded");
        assert!(sessions[0].tokens.len() > 2 * WINDOW);
        let mut nats = 0.0;
        for Encoded { tokens, .. } in &sessions {
            let ids: Vec<u32> = tokens.iter().map(|&t| u32::from(t)).collect();
            let inputs = Tensor::from_slice(&ids[..ids.len() - 1], (1, ids.len() - 1), &Device::Cpu);
            let logits = model.forward(&inputs.expect("a row"), None, None).expect("logits");
            let each = token_nats(&logits, &ids[1..]).expect("losses");
            nats += each.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        assert!((got.total.nats - nats).abs() < 1e-3 * nats, "{} against {nats}", got.total.nats);
        assert_eq!(got.total.tokens, sessions.iter().map(|s| s.tokens.len() as u64 - 1).sum::<u64>());
        assert!((got.total.nats_per_packet * 28.0 - nats).abs() < 1e-3 * nats);
        let alone = likelihood((&model, &codec), &captures, 1, &(), &|_, _| false).expect("a likelihood");
        assert_eq!(alone, got, "threads change nothing");
    }

    #[test]
    fn steps_read_what_passes_read_and_eight_bits_cost_little() {
        let dir = tempfile::tempdir().expect("a folder");
        let captures = captures(dir.path());
        let (codec, mut model) = (codec(), model(codec().vocab().size()));
        let passes = likelihood((&model, &codec), &captures, 2, &(), &|_, _| false).expect("a likelihood");
        let sessions = encode(&codec, &captures, &(), &mut Likelihood::default()).expect("encoded");
        let steps = step::predict(&model, &codec, &sessions, 2, &|_, _| false).expect("losses");
        let sum: f64 = steps.iter().map(|nats| nats.nats).sum();
        assert!((sum - passes.total.nats).abs() < 1e-4 * sum, "{sum} against {}", passes.total.nats);
        model.set_precision(Precision::Int8).expect("an f32 model on the cpu");
        let int8 = likelihood((&model, &codec), &captures, 2, &(), &|_, _| false).expect("a likelihood");
        assert_eq!(
            (int8.total.tokens, int8.total.head_tokens, int8.total.sessions),
            (passes.total.tokens, passes.total.head_tokens, passes.total.sessions)
        );
        let difference = (int8.total.nats - sum).abs() / sum;
        assert!(difference > 0.0 && difference < 0.01, "a share of {difference}");
        let alone = likelihood((&model, &codec), &captures, 1, &(), &|_, _| false).expect("a likelihood");
        assert_eq!(alone, int8, "threads change nothing");
        let stopped = likelihood((&model, &codec), &captures, 1, &(), &|_, _| true);
        assert!(matches!(stopped, Err(LikelihoodError::Data(DataError::Stopped))));
    }

    #[test]
    fn head_and_time_are_told_apart() {
        let mut nats = Nats::default();
        nats.predicted(1.0, true, false);
        nats.predicted(2.0, false, true);
        nats.predicted(4.0, false, false);
        nats.packets = 2;
        nats.sessions = 1;
        let nats = nats.with_rates();
        assert_eq!((nats.head_nats, nats.time_nats, nats.nats), (1.0, 2.0, 7.0));
        assert_eq!((nats.time_nats_per_packet, nats.other_nats_per_packet), (1.0, 2.5));
        assert_eq!(nats.tokens_per_packet, 2.0);
    }

    #[test]
    fn limits_stops_and_nothing_to_do_are_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut captures = captures(dir.path());
        let (codec, model) = (codec(), model(codec().vocab().size()));
        captures.max_packets = 3;
        let got = likelihood((&model, &codec), &captures, 2, &(), &|_, _| false).expect("a likelihood");
        assert_eq!(got.total.packets, 6);
        let stopped = likelihood((&model, &codec), &captures, 2, &(), &|_, _| true);
        assert!(matches!(stopped, Err(LikelihoodError::Data(DataError::Stopped))));
        captures.inputs = vec![dir.path().join("elsewhere")];
        let text =
            likelihood((&model, &codec), &captures, 2, &(), &|_, _| false).expect_err("unknown").to_string();
        assert!(text.contains("labels elsewhere") && text.contains("knows a, b"), "{text}");
    }
}
