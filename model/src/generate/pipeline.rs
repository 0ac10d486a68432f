//! Continuous batching where a device steps the model while the host works. Half-batches take turns, so that neither
//! side waits for the other.
//!
//! ```text
//! device   | step A | step B | step A | step B |
//! host              | A: take tokens, write masks | B: ...
//! ```
//! For each token the host does four things: it reads the token that was chosen, gives it to the codec, writes which
//! tokens may follow, and writes what the model reads next. While the device steps one half, CPU threads do this for
//! the sessions of the other. Each half has at most one step in flight ([`StepStream`]). In a chain each stage has its
//! own halves.
//!
//! Prompts are read one token per step, together with the steps of the other sessions. So a session that joins never
//! stalls the others. A session keeps its slot in its half's memory until it ends or moves to the next stage.
//!
//! The host draws the random number of each choice from the session's own stream, as on the CPU. So equal logits give
//! the same sessions as `super::batch`. A test shows this with the CPU in place of a device.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::row::{Next, Row};
use super::tail::OwnedPrompt;
use super::tally::Tally;
use super::{GenerateError, Generated, Generator, SessionRequest, Stats};
use crate::engine::step_program::stream::StepStream;
use crate::engine::step_program::{Choice, DITHER, FLAGS, FRESH, ROW_INPUT_WORDS, SILENT, SLOT, TOKEN};
use crate::error::Error;
use crate::sample::{SampleError, Sampler};

/// A slot of a half-batch and the session in it.
struct Slot {
    row: Row,
    /// The slot's number in the half's memory.
    number: u32,
    /// No token was fed yet.
    fresh: bool,
    /// The prompt that is still being read. `at` is the position in it. Empty once the session writes.
    prompt: OwnedPrompt,
    at: usize,
    /// The one token that the grammar allows, if there is only one. Then nothing is drawn.
    only: Option<u32>,
    next: Next,
}

/// A half-batch: its step stream and its sessions.
struct Half<L> {
    stream: L,
    slots: Vec<Slot>,
    free: Vec<u32>,
    choices: Vec<Choice>,
    /// Whether a step is in flight. Its rows are the slots, in order.
    in_flight: bool,
}

struct Pipeline<'g, L> {
    generator: &'g Generator,
    /// The halves of all stages, stage by stage.
    halves: Vec<Half<L>>,
    sampler: Sampler,
    tally: Tally,
}

/// The number of half-batches per stage, and the number of sessions per half-batch.
pub(super) fn shape(batch: usize) -> (usize, usize) {
    // One session cannot be split into two halves.
    let halves = batch.clamp(1, 2);
    (halves, batch.div_ceil(halves))
}

/// Generates as [`Generator::run`] says. `streams` holds the streams of each stage, one stage after the other, as many
/// per stage as [`shape`] says.
pub(super) fn run<L: StepStream>(
    generator: &Generator,
    streams: Vec<L>,
    requests: &mut dyn Iterator<Item = SessionRequest>,
    sink: &mut dyn FnMut(Generated),
    observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let halves = streams.into_iter().map(|stream| Half {
        free: (0..stream.slots() as u32).rev().collect(),
        stream,
        slots: Vec::new(),
        choices: Vec::new(),
        in_flight: false,
    });
    let mut pipeline = Pipeline {
        generator,
        halves: halves.collect(),
        sampler: Sampler::new(generator.options.policy)?,
        tally: Tally::default(),
    };
    let stages = generator.stages.len();
    let per_stage = pipeline.halves.len() / stages;
    loop {
        for half in 0..per_stage {
            for stage in 0..stages {
                let i = stage * per_stage + half;
                let worked = pipeline.halves[i].in_flight;
                pipeline.take(i, per_stage, sink)?;
                if stage == 0 {
                    pipeline.admit(half, per_stage, requests, sink)?;
                }
                pipeline.feed(i)?;
                if worked {
                    pipeline.count();
                    if observe(pipeline.tally.stats()).is_break() {
                        pipeline.settle()?;
                        return Ok(pipeline.tally.into_stats());
                    }
                }
            }
        }
        if pipeline.live() == 0 {
            // A session may have ended since the last call of `requests`.
            pipeline.admit(0, per_stage, requests, sink)?;
            if pipeline.live() == 0 {
                pipeline.count();
                return Ok(pipeline.tally.into_stats());
            }
        }
    }
}

