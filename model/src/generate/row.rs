//! One session during its generation: everything but its row in the model's state.

use std::time::Duration;

use netssm_tokens::codec::{Decoder, RawPacket, Step};
use netssm_tokens::repair::Repair;
use netssm_wire::session::{Origin, Packet, Session, Timing};
#[cfg(any(test, feature = "cuda"))]
use netssm_wire::splitmix;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tail::{OwnedPrompt, Tail};
use super::{Counts, Ending, GenerateError, Generated, Generator, Limit, SessionRequest};
use crate::sample::{Recent, SampleError, Sampler};

/// Random stream of the packet times. It is separate from stream 0, which draws the tokens, so that a timing table does
/// not change the packets.
const TIME_STREAM: u64 = 1;
/// Random stream of the decoder's seed, separate from the others for the same reason.
const DECODER_STREAM: u64 = 2;
/// Shortest Ethernet frame in bytes, without the check sequence (IEEE 802.3, clause 4A.2.3.2.4). A shorter packet may
/// have been padded to this length.
const MIN_FRAME_BYTES: u32 = 60;

/// What a row needs after a token.
pub(super) enum Next {
    /// The model reads its `token`.
    Step,
    /// Its stage is over. `Row::next_stage` gives the prompt of the next stage.
    Stage,
    /// It is finished.
    Finish(Ending),
}

/// A session in progress.
pub(super) struct Row {
    request: SessionRequest,
    rng: ChaCha8Rng,
    time_rng: ChaCha8Rng,
    decoder: Box<dyn Decoder>,
    decoder_seed: u64,
    repair: Repair,
    recent: Recent,
    sampler: Sampler,
    packets: Vec<Packet>,
    clock: Duration,
    counts: Counts,
    /// Tokens since the last complete packet.
    since_packet: u64,
    drops_in_a_row: u64,
    /// Packets written in the current stage.
    stage_packets: u64,
    pub(super) stage: usize,
    /// The tokens that seed the next stage. Kept only in a chain.
    tail: Option<Tail>,
    /// The token that was chosen last and that the model reads next. `context` is its side information.
    pub(super) token: u32,
    pub(super) context: Vec<u32>,
    /// Scratch for the legal tokens without the end token, where the end token is forbidden.
    mask: Vec<u64>,
}

impl Row {
    /// A new session, and the tokens of its prompt, which it has not read yet.
    pub(super) fn open(
        generator: &Generator,
        sampler: Sampler,
        request: SessionRequest,
    ) -> Result<(Self, Vec<u32>), GenerateError> {
        generator.check_label(&request.label)?;
        let label = generator.codec.prompt(&request.label)?;
        let prompt: Vec<u32> = match &request.prompt {
            Some(prompt) if prompt.starts_with(&label) => prompt.iter().copied().map(u32::from).collect(),
            Some(_) => {
                return Err(GenerateError::Options(format!(
                    "the prompt of request {} does not begin with the token of '{}'",
                    request.id, request.label
                )));
            }
            None => label.into_iter().map(u32::from).collect(),
        };
        Ok((Self::new(generator, sampler, request), prompt))
    }

