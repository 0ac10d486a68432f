//! Generation: many sessions at a time from one model, or from a chain of models.
//!
//! ```text
//! requests -> rows (prefill joins, finish leaves) -> step all -> sample each -> decoder -> repair -> sink
//! ```
//! [`Generator::run`] keeps up to `batch` sessions live. Each has a row in the model's state, random streams from its
//! own seed alone, a decoder and a repair stage. A row that finishes leaves at once and the next request takes its
//! place, so the batch stays full whatever the lengths. A session depends on its request, the checkpoint and the
//! policy, and not on the rows that it shares the batch with: `Mamba2` computes each row by itself, and prompts are
//! read one at a time.
//!
//! A **chain** (NetSSM, arXiv 2503.22663, section 5.1.1: models fine-tuned for phases of a flow) passes a session from
//! one checkpoint to the next. A stage ends after its packets or with its end token. Then the tokens of its last
//! packets follow the label in the prompt of the next stage. The decoder of a codec whose packets refer to earlier ones
//! ([`Codec::stateful`]) goes through all stages. Any other codec gets a new decoder for each stage.
//!
//! Where the grammar allows only one token, nothing is drawn: that token is taken, and the model reads it.
//!
//! Memory: only a session's packets grow with its length. The model's errors are counted ([`Counts`]). A session of
//! nothing but errors ends with the reason ([`Ending`]).

mod batch;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(any(test, feature = "cuda"))]
mod pipeline;
mod prompt;
mod row;
mod tail;
mod tally;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use netssm_tokens::DataError;
use netssm_tokens::codec::Codec;
use netssm_tokens::repair::{RepairCounts, RepairDrop};
use netssm_tokens::timing::TimingTable;
use netssm_wire::session::Session;

pub use self::prompt::{PromptError, prompt_from_capture, prompt_from_frames};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::error::Error;
use crate::lm::Mamba2;
use crate::precision::Precision;
use crate::sample::{Policy, SampleError};

/// One checkpoint of a chain, and how much of a session it writes.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Packets of a session after which the next stage takes over. The stage's end token does so earlier. Ignored for
    /// the last stage, which continues to the request's limit.
    pub packets: u64,
}

/// Checkpoints that write a session one after the other.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// The stages in order. At least one, all with the same codec and vocabulary.
    pub stages: Vec<Stage>,
    /// Number of packets at the end of a stage whose tokens seed the next stage.
    pub seed_packets: usize,
}

impl ChainSpec {
    /// A chain of one.
    pub fn single(checkpoint: Checkpoint) -> Self {
        Self { stages: vec![Stage { checkpoint, packets: 0 }], seed_packets: 1 }
    }
}

/// Options for all sessions of a generator.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How tokens are drawn.
    pub policy: Policy,
    /// Sessions generated side by side. At least 1.
    pub batch: usize,
    /// The device that the model runs on.
    pub device: Device,
    /// Number format of a step's matmuls. int8 runs on the CPU only, bf16 on a GPU only.
    pub precision: Precision,
    /// Tokens without a complete packet after which a session is cut off.
    pub max_packet_tokens: u64,
    /// Dropped packets in a row after which a session ends.
    pub max_drops: u64,
    /// Forbid the end token, so that sessions reach their limit.
    pub ignore_end: bool,
    /// Longest Ethernet frame in bytes, without the check sequence. Repair shortens a packet that declares more.
    pub max_frame_bytes: usize,
    /// Gap between packets for labels without a timing table (NetSSM's own checkpoints have none). Not used where the
    /// tokens themselves carry the time.
    pub gap: Option<Duration>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            batch: 16,
            device: Device::Cpu,
            precision: Precision::F32,
            // The longest packet of any codec is 256 bytes and a delimiter.
            max_packet_tokens: 512,
            max_drops: 64,
            ignore_end: false,
            max_frame_bytes: 1514,
            gap: None,
        }
    }
}

/// How long a session may become. It may end earlier by its own end token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Packets that passed repair, including those of the prompt.
    Packets(u64),
    /// Tokens, including those of the prompt.
    Tokens(u64),
}

