//! Training: a corpus and a configuration in, checkpoints out.
//!
//! ```text
//! Corpus -> Dataset -> Streams -> Engine (forward, loss, backward) -> AdamW -> Checkpoint
//!                                    ^ carried state, one shard a thread       + train.jsonl
//! ```
//! A run lives in a directory:
//!
//! ```text
//! OUT/config.toml       the effective configuration
//! OUT/train.jsonl       one line an event: steps, validations, checkpoints
//! OUT/step-00000500/    checkpoints (see `checkpoint`), each with what `--resume` needs
//! OUT/best              link to the one with the lowest validation loss a token
//! ```
//! [`train`] makes the updates on the calling thread and its shards' threads, and returns at the
//! end, when validation stops improving, or soon after `stop` is set, then with a checkpoint from
//! which [`Start::Resume`] goes on: on the CPU with the same bytes as if it had never stopped.
//!
//! As in NetSSM (arXiv 2503.22663, sections 4.2 and 5.1.1): next-token cross-entropy, AdamW,
//! gradient clipping at 1, sequences of up to 100,000 tokens. Different: many sessions side by side
//! and truncated back-propagation with carried state, because memory grows with the window and not
//! with the session; and several such batches open at once that take turns (`streams`), because the
//! few sessions of one batch would pull the weights their way.

mod config;
mod data;
mod error;
mod evaluate;
mod events;
mod params;
mod resume;
mod run;
mod schedule;
mod shards;
mod start;
mod stopwatch;
mod streams;

pub use self::config::{
    DataSection, Dtype, EvalSection, ModelSection, OptimizerSection, RunSection, ScheduleSection, TrainConfig,
};
pub use self::data::{Dataset, Sequence};
pub use self::error::TrainError;
pub use self::evaluate::{Extent, Losses, evaluate};
pub use self::events::{End, Event, LOG_FILE, Nats, Progress};
pub use self::run::{Outcome, train};
pub use self::schedule::Schedule;
pub use self::start::Start;

#[cfg(test)]
mod tests;