    fn new(generator: &Generator, sampler: Sampler, request: SessionRequest) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(request.seed);
        let stream = |number| {
            let mut rng = rng.clone();
            rng.set_stream(number);
            rng
        };
        let codec = generator.codec.as_ref();
        let decoder_seed = stream(DECODER_STREAM).next_u64();
        Self {
            time_rng: stream(TIME_STREAM),
            rng,
            decoder: codec.decoder(decoder_seed),
            decoder_seed,
            repair: Repair::with_max_frame(generator.options.max_frame_bytes),
            recent: Recent::default(),
            sampler,
            packets: Vec::new(),
            clock: Duration::ZERO,
            counts: Counts::default(),
            since_packet: 0,
            drops_in_a_row: 0,
            stage_packets: 0,
            stage: 0,
            tail: (generator.stages.len() > 1).then(|| Tail::new(codec, generator.seed_packets)),
            token: 0,
            context: Vec::new(),
            mask: Vec::new(),
            request,
        }
    }

    /// Reads the tokens of the prompt and adds their packets to the session. Returns the tokens with their side
    /// information.
    pub(super) fn read_prompt(
        &mut self,
        generator: &Generator,
        tokens: Vec<u32>,
    ) -> Result<OwnedPrompt, Ending> {
        let mut context = Vec::new();
        for &token in &tokens {
            match self.accept(generator, token) {
                Next::Step => {}
                // The caller wrote the prompt. A stage's length counts only what its model writes.
                Next::Stage => self.stage_packets = 0,
                Next::Finish(ending) => return Err(ending),
            }
            context.extend_from_slice(&self.context);
        }
        Ok(OwnedPrompt { tokens, context })
    }

    /// The tokens whose logits [`Row::choose`] reads. None where the grammar leaves no choice.
    pub(super) fn wanted(&self, generator: &Generator) -> Option<&[u64]> {
        let legal = self.decoder.legal()?;
        Some(if only(legal, generator.codec.vocab().size()).is_some() { &[] } else { legal })
    }

    /// Chooses the next token from the model's logits and accepts it.
    pub(super) fn choose(&mut self, generator: &Generator, logits: &[f32]) -> Next {
        let logits = &logits[..logits.len().min(generator.codec.vocab().size())];
        let legal = legal(self.decoder.as_ref(), generator, &mut self.mask);
        let chosen = match legal.and_then(|mask| only(mask, logits.len())) {
            Some(token) => Ok(token),
            None => self.sampler.sample(logits, legal, &self.recent, &mut self.rng),
        };
        self.take(generator, chosen)
    }

    /// What a sampler elsewhere needs for the next choice. Either the one token that the grammar allows, or else `None`
    /// with those that it allows among `tokens` written into `mask`. [`Row::take`] accepts the result.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn ask(&self, generator: &Generator, tokens: usize, mask: &mut [u64]) -> Option<u32> {
        let mut without_end = Vec::new();
        let legal = legal(self.decoder.as_ref(), generator, &mut without_end);
        match legal {
            None => mask.fill(u64::MAX),
            Some(legal) => {
                if let Some(token) = only(legal, tokens) {
                    return Some(token);
                }
                for (i, word) in mask.iter_mut().enumerate() {
                    *word = legal.get(i).copied().unwrap_or(0);
                }
            }
        }
        None
    }

    /// The random number of the next draw, from the stream that [`Row::choose`] uses. A greedy choice draws none and
    /// gets 0.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn draw(&mut self) -> u64 {
        if self.sampler.policy().temperature == 0.0 { 0 } else { self.rng.next_u64() }
    }

    /// Marks in `mask` the tokens that the repetition penalty applies to.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn mark_recent(&self, mask: &mut [u64]) {
        mask.fill(0);
        for token in self.recent.tokens() {
            if let Some(word) = mask.get_mut(token as usize / 64) {
                *word |= 1 << (token % 64);
            }
        }
    }

    /// A number for stochastic rounding. It differs from token to token and from session to session, and depends on
    /// nothing else.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn dither(&self) -> u32 {
        splitmix::upper_half(self.request.seed ^ self.counts.tokens.wrapping_mul(splitmix::GAMMA))
    }

    /// Accepts the token that was chosen.
    pub(super) fn take(&mut self, generator: &Generator, chosen: Result<u32, SampleError>) -> Next {
        match chosen {
            Err(error) => Next::Finish(Ending::Logits(error)),
            Ok(token) => {
                self.recent.push(token, self.sampler.policy());
                self.token = token;
                self.accept(generator, token)
            }
        }
    }

    /// Gives one token to the decoder. A packet that it completes joins the session.
    fn accept(&mut self, generator: &Generator, token: u32) -> Next {
        self.counts.tokens += 1;
        self.since_packet += 1;
        let codec = generator.codec.as_ref();
        let last = self.stage + 1 == generator.stages.len();
        let is_end = codec.vocab().end().map(u32::from) == Some(token);
        // A decoder that continues in the next stage must not see that this stage ended.
        let step = if is_end && !last && codec.stateful() {
            Step::End(self.decoder.flush())
        } else {
            self.decoder.push(token)
        };
        let (packet, ended) = match step {
            Step::Need => (None, false),
            Step::Packet(packet) => (Some(packet), false),
            Step::End(packet) => (packet, true),
        };
        let completes = packet.is_some();
        let kept = packet.is_some_and(|packet| self.packet(generator, &packet));
        self.context.clear();
        if generator.reads_context {
            self.decoder.context(&mut self.context);
        }
        if let Some(tail) = &mut self.tail {
            tail.token((!ended).then_some(token), &self.context, completes, kept);
        }
        if completes {
            self.since_packet = 0;
            if self.drops_in_a_row >= generator.options.max_drops {
                return Next::Finish(Ending::OnlyDrops);
            }
        }
        if ended && last {
            return Next::Finish(Ending::EndToken);
        }
        if let Limit::Packets(n) = self.request.limit
            && self.counts.packets >= n
        {
            return Next::Finish(Ending::Limit);
        }
        if ended {
            return Next::Stage;
        }
        if let Limit::Tokens(n) = self.request.limit
            && self.counts.tokens >= n
        {
            if let Some(packet) = self.decoder.flush() {
                self.packet(generator, &packet);
            }
            return Next::Finish(Ending::Limit);
        }
        if self.since_packet >= generator.options.max_packet_tokens {
            return Next::Finish(Ending::Endless);
        }
        if !last && completes && self.stage_packets >= generator.stages[self.stage].packets {
            return Next::Stage;
        }
        Next::Step
    }

    /// Repairs a packet and gives it a time. False if the packet was dropped.
    fn packet(&mut self, generator: &Generator, raw: &RawPacket) -> bool {
        // The gap of a dropped packet still counts, so later packets keep their times.
        if let (Some(gap), false) = (raw.gap, self.packets.is_empty()) {
            self.clock = self.clock.saturating_add(gap);
        }
        match self.repair.repair(raw) {
            Err(dropped) => {
                *self.counts.drops.entry(dropped).or_default() += 1;
                self.drops_in_a_row += 1;
                false
            }
            Ok(mut packet) => {
                self.drops_in_a_row = 0;
                if raw.gap.is_none() && !generator.codec.timed() {
                    // Each packet draws one gap, also the first, whose gap is not used.
                    let gap = generator.timing.draw(&self.request.label, &mut self.time_rng);
                    let gap = gap.or(generator.options.gap).unwrap_or_default();
                    if !self.packets.is_empty() {
                        self.clock = self.clock.saturating_add(gap);
                    }
                }
                packet.time = self.clock;
                if let Some(wire_len) = raw.wire_len.filter(|&len| len <= MIN_FRAME_BYTES) {
                    packet.wire_len = packet.wire_len.max(wire_len);
                }
                self.packets.push(packet);
                self.counts.packets += 1;
                self.stage_packets += 1;
                true
            }
        }
    }

    /// Moves to the next stage and gives the tokens that its model reads first.
    pub(super) fn next_stage(&mut self, generator: &Generator) -> OwnedPrompt {
        self.stage += 1;
        self.stage_packets = 0;
        self.since_packet = 0;
        let Some(tail) = &mut self.tail else { return OwnedPrompt::default() };
        if generator.codec.stateful() {
            return tail.onward();
        }
        let (prompt, head) = tail.anew();
        self.decoder = generator.codec.decoder(self.decoder_seed);
        for &token in &prompt.tokens[head..] {
            // The session has these packets already. The new decoder only needs to know them.
            let _ = self.decoder.push(token);
        }
        prompt
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn finish(self, generator: &Generator, ending: Ending) -> Generated {
        Generated {
            id: self.request.id,
            session: Session {
                label: self.request.label,
                seed: self.request.seed,
                origin: Origin::Generated {
                    model: generator.name.clone(),
                    precision: generator.options.precision.to_string(),
                    timing: if generator.codec.timed() { Timing::Learned } else { Timing::Drawn },
                },
                packets: self.packets,
            },
            ending,
            counts: self.counts,
            repairs: self.repair.counts().clone(),
        }
    }
}

