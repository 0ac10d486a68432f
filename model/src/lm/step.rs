//! Single tokens: the call that a generator makes again and again, and what it multiplies in.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::{Engine, Mamba2};
use crate::engine::cpu::packed::kernel;
use crate::engine::cpu::step::{StepModel, Stepped};
use crate::error::{Error, Result};
use crate::network::input::Input;
use crate::network::state::{RowState, State, Store};
use crate::precision::Precision;

impl Mamba2 {
    /// Chooses what steps multiply in, and with [`Precision::Int8`] quantises the weights, once.
    ///
    /// # Errors
    /// [`Error::Input`] for the bf16 ones, which only a generator on a GPU has; for [`Precision::Int8`] on anything but
    /// the fused f32 engine on the CPU, and for weights that
    /// are not finite.
    pub fn set_precision(&mut self, precision: Precision) -> Result<()> {
        let got = || format!("{:?} at {:?}", self.dtype(), self.device().location());
        if matches!(precision, Precision::Bf16 | Precision::Bf16State) {
            return Err(Error::input("bf16 precision", "generation on a GPU (device cuda:N)", got()));
        }
        if precision == Precision::Int8 && self.engine != Engine::Fused {
            return Err(Error::input("int8 precision", "an f32 model on the cpu", got()));
        }
        self.precision = precision;
        // Clones go on with what they have.
        self.stepper = Arc::default();
        if precision == Precision::Int8 {
            self.stepper()?;
        }
        Ok(())
    }

    /// What steps multiply in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instructions that steps multiply with, in a word.
    pub fn kernel(&self) -> &'static str {
        match self.engine {
            Engine::Fused => kernel(self.precision),
            Engine::Tensors => "tensors",
            Engine::Kernels(_) => "kernels",
        }
    }

    /// Feeds each row one token and returns the logits after it, `(b, vocab_size)`. Without gradients.
    ///
    /// # Errors
    /// [`Error::Input`] if a token is outside the vocabulary or the state does not fit.
    pub fn step(&self, tokens: &[u32], state: &mut State) -> Result<Tensor> {
        self.step_with_context(tokens, &[], state)
    }

    /// As [`Self::step`], with side information `(b, fields)`.
    ///
    /// # Errors
    /// As [`Self::step`], and if the side information does not fit.
    pub fn step_with_context(&self, tokens: &[u32], context: &[u32], state: &mut State) -> Result<Tensor> {
        state.fits(&self.cfg, tokens.len())?;
        self.check_tokens(tokens)?;
        self.check_context(context, tokens.len())?;
        if tokens.is_empty() {
            return self.no_logits();
        }
        if self.engine == Engine::Fused
            && let Store::Rows(rows) = &mut state.store
        {
            let mut rows: Vec<&mut RowState> = rows.iter_mut().collect();
            let logits = self.stepper()?.step((tokens, context), &mut rows);
            return Ok(Tensor::from_vec(logits, (tokens.len(), self.cfg.vocab_size), self.device())?);
        }
        let input = Tensor::from_slice(tokens, (tokens.len(), 1), self.device())?;
        let input = Input { tokens: &input, context };
        Ok(self.logits(&self.hidden(input, None, Some(state))?)?.squeeze(1)?.detach())
    }

    /// Feeds each row its token and hands it its logits. Without gradients.
    ///
    /// As [`Self::step`], but only the logits that are wanted are computed, and on the f32 CPU engine rows take theirs
    /// on the threads that stepped them. A logit is the same, to the last bit, whatever else is wanted. There, a step
    /// allocates nothing once it had as many rows (a call from outside of the threads' pool is handed in by a queue,
    /// which may).
    ///
    /// # Errors
    /// [`Error::Input`] if a token is outside the vocabulary or the state does not fit.
    pub fn step_each<R: Stepped>(&self, rows: &mut [R], state: &mut State) -> Result<()> {
        state.fits(&self.cfg, rows.len())?;
        for row in rows.iter() {
            self.check_tokens(&[row.token()])?;
            self.check_context(row.context(), 1)?;
        }
        if self.engine == Engine::Fused
            && let Store::Rows(states) = &mut state.store
        {
            self.stepper()?.step_each(rows, states);
            return Ok(());
        }
        let tokens: Vec<u32> = rows.iter().map(Stepped::token).collect();
        let context: Vec<u32> = rows.iter().flat_map(|row| row.context()).copied().collect();
        let logits = self
            .step_with_context(&tokens, &context, state)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(self.cfg.vocab_size)) {
            row.take(logits);
        }
        Ok(())
    }

    pub(super) fn no_logits(&self) -> Result<Tensor> {
        Ok(Tensor::zeros((0, self.cfg.vocab_size), self.dtype(), self.device())?)
    }

    /// The parameters packed for steps: once for plain tensors, every time for variables, which may have changed.
    pub(super) fn stepper(&self) -> Result<Cow<'_, StepModel>> {
        if self.trainable {
            return Ok(Cow::Owned(StepModel::new(&self.cfg, &self.params, self.precision)?));
        }
        match self.stepper.get() {
            Some(stepper) => Ok(Cow::Borrowed(stepper)),
            None => {
                let stepper = StepModel::new(&self.cfg, &self.params, self.precision)?;
                Ok(Cow::Borrowed(self.stepper.get_or_init(|| stepper)))
            }
        }
    }
}
