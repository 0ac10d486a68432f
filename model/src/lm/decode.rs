//! Prompts and single tokens: the two calls of a generator.
//!
//! On the f32 CPU engine a row's result depends, to the last bit, neither on the other rows nor on their number: a
//! session's bytes then follow from its seed alone, whatever the batch. Steps have this from [`crate::ops::step`]; a
//! short prompt is stepped; a long one is a chunk-wise pass of its own, since the blocking of a matrix product, and so
//! its rounding, may change with the number of rows.

use std::borrow::Cow;

use candle_core::{DType, Tensor};

use super::{Engine, Mamba2};
use crate::error::{Error, Result};
use crate::ops::gemm::Packed;
use crate::ops::step::StepModel;
use crate::state::{RowState, State, Store};

/// A row of a batch that is generated, as [`Mamba2::step_each`] sees it.
pub trait Stepped: Send {
    /// The token to feed.
    fn token(&self) -> u32;

    /// Tokens whose logits are wanted: bit `t % 64` of word `t / 64`, those beyond the last word not; `None` is all.
    fn wanted(&self) -> Option<&[u64]>;

    /// Takes the logits; those that were not wanted mean nothing.
    fn take(&mut self, logits: &[f32]);
}

/// Prompts up to this many tokens are stepped: below it a pass by matrix products is not faster.
const STEPPED_TOKENS: usize = 32;
/// Tokens of a prompt that one pass takes: bounds the memory whatever the prompt's length.
const PASS_TOKENS: usize = 4096;

impl Mamba2 {
    /// Feeds each row its tokens and returns the logits after each row's last, `(b, vocab_size)`.
    ///
    /// Without gradients. Long prompts are taken in pieces, so memory does not grow with their length. After an error
    /// the state is the one before the call.
    ///
    /// # Errors
    /// [`Error::Input`] if a row is empty, a token is outside the vocabulary or the state does not fit.
    pub fn prefill(&self, tokens: &[&[u32]], state: &mut State) -> Result<Tensor> {
        state.fits(&self.cfg, tokens.len())?;
        for row in tokens {
            if row.is_empty() {
                return Err(Error::input("prompt", "at least one token a row", "an empty row"));
            }
            self.check_tokens(row)?;
        }
        let mut work = state.clone();
        let logits = match (self.engine, &mut work.store) {
            _ if tokens.is_empty() => self.no_logits()?,
            (Engine::Fused, Store::Rows(_)) => self.prefill_rows(tokens, &mut work)?,
            _ => self.prefill_padded(tokens, &mut work)?,
        };
        *state = work;
        Ok(logits)
    }

    /// Each row by itself: short prompts in lock step, long ones in passes.
    fn prefill_rows(&self, tokens: &[&[u32]], state: &mut State) -> Result<Tensor> {
        let v = self.cfg.vocab_size;
        let mut logits = vec![0f32; tokens.len() * v];
        for (i, row) in tokens.iter().enumerate().filter(|(_, row)| row.len() > STEPPED_TOKENS) {
            let mut own = state.select(&[i])?;
            let last = self.prefill_padded(&[row], &mut own)?.flatten_all()?.to_vec1::<f32>()?;
            logits[i * v..(i + 1) * v].copy_from_slice(&last);
            state.replace_row(i, own)?;
        }
        let short = tokens.iter().map(|row| row.len()).filter(|&n| n <= STEPPED_TOKENS).max().unwrap_or(0);
        if short == 0 {
            return Ok(Tensor::from_vec(logits, (tokens.len(), v), self.device())?);
        }
        let stepper = self.stepper()?;
        let Store::Rows(rows) = &mut state.store else {
            return Err(Error::input("state", "one on the cpu in f32", "one of another device or dtype"));
        };
        for t in 0..short {
            let active = |i: usize| tokens[i].len() <= STEPPED_TOKENS && t < tokens[i].len();
            let which: Vec<usize> = (0..tokens.len()).filter(|&i| active(i)).collect();
            let input: Vec<u32> = which.iter().map(|&i| tokens[i][t]).collect();
            let mut states: Vec<&mut RowState> =
                rows.iter_mut().enumerate().filter(|(i, _)| active(*i)).map(|(_, row)| row).collect();
            let out = stepper.step(&input, &mut states);
            for (&i, out) in which.iter().zip(out.chunks_exact(v)) {
                if t + 1 == tokens[i].len() {
                    logits[i * v..(i + 1) * v].copy_from_slice(out);
                }
            }
        }
        Ok(Tensor::from_vec(logits, (tokens.len(), v), self.device())?)
    }