/// The tokens that may follow, without the end token where it is ignored. `None` allows all. `mask` is scratch space
/// for a changed mask.
fn legal<'a>(decoder: &'a dyn Decoder, generator: &Generator, mask: &'a mut Vec<u64>) -> Option<&'a [u64]> {
    let vocab = generator.codec.vocab();
    let legal = decoder.legal();
    let Some(end) = vocab.end().filter(|_| generator.options.ignore_end) else { return legal };
    mask.clear();
    match legal {
        Some(legal) => mask.extend_from_slice(legal),
        None => mask.resize(vocab.size().div_ceil(64), u64::MAX),
    }
    if let Some(word) = mask.get_mut(usize::from(end) / 64) {
        *word &= !(1 << (end % 64));
    }
    // Where the grammar allows nothing but the end token, the end token stays legal.
    if mask.iter().any(|&word| word != 0) { Some(mask) } else { legal }
}

/// The one token that a mask allows among `tokens`, if there is exactly one.
fn only(mask: &[u64], tokens: usize) -> Option<u32> {
    let mut found = None;
    for (i, &word) in mask.iter().enumerate().filter(|(_, word)| **word != 0) {
        if found.is_some() || !word.is_power_of_two() {
            return None;
        }
        found = Some(i as u32 * 64 + word.trailing_zeros());
    }
    found.filter(|&token| (token as usize) < tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_token_of_a_mask_is_found() {
        assert_eq!(only(&[0, 1 << 5], 128), Some(69));
        assert_eq!(only(&[1], 128), Some(0));
        for mask in [&[][..], &[0, 0], &[3], &[1, 1]] {
            assert_eq!(only(mask, 128), None, "{mask:?}");
        }
        assert_eq!(only(&[0, 1 << 5], 69), None, "the model has no logit for it");
    }
}
