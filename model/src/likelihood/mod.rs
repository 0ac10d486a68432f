//! Likelihood: how well a checkpoint predicts captures, in nats per token and nats per packet.
//!
//! A session is encoded with the checkpoint's codec. The model reads it from its first token on, and its state starts
//! from zero and is carried over the whole session. The loss of a token is its negative log probability,
//! `-ln p(token | all before it in the session)`. The losses of all tokens but the first (the label, which is given)
//! are summed in f64.
//!
//! Nats per token compare checkpoints of one codec. **Nats per packet** compare codecs, with three reservations. A
//! codec with time predicts more than one without, so the tokens that say when a packet comes are counted separately.
//! Tokens that introduce the session (direction, link rate) are counted separately too. These numbers leave out what a
//! codec hides from the model: the values in the side table, which are drawn at random.
//!
//! A model that generates in f32 is read in passes over windows. A model that generates in int8 is read in steps. The
//! difference is the cost of int8.
//!
//! The caller reads captures and encodes them. Packets that the codec cannot encode are in no [`EncodedSession`] and
//! are not predicted. Compare codecs on packets that both can encode.

mod predict;
mod step;

use std::collections::BTreeMap;

use netssm_tokens::codec::{Codec, SideChannelBits};
use serde::Serialize;

use crate::error::Error;
use crate::lm::Mamba2;
use crate::precision::Precision;

/// Why a likelihood could not be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LikelihoodError {
    /// The model.
    #[error(transparent)]
    Model(#[from] Error),
    /// The caller asked to stop.
    #[error("stopped before the end")]
    Stopped,
    /// A thread panicked or could not be started.
    #[error("cannot compute: {0}")]
    Thread(String),
}

impl From<candle_core::Error> for LikelihoodError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Counts and summed losses of what was predicted, and the rates that follow from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Nats {
    /// Sessions read.
    pub sessions: u64,
    /// Packets of these sessions that the codec encodes.
    pub packets: u64,
    /// Predicted tokens: all but the first of each session.
    pub tokens: u64,
    /// Loss of these tokens, summed, in nats.
    pub nats: f64,
    /// The predicted tokens that say when a packet comes.
    pub time_tokens: u64,
    /// Loss of these tokens, in nats.
    pub time_nats: f64,
    /// The predicted tokens that introduce the session, after its label.
    pub head_tokens: u64,
    /// Loss of these tokens, in nats.
    pub head_nats: f64,
    /// Bits of time that the codec puts into the side channel. No loss counts them.
    pub beside_time_bits: u64,
    /// Other bits that the codec puts into the side channel. No loss counts them.
    pub beside_other_bits: u64,
    /// `nats / tokens`.
    pub nats_per_token: f64,
    /// `nats / packets`.
    pub nats_per_packet: f64,
    /// `time_nats / packets`.
    pub time_nats_per_packet: f64,
    /// Nats of all tokens but those of time: `(nats - time_nats) / packets`.
    pub other_nats_per_packet: f64,
    /// Labels included: `(tokens + sessions) / packets`.
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

/// The likelihoods of a set of sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Likelihood {
    /// Over all sessions.
    pub total: Nats,
    /// By label.
    pub labels: BTreeMap<String, Nats>,
}

/// A session to be predicted, as its encoder wrote it.
#[derive(Clone, Debug)]
pub struct EncodedSession {
    /// Its label. The result is grouped by label.
    pub label: String,
    /// All of its tokens, the label first. At least two.
    pub tokens: Vec<u16>,
    /// Packets in them.
    pub packets: u64,
    /// What the encoder put into the side channel.
    pub side_channel: SideChannelBits,
}

