//! Continuous batching where the model runs beside the host: half-batches in turn, so that neither waits for the other.
//!
//! ```text
//! device   | step A | step B | step A | step B |
//! host              | A: take tokens, write masks | B: ...
//! ```
//! A token needs one turn of the host: the token that was chosen goes down, the codec takes it, and the tokens that may follow
//! go up with what the model reads next. While the device steps one half, the host's threads turn the other; each half
//! has at most one step in flight ([`Lane`]). A chain has such halves for each stage.
//!
//! Prompts are read a token a step among the others, so joining stops nobody; what they leave is what any step leaves. A
//! session keeps its slot in its lane's memory until it ends or goes on to the next stage.
//!
//! The draws are those of the CPU: the number that a sampler needs is drawn here, from the session's own stream. So with
//! equal logits the sessions are those of `super::batch`, which a test shows with the CPU for a device.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::row::{Next, Row};
use super::tail::Beside;
use super::tally::Tally;
use super::{GenerateError, Generated, Generator, SessionRequest, Stats};
use crate::engine::step_program::stream::Lane;
use crate::engine::step_program::{Choice, DITHER, FLAGS, FRESH, SILENT, SLOT, TICKET_WORDS, TOKEN};
use crate::error::Error;
use crate::sample::{SampleError, Sampler};

/// A session in a lane.
struct Seat {
    row: Row,
    slot: u32,
    /// Nothing was fed yet.
    fresh: bool,
    /// What is still being read, and how far it is; empty once the session writes.
    prompt: Beside,
    at: usize,
    /// The token that the grammar leaves, if it is one: then nothing is drawn.
    only: Option<u32>,
    next: Next,
}

/// A lane and the sessions in it.
struct Half<L> {
    lane: L,
    seats: Vec<Seat>,
    free: Vec<u32>,
    choices: Vec<Choice>,
    /// Rows of the step in flight are the seats.
    in_flight: bool,
}

struct Pipeline<'g, L> {
    generator: &'g Generator,
    /// Stage by stage, the halves of each.
    halves: Vec<Half<L>>,
    sampler: Sampler,
    tally: Tally,
}

/// How many half-batches a stage has, and how many sessions each.
pub(super) fn shape(batch: usize) -> (usize, usize) {
    // One session cannot be in two halves.
    let halves = batch.clamp(1, 2);
    (halves, batch.div_ceil(halves))
}

/// Generates as [`Generator::run`] says; `lanes` are each stage's, one after the other, as many as [`shape`] says.
pub(super) fn run<L: Lane>(
    generator: &Generator,
    lanes: Vec<L>,
    requests: &mut dyn Iterator<Item = SessionRequest>,
    sink: &mut dyn FnMut(Generated),
    observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let halves = lanes.into_iter().map(|lane| Half {
        free: (0..lane.slots() as u32).rev().collect(),
        lane,
        seats: Vec::new(),
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
            // A session may have ended after the requests were asked last.
            pipeline.admit(0, per_stage, requests, sink)?;
            if pipeline.live() == 0 {
                pipeline.count();
                return Ok(pipeline.tally.into_stats());
            }
        }
    }
}

