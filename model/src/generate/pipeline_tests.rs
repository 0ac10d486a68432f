//! The pipeline with the CPU for a device: the same sessions as the plain batch, whatever the halves.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::stateful_tests as stateful;
use super::tests::{options, request, run, trained};
use super::*;
use crate::engine::step_program::stream::{Inputs, Lane};
use crate::engine::step_program::{
    Choice, DITHER, Decoding, FLAGS, FRESH, SILENT, SLOT, TICKET_WORDS, TOKEN, Types,
};
use crate::network::state::State;
use crate::sample::{Recent, Sampler};

/// A generator of random numbers that has one.
struct Drawn(u64);

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        ChaCha8Rng::seed_from_u64(self.0).fill_bytes(out);
    }
}

/// A lane whose device is the CPU: it steps when it is asked to finish.
struct HostLane {
    model: Mamba2,
    decoding: Decoding,
    policy: Policy,
    state: State,
    slots: usize,
    rows: usize,
    tickets: Vec<u32>,
    draws: Vec<u64>,
    started: bool,
}

impl HostLane {
    fn new(generator: &Generator, stage: usize, slots: usize) -> Self {
        let model = generator.stages[stage].model.clone();
        let policy = generator.options.policy;
        let vocab = generator.codec.vocab().size();
        let decoding = Decoding::new(model.config(), Types::default(), policy, vocab).unwrap();
        let state = model.zero_state(slots).unwrap();
        Self {
            model,
            decoding,
            policy,
            state,
            slots,
            rows: 0,
            tickets: vec![],
            draws: vec![],
            started: false,
        }
    }
}

impl Lane for HostLane {
    fn decoding(&self) -> &Decoding {
        &self.decoding
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn inputs(&mut self, rows: usize) -> crate::error::Result<Inputs<'_>> {
        assert!(!self.started && rows <= self.slots, "{rows} of {} rows", self.slots);
        // As a device does: padded to a size that there is a step for, and never cleared.
        self.rows = Decoding::buckets(self.slots).into_iter().find(|&n| n >= rows).unwrap().min(self.slots);
        self.tickets.resize(self.rows * self.decoding.ticket_words(), u32::MAX);
        self.draws.resize(self.rows * self.decoding.draw_words(), u64::MAX);
        Ok(Inputs { tickets: &mut self.tickets, draws: &mut self.draws })
    }

    fn start(&mut self) -> crate::error::Result<()> {
        assert!(!self.started);
        self.started = true;
        Ok(())
    }

    fn finish(&mut self, choices: &mut Vec<Choice>) -> crate::error::Result<()> {
        assert!(self.started);
        self.started = false;
        choices.clear();
        let (ticket, draw) = (self.decoding.ticket_words(), self.decoding.draw_words());
        let tickets: Vec<&[u32]> = self.tickets.chunks_exact(ticket).collect();
        let slots: Vec<usize> = tickets.iter().map(|ticket| ticket[SLOT] as usize).collect();
        let mut seen = slots.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), self.rows, "no two rows in a slot");
        for ticket in tickets.iter().filter(|ticket| ticket[FLAGS] & FRESH != 0) {
            self.state.reset_row(ticket[SLOT] as usize)?;
        }
        let mut state = self.state.select(&slots)?;
        let tokens: Vec<u32> = tickets.iter().map(|ticket| ticket[TOKEN]).collect();
        let context: Vec<u32> = tickets.iter().flat_map(|ticket| &ticket[TICKET_WORDS..]).copied().collect();
        let logits = self.model.step_beside(&tokens, &context, &mut state)?;
        for (row, &slot) in slots.iter().enumerate() {
            self.state.replace_row(slot, state.select(&[row])?)?;
        }
        let words = self.decoding.mask_words();
        let mut sampler = Sampler::new(self.policy).unwrap();
        let logits = logits.to_vec2::<f32>()?;
        for ((logits, ticket), draw) in logits.iter().zip(tickets).zip(self.draws.chunks_exact(draw)) {
            let mut recent = Recent::default();
            for token in 0..self.decoding.vocab() as u32 {
                if draw.get(1 + words + token as usize / 64).is_some_and(|word| word >> (token % 64) & 1 == 1)
                {
                    recent.push(token, &Policy { repetition_window: usize::MAX, ..self.policy });
                }
            }
            choices.push((ticket[FLAGS] & SILENT == 0).then(|| {
                let logits = &logits[..self.decoding.vocab()];
                sampler.sample(logits, Some(&draw[1..=words]), &recent, &mut Drawn(draw[0]))
            }));
        }
        assert!(tickets_differ(&self.tickets, ticket), "stochastic rounding needs numbers that differ");
        Ok(())
    }
}

/// Live rows have numbers of their own.
fn tickets_differ(tickets: &[u32], words: usize) -> bool {
    let live = tickets.chunks_exact(words).filter(|ticket| ticket[FLAGS] & FRESH == 0);
    let mut all: Vec<u32> = live.map(|ticket| ticket[DITHER]).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    all.len() == count
}