/// Predicts `sessions` with `model` on `threads` threads. `codec` is the codec of the model's tokens. `follow` receives
/// the number of tokens done and the total, and stops the work with `true`. A session of fewer than two tokens has
/// nothing to predict and is left out.
///
/// # Errors
/// [`LikelihoodError`]: a requested stop, or a model that cannot be computed.
pub fn likelihood(
    (model, codec): (&Mamba2, &dyn Codec),
    mut sessions: Vec<EncodedSession>,
    threads: usize,
    follow: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Likelihood, LikelihoodError> {
    sessions.retain(|session| session.tokens.len() > 1);
    // Longest first, so that sessions read side by side end at about the same time.
    sessions.sort_by_key(|session| std::cmp::Reverse(session.tokens.len()));
    let nats = match model.precision() {
        // Mamba2::set_precision refuses bf16, so only F32 reaches this arm.
        Precision::F32 | Precision::Bf16 | Precision::Bf16State => {
            predict::predict(model, codec, &sessions, threads, follow)?
        }
        Precision::Int8 => step::predict(model, codec, &sessions, threads, follow)?,
    };
    let mut out = Likelihood::default();
    for (session, nats) in sessions.iter().zip(nats) {
        out.total.add(&nats);
        out.labels.entry(session.label.clone()).or_default().add(&nats);
    }
    out.total = out.total.with_rates();
    out.labels.values_mut().for_each(|nats| *nats = nats.with_rates());
    Ok(out)
}

impl Nats {
    /// The counts of a session before any of its tokens is predicted.
    fn unread(session: &EncodedSession) -> Self {
        Self {
            sessions: 1,
            packets: session.packets,
            beside_time_bits: session.side_channel.time_bits,
            beside_other_bits: session.side_channel.other_bits,
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
    use netssm_tokens::codec::{BytesCodec, Form, Vocab, Width};

    use super::*;
    use crate::engine::cpu::loss::token_nats;
    use crate::network::config::ModelConfig;
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

    /// A session of bytes without a grammar. Likelihood accepts any tokens.
    fn session(label: &str, packets: u64, tokens: u16) -> EncodedSession {
        let tokens = (0..tokens).map(|at| at.wrapping_mul(at).wrapping_mul(7) % 256).collect();
        EncodedSession { label: label.to_owned(), tokens, packets, side_channel: SideChannelBits::default() }
    }

    /// Two sessions of different lengths, one longer than two windows.
    fn sessions() -> Vec<EncodedSession> {
        vec![session("b", 4, 301), session("a", 24, 2 * WINDOW as u16 + 200)]
    }

    #[test]
    fn sums_are_those_of_one_pass_over_each_session() {
        let (codec, model) = (codec(), model(codec().vocab().size()));
        let got = likelihood((&model, &codec), sessions(), 2, &|_, _| false).expect("a likelihood");
        assert_eq!((got.total.sessions, got.total.packets), (2, 28));
        assert_eq!(got.labels.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(got.total.time_tokens, 0, "the bytes codec has no time");
        let mut nats = 0.0;
        for EncodedSession { tokens, .. } in sessions() {
            let ids: Vec<u32> = tokens.iter().map(|&t| u32::from(t)).collect();
            let inputs = Tensor::from_slice(&ids[..ids.len() - 1], (1, ids.len() - 1), &Device::Cpu);
            let logits = model.forward(&inputs.expect("a row"), None, None).expect("logits");
            let each = token_nats(&logits, &ids[1..]).expect("losses");
            nats += each.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        assert!((got.total.nats - nats).abs() < 1e-3 * nats, "{} against {nats}", got.total.nats);
        assert_eq!(got.total.tokens, sessions().iter().map(|s| s.tokens.len() as u64 - 1).sum::<u64>());
        assert!((got.total.nats_per_packet * 28.0 - nats).abs() < 1e-3 * nats);
        let mut others = sessions();
        others.reverse();
        others.push(session("a", 0, 1));
        let alone = likelihood((&model, &codec), others, 1, &|_, _| false).expect("a likelihood");
        assert_eq!(alone, got, "threads and order change nothing, and one token is no session");
    }

    #[test]
    fn steps_read_what_passes_read_and_eight_bits_cost_little() {
        let (codec, mut model) = (codec(), model(codec().vocab().size()));
        let passes = likelihood((&model, &codec), sessions(), 2, &|_, _| false).expect("a likelihood");
        let mut longest_first = sessions();
        longest_first.reverse();
        let steps = step::predict(&model, &codec, &longest_first, 2, &|_, _| false).expect("losses");
        let sum: f64 = steps.iter().map(|nats| nats.nats).sum();
        assert!((sum - passes.total.nats).abs() < 1e-4 * sum, "{sum} against {}", passes.total.nats);
        model.set_precision(Precision::Int8).expect("an f32 model on the cpu");
        let int8 = likelihood((&model, &codec), sessions(), 2, &|_, _| false).expect("a likelihood");
        assert_eq!(
            (int8.total.tokens, int8.total.head_tokens, int8.total.sessions),
            (passes.total.tokens, passes.total.head_tokens, passes.total.sessions)
        );
        let difference = (int8.total.nats - sum).abs() / sum;
        assert!(difference > 0.0 && difference < 0.01, "a share of {difference}");
        let alone = likelihood((&model, &codec), sessions(), 1, &|_, _| false).expect("a likelihood");
        assert_eq!(alone, int8, "threads change nothing");
        let stopped = likelihood((&model, &codec), sessions(), 1, &|_, _| true);
        assert!(matches!(stopped, Err(LikelihoodError::Stopped)));
    }

    #[test]
    fn a_stop_ends_passes() {
        let (codec, model) = (codec(), model(codec().vocab().size()));
        let stopped = likelihood((&model, &codec), sessions(), 2, &|_, _| true);
        assert!(matches!(stopped, Err(LikelihoodError::Stopped)));
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
}
