//! The Mamba-2 language model: embedding, blocks, last norm, output projection.
//!
//! Three ways in: [`Mamba2::forward`] over whole sequences (with gradients, for training and evaluation),
//! [`Mamba2::prefill`] over ragged prompts, [`Mamba2::step`] over one token of every sequence. All three carry the same
//! [`State`], so that a sequence may be cut anywhere: prefill then step equals one pass.
//!
//! f32 on the CPU takes [`crate::engine::cpu`]; f32 on a GPU takes the kernels of `model/kernels`, in a build that has
//! them; everything else takes tensor operations with the chunked scan. [`Mamba2::set_engine`] chooses by hand, for
//! comparison.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor};

use crate::engine::cpu;
use crate::engine::cpu::buffers::Buffers;
use crate::engine::cpu::loss::cross_entropy;
use crate::engine::cpu::mixer::Dims;
use crate::engine::cpu::norm::RmsNormOp;
use crate::engine::cpu::step::StepModel;
use crate::engine::launch::Float;
use crate::engine::tensors;
use crate::error::{Error, Result};
use crate::network::config::ModelConfig;
use crate::network::context;
use crate::network::input::Input;
use crate::network::params::Params;
use crate::network::state::{LayerState, State};
use crate::network::weights::{self, Weights};
use crate::precision::Precision;

mod gpu;
mod gradients;
mod prefill;
mod step;

pub use crate::engine::cpu::step::Stepped;

/// How blocks are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One fused operation a block; f32 on the CPU only.
    Fused,
    /// candle's tensor operations with the chunked scan; any device and dtype.
    Tensors,
    /// The kernels of `model/kernels`; an f32 model on a GPU. Between kernels and in products values have this format;
    /// weights, state and sums are f32. [`Mamba2::forward`] has no gradient then; [`Mamba2::loss_and_gradients`] needs
    /// none.
    Kernels(Float),
}

/// A Mamba-2 language model. Clones share their tensors.
#[derive(Clone)]
pub struct Mamba2 {
    cfg: ModelConfig,
    params: Params<Tensor>,
    /// Each block's parameters in one, if they never change and are f32 on the CPU; else empty.
    flat: Vec<Tensor>,
    engine: Engine,
    precision: Precision,
    trainable: bool,
    stepper: Arc<OnceLock<StepModel>>,
    /// What training steps work in.
    buffers: Buffers,
    #[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "empty in a build without kernels"))]
    loaded: gpu::Loaded,
}

