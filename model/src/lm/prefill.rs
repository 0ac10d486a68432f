//! Prompts: the first call of a generator.
//!
//! On the f32 CPU engine a row's result depends, to the last bit, neither on the other rows nor on their number: a
//! session's bytes then follow from its seed alone, whatever the batch. Steps have this from
//! [`crate::engine::cpu::step`]; a short prompt is stepped; a long one is a chunk-wise pass of its own, since the
//! blocking of a matrix product, and so its rounding, may change with the number of rows.
//!
//! Passes over long prompts are f32 always, whatever [`Mamba2::set_precision`] said of steps.

use candle_core::Tensor;

use super::{Engine, Mamba2};
use crate::error::{Error, Result};
use crate::network::input::{Input, Prompt};
use crate::network::state::{RowState, State, Store};

/// Prompts of up to this many tokens are stepped: a pass is not faster for them.
const STEPPED_TOKENS: usize = 32;
/// Tokens of a prompt that one pass takes. It bounds the memory for prompts of any length.
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
        self.prefill_prompts(&tokens.iter().map(|&row| Prompt::from(row)).collect::<Vec<_>>(), state)
    }

    /// As [`Self::prefill`], with side information.
    ///
    /// # Errors
    /// As [`Self::prefill`], and if the side information does not fit.
    pub fn prefill_prompts(&self, prompts: &[Prompt<'_>], state: &mut State) -> Result<Tensor> {
        state.fits(&self.cfg, prompts.len())?;
        for row in prompts {
            if row.tokens.is_empty() {
                return Err(Error::input("prompt", "at least one token a row", "an empty row"));
            }
            self.check_tokens(row.tokens)?;
            self.check_context(row.context, row.tokens.len())?;
        }
        let mut work = state.clone();
        let logits = match (self.engine, &mut work.store) {
            _ if prompts.is_empty() => self.no_logits()?,
            (Engine::Fused, Store::Rows(_)) => self.prefill_rows(prompts, &mut work)?,
            _ => self.prefill_padded(prompts, &mut work)?,
        };
        *state = work;
        Ok(logits)
    }

    /// Each row by itself: short prompts in lock step, long ones in passes.
    fn prefill_rows(&self, prompts: &[Prompt<'_>], state: &mut State) -> Result<Tensor> {
        let (v, fields) = (self.cfg.vocab_size, self.cfg.context_fields());
        let tokens: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens).collect();
        let mut logits = vec![0f32; tokens.len() * v];
        for i in (0..tokens.len()).filter(|&i| tokens[i].len() > STEPPED_TOKENS) {
            let mut own = state.select(&[i])?;
            let last = self.prefill_padded(&prompts[i..=i], &mut own)?.flatten_all()?.to_vec1::<f32>()?;
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
            let context: Vec<u32> = which
                .iter()
                .flat_map(|&i| &prompts[i].context[t * fields..(t + 1) * fields])
                .copied()
                .collect();
            let mut states: Vec<&mut RowState> =
                rows.iter_mut().enumerate().filter(|(i, _)| active(*i)).map(|(_, row)| row).collect();
            let out = stepper.step((&input, &context), &mut states);
            for (&i, out) in which.iter().zip(out.chunks_exact(v)) {
                if t + 1 == tokens[i].len() {
                    logits[i * v..(i + 1) * v].copy_from_slice(out);
                }
            }
        }
        Ok(Tensor::from_vec(logits, (tokens.len(), v), self.device())?)
    }

    /// All rows together, padded to the longest.
    fn prefill_padded(&self, prompts: &[Prompt<'_>], state: &mut State) -> Result<Tensor> {
        let fields = self.cfg.context_fields();
        let tokens: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.tokens).collect();
        let longest = tokens.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut last: Vec<Option<Tensor>> = vec![None; tokens.len()];
        for from in (0..longest).step_by(PASS_TOKENS) {
            let width = PASS_TOKENS.min(longest - from);
            let mut padded = vec![0u32; tokens.len() * width];
            let mut context = vec![0u32; padded.len() * fields];
            let mut lengths = vec![0; tokens.len()];
            for (prompt, out) in prompts.iter().zip(context.chunks_exact_mut((width * fields).max(1))) {
                let from = (from * fields).min(prompt.context.len());
                let piece = &prompt.context[from..(from + width * fields).min(prompt.context.len())];
                out[..piece.len()].copy_from_slice(piece);
            }
            for ((row, out), len) in tokens.iter().zip(padded.chunks_exact_mut(width)).zip(&mut lengths) {
                let piece = &row[from.min(row.len())..(from + width).min(row.len())];
                out[..piece.len()].copy_from_slice(piece);
                *len = piece.len();
            }
            let input = Tensor::from_vec(padded, (tokens.len(), width), self.device())?;
            let input = Input { tokens: &input, context: &context };
            let hidden = self.hidden(input, Some(&lengths), Some(state))?.detach();
            for (i, row) in tokens.iter().enumerate() {
                if (from..from + width).contains(&(row.len() - 1)) {
                    last[i] = Some(hidden.narrow(0, i, 1)?.narrow(1, row.len() - 1 - from, 1)?);
                }
            }
        }
        let last: Vec<Tensor> = last.into_iter().flatten().collect();
        Ok(self.logits(&Tensor::cat(&last, 0)?)?.squeeze(1)?.detach())
    }
}
