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
//! [`train`] makes the updates on the calling thread and on the threads of its shards. It returns after the last
//! update, when validation stops improving, or soon after `stop` is set. After a stop it leaves a checkpoint from which
//! [`Start::Resume`] continues. On the CPU the resumed run gives the same bytes as a run that never stopped.
//!
//! The method follows NetSSM (arXiv 2503.22663, sections 4.2 and 5.1.1): next-token cross-entropy, AdamW, gradient
//! clipping at 1, sequences of up to 100,000 tokens. It differs in two ways. Many sessions are read side by side with
//! truncated back-propagation and carried state, so memory grows with the window and not with the session. Several such
//! batches are open at once and take turns (`streams`), because the few sessions of one batch would bias the weights.

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
