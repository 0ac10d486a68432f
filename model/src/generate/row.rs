//! One session while it is being generated: everything of it but its row in the model's state.

use std::collections::VecDeque;
use std::time::Duration;

use netssm_wire::session::{Packet, Session, Timing};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Counts, Ending, Generated, Generator, Limit, SessionRequest};
use crate::codec::{Decoder, RawPacket, Step, TokenKind};
use crate::repair::Repair;
use crate::sample::{Recent, Sampler};

/// Stream of the session's generator that draws packet times, apart from the tokens' stream 0, so
/// that a timing table does not change the packets.
const TIME_STREAM: u64 = 1;

/// What a row does after a token.
pub(super) enum Next {
    /// Feed its `token` to the model.
    Step,
    /// Its stage is over: seed the next one with `Row::seed`.
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
    repair: Repair,
    recent: Recent,
    packets: Vec<Packet>,
    clock: Duration,
    timing: Timing,
    counts: Counts,
    /// Tokens since the last complete packet.
    since_packet: u64,
    drops_in_a_row: u64,
    /// Packets of the current stage.
    stage_packets: u64,
    pub(super) stage: usize,
    /// Tokens of the packet in progress and of the last complete ones, kept only in a chain.
    current: Vec<u32>,
    tail: VecDeque<Vec<u32>>,
    /// The token chosen last, to be fed next.
    pub(super) token: u32,
}

impl Row {
    pub(super) fn new(generator: &Generator, request: SessionRequest) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(request.seed);
        let mut time_rng = rng.clone();
        time_rng.set_stream(TIME_STREAM);
        Self {
            rng,
            time_rng,
            decoder: generator.codec.decoder(),
            repair: Repair::with_max_frame(generator.options.max_frame_bytes),
            recent: Recent::default(),
            packets: Vec::new(),
            clock: Duration::ZERO,
            timing: Timing::Drawn,
            counts: Counts::default(),
            since_packet: 0,
            drops_in_a_row: 0,
            stage_packets: 0,
            stage: 0,
            current: Vec::new(),
            tail: VecDeque::new(),
            token: 0,
            request,
        }
    }

    /// Takes over the tokens of the prompt, packets and all.
    pub(super) fn read_prompt(&mut self, generator: &Generator, prompt: &[u32]) -> Next {
        for &token in prompt {
            match self.accept(generator, token) {
                Next::Step => {}
                // The prompt is the caller's: a stage's length counts what its model writes.
                Next::Stage => self.stage_packets = 0,
                finish => return finish,
            }
        }
        Next::Step
    }

    /// Chooses the next token from the model's logits and takes it over.
    pub(super) fn choose(&mut self, generator: &Generator, sampler: &mut Sampler, logits: &[f32]) -> Next {
        let vocab = generator.codec.vocab();
        let logits = &logits[..logits.len().min(vocab.size())];
        let mut mask;
        let mut legal = self.decoder.legal();
        if let (true, Some(end)) = (generator.options.ignore_end, vocab.end()) {
            mask = legal.map_or_else(|| vec![u64::MAX; vocab.size().div_ceil(64)], <[u64]>::to_vec);
            if let Some(word) = mask.get_mut(usize::from(end) / 64) {
                *word &= !(1 << (end % 64));
            }
            // Where the grammar leaves nothing but the end, the end it is.
            if mask.iter().any(|&word| word != 0) {
                legal = Some(&mask);
            }
        }
        match sampler.sample(logits, legal, &self.recent, &mut self.rng) {
            Err(error) => Next::Finish(Ending::Logits(error)),
            Ok(token) => {
                self.recent.push(token, sampler.policy());
                self.token = token;
                self.accept(generator, token)
            }
        }
    }

    /// One token into the decoder, and a packet into the session if it completes one.
    fn accept(&mut self, generator: &Generator, token: u32) -> Next {
        self.counts.tokens += 1;
        self.since_packet += 1;
        let chained = generator.stages.len() > 1;
        if chained && matches!(generator.codec.vocab().kind(token), TokenKind::Byte(_) | TokenKind::Packet) {
            self.current.push(token);
        }
        match self.decoder.push(token) {
            Step::Need => {}
            Step::End if self.stage + 1 < generator.stages.len() => return Next::Stage,
            Step::End => return Next::Finish(Ending::EndToken),
            Step::Packet(raw) => {
                self.since_packet = 0;
                let current = std::mem::take(&mut self.current);
                let kept = self.packet(generator, &raw);
                if kept && chained {
                    self.tail.push_back(current);
                    while self.tail.len() > generator.seed_packets {
                        self.tail.pop_front();
                    }
                }
                if self.drops_in_a_row >= generator.options.max_drops {
                    return Next::Finish(Ending::OnlyDrops);
                }
            }
        }
        let full = match self.request.limit {
            Limit::Packets(n) => self.counts.packets >= n,
            Limit::Tokens(n) => self.counts.tokens >= n,
        };
        if full {
            return Next::Finish(Ending::Limit);
        }
        if self.since_packet >= generator.options.max_packet_tokens {
            return Next::Finish(Ending::Endless);
        }
        let last = self.stage + 1 == generator.stages.len();
        if !last && self.since_packet == 0 && self.stage_packets >= generator.stages[self.stage].packets {
            return Next::Stage;
        }
        Next::Step
    }

    /// Repairs and times a packet; false if it was dropped.
    fn packet(&mut self, generator: &Generator, raw: &RawPacket) -> bool {
        match self.repair.repair(raw) {
            Err(dropped) => {
                *self.counts.drops.entry(dropped.as_str()).or_default() += 1;
                self.drops_in_a_row += 1;
                false
            }
            Ok(mut packet) => {
                self.drops_in_a_row = 0;
                let gap = match raw.gap {
                    Some(gap) => {
                        self.timing = Timing::Learned;
                        gap
                    }
                    // One draw for every packet, the first included, though its gap is not used.
                    None => generator
                        .timing
                        .draw(&self.request.label, &mut self.time_rng)
                        .or(generator.options.gap)
                        .unwrap_or_default(),
                };
                if !self.packets.is_empty() {
                    self.clock = self.clock.saturating_add(gap);
                }
                packet.time = self.clock;
                self.packets.push(packet);
                self.counts.packets += 1;
                self.stage_packets += 1;
                true
            }
        }
    }

    /// Moves to the next stage and gives the tokens that seed it behind the label.
    pub(super) fn next_stage(&mut self, generator: &Generator) -> Vec<u32> {
        self.stage += 1;
        self.stage_packets = 0;
        self.since_packet = 0;
        self.current.clear();
        self.decoder = generator.codec.decoder();
        let seed: Vec<u32> = self.tail.iter().flatten().copied().collect();
        for &token in &seed {
            // These packets are in the session already; the new decoder only has to know them.
            let _ = self.decoder.push(token);
        }
        seed
    }

    pub(super) fn request(&self) -> &SessionRequest {
        &self.request
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
                model: generator.name.clone(),
                timing: self.timing,
                packets: self.packets,
            },
            ending,
            counts: self.counts,
            repairs: self.repair.counts().clone(),
        }
    }
}