impl<L: StepStream> Pipeline<'_, L> {
    fn live(&self) -> usize {
        self.halves.iter().map(|half| half.slots.len()).sum()
    }

    fn count(&mut self) {
        let rows = self.halves.iter().flat_map(|half| &half.slots).map(|slot| slot.row.counts());
        self.tally.count(rows);
    }

    /// Waits for steps in flight, so that no device writes to memory that the caller frees.
    fn settle(&mut self) -> Result<(), GenerateError> {
        for half in self.halves.iter_mut().filter(|half| half.in_flight) {
            half.in_flight = false;
            half.stream.finish(&mut half.choices)?;
        }
        Ok(())
    }

    /// Reads the tokens that the step of half `i` chose. Sessions that end or move to the next stage leave the half.
    fn take(
        &mut self,
        i: usize,
        per_stage: usize,
        sink: &mut dyn FnMut(Generated),
    ) -> Result<(), GenerateError> {
        let generator = self.generator;
        let half = &mut self.halves[i];
        if !half.in_flight {
            return Ok(());
        }
        half.in_flight = false;
        half.stream.finish(&mut half.choices)?;
        let vocab = half.stream.program().vocab();
        half.slots.par_iter_mut().zip(&half.choices).for_each(|(slot, choice)| {
            slot.take(generator, *choice, vocab);
        });
        let gone = half.slots.iter().enumerate().rev().filter(|(_, slot)| !matches!(slot.next, Next::Step));
        let gone: Vec<usize> = gone.map(|(at, _)| at).collect();
        let gone: Vec<Slot> = gone.into_iter().map(|at| half.slots.swap_remove(at)).collect();
        half.free.extend(gone.iter().map(|slot| slot.number));
        for slot in gone.into_iter().rev() {
            let mut row = slot.row;
            match slot.next {
                Next::Finish(ending) => self.tally.finish(generator, row, ending, sink),
                Next::Step | Next::Stage => {
                    let prompt = row.next_stage(generator);
                    self.place(i + per_stage, row, prompt)?;
                }
            }
        }
        Ok(())
    }

    /// Asks for new sessions while `half` of the first stage has free slots.
    fn admit(
        &mut self,
        half: usize,
        per_stage: usize,
        requests: &mut dyn Iterator<Item = SessionRequest>,
        sink: &mut dyn FnMut(Generated),
    ) -> Result<(), GenerateError> {
        let room = shape(self.generator.options.batch).1;
        loop {
            let here: usize =
                self.halves.iter().skip(half).step_by(per_stage).map(|half| half.slots.len()).sum();
            if here >= room || self.live() >= self.generator.options.batch {
                return Ok(());
            }
            let Some(request) = requests.next() else { return Ok(()) };
            let (mut row, prompt) = Row::open(self.generator, self.sampler.clone(), request)?;
            match row.read_prompt(self.generator, prompt) {
                Err(ending) => self.tally.finish(self.generator, row, ending, sink),
                Ok(prompt) => self.place(half, row, prompt)?,
            }
        }
    }

    /// Gives a session a slot in half `i`.
    fn place(&mut self, i: usize, row: Row, prompt: OwnedPrompt) -> Result<(), GenerateError> {
        let model = &self.generator.stages[row.stage].model;
        model.check_tokens(&prompt.tokens)?;
        model.check_context(&prompt.context, prompt.tokens.len())?;
        if prompt.tokens.is_empty() {
            return Err(Error::input("prompt", "at least one token", "none").into());
        }
        let half = &mut self.halves[i];
        let Some(number) = half.free.pop() else {
            let slots = half.stream.slots();
            return Err(Error::input("sessions of a half-batch", format!("at most {slots}"), "more").into());
        };
        half.slots.push(Slot { row, number, fresh: true, prompt, at: 0, only: None, next: Next::Step });
        Ok(())
    }

    /// Writes the inputs of half `i`'s next step, and starts the step.
    fn feed(&mut self, i: usize) -> Result<(), GenerateError> {
        let generator = self.generator;
        let half = &mut self.halves[i];
        if half.slots.is_empty() {
            return Ok(());
        }
        let program = half.stream.program();
        let (row_inputs, draws) = (program.row_input_words(), program.draw_words());
        let sizes = (program.vocab(), program.mask_words());
        let rows = half.slots.len();
        let inputs = half.stream.inputs(rows)?;
        let (live, padding) = inputs.row_inputs.split_at_mut(rows * row_inputs);
        half.slots
            .par_iter_mut()
            .zip(live.par_chunks_exact_mut(row_inputs))
            .zip(inputs.draws.par_chunks_exact_mut(draws))
            .try_for_each(|((slot, row_input), draw)| slot.feed(generator, sizes, row_input, draw))?;
        for (row_input, &slot) in padding.chunks_exact_mut(row_inputs).zip(&half.free) {
            row_input.fill(0);
            row_input[SLOT] = slot;
            row_input[FLAGS] = FRESH | SILENT;
        }
        half.stream.start()?;
        half.in_flight = true;
        Ok(())
    }
}

impl Slot {
    fn reads_on(&self) -> bool {
        self.at + 1 < self.prompt.tokens.len()
    }

    /// Accepts the token that was chosen after the fed token.
    fn take(&mut self, generator: &Generator, choice: Choice, vocab: usize) {
        self.fresh = false;
        if self.reads_on() {
            self.at += 1;
            return;
        }
        self.prompt = OwnedPrompt::default();
        self.at = 0;
        let chosen = match self.only {
            Some(token) => Ok(token),
            None => choice.unwrap_or(Err(SampleError::NothingLegal { vocab })),
        };
        self.next = self.row.take(generator, chosen);
    }

    /// Writes what the model reads next, and which of `vocab` tokens may follow it. The masks have `words` words.
    fn feed(
        &mut self,
        generator: &Generator,
        (vocab, words): (usize, usize),
        row_input: &mut [u32],
        draw: &mut [u64],
    ) -> Result<(), Error> {
        let fields = row_input.len() - ROW_INPUT_WORDS;
        let (token, context) = match self.prompt.tokens.get(self.at) {
            Some(&token) => (token, &self.prompt.context[self.at * fields..(self.at + 1) * fields]),
            None => (self.row.token, &self.row.context[..]),
        };
        let model = &generator.stages[self.row.stage].model;
        model.check_context(context, 1)?;
        row_input[TOKEN] = token;
        row_input[SLOT] = self.number;
        row_input[FLAGS] = if self.fresh { FRESH } else { 0 };
        row_input[DITHER] = self.row.dither().wrapping_add(self.at as u32);
        row_input[ROW_INPUT_WORDS..].copy_from_slice(context);
        let (number, masks) = draw.split_at_mut(1);
        let (legal, recent) = masks.split_at_mut(words);
        self.only = None;
        let silent = self.reads_on() || {
            self.only = self.row.ask(generator, vocab, legal);
            self.only.is_some()
        };
        if silent {
            row_input[FLAGS] |= SILENT;
        } else {
            number[0] = self.row.draw();
            if !recent.is_empty() {
                self.row.mark_recent(recent);
            }
        }
        Ok(())
    }
}
