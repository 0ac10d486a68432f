//! The loss of every token of whole sessions, read side by side in windows with carried state. Memory does not grow
//! with a session's length. The result is that of one pass over each session.

use std::ops::ControlFlow;

use candle_core::Tensor;
use netssm_tokens::codec::Codec;

use crate::engine::cpu::loss::token_nats;
use crate::error::Result;
use crate::lm::Mamba2;
use crate::network::input::IGNORE;
use crate::network::input::Input;
use crate::walk::Walk;

/// Tokens per window: long enough for the matmuls, short enough for the caches.
pub(crate) const WINDOW: usize = 512;

/// Computes the sessions' losses window by window and passes them to `each`: the session's index, the position of the
/// first token with a loss in the window, and the nats from that token on. Every token of a session but the first is
/// predicted. After each window it passes the number of tokens read to `follow`, and ends early if `follow` breaks.
///
/// # Errors
/// As [`Mamba2::forward`].
pub(crate) fn token_losses(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[&[u16]],
    each: &mut dyn FnMut(usize, usize, &[f32]),
    follow: &dyn Fn(u64) -> ControlFlow<()>,
) -> Result<()> {
    let fields = model.config().context_fields();
    let mut walks: Vec<Walk> = sessions.iter().map(|_| Walk::new(codec, model.config().context)).collect();
    let mut rows: Vec<usize> = (0..sessions.len()).filter(|&r| sessions[r].len() > 1).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut state = model.zero_state(rows.len())?;
    let mut at = 0;
    while !rows.is_empty() {
        let lengths: Vec<usize> = rows.iter().map(|&r| WINDOW.min(sessions[r].len() - 1 - at)).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut inputs = vec![0_u32; rows.len() * width];
        let mut targets = vec![IGNORE; rows.len() * width];
        let mut context = Vec::with_capacity(inputs.len() * fields);
        for (i, (&r, &n)) in rows.iter().zip(&lengths).enumerate() {
            for (k, pair) in sessions[r][at..=at + n].windows(2).enumerate() {
                inputs[i * width + k] = u32::from(pair[0]);
                walks[r].push(pair[0], &mut context);
                targets[i * width + k] = u32::from(pair[1]);
            }
            context.resize((i + 1) * width * fields, 0);
        }
        let inputs = Tensor::from_vec(inputs, (rows.len(), width), model.device())?; // (b, l)
        let input = Input { tokens: &inputs, context: &context };
        let logits = model.forward(input, Some(&lengths), Some(&mut state))?; // (b, l, v)
        let nats = token_nats(&logits, &targets)?;
        for ((&r, &n), nats) in rows.iter().zip(&lengths).zip(nats.chunks(width)) {
            each(r, at + 1, &nats[..n]);
        }
        if follow(lengths.iter().map(|&n| n as u64).sum()).is_break() {
            break;
        }
        at += WINDOW;
        let left: Vec<usize> = (0..rows.len()).filter(|&i| sessions[rows[i]].len() > at + 1).collect();
        if left.len() < rows.len() {
            state = state.select(&left)?;
            rows = left.into_iter().map(|i| rows[i]).collect();
        }
    }
    Ok(())
}