impl<L: Lane> Pipeline<'_, L> {
    fn live(&self) -> usize {
        self.halves.iter().map(|half| half.seats.len()).sum()
    }

    fn count(&mut self) {
        let rows = self.halves.iter().flat_map(|half| &half.seats).map(|seat| seat.row.counts());
        self.tally.count(rows);
    }

    /// Waits for what is in flight, so that nothing writes where the caller frees.
    fn settle(&mut self) -> Result<(), GenerateError> {
        for half in self.halves.iter_mut().filter(|half| half.in_flight) {
            half.in_flight = false;
            half.lane.finish(&mut half.choices)?;
        }
        Ok(())
    }

    /// Takes the tokens that the step of half `i` chose; sessions that end or go on to the next stage leave.
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
        half.lane.finish(&mut half.choices)?;
        let vocab = half.lane.decoding().vocab();
        half.seats.par_iter_mut().zip(&half.choices).for_each(|(seat, choice)| {
            seat.take(generator, *choice, vocab);
        });
        let gone = half.seats.iter().enumerate().rev().filter(|(_, seat)| !matches!(seat.next, Next::Step));
        let gone: Vec<usize> = gone.map(|(at, _)| at).collect();
        let gone: Vec<Seat> = gone.into_iter().map(|at| half.seats.swap_remove(at)).collect();
        half.free.extend(gone.iter().map(|seat| seat.slot));
        for seat in gone.into_iter().rev() {
            let mut row = seat.row;
            match seat.next {
                Next::Finish(ending) => self.tally.finish(generator, row, ending, sink),
                Next::Step | Next::Stage => {
                    let prompt = row.next_stage(generator);
                    self.sit(i + per_stage, row, prompt)?;
                }
            }
        }
        Ok(())
    }

    /// Asks for sessions while there is room for them in `half` of the first stage.
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
                self.halves.iter().skip(half).step_by(per_stage).map(|half| half.seats.len()).sum();
            if here >= room || self.live() >= self.generator.options.batch {
                return Ok(());
            }
            let Some(request) = requests.next() else { return Ok(()) };
            let (mut row, prompt) = Row::open(self.generator, self.sampler.clone(), request)?;
            match row.read_prompt(self.generator, prompt) {
                Err(ending) => self.tally.finish(self.generator, row, ending, sink),
                Ok(prompt) => self.sit(half, row, prompt)?,
            }
        }
    }

    /// Gives a session a slot in half `i`.
    fn sit(&mut self, i: usize, row: Row, prompt: Beside) -> Result<(), GenerateError> {
        let model = &self.generator.stages[row.stage].model;
        model.check_tokens(&prompt.tokens)?;
        model.check_context(&prompt.context, prompt.tokens.len())?;
        if prompt.tokens.is_empty() {
            return Err(Error::input("prompt", "at least one token", "none").into());
        }
        let half = &mut self.halves[i];
        let Some(slot) = half.free.pop() else {
            let slots = half.lane.slots();
            return Err(Error::input("sessions of a half-batch", format!("at most {slots}"), "more").into());
        };
        half.seats.push(Seat { row, slot, fresh: true, prompt, at: 0, only: None, next: Next::Step });
        Ok(())
    }

    /// Says what half `i` is to read next, and starts the step.
    fn feed(&mut self, i: usize) -> Result<(), GenerateError> {
        let generator = self.generator;
        let half = &mut self.halves[i];
        if half.seats.is_empty() {
            return Ok(());
        }
        let decoding = half.lane.decoding();
        let (tickets, draws) = (decoding.ticket_words(), decoding.draw_words());
        let sizes = (decoding.vocab(), decoding.mask_words());
        let rows = half.seats.len();
        let inputs = half.lane.inputs(rows)?;
        let (live, padding) = inputs.tickets.split_at_mut(rows * tickets);
        half.seats
            .par_iter_mut()
            .zip(live.par_chunks_exact_mut(tickets))
            .zip(inputs.draws.par_chunks_exact_mut(draws))
            .try_for_each(|((seat, ticket), draw)| seat.feed(generator, sizes, ticket, draw))?;
        for (ticket, &slot) in padding.chunks_exact_mut(tickets).zip(&half.free) {
            ticket.fill(0);
            ticket[SLOT] = slot;
            ticket[FLAGS] = FRESH | SILENT;
        }
        half.lane.start()?;
        half.in_flight = true;
        Ok(())
    }
}

impl Seat {
    fn reads_on(&self) -> bool {
        self.at + 1 < self.prompt.tokens.len()
    }

    /// Takes over what was chosen behind the token that was fed.
    fn take(&mut self, generator: &Generator, choice: Choice, vocab: usize) {
        self.fresh = false;
        if self.reads_on() {
            self.at += 1;
            return;
        }
        self.prompt = Beside::default();
        self.at = 0;
        let chosen = match self.only {
            Some(token) => Ok(token),
            None => choice.unwrap_or(Err(SampleError::NothingLegal { vocab })),
        };
        self.next = self.row.take(generator, chosen);
    }

    /// Writes what the model is to read next, and which of `vocab` tokens may follow it, in masks of `words`.
    fn feed(
        &mut self,
        generator: &Generator,
        (vocab, words): (usize, usize),
        ticket: &mut [u32],
        draw: &mut [u64],
    ) -> Result<(), Error> {
        let fields = ticket.len() - TICKET_WORDS;
        let (token, context) = match self.prompt.tokens.get(self.at) {
            Some(&token) => (token, &self.prompt.context[self.at * fields..(self.at + 1) * fields]),
            None => (self.row.token, &self.row.context[..]),
        };
        let model = &generator.stages[self.row.stage].model;
        model.check_context(context, 1)?;
        ticket[TOKEN] = token;
        ticket[SLOT] = self.slot;
        ticket[FLAGS] = if self.fresh { FRESH } else { 0 };
        ticket[DITHER] = self.row.dither().wrapping_add(self.at as u32);
        ticket[TICKET_WORDS..].copy_from_slice(context);
        let (number, masks) = draw.split_at_mut(1);
        let (legal, recent) = masks.split_at_mut(words);
        self.only = None;
        let silent = self.reads_on() || {
            self.only = self.row.ask(generator, vocab, legal);
            self.only.is_some()
        };
        if silent {
            ticket[FLAGS] |= SILENT;
        } else {
            number[0] = self.row.draw();
            if !recent.is_empty() {
                self.row.mark_recent(recent);
            }
        }
        Ok(())
    }
}
