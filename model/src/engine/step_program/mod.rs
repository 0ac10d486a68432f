//! The step of a token on a GPU as plain data: what lies in device memory, what the host sends for each row, and which
//! kernels run with what.
//!
//! Nothing here touches a GPU or needs feature `cuda`. `crate::engine::gpu::step` allocates the [`Region`]s of a
//! [`StepProgram`] and runs its launches. The tests run the same launches with the kernels compiled for the host, and
//! compare whole models with the CPU's steps.
//!
//! ```text
//! pack        parameters -> bytes of each Region
//! row_input   what the host sends for a row, and the choice that comes back
//! launches    rows -> Launch, Launch, ...
//! stream      a half-batch that is stepped: a GPU's, or in tests the CPU's
//! ```
//! The launches of a step: `embed` (token and side information); for each layer `rms_norm`, `matmul`, `layer_step`,
//! `matmul`; then `rms_norm`, `matmul` to logits, `sample`. A row finds its state by the slot in its row input, so a
//! batch is dense however sessions come and go. A session that begins says so in its row input; its state is not
//! cleared.
//!
//! `layer_step` and `matmul` sum in orders that do not depend on the batch, so a session's bytes do not either, on one
//! kind of GPU and with one build. The CPU's bytes differ, since its `exp` is another.

mod launches;
mod pack;
mod row_input;
#[cfg(any(test, feature = "cuda"))]
pub(crate) mod stream;

use crate::engine::launch::Float;
use crate::error::{Error, Result};
use crate::network::config::ModelConfig;
use crate::network::params::{BlockParams, Params};
use crate::sample::Policy;

pub use pack::pack;
pub use row_input::{Choice, DITHER, FLAGS, FRESH, ROW_INPUT_WORDS, SILENT, SLOT, TOKEN, choices};

/// The formats that a model is stepped in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Types {
    /// Tables and matrices, and what they are multiplied with.
    pub weights: Float,
    /// The scan's state; in bf16 it is stored with stochastic rounding. The convolution's tail is always f32.
    pub state: Float,
}

/// A piece of device memory, by what it holds. The number is that of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// `(padded vocabulary, d)`.
    Embedding,
    /// `(rows of the table, d)`.
    Context,
    /// `(d)`.
    Norm(usize),
    /// `(J, d)`.
    InProj(usize),
    /// `(K, C)`.
    Taps(usize),
    /// `(C)`.
    ConvBias(usize),
    /// `(H)`.
    DtBias(usize),
    /// `-exp(A_log)`, `(H)`.
    A(usize),
    /// D of the scan, `(H)`.
    Skip(usize),
    /// `(E)`.
    GatedNorm(usize),
    /// `(d, E)`.
    OutProj(usize),
    /// `(d)`.
    FinalNorm,
    /// `(padded vocabulary, d)`, in a model that does not tie it to the embedding.
    Head,
    /// `(slots, K-1, C)`.
    Tail(usize),
    /// `(slots, H, N, P)`.
    State(usize),
    /// What the host says of each row: `(rows, ROW_INPUT_WORDS + fields)` u32.
    RowInputs,
    /// Random numbers and masks: `(rows, draw words)` u64.
    Draws,
    /// The residual stream, `(rows, d)` f32.
    Stream,
    /// What a product reads, `(rows, max(d, E))`.
    Operand,
    /// What `in_proj` gives, `(rows, J)` f32.
    Projected,
    /// `(rows, vocabulary)` f32.
    Logits,
    /// Scratch of the sampler, `(rows, padded)` f64.
    SampleWeights,
    /// The same, `(rows, padded)` u32.
    SampleIds,
    /// What comes back: `(rows, 3)` u32, see [`Choice`].
    Choices,
}

/// Where each parameter of a model of this configuration lies.
fn regions(cfg: &ModelConfig) -> Params<Region> {
    let block = |i| BlockParams {
        norm: Region::Norm(i),
        in_proj: Region::InProj(i),
        conv_weight: Region::Taps(i),
        conv_bias: cfg.conv_bias.then_some(Region::ConvBias(i)),
        dt_bias: Region::DtBias(i),
        a_log: Region::A(i),
        d: Region::Skip(i),
        gated_norm: Region::GatedNorm(i),
        out_proj: Region::OutProj(i),
    };
    Params {
        embedding: Region::Embedding,
        context: cfg.context.map(|_| Region::Context),
        blocks: (0..cfg.n_layer).map(block).collect(),
        norm: Region::FinalNorm,
        head: (!cfg.tie_embeddings).then_some(Region::Head),
    }
}