impl Mamba2 {
    /// Builds the model from tensors with the reference's or Hugging Face's names, all of one device and float dtype.
    ///
    /// Tensors that are variables ([`weights::Parameters::tensors`]) make the model trainable; it sees their later
    /// values. For repeated [`Self::step`] build it from plain tensors: those are packed for stepping only once.
    ///
    /// # Errors
    /// [`Error::Config`], or an error that names the tensor which is missing, unknown or of the wrong shape.
    pub fn load<'a>(
        cfg: &ModelConfig,
        tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
    ) -> Result<Self> {
        cfg.validate()?;
        let w = weights::checked(cfg, tensors)?;
        let Ok(params) = Params::by_name(cfg, |name| Ok::<_, Infallible>(w[name].clone()));
        let embedding = &params.embedding;
        for (name, t) in &w {
            if t.dtype() != embedding.dtype() || !t.device().same_device(embedding.device()) {
                let got = format!("{name} in {:?} at {:?}", t.dtype(), t.device().location());
                return Err(Error::input("model tensors", "one dtype and device", got));
            }
        }
        let fused = embedding.device().is_cpu() && embedding.dtype() == DType::F32;
        let trainable = w.values().any(Tensor::track_op);
        let flat = if fused && !trainable {
            params.blocks.iter().map(cpu::block::flatten).collect::<candle_core::Result<_>>()?
        } else {
            vec![]
        };
        let mut model = Self {
            cfg: cfg.clone(),
            params,
            flat,
            engine: if fused { Engine::Fused } else { Engine::Tensors },
            precision: Precision::F32,
            trainable,
            stepper: Arc::default(),
            buffers: Buffers::default(),
            loaded: gpu::Loaded::default(),
        };
        if model.has_kernels() {
            model.engine = Engine::Kernels(Float::F32);
        }
        Ok(model)
    }

    /// A model with the reference's initial weights, not trainable (for that see [`weights::Parameters`]).
    ///
    /// # Errors
    /// As [`crate::network::init::init_weights`].
    pub fn init(cfg: &ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let weights: Weights = crate::network::init::init_weights(cfg, seed, device)?;
        Self::load(cfg, &weights)
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.cfg
    }

    /// The parameters.
    pub fn params(&self) -> &Params<Tensor> {
        &self.params
    }

    /// The device that the model computes on.
    pub fn device(&self) -> &Device {
        self.params.embedding.device()
    }

    /// The dtype that the model computes in.
    pub fn dtype(&self) -> DType {
        self.params.embedding.dtype()
    }

    /// The state before the first token of `batch` sequences.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold it.
    pub fn zero_state(&self, batch: usize) -> Result<State> {
        State::zeros_dtype(&self.cfg, batch, self.dtype(), self.device())
    }

    /// Chooses how blocks are computed. Steps of [`Engine::Tensors`] are f32 whatever [`Self::set_precision`] said.
    ///
    /// # Errors
    /// [`Error::Input`] for [`Engine::Fused`] on anything but f32 on the CPU, and for [`Engine::Kernels`] where there
    /// are none.
    pub fn set_engine(&mut self, engine: Engine) -> Result<()> {
        if engine == Engine::Fused && !(self.device().is_cpu() && self.dtype() == DType::F32) {
            return Err(Error::input(
                "fused engine",
                "an f32 model on the cpu",
                format!("{:?}", self.dtype()),
            ));
        }
        if matches!(engine, Engine::Kernels(_)) && !self.has_kernels() {
            return Err(gpu::unavailable());
        }
        self.engine = engine;
        Ok(())
    }

    /// Logits `(b, l, vocab_size)` of every position of the input.
    ///
    /// Row `i` counts up to `lengths[i]`; logits behind it mean nothing. The state, if given, is what the sequences
    /// begin with and is replaced by what they end with; no gradient flows through it.
    ///
    /// # Errors
    /// [`Error::Input`] for a token outside the vocabulary or shapes that do not fit.
    pub fn forward<'a>(
        &self,
        input: impl Into<Input<'a>>,
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<Tensor> {
        self.logits(&self.hidden(input.into(), lengths, state)?)
    }

    /// Mean nats of `targets`, one per position in row-major order ([`crate::network::input::IGNORE`] where none
    /// counts), as a scalar with a gradient.
    ///
    /// # Errors
    /// As [`Self::forward`] and [`cross_entropy`].
    pub fn loss<'a>(
        &self,
        input: impl Into<Input<'a>>,
        targets: &[u32],
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<Tensor> {
        cross_entropy(&self.forward(input, lengths, state)?, targets)
    }

    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|&&t| t as usize >= self.cfg.vocab_size) {
            Some(t) => {
                Err(Error::input("token", format!("below the vocabulary's {}", self.cfg.vocab_size), t))
            }
            None => Ok(()),
        }
    }

    /// Checks that `context` has one row for each field of each of `tokens` tokens, and that the table has these rows.
    pub(crate) fn check_context(&self, context: &[u32], tokens: usize) -> Result<()> {
        let (fields, rows) = self.cfg.context.map_or((0, 0), |context| (context.fields, context.rows));
        if context.len() != tokens * fields {
            let expected = format!("{fields} rows for each of {tokens} tokens");
            return Err(Error::input("context", expected, context.len()));
        }
        match context.iter().find(|&&row| row as usize >= rows && row != context::HIDDEN) {
            Some(row) => Err(Error::input("context", format!("rows below the table's {rows}"), row)),
            None => Ok(()),
        }
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let (b, l, d) = hidden.dims3()?;
        let v = self.cfg.vocab_size;
        let head = self.params.output();
        let head = if head.dim(0)? == v { head.clone() } else { head.narrow(0, 0, v)? };
        let out = hidden.reshape((b * l, d))?.matmul(&head.t()?)?; // (b l, v)
        Ok(out.reshape((b, l, v))?)
    }

    /// Checks a call's input and gives its batch and length.
    fn check_input(
        &self,
        Input { tokens, context }: Input<'_>,
        lengths: Option<&[usize]>,
        state: Option<&State>,
    ) -> Result<(usize, usize)> {
        let (b, l) = tokens.dims2()?;
        if b == 0 || l == 0 {
            return Err(Error::input("tokens", "at least one row and one column", format!("({b}, {l})")));
        }
        if let Some(lengths) = lengths
            && (lengths.len() != b || lengths.iter().any(|&n| n > l))
        {
            return Err(Error::input("lengths", format!("{b} of at most {l}"), format!("{lengths:?}")));
        }
        if let Some(state) = state {
            state.fits(&self.cfg, b)?;
        }
        if tokens.dtype() != DType::U32 {
            return Err(Error::input("tokens", "u32", format!("{:?}", tokens.dtype())));
        }
        self.check_tokens(&tokens.flatten_all()?.to_vec1::<u32>()?)?;
        self.check_context(context, b * l)?;
        Ok((b, l))
    }

    /// What the output projection reads, `(b, l, d)`.
    fn hidden(
        &self,
        input: Input<'_>,
        lengths: Option<&[usize]>,
        state: Option<&mut State>,
    ) -> Result<Tensor> {
        let (b, l) = self.check_input(input, lengths, state.as_deref())?;
        let flat = input.tokens.flatten_all()?;
        let mut x = self.params.embedding.index_select(&flat, 0)?; // (b l, d)
        if let Some(table) = &self.params.context {
            let fields = self.cfg.context_fields();
            let scales: Vec<f32> = input.context.chunks_exact(fields.max(1)).map(context::scale).collect();
            for field in 0..fields {
                let ids = input.context.iter().skip(field).step_by(fields);
                let shown = ids
                    .clone()
                    .zip(&scales)
                    .map(|(&id, scale)| if id == context::HIDDEN { 0.0 } else { *scale });
                let shown = Tensor::from_iter(shown, self.device())?.unsqueeze(1)?; // (b l, 1)
                let rows = ids.map(|&id| if id == context::HIDDEN { 0 } else { id });
                let rows = Tensor::from_iter(rows, self.device())?;
                x = (x + table.index_select(&rows, 0)?.broadcast_mul(&shown)?)?;
            }
        }
        let x = x.reshape((b, l, self.cfg.d_model))?;
        let x = match self.engine {
            Engine::Fused => self.fused(x, lengths, state)?,
            Engine::Tensors => self.tensors(x, lengths, state)?,
            Engine::Kernels(float) => self.kernel_blocks(float, &x, lengths, state)?,
        };
        let (weight, eps) = (&self.params.norm, self.cfg.norm_eps);
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let op = RmsNormOp { eps: eps as f32 };
            return Ok(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?);
        }
        tensors::norm::rms_norm(&x, weight, eps)
    }

    fn fused(
        &self,
        mut x: Tensor,
        lengths: Option<&[usize]>,
        mut state: Option<&mut State>,
    ) -> Result<Tensor> {
        let (b, l, _) = x.dims3()?;
        let whole = vec![l; b];
        let lengths = lengths.unwrap_or(&whole);
        // One block's for the next; a long prompt's are not kept behind it.
        let buffers = Buffers::default();
        for (i, block) in self.params.blocks.iter().enumerate() {
            let carried = self.carried(i, b, state.as_deref())?;
            let dims = Dims::new(&self.cfg, b, l, lengths);
            let params = (block, self.flat.get(i));
            let after;
            (x, after) = cpu::block::fused(dims, params, &x, carried, &buffers)?;
            if let Some(state) = state.as_deref_mut() {
                state.set_carried(i, &after);
            }
        }
        Ok(x)
    }

    /// Block `i`'s state before the sequences: the one given, or zero.
    fn carried(&self, i: usize, batch: usize, state: Option<&State>) -> Result<LayerState<Vec<f32>>> {
        match state {
            Some(state) => state.carried(i),
            None => {
                let (conv, ssm) =
                    ((self.cfg.d_conv - 1) * self.cfg.conv_dim(), self.cfg.d_inner() * self.cfg.d_state);
                Ok(LayerState { conv: vec![0f32; batch * conv], ssm: vec![0f32; batch * ssm] })
            }
        }
    }

    fn tensors(&self, mut x: Tensor, lengths: Option<&[usize]>, state: Option<&mut State>) -> Result<Tensor> {
        let (b, _, _) = x.dims3()?;
        let mut own;
        let state = match state {
            Some(state) => state,
            None => {
                own = self.zero_state(b)?;
                &mut own
            }
        };
        let mut layers = state.tensors(self.dtype(), self.device())?;
        for (block, layer) in self.params.blocks.iter().zip(&mut layers) {
            (x, *layer) = tensors::block::forward(&self.cfg, block, &x, lengths, layer)?;
        }
        state.set_tensors(layers)?;
        Ok(x)
    }
}
