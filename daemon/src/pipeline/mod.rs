//! From a model to the wire: generator, pool, schedule, merge, player.
//!
//! ```text
//! generator ---> pool ---> player: schedule -> rewrite -> merge by deadline -> allowlist -> sinks
//! (own thread)  (bounded)  (own thread)
//! ```
//! [`buffer`], [`schedule`] and [`merge`] are pure and make all decisions. The threads only move data. Time is a
//! [`Timeline`]: real for the daemon, virtual for `generate` and `run --virtual-clock`. All three run the same
//! pipeline.

mod buffer;
mod engine;
mod generator;
mod live;
mod merge;
mod outputs;
mod player;
mod pool;
mod schedule;
mod tally;
#[cfg(test)]
mod testing;
mod timeline;

pub(crate) use engine::{Engine, Event, Finished};
pub(crate) use generator::Model;
pub(crate) use live::Waiting;
pub(crate) use outputs::{Closed, Output, OutputKind, Outputs};
pub(crate) use player::{Control, End, Parts, Plan, Played, Player};
pub(crate) use pool::{Limits, Pool};
pub(crate) use schedule::Schedule;
pub(crate) use timeline::Timeline;