/// As [`run`], through the pipeline.
fn piped(generator: &Generator, requests: Vec<SessionRequest>) -> (Vec<Generated>, Stats) {
    let (halves, slots) = pipeline::shape(generator.options.batch);
    let stages = 0..generator.stages.len();
    let lanes = stages.flat_map(|stage| (0..halves).map(move |_| HostLane::new(generator, stage, slots)));
    let (mut out, mut requests) = (Vec::new(), requests.into_iter());
    let sink = &mut |generated| out.push(generated);
    let go_on = &mut |_: &Stats| ControlFlow::Continue(());
    let stats = pipeline::run(generator, lanes.collect(), &mut requests, sink, go_on).unwrap();
    out.sort_by_key(|generated: &Generated| generated.id);
    (out, stats)
}

/// Both ways give the same sessions, endings and counts.
fn same(generator: &mut Generator, requests: &[SessionRequest]) {
    let (plain, plain_stats) = run(generator, requests.to_vec());
    let (piped, stats) = piped(generator, requests.to_vec());
    assert_eq!(piped.len(), plain.len());
    for (a, b) in piped.iter().zip(&plain) {
        assert_eq!(a.session, b.session, "batch {}, session {}", generator.options.batch, a.id);
        assert_eq!((a.ending, a.counts.tokens), (b.ending, b.counts.tokens));
    }
    assert_eq!((stats.sessions, stats.live, stats.failed), (plain_stats.sessions, 0, plain_stats.failed));
    assert_eq!(stats.counts.packets, plain_stats.counts.packets);
    assert_eq!(stats.counts.tokens, plain_stats.counts.tokens);
}

#[test]
fn halves_in_turn_give_the_sessions_of_the_plain_batch() {
    let requests: Vec<SessionRequest> = (0..9).map(|i| request(i, Limit::Packets(1 + i * 5 % 7))).collect();
    let careful =
        Policy { repetition_penalty: 1.2, repetition_window: 8, top_k: 40, top_p: 0.95, ..Policy::default() };
    for (batch, ignore_end, policy) in [
        (1, true, Policy::default()),
        (2, false, Policy::default()),
        (5, true, Policy { min_p: 0.05, eta: 1e-3, ..Policy::default() }),
        (40, true, careful),
        (3, true, Policy { temperature: 0.0, ..Policy::default() }),
    ] {
        let options = GenerateOptions { ignore_end, policy, ..options(batch) };
        same(&mut Generator::new(trained(), options).unwrap(), &requests);
    }
}

#[test]
fn a_chain_goes_from_lane_to_lane() {
    let stage = |packets| Stage { checkpoint: trained().clone(), packets };
    let spec = ChainSpec { stages: vec![stage(2), stage(3), stage(0)], seed_packets: 1 };
    let requests: Vec<SessionRequest> = (0..7).map(|i| request(i, Limit::Packets(8))).collect();
    // The prompt of a later stage is longer than what the CPU steps, and so rounds otherwise: only what holds for any
    // rounding is compared.
    let options = GenerateOptions { ignore_end: true, ..options(4) };
    let generator = Generator::chain(&spec, options).unwrap();
    let (piped, stats) = piped(&generator, requests);
    assert_eq!((piped.len(), stats.failed), (7, 0));
    for generated in &piped {
        assert_eq!((generated.session.packets.len(), generated.ending), (8, Ending::Limit));
        generated.session.check().unwrap();
    }
}

#[test]
fn the_grammar_and_side_information_reach_the_device() {
    for stages in [&[0][..], &[3, 4, 0]] {
        let mut generator = stateful::generator(stages, true);
        let plain = stateful::run(&mut generator, Limit::Packets(12));
        let requests = plain.iter().map(|g| SessionRequest {
            id: g.id,
            label: g.session.label.clone(),
            seed: g.session.seed,
            limit: Limit::Packets(12),
            prompt: None,
        });
        let (piped, _) = piped(&generator, requests.collect());
        for (a, b) in piped.iter().zip(&plain) {
            assert_eq!(a.session, b.session);
        }
        assert_eq!(piped.len(), plain.len());
    }
}

#[test]
fn whoever_watches_may_stop_it() {
    let generator = Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(4) }).unwrap();
    let lanes = (0..2).map(|_| HostLane::new(&generator, 0, 2)).collect();
    let mut requests = (0..).map(|i| request(i, Limit::Packets(50)));
    let mut turns = 0;
    let stop = &mut |stats: &Stats| {
        turns += 1;
        assert!(stats.live <= 4);
        if turns == 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stats = pipeline::run(&generator, lanes, &mut requests, &mut |_| {}, stop).unwrap();
    assert_eq!((stats.live, turns), (4, 30));
}
