//! The generator: one thread that owns the model and keeps the pool filled.
//!
//! It takes an order from the pool whenever a row of the batch is free, delivers each session as it finishes, and
//! sleeps while the queues are full. Its pulse beats once per decode step. A stop, or a reload that voids the running
//! orders, ends the batch at the next step.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netssm_model::generate::{Ending, GenerateError, Generated, Generator, Limit, SessionRequest, Stats};
use netssm_replay::clock::{Clock, SystemClock};

use super::buffer::Order;
use super::pool::{Pool, Work};
use crate::health::Pulse;
use crate::metrics::Metrics;
use crate::notices::{Notice, SessionEmpty};

/// The prompt for session `number` of a label: the label's prompts are used in turn. `None` if it has none.
fn in_turn(prompts: &[Arc<[u16]>], number: u64) -> Option<Arc<[u16]>> {
    let at = number.checked_rem(prompts.len() as u64)?;
    prompts.get(usize::try_from(at).ok()?).cloned()
}

/// How long the thread sleeps without a beat while the pool is full.
const NAP: Duration = Duration::from_millis(500);

/// A generator, its threads, and the settings that it adds to every order.
pub(crate) struct Model {
    /// Generates the sessions.
    pub generator: Generator,
    /// The threads that the generator computes on.
    pub threads: rayon::ThreadPool,
    /// A limit in tokens per session. If it is set, it replaces the order's limit in packets.
    pub tokens: Option<u64>,
    /// For each label, the prompts of its sessions, in tokens. Sessions use them in turn.
    pub prompts: HashMap<String, Vec<Arc<[u16]>>>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.generator.name()).finish_non_exhaustive()
    }
}

/// What was generated so far, shared with the threads that watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Stats>>);

impl Watched {
    /// The statistics now.
    pub(crate) fn stats(&self) -> Stats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stats: Stats) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

/// Generates sessions for the pool until it stops.
///
/// # Errors
/// The error that stopped the model. The pool is then stopped too, because nothing will fill it any more.
pub(crate) fn generate_sessions(
    mut model: Model,
    pool: &Pool<Model>,
    metrics: &Metrics,
    pulse: &Pulse,
    watched: &Watched,
) -> Result<(), GenerateError> {
    let clock = SystemClock::new();
    let mut before = Stats::default();
    loop {
        pulse.beat(clock.now());
        match pool.wait_for_work(NAP) {
            None => {}
            Some(Work::Stop) => return Ok(()),
            Some(Work::Model(other)) => model = other,
            Some(Work::Orders) => match generate_batch(&mut model, pool, metrics, pulse, watched, &before) {
                Ok(stats) => before = stats,
                Err(error) => {
                    pool.stop();
                    return Err(error);
                }
            },
        }
    }
}

/// Generates until no order is left. Gives the statistics of all batches so far.
fn generate_batch(
    model: &mut Model,
    pool: &Pool<Model>,
    metrics: &Metrics,
    pulse: &Pulse,
    watched: &Watched,
    before: &Stats,
) -> Result<Stats, GenerateError> {
    let epoch = pool.epoch();
    let Model { generator, threads, tokens, prompts } = model;
    // The closure moves to one of the model's threads, so it makes everything that is not shared itself.
    threads.install(|| {
        let clock = SystemClock::new();
        let orders: RefCell<HashMap<u64, Order>> = RefCell::default();
        let mut next_id = 0;
        let mut told = 0;
        let mut requests = std::iter::from_fn(|| {
            let order = pool.next_order()?;
            let request = SessionRequest {
                id: next_id,
                label: order.label.to_string(),
                seed: order.seed,
                limit: tokens.map_or(Limit::Packets(order.packets), Limit::Tokens),
                prompt: prompts.get(&*order.label).and_then(|of| in_turn(of, order.number)),
            };
            orders.borrow_mut().insert(next_id, order);
            next_id += 1;
            Some(request)
        });
        let mut deliver = |generated: Generated| {
            if let Some(order) = orders.borrow_mut().remove(&generated.id) {
                deliver_generated(pool, metrics, &order, generated);
            }
        };
        let mut observe = |stats: &Stats| {
            pulse.beat(clock.now());
            metrics.tokens_generated.increment(stats.counts.tokens - told);
            told = stats.counts.tokens;
            watched.set(sum(before, stats));
            if pool.is_stopped() || pool.epoch() != epoch {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let stats = generator.run(&mut requests, &mut deliver, &mut observe)?;
        pool.void_orders();
        metrics.tokens_generated.increment(stats.counts.tokens - told);
        let all = sum(before, &stats);
        watched.set(all.clone());
        Ok(all)
    })
}

/// Counts a finished session and delivers it to its queue.
fn deliver_generated(pool: &Pool<Model>, metrics: &Metrics, order: &Order, generated: Generated) {
    let Generated { session, ending, counts, repairs, .. } = generated;
    metrics.packets_generated(&order.label).increment(counts.packets);
    for (reason, n) in &counts.drops {
        metrics.dropped(*reason).increment(*n);
    }
    for (kind, n) in repairs.kinds() {
        metrics.repairs(kind.as_str()).increment(n);
    }
    if session.packets.is_empty() {
        SessionEmpty { label: order.label.clone(), ending: describe(ending) }.emit(metrics);
        pool.deliver_session(order, None);
    } else {
        metrics.sessions_generated(&order.label).increment(1);
        pool.deliver_session(order, Some(session));
    }
}

fn describe(ending: Ending) -> String {
    match ending {
        Ending::Limit => "its limit".into(),
        Ending::EndToken => "the model's end token".into(),
        Ending::Endless => "a packet without end".into(),
        Ending::OnlyDrops => "too many packets in a row that could not be repaired".into(),
        Ending::Logits(error) => error.to_string(),
    }
}

/// The sum of the statistics of two runs, one after the other. Live values come from the later run.
fn sum(before: &Stats, now: &Stats) -> Stats {
    let mut all = now.clone();
    all.sessions += before.sessions;
    all.failed += before.failed;
    all.counts.tokens += before.counts.tokens;
    all.counts.packets += before.counts.packets;
    for (&reason, n) in &before.counts.drops {
        *all.counts.drops.entry(reason).or_default() += n;
    }
    for (label, counts) in &before.repairs {
        all.repairs.entry(label.clone()).or_default().merge(counts);
    }
    for (label, n) in &before.drops {
        *all.drops.entry(label.clone()).or_default() += n;
    }
    all
}
