//! From a model to the wire: generator thread, pool, schedule, merge, player.
//!
//! ```text
//! generator ---> pool ---> player: schedule -> rewrite -> merge by deadline -> allowlist -> sinks
//! (own thread)  (bounded)  (own thread)
//! ```
//! [`stock`], [`schedule`] and [`merge`] are pure and hold all decisions; the threads only move things.

mod merge;
mod schedule;
mod stock;
#[cfg(test)]
mod testing;

pub(crate) use merge::{Merge, Popped, Source};
pub(crate) use schedule::{Arrival, Arrivals, Schedule};
pub(crate) use stock::{Order, Stock, Taken};
