//! Continuous batching: rows join and leave while the batch steps.
//!
//! There is one group of rows for each stage of the chain, with a state of that stage's model. A step of the batch
//! steps every group that has rows. To join, a session reads its prompt into a state of one row, which is then
//! appended. It reads alone, so that its result does not depend on the sessions that join with it.

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};

use super::row::{Next, Row};
use super::tail::OwnedPrompt;
use super::tally::Tally;
use super::{GenerateError, Generated, Generator, SessionRequest, Stats};
use crate::lm::Stepped;
use crate::network::state::State;
use crate::sample::Sampler;

/// Rows of one stage and their state, in the same order.
struct Group<'g> {
    rows: Vec<Live<'g>>,
    state: State,
}

/// A row that the model steps, and what it does next.
struct Live<'g> {
    row: Row,
    generator: &'g Generator,
    next: Next,
}

impl Stepped for Live<'_> {
    fn token(&self) -> u32 {
        self.row.token
    }

    fn context(&self) -> &[u32] {
        &self.row.context
    }

    fn wanted(&self) -> Option<&[u64]> {
        self.row.wanted(self.generator)
    }

    fn take(&mut self, logits: &[f32]) {
        self.next = self.row.choose(self.generator, logits);
    }
}

struct Batch<'g> {
    generator: &'g Generator,
    groups: Vec<Group<'g>>,
    /// The sampler that is copied for each row.
    sampler: Sampler,
    tally: Tally,
}

pub(super) fn run(
    generator: &Generator,
    requests: &mut dyn Iterator<Item = SessionRequest>,
    sink: &mut dyn FnMut(Generated),
    observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let empty = |stage: &super::StageModel| {
        State::zeros(stage.model.config(), 0, &generator.options.device)
            .map(|state| Group { rows: Vec::new(), state })
    };
    let mut batch = Batch {
        generator,
        groups: generator.stages.iter().map(empty).collect::<Result<_, _>>()?,
        sampler: Sampler::new(generator.options.policy)?,
        tally: Tally::default(),
    };
    loop {
        while batch.live() < generator.options.batch {
            let Some(request) = requests.next() else { break };
            batch.join(request, sink)?;
        }
        batch.count();
        if batch.tally.stats().live == 0 {
            return Ok(batch.tally.into_stats());
        }
        batch.step(sink)?;
        batch.count();
        if observe(batch.tally.stats()).is_break() {
            return Ok(batch.tally.into_stats());
        }
    }
}

/// Copies logits to the host, row-major.
fn values(logits: &Tensor) -> crate::error::Result<Vec<f32>> {
    Ok(logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?)
}

impl<'g> Batch<'g> {
    fn live(&self) -> usize {
        self.groups.iter().map(|g| g.rows.len()).sum()
    }

    /// Updates the totals.
    fn count(&mut self) {
        self.tally.count(self.groups.iter().flat_map(|g| &g.rows).map(|live| live.row.counts()));
    }

    /// Opens a new session: reads its prompt and chooses its first token.
    fn join(
        &mut self,
        request: SessionRequest,
        sink: &mut dyn FnMut(Generated),
    ) -> Result<(), GenerateError> {
        let (mut row, prompt) = Row::open(self.generator, self.sampler.clone(), request)?;
        match row.read_prompt(self.generator, prompt) {
            Err(ending) => self.tally.finish(self.generator, row, ending, sink),
            Ok(prompt) => self.enter(row, prompt, sink)?,
        }
        Ok(())
    }

    /// Reads `prompt` with the model of the row's stage. It continues until the row waits for a step or ends.
    fn enter(
        &mut self,
        mut row: Row,
        mut prompt: OwnedPrompt,
        sink: &mut dyn FnMut(Generated),
    ) -> Result<(), GenerateError> {
        loop {
            let model = &self.generator.stages[row.stage].model;
            let mut state = State::zeros(model.config(), 1, &self.generator.options.device)?;
            let logits = model.prefill_prompts(&[prompt.prompt()], &mut state)?; // (1, v)
            let logits = values(&logits)?;
            match row.choose(self.generator, &logits) {
                Next::Step => {
                    let group = &mut self.groups[row.stage];
                    group.state.append(state)?;
                    group.rows.push(Live { row, generator: self.generator, next: Next::Step });
                    return Ok(());
                }
                Next::Stage => prompt = row.next_stage(self.generator),
                Next::Finish(ending) => {
                    self.tally.finish(self.generator, row, ending, sink);
                    return Ok(());
                }
            }
        }
    }

    /// One token for every live session.
    fn step(&mut self, sink: &mut dyn FnMut(Generated)) -> Result<(), GenerateError> {
        for stage in 0..self.groups.len() {
            let group = &mut self.groups[stage];
            if group.rows.is_empty() {
                continue;
            }
            let model = &self.generator.stages[stage].model;
            model.step_each(&mut group.rows, &mut group.state)?;
            let stays = |live: &Live<'_>| matches!(live.next, Next::Step);
            if group.rows.iter().all(stays) {
                continue;
            }
            group.state.retain(|row| stays(&group.rows[row]))?;
            // Keeps the order of rows, so that sessions reach the sink in the order in which they joined.
            let gone: Vec<Live<'_>> = group.rows.extract_if(.., |live| !stays(live)).collect();
            for Live { mut row, next, .. } in gone {
                match next {
                    Next::Finish(ending) => self.tally.finish(self.generator, row, ending, sink),
                    Next::Step | Next::Stage => {
                        let prompt = row.next_stage(self.generator);
                        self.enter(row, prompt, sink)?;
                    }
                }
            }
        }
        Ok(())
    }
}
