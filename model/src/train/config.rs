//! `TrainConfig`: everything that a training run depends on besides its corpus, as TOML.
//!
//! Every field has a default. The `Default` implementations in this file are the only home of these values. Unknown
//! keys are errors. [`TrainConfig::parse`] reads and checks a text. [`TrainConfig::to_toml`] writes the effective
//! configuration next to a run's checkpoints.
//!
//! ```
//! use netssm_model::train::TrainConfig;
//! let config = TrainConfig::parse("
//!     [model]
//!     d_model = 192
//!     n_layer = 6
//!     [data]
//!     batch = 16
//!     [run]
//!     steps = 4000
//! ").unwrap();
//! assert_eq!(config.data.bptt, 1024);
//! assert!(TrainConfig::parse("[data]\nbtch = 3").unwrap_err().to_string().contains("btch"));
//! ```

use std::collections::BTreeMap;

use netssm_tokens::context::ContextShape;
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::engine::launch::Float;
use crate::network::config::ModelConfig;
use crate::optim::AdamWConfig;

/// A whole configuration file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Shape of the model. Ignored with `--init`: the checkpoint gives the shape.
    pub model: ModelSection,
    /// What a step reads.
    pub data: DataSection,
    /// AdamW and clipping.
    pub optimizer: OptimizerSection,
    /// Learning rate over the run.
    pub schedule: ScheduleSection,
    /// Length, seed, threads, checkpoints.
    pub run: RunSection,
    /// Validation.
    pub eval: EvalSection,
}

/// Sizes of a new Mamba-2 model. Names and defaults are those of the reference's `Mamba2` layer. Two sizes have no
/// default there; their defaults here are small enough for a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// State size per channel (n). The state traffic of generation grows linearly with it, so a larger state generates
    /// more slowly.
    pub d_state: usize,
    /// Ratio of the inner width to `d_model`.
    pub expand: usize,
    /// Channels per head (p). Divides `expand * d_model`.
    pub headdim: usize,
    /// Groups that share B and C (g). Divides the number of heads.
    pub ngroups: usize,
    /// Taps of the causal convolution.
    pub d_conv: usize,
    /// Tokens per chunk of the scan (q). It affects speed and rounding only, not the model.
    pub chunk_size: usize,
    /// The output head is the transposed embedding.
    pub tie_embeddings: bool,
    /// True: the model reads the side information that its codec gives (see [`netssm_tokens::context`]). False: a plain
    /// Mamba-2.
    pub context: bool,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            d_model: 256,
            n_layer: 6,
            d_state: 128,
            expand: 2,
            headdim: 64,
            ngroups: 1,
            d_conv: 4,
            chunk_size: 256,
            tie_embeddings: true,
            context: true,
        }
    }
}

impl ModelSection {
    /// The model configuration of these sizes, over a vocabulary of `vocab_size` ids whose codec gives `context`.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] where the sizes contradict each other.
    pub fn config(
        &self,
        vocab_size: usize,
        context: Option<ContextShape>,
    ) -> crate::error::Result<ModelConfig> {
        let config = ModelConfig {
            d_model: self.d_model,
            n_layer: self.n_layer,
            vocab_size,
            d_state: self.d_state,
            expand: self.expand,
            headdim: self.headdim,
            ngroups: self.ngroups,
            d_conv: self.d_conv,
            chunk_size: self.chunk_size,
            tie_embeddings: self.tie_embeddings,
            context: context.filter(|_| self.context),
            ..ModelConfig::default()
        };
        config.validate()?;
        Ok(config)
    }
}