impl Region {
    /// Whether it is a table or a matrix of parameters, which has the format of weights. The other parameters are f32.
    fn is_matrix(self) -> bool {
        matches!(self, Self::Embedding | Self::Context | Self::Head | Self::InProj(_) | Self::OutProj(_))
    }
}

/// Bytes of dynamic shared memory that every GPU with kernels gives a block that asks for it.
const SHARED_LIMIT: usize = 99 * 1024;
/// Rows of the smallest captured step; fewer are padded up to it.
const SMALLEST_BUCKET: usize = 16;

/// The step of one model under one sampling policy.
#[derive(Debug, Clone)]
pub struct StepProgram {
    cfg: ModelConfig,
    types: Types,
    policy: Policy,
    vocab: usize,
}

impl StepProgram {
    /// Of a model whose tokens below `vocab` may be chosen.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Input`] for a model that the kernels cannot run.
    pub fn new(cfg: &ModelConfig, types: Types, policy: Policy, vocab: usize) -> Result<Self> {
        cfg.validate()?;
        let program = Self { cfg: cfg.clone(), types, policy, vocab: vocab.min(cfg.vocab_size).max(1) };
        let shared = program.step_shared();
        if shared > SHARED_LIMIT {
            let expected = format!("channels of a group that fit {SHARED_LIMIT} bytes of shared memory");
            return Err(Error::input("decoding on a GPU", expected, format!("{shared} bytes")));
        }
        Ok(program)
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.cfg
    }

    /// The formats that it is stepped in.
    pub fn types(&self) -> Types {
        self.types
    }

    /// Tokens that may be chosen.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// 64-bit words of a mask.
    pub fn mask_words(&self) -> usize {
        self.vocab.div_ceil(64)
    }

    /// Whether rows send the tokens that the repetition penalty applies to.
    pub fn looks_back(&self) -> bool {
        self.policy.looks_back()
    }

    /// 64-bit words of a row of [`Region::Draws`]: the random number, the legal tokens, and recent ones if asked for.
    pub fn draw_words(&self) -> usize {
        1 + self.mask_words() * if self.looks_back() { 2 } else { 1 }
    }

    /// 32-bit words of a row of [`Region::RowInputs`].
    pub fn row_input_words(&self) -> usize {
        ROW_INPUT_WORDS + self.cfg.context_fields()
    }

    /// Shared memory of `layer_step`.
    fn step_shared(&self) -> usize {
        let (e, h, g) = (self.cfg.d_inner(), self.cfg.nheads(), self.cfg.ngroups);
        4 * (2 * (e / g) + 2 * self.cfg.d_state + 2 * (h / g) + 32)
    }

    /// Bytes of a region; those that grow with the batch for `rows` rows, and state for `slots` slots.
    pub fn bytes(&self, region: Region, rows: usize, slots: usize) -> usize {
        let cfg = &self.cfg;
        let (d, e, h, c, n) = (cfg.d_model, cfg.d_inner(), cfg.nheads(), cfg.conv_dim(), cfg.d_state);
        let weight = self.types.weights.size();
        match region {
            Region::Embedding | Region::Head => cfg.padded_vocab() * d * weight,
            Region::Context => cfg.context.map_or(0, |context| context.rows) * d * weight,
            Region::Norm(_) | Region::FinalNorm => d * 4,
            Region::InProj(_) => cfg.d_in_proj() * d * weight,
            Region::Taps(_) => cfg.d_conv * c * 4,
            Region::ConvBias(_) => c * 4,
            Region::DtBias(_) | Region::A(_) | Region::Skip(_) => h * 4,
            Region::GatedNorm(_) => e * 4,
            Region::OutProj(_) => d * e * weight,
            Region::Tail(_) => slots * (cfg.d_conv - 1) * c * 4,
            Region::State(_) => slots * e * n * self.types.state.size(),
            Region::RowInputs => rows * self.row_input_words() * 4,
            Region::Draws => rows * self.draw_words() * 8,
            Region::Stream => rows * d * 4,
            Region::Operand => rows * d.max(e) * weight,
            Region::Projected => rows * cfg.d_in_proj() * 4,
            Region::Logits => rows * self.vocab * 4,
            Region::SampleWeights => rows * self.vocab.next_power_of_two() * 8,
            Region::SampleIds => rows * self.vocab.next_power_of_two() * 4,
            Region::Choices => rows * 3 * 4,
        }
    }

