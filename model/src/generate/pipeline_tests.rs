//! The pipeline with the CPU as its device gives the same sessions as the plain batch, however rows are split into
//! halves.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::stateful_tests as stateful;
use super::tests::{options, request, run, trained};
use super::*;
use crate::engine::step_program::stream::{Inputs, StepStream};
use crate::engine::step_program::{
    Choice, DITHER, FLAGS, FRESH, ROW_INPUT_WORDS, SILENT, SLOT, StepProgram, TOKEN, Types,
};
use crate::network::state::State;
use crate::sample::{Recent, Sampler};

/// A random number generator that always gives the same number.
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

/// A stream whose device is the CPU. It computes the step in `finish`.
struct HostStream {
    model: Mamba2,
    program: StepProgram,
    policy: Policy,
    state: State,
    slots: usize,
    rows: usize,
    row_inputs: Vec<u32>,
    draws: Vec<u64>,
    started: bool,
}

impl HostStream {
    fn new(generator: &Generator, stage: usize, slots: usize) -> Self {
        let model = generator.stages[stage].model.clone();
        let policy = generator.options.policy;
        let vocab = generator.codec.vocab().size();
        let program = StepProgram::new(model.config(), Types::default(), policy, vocab).unwrap();
        let state = model.zero_state(slots).unwrap();
        Self {
            model,
            program,
            policy,
            state,
            slots,
            rows: 0,
            row_inputs: vec![],
            draws: vec![],
            started: false,
        }
    }
}

impl StepStream for HostStream {
    fn program(&self) -> &StepProgram {
        &self.program
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn inputs(&mut self, rows: usize) -> crate::error::Result<Inputs<'_>> {
        assert!(!self.started && rows <= self.slots, "{rows} of {} rows", self.slots);
        // As on a device: rows are padded to a size that has a step program, and buffers are never cleared.
        self.rows =
            StepProgram::buckets(self.slots).into_iter().find(|&n| n >= rows).unwrap().min(self.slots);
        self.row_inputs.resize(self.rows * self.program.row_input_words(), u32::MAX);
        self.draws.resize(self.rows * self.program.draw_words(), u64::MAX);
        Ok(Inputs { row_inputs: &mut self.row_inputs, draws: &mut self.draws })
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
        let (row_input, draw) = (self.program.row_input_words(), self.program.draw_words());
        let row_inputs: Vec<&[u32]> = self.row_inputs.chunks_exact(row_input).collect();
        let slots: Vec<usize> = row_inputs.iter().map(|row_input| row_input[SLOT] as usize).collect();
        let mut seen = slots.clone();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), self.rows, "no two rows in a slot");
        for row_input in row_inputs.iter().filter(|row_input| row_input[FLAGS] & FRESH != 0) {
            self.state.reset_row(row_input[SLOT] as usize)?;
        }
        let mut state = self.state.select(&slots)?;
        let tokens: Vec<u32> = row_inputs.iter().map(|row_input| row_input[TOKEN]).collect();
        let context: Vec<u32> =
            row_inputs.iter().flat_map(|row_input| &row_input[ROW_INPUT_WORDS..]).copied().collect();
        let logits = self.model.step_with_context(&tokens, &context, &mut state)?;
        for (row, &slot) in slots.iter().enumerate() {
            self.state.replace_row(slot, state.select(&[row])?)?;
        }
        let words = self.program.mask_words();
        let mut sampler = Sampler::new(self.policy).unwrap();
        let logits = logits.to_vec2::<f32>()?;
        for ((logits, row_input), draw) in logits.iter().zip(row_inputs).zip(self.draws.chunks_exact(draw)) {
            let mut recent = Recent::default();
            for token in 0..self.program.vocab() as u32 {
                if draw.get(1 + words + token as usize / 64).is_some_and(|word| word >> (token % 64) & 1 == 1)
                {
                    recent.push(token, &Policy { repetition_window: usize::MAX, ..self.policy });
                }
            }
            choices.push((row_input[FLAGS] & SILENT == 0).then(|| {
                let logits = &logits[..self.program.vocab()];
                sampler.sample(logits, Some(&draw[1..=words]), &recent, &mut Drawn(draw[0]))
            }));
        }
        assert!(
            row_inputs_differ(&self.row_inputs, row_input),
            "stochastic rounding needs numbers that differ"
        );
        Ok(())
    }
}

/// Whether the numbers for stochastic rounding differ between all live rows.
fn row_inputs_differ(row_inputs: &[u32], words: usize) -> bool {
    let live = row_inputs.chunks_exact(words).filter(|row_input| row_input[FLAGS] & FRESH == 0);
    let mut all: Vec<u32> = live.map(|row_input| row_input[DITHER]).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    all.len() == count
}

/// As [`run`], through the pipeline.
fn piped(generator: &Generator, requests: Vec<SessionRequest>) -> (Vec<Generated>, Stats) {
    let (halves, slots) = pipeline::shape(generator.options.batch);
    let stages = 0..generator.stages.len();
    let streams = stages.flat_map(|stage| (0..halves).map(move |_| HostStream::new(generator, stage, slots)));
    let (mut out, mut requests) = (Vec::new(), requests.into_iter());
    let sink = &mut |generated| out.push(generated);
    let go_on = &mut |_: &Stats| ControlFlow::Continue(());
    let stats = pipeline::run(generator, streams.collect(), &mut requests, sink, go_on).unwrap();
    out.sort_by_key(|generated: &Generated| generated.id);
    (out, stats)
}

/// Checks that both ways give the same sessions, endings and counts.
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
fn a_chain_goes_from_stream_to_stream() {
    let stage = |packets| Stage { checkpoint: trained().clone(), packets };
    let spec = ChainSpec { stages: vec![stage(2), stage(3), stage(0)], seed_packets: 1 };
    let requests: Vec<SessionRequest> = (0..7).map(|i| request(i, Limit::Packets(8))).collect();
    // The prompt of a later stage is too long for the CPU to read in steps. It reads it in one pass, which rounds
    // differently. So the test compares only what holds for any rounding.
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
    let streams = (0..2).map(|_| HostStream::new(&generator, 0, 2)).collect();
    let mut requests = (0..).map(|i| request(i, Limit::Packets(50)));
    let mut turns = 0;
    let stop = &mut |stats: &Stats| {
        turns += 1;
        assert!(stats.live <= 4);
        if turns == 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stats = pipeline::run(&generator, streams, &mut requests, &mut |_| {}, stop).unwrap();
    assert_eq!((stats.live, turns), (4, 30));
}