/// How sessions become batches; see `streams`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Tokens of a session that are trained on, counted from its first. 2 to 100000 (NetSSM's length).
    pub sequence_length: usize,
    /// Sessions read side by side.
    pub batch: usize,
    /// Window of truncated back-propagation, in tokens. The gradient reaches back to the window's start, the carried
    /// state to the session's start. 0 = the whole sequence in one pass: exact, but memory grows with the sequence.
    pub bptt: usize,
    /// Batches of sessions that are open at once and take turns. An update reads one of them. More batches keep the
    /// weights from drifting towards the few sessions of one batch. Each batch costs memory for the carried state of
    /// its sessions.
    pub interleave: usize,
    /// Windows whose gradients are added up before an update.
    pub accumulate: usize,
    /// Probability that a session's label is hidden: a token that no session begins with replaces it. 0 to 1.
    pub label_dropout: f64,
    /// Probability that a field of the side information is hidden from a token. At least 0, below 1. Each field is
    /// drawn by itself; the label is never hidden this way. It keeps a model from recognising a recording by its
    /// counts.
    pub context_dropout: f64,
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            sequence_length: 100_000,
            batch: 8,
            bptt: 1024,
            interleave: 8,
            accumulate: 1,
            label_dropout: 0.0,
            context_dropout: 0.0,
        }
    }
}

/// AdamW's constants. Norm gains, biases, `A_log`, `D` and `dt_bias` are never decayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSection {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Longest gradient (global L2 norm). 0 = no clipping. NetSSM uses 1.
    pub clip: f64,
}

impl Default for OptimizerSection {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

impl OptimizerSection {
    /// The part that [`crate::optim::AdamW`] takes.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig { beta1: self.beta1, beta2: self.beta2, eps: self.eps, weight_decay: self.weight_decay }
    }
}

/// Learning rate: linear warm-up, then half a cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSection {
    /// Peak learning rate. NetSSM trains 130 M parameters at 5e-4; small models take more.
    pub lr: f64,
    /// Learning rate at the end.
    pub min_lr: f64,
    /// Updates of linear warm-up.
    pub warmup: u64,
}

impl Default for ScheduleSection {
    fn default() -> Self {
        Self { lr: 1.5e-3, min_lr: 1e-4, warmup: 100 }
    }
}

/// Length, seed, threads and checkpoints of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSection {
    /// Updates. 0 = as many as `epochs` takes.
    pub steps: u64,
    /// Passes over the corpus, used where `steps` is 0.
    pub epochs: u64,
    /// Seed of the initial weights, the session order and the label dropout.
    pub seed: u64,
    /// Shards that a batch is split into, each on one CPU thread. 0 = one for each core, at most `data.batch`; one on a
    /// GPU. The number is part of the result, because another number adds the gradients in another order.
    pub threads: usize,
    /// Updates between checkpoints. The last update always writes one.
    pub checkpoint_every: u64,
    /// Checkpoints kept in addition to the best one. At least 1.
    pub keep: usize,
    /// Number format of a GPU's computations between sums. Weights, their gradients, moments, the recurrent state and
    /// sums are float32 in both formats. "bf16" takes less memory (docs/training.md has the formula). The CPU runs
    /// "f32" only.
    pub dtype: Dtype,
}

/// The number format of a run; see [`RunSection::dtype`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Float32.
    #[default]
    F32,
    /// Bfloat16: the upper half of a float32.
    Bf16,
}

impl From<Dtype> for Float {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::Bf16 => Self::Bf16,
        }
    }
}

impl Default for RunSection {
    fn default() -> Self {
        Self { steps: 0, epochs: 10, seed: 1, threads: 0, checkpoint_every: 500, keep: 2, dtype: Dtype::F32 }
    }
}

/// Validation during and after a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalSection {
    /// Updates between validations. 0 = only at the end.
    pub every: u64,
    /// Tokens of each session, from its first, that a validation during the run reads. 0 = all. The validation at the
    /// end reads everything.
    pub prefix: u64,
    /// Limit in tokens per group: once a validation during the run has read that many, it begins no further session of
    /// the group. 0 = all sessions. Sessions differ much from each other, so a few of them give a poor estimate.
    pub tokens: u64,
    /// Validations without a better loss after which the run stops. 0 = never.
    pub patience: u64,
    /// Groups of labels that are reported together, by name. "*" stands for the labels that no group names.
    pub groups: BTreeMap<String, Vec<String>>,
}

impl Default for EvalSection {
    fn default() -> Self {
        Self { every: 250, prefix: 8_192, tokens: 0, patience: 0, groups: BTreeMap::new() }
    }
}