    /// Regions of the parameters. A model without a bias of the convolution has zeros in its place.
    pub fn weights(&self) -> Vec<Region> {
        let cfg = ModelConfig { conv_bias: true, ..self.cfg.clone() };
        regions(&cfg).named().into_iter().map(|(_, region)| region).collect()
    }

    /// Regions of the sessions' state.
    pub fn state(&self) -> Vec<Region> {
        (0..self.cfg.n_layer).flat_map(|i| [Region::Tail(i), Region::State(i)]).collect()
    }

    /// Regions that each batch in flight has for itself.
    pub fn batch(&self) -> [Region; 9] {
        [
            Region::RowInputs,
            Region::Draws,
            Region::Stream,
            Region::Operand,
            Region::Projected,
            Region::Logits,
            Region::SampleWeights,
            Region::SampleIds,
            Region::Choices,
        ]
    }

    /// Bytes of device memory for `batches` batches of up to `rows` rows in flight, each row with a slot.
    pub fn memory(&self, rows: usize, batches: usize) -> usize {
        let sum = |regions: &[Region]| -> usize {
            regions.iter().map(|&region| self.bytes(region, rows, rows * batches)).sum()
        };
        sum(&self.weights()) + sum(&self.state()) + batches * sum(&self.batch())
    }

    /// Most rows a batch that `batches` of them may have in `bytes` of memory; 0 if not even one fits.
    pub fn rows_that_fit(&self, bytes: usize, batches: usize) -> usize {
        let none = self.memory(0, batches);
        let one = self.memory(1, batches) - none;
        bytes.saturating_sub(none) / one.max(1)
    }

    /// The sizes that steps are made for, ascending, so that `rows` fit the last: a batch takes the smallest that holds
    /// it.
    pub fn buckets(rows: usize) -> Vec<usize> {
        let last = rows.max(1).next_multiple_of(SMALLEST_BUCKET);
        let doubling = std::iter::successors(Some(SMALLEST_BUCKET), |n| n.checked_mul(2));
        doubling.take_while(|&n| n < last).chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(types: Types) -> StepProgram {
        let cfg = ModelConfig { n_layer: 8, d_state: 64, vocab_size: 1024, ..Default::default() };
        StepProgram::new(&cfg, types, Policy::default(), 1024).unwrap()
    }

    #[test]
    fn memory_is_what_the_regions_add_up_to() {
        let f32s = program(Types::default());
        let parameters = f32s.config().parameters() * 4;
        assert_eq!(f32s.memory(0, 2), parameters);
        // A session: eight layers of 512 x 64 values of state and 3 x 640 of tail.
        let session = 8 * (512 * 64 + 3 * 640) * 4;
        let row: usize = f32s.batch().iter().map(|&region| f32s.bytes(region, 1, 0)).sum();
        assert_eq!(f32s.memory(2048, 2), parameters + 2 * 2048 * (session + row));
        assert_eq!(f32s.rows_that_fit(f32s.memory(777, 2), 2), 777);
        assert_eq!(f32s.rows_that_fit(f32s.memory(777, 2) - 1, 2), 776);
        assert_eq!(f32s.rows_that_fit(100, 2), 0);
        let half = program(Types { weights: Float::F32, state: Float::Bf16 });
        assert_eq!(f32s.memory(1, 1) - half.memory(1, 1), 8 * 512 * 64 * 2);
    }

    #[test]
    fn buckets_hold_the_batch() {
        assert_eq!(StepProgram::buckets(1), [16]);
        assert_eq!(StepProgram::buckets(16), [16]);
        assert_eq!(StepProgram::buckets(100), [16, 32, 64, 112]);
        assert_eq!(StepProgram::buckets(2048), [16, 32, 64, 128, 256, 512, 1024, 2048]);
    }

    #[test]
    fn a_group_too_wide_for_a_block_is_refused() {
        let cfg = ModelConfig { d_model: 8192, headdim: 64, ..Default::default() };
        let error = StepProgram::new(&cfg, Types::default(), Policy::default(), 512).unwrap_err().to_string();
        assert!(error.contains("shared memory"), "{error}");
    }
}