/// One session to generate.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// Returned with the session. Sessions finish in another order than they began.
    pub id: u64,
    /// A label of the vocabulary.
    pub label: String,
    /// Seed of all randomness of the session.
    pub seed: u64,
    /// The length of the session.
    pub limit: Limit,
    /// Tokens of a seed capture (see [`prompt_from_capture`]), label first. `None` = the label only.
    pub prompt: Option<Arc<[u16]>>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// The session reached the limit of the request.
    Limit,
    /// The model wrote its end token.
    EndToken,
    /// The model wrote `max_packet_tokens` tokens without a complete packet.
    Endless,
    /// `max_drops` packets in a row could not be repaired.
    OnlyDrops,
    /// No token could be drawn from the model's logits.
    Logits(SampleError),
}

/// Counts of a session or of a run.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Tokens sampled or read from prompts.
    pub tokens: u64,
    /// Packets that passed repair.
    pub packets: u64,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<RepairDrop, u64>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.tokens += other.tokens;
        self.packets += other.packets;
        for (&reason, n) in &other.drops {
            *self.drops.entry(reason).or_default() += n;
        }
    }
}

/// A finished session.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The id of the request.
    pub id: u64,
    /// The session. It has no packets if none passed repair.
    pub session: Session,
    /// Why it ended.
    pub ending: Ending,
    /// Counts of the session.
    pub counts: Counts,
    /// Repairs of the session, by kind.
    pub repairs: RepairCounts,
}

/// State of a run so far, over finished and live sessions.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Sessions finished.
    pub sessions: u64,
    /// Sessions that did not end by limit or end token.
    pub failed: u64,
    /// Sessions that are live now.
    pub live: usize,
    /// Counts of the run.
    pub counts: Counts,
    /// Repairs of finished sessions by label.
    pub repairs: BTreeMap<String, RepairCounts>,
    /// Dropped packets of finished sessions by label.
    pub drops: BTreeMap<String, u64>,
}

/// Why a generator could not be made, or why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Options or a chain that cannot work.
    #[error("generator: {0}")]
    Options(String),
    /// The label has no learned inter-arrival times, and the options give no gap in their place.
    #[error("no inter-arrival times were learned for label '{0}': give a fixed gap (--gap)")]
    NoTiming(String),
    /// A request's label or prompt is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The policy is wrong.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The checkpoint is wrong.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] Error),
}

/// One stage, ready to run.
struct StageModel {
    model: Mamba2,
    packets: u64,
}

/// Generates sessions; see the module docs. It keeps no state between runs.
pub struct Generator {
    stages: Vec<StageModel>,
    seed_packets: usize,
    codec: Arc<dyn Codec>,
    timing: TimingTable,
    name: String,
    options: GenerateOptions,
    /// Whether the models read the side information of the codec's decoders.
    reads_context: bool,
}

impl Generator {
    /// A generator of one model.
    ///
    /// # Errors
    /// [`GenerateError`] for options out of range, for a device that cannot hold the model and the batch, or for a
    /// precision that the device does not have. The memory is computed before anything runs.
    pub fn new(checkpoint: &Checkpoint, options: GenerateOptions) -> Result<Self, GenerateError> {
        Self::chain(&ChainSpec::single(checkpoint.clone()), options)
    }