impl TrainConfig {
    /// Reads and checks a configuration. The error gives line and column from the TOML reader, or names the field, its
    /// value and its range.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let config: Self = toml::from_str(text).map_err(|e| TrainError::Config(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The effective configuration as TOML.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|e| TrainError::Config(e.to_string()))
    }

    /// Checks ranges. The model's constructor checks what depends on the model's sizes.
    pub fn validate(&self) -> Result<(), TrainError> {
        let bad = |field: &str, want: &str, got: String| {
            Err(TrainError::Config(format!("{field}: expected {want}, got {got}")))
        };
        let d = &self.data;
        if !(2..=100_000).contains(&d.sequence_length) {
            return bad("data.sequence_length", "2 to 100000", d.sequence_length.to_string());
        }
        for (field, n) in [
            ("data.batch", d.batch),
            ("data.interleave", d.interleave),
            ("data.accumulate", d.accumulate),
            ("run.keep", self.run.keep),
        ] {
            if n == 0 {
                return bad(field, "at least 1", n.to_string());
            }
        }
        if self.run.checkpoint_every == 0 {
            return bad("run.checkpoint_every", "at least 1", "0".into());
        }
        if self.run.steps == 0 && self.run.epochs == 0 {
            return bad("run.steps or run.epochs", "one of them above 0", "0".into());
        }
        let (o, s) = (&self.optimizer, &self.schedule);
        let checks = [
            ("data.label_dropout", d.label_dropout, (0.0..=1.0).contains(&d.label_dropout), "0 to 1"),
            (
                "data.context_dropout",
                d.context_dropout,
                (0.0..1.0).contains(&d.context_dropout),
                "at least 0, below 1",
            ),
            ("optimizer.beta1", o.beta1, (0.0..1.0).contains(&o.beta1), "at least 0, below 1"),
            ("optimizer.beta2", o.beta2, (0.0..1.0).contains(&o.beta2), "at least 0, below 1"),
            ("optimizer.eps", o.eps, o.eps > 0.0 && o.eps.is_finite(), "above 0"),
            ("optimizer.weight_decay", o.weight_decay, (0.0..1.0).contains(&o.weight_decay), "0 up to 1"),
            ("optimizer.clip", o.clip, o.clip >= 0.0 && o.clip.is_finite(), "0 (off) or above"),
            ("schedule.lr", s.lr, s.lr > 0.0 && s.lr.is_finite(), "above 0"),
            ("schedule.min_lr", s.min_lr, (0.0..=s.lr).contains(&s.min_lr), "0 to schedule.lr"),
        ];
        for (field, value, ok, want) in checks {
            if !ok {
                return bad(field, want, value.to_string());
            }
        }
        let starred = self.eval.groups.values().filter(|labels| labels.iter().any(|l| l == "*")).count();
        if starred > 1 {
            return bad("eval.groups", "\"*\" in at most one group", starred.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_configuration_reads_back() {
        let mut config = TrainConfig::default();
        config.eval.groups.insert("video".into(), vec!["youtube".into()]);
        config.eval.groups.insert("rest".into(), vec!["*".into()]);
        assert_eq!(TrainConfig::parse(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn errors_name_place_and_range() {
        let message = |text: &str| TrainConfig::parse(text).unwrap_err().to_string();
        assert!(message("[run]\nstep = 3").contains("unknown field `step`"));
        assert!(message("[run]\nstep = 3").contains("line 2"));
        assert!(message("[data]\nbatch = \"8\"").contains("line 2"));
        assert_eq!(
            message("[schedule]\nmin_lr = 1.0"),
            "training configuration: schedule.min_lr: expected 0 to schedule.lr, got 1"
        );
        assert_eq!(
            message("[data]\nsequence_length = 100001"),
            "training configuration: data.sequence_length: expected 2 to 100000, got 100001"
        );
        assert!(message("[optimizer]\nbeta2 = 1.0").contains("optimizer.beta2"));
        assert!(message("[schedule]\nlr = nan").contains("schedule.lr"));
        assert!(message("[run]\nepochs = 0").contains("one of them above 0"));
    }
}