    /// All rows together, padded to the longest.
    fn prefill_padded(&self, tokens: &[&[u32]], state: &mut State) -> Result<Tensor> {
        let longest = tokens.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut last: Vec<Option<Tensor>> = vec![None; tokens.len()];
        for from in (0..longest).step_by(PASS_TOKENS) {
            let width = PASS_TOKENS.min(longest - from);
            let mut padded = vec![0u32; tokens.len() * width];
            let mut lengths = vec![0; tokens.len()];
            for ((row, out), len) in tokens.iter().zip(padded.chunks_exact_mut(width)).zip(&mut lengths) {
                let piece = &row[from.min(row.len())..(from + width).min(row.len())];
                out[..piece.len()].copy_from_slice(piece);
                *len = piece.len();
            }
            let input = Tensor::from_vec(padded, (tokens.len(), width), self.device())?;
            let hidden = self.hidden(&input, Some(&lengths), Some(state))?.detach();
            for (i, row) in tokens.iter().enumerate() {
                if (from..from + width).contains(&(row.len() - 1)) {
                    last[i] = Some(hidden.narrow(0, i, 1)?.narrow(1, row.len() - 1 - from, 1)?);
                }
            }
        }
        let last: Vec<Tensor> = last.into_iter().flatten().collect();
        Ok(self.logits(&Tensor::cat(&last, 0)?)?.squeeze(1)?.detach())
    }

    /// Feeds each row one token and returns the logits after it, `(b, vocab_size)`. Without gradients.
    ///
    /// # Errors
    /// [`Error::Input`] if a token is outside the vocabulary or the state does not fit.
    pub fn step(&self, tokens: &[u32], state: &mut State) -> Result<Tensor> {
        state.fits(&self.cfg, tokens.len())?;
        self.check_tokens(tokens)?;
        if tokens.is_empty() {
            return self.no_logits();
        }
        if self.engine == Engine::Fused
            && let Store::Rows(rows) = &mut state.store
        {
            let mut rows: Vec<&mut RowState> = rows.iter_mut().collect();
            let logits = self.stepper()?.step(tokens, &mut rows);
            return Ok(Tensor::from_vec(logits, (tokens.len(), self.cfg.vocab_size), self.device())?);
        }
        let input = Tensor::from_slice(tokens, (tokens.len(), 1), self.device())?;
        Ok(self.logits(&self.hidden(&input, None, Some(state))?)?.squeeze(1)?.detach())
    }

    /// Feeds each row its token and hands it its logits. Without gradients.
    ///
    /// As [`Self::step`], but only the logits that are wanted are computed, and on the f32 CPU engine rows take theirs on
    /// the threads that stepped them. A logit is the same, to the last bit, whatever else is wanted.
    ///
    /// # Errors
    /// [`Error::Input`] if a token is outside the vocabulary or the state does not fit.
    pub fn step_each<R: Stepped>(&self, rows: &mut [R], state: &mut State) -> Result<()> {
        let tokens: Vec<u32> = rows.iter().map(Stepped::token).collect();
        state.fits(&self.cfg, tokens.len())?;
        self.check_tokens(&tokens)?;
        if self.engine == Engine::Fused
            && let Store::Rows(states) = &mut state.store
        {
            self.stepper()?.step_each(rows, states);
            return Ok(());
        }
        let logits = self.step(&tokens, state)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(self.cfg.vocab_size)) {
            row.take(logits);
        }
        Ok(())
    }

    fn no_logits(&self) -> Result<Tensor> {
        Ok(Tensor::zeros((0, self.cfg.vocab_size), self.dtype(), self.device())?)
    }

    /// The parameters packed for steps: once for plain tensors, every time for variables, which may have changed.
    fn stepper(&self) -> Result<Cow<'_, StepModel>> {
        if self.trainable {
            return Ok(Cow::Owned(self.pack_steps()?));
        }
        match self.stepper.get() {
            Some(stepper) => Ok(Cow::Borrowed(stepper)),
            None => {
                let stepper = self.pack_steps()?;
                Ok(Cow::Borrowed(self.stepper.get_or_init(|| stepper)))
            }
        }
    }

    fn pack_steps(&self) -> Result<StepModel> {
        let values =
            |t: &Tensor| -> Result<Vec<f32>> { Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?) };
        let layers = self.blocks.iter().map(|b| b.pack_step(&self.cfg)).collect::<Result<Vec<_>>>()?;
        let head = values(&self.head)?;
        let (v, d) = (self.cfg.vocab_size, self.cfg.d_model);
        let head = Packed::new(&head[..v * d], v, d);
        Ok(StepModel::new(&self.cfg, values(&self.embedding)?, layers, values(&self.norm)?, head))
    }
}