    /// A generator of a chain of models.
    ///
    /// # Errors
    /// As [`Generator::new`]. Also [`GenerateError::Options`] if there is no stage, if a stage before the last writes
    /// no packet, or if stages differ in codec or vocabulary.
    pub fn chain(spec: &ChainSpec, options: GenerateOptions) -> Result<Self, GenerateError> {
        options.policy.validate()?;
        if options.batch == 0 || options.max_packet_tokens == 0 || options.max_drops == 0 {
            return Err(GenerateError::Options(
                "batch, max_packet_tokens and max_drops: expected at least 1, got 0".into(),
            ));
        }
        let Some((last, before)) = spec.stages.split_last() else {
            return Err(GenerateError::Options("a chain needs at least one stage".into()));
        };
        let first = &spec.stages[0].checkpoint;
        for (i, stage) in spec.stages.iter().enumerate() {
            let (a, b) = (first.manifest(), stage.checkpoint.manifest());
            if a.codec != b.codec || a.vocab != b.vocab {
                return Err(GenerateError::Options(format!(
                    "stage {} has codec {} and {} tokens, expected the first stage's {} and {} with the same labels",
                    i + 1,
                    b.codec,
                    b.vocab.size(),
                    a.codec,
                    a.vocab.size()
                )));
            }
        }
        let context = |stage: &Stage| stage.checkpoint.config().context;
        if let Some(i) = spec.stages.iter().position(|stage| context(stage) != context(&spec.stages[0])) {
            let what = "reads other side information (context of config.json) than the first stage";
            return Err(GenerateError::Options(format!("stage {} {what}", i + 1)));
        }
        if let Some(i) = before.iter().position(|stage| stage.packets == 0) {
            return Err(GenerateError::Options(format!(
                "stage {}: expected at least 1 packet, got 0",
                i + 1
            )));
        }
        let mut timing = last.checkpoint.manifest().timing.clone();
        timing.merge(&first.manifest().timing);
        // A GPU gets its own copy of the weights, in another layout (`gpu`).
        let on_gpu = options.device.is_cuda();
        let stages = spec.stages.iter().map(|stage| {
            let mut model = stage.checkpoint.model(if on_gpu { &Device::Cpu } else { &options.device })?;
            if !on_gpu {
                model.set_precision(options.precision)?;
            }
            Ok(StageModel { model, packets: stage.packets })
        });
        let generator = Self {
            stages: stages.collect::<Result<_, GenerateError>>()?,
            seed_packets: spec.seed_packets,
            codec: first.codec().clone(),
            timing,
            reads_context: first.config().context.is_some(),
            name: spec.stages.iter().map(|s| s.checkpoint.sha256()).collect::<Vec<_>>().join("+"),
            options,
        };
        #[cfg(feature = "cuda")]
        if generator.options.device.is_cuda() {
            gpu::check(&generator)?;
        }
        Ok(generator)
    }

    /// Whether sessions of `label` can be generated.
    ///
    /// # Errors
    /// [`GenerateError::Data`] for a label that the model does not know; the error lists the known labels.
    /// [`GenerateError::NoTiming`] if the label's packets could not be timed.
    pub fn check_label(&self, label: &str) -> Result<(), GenerateError> {
        self.codec.vocab().require_label(label)?;
        if !self.codec.timed() && !self.timing.knows(label) && self.options.gap.is_none() {
            return Err(GenerateError::NoTiming(label.to_owned()));
        }
        Ok(())
    }

    /// The codec, for making prompts.
    pub fn codec(&self) -> &Arc<dyn Codec> {
        &self.codec
    }

    /// Name of the instruction set that the models' matmuls use.
    pub fn kernel(&self) -> &'static str {
        if self.options.device.is_cuda() { "cuda" } else { self.stages[0].model.kernel() }
    }

    /// Hex sha256 of the weights. For a chain, the hashes of its stages, joined by "+".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Generates the sessions that `requests` gives. It hands each one to `sink` as it finishes.
    ///
    /// `requests.next()` is called whenever a row is free. `None` means "nothing now", and the call is repeated later.
    /// The run ends when it gives `None` and no session is live. `observe` is called after every step of the batch;
    /// [`ControlFlow::Break`] drops the live sessions and ends the run. Both run on the calling thread, which does the
    /// work.
    ///
    /// # Errors
    /// [`GenerateError`] for a request whose label [`Generator::check_label`] refuses, or for an operation that failed.
    /// Live sessions are then lost. What a model writes is never an error here.
    pub fn run(
        &mut self,
        requests: &mut dyn Iterator<Item = SessionRequest>,
        sink: &mut dyn FnMut(Generated),
        observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
    ) -> Result<Stats, GenerateError> {
        #[cfg(feature = "cuda")]
        if self.options.device.is_cuda() {
            return gpu::run(self, requests, sink, observe);
        }
        batch::run(self, requests, sink, observe)
    }
}

#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
mod stateful_tests;
#[cfg(test)]
mod tests;
