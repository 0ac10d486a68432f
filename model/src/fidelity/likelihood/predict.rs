//! A model over encoded sessions: the loss of every token, in windows with carried state.
//!
//! Sessions are spread over threads in batches of similar length; each is read in windows, so memory does not grow with
//! its length. Every session's sum is its own, so neither batches nor threads change a result beyond the model's own
//! rounding.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use candle_core::Tensor;

use super::{Encoded, LikelihoodError, Nats};
use crate::codec::{Codec, DataError};
use crate::context::Walk;
use crate::lm::{Input, Mamba2};
use crate::ops::loss::{IGNORE, token_nats};

/// Tokens a pass: long enough for the products, short enough for the caches.
pub(super) const WINDOW: usize = 512;
/// Sessions side by side on a thread: a window of them fills the products, and few sessions still make enough batches for
/// every thread. A constant, so that results do not depend on the number of threads.
const ROWS: usize = 4;

/// The loss of every session, in their order.
pub(super) fn predict(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[Encoded],
    threads: usize,
    follow: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Vec<Nats>, LikelihoodError> {
    let all = sessions.iter().map(|session| session.tokens.len() as u64 - 1).sum();
    let batches: Vec<&[Encoded]> = sessions.chunks(ROWS).collect();
    let done = Mutex::new(vec![Vec::new(); batches.len()]);
    let (next, tokens, stopped) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let told = |n: u64| {
        if follow(tokens.fetch_add(n, Ordering::Relaxed) + n, all) {
            stopped.store(true, Ordering::Relaxed);
        }
        stopped.load(Ordering::Relaxed)
    };
    let work = || -> Result<(), LikelihoodError> {
        // Sessions are spread over threads, so each one computes serially.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.map_err(|error| LikelihoodError::Thread(error.to_string()))?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(at).filter(|_| !stopped.load(Ordering::Relaxed)) else {
                return Ok(());
            };
            let nats = pool.install(|| batch_nats(model, codec, batch, &told))?;
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at] = nats;
        }
    };
    let died = || Err(LikelihoodError::Thread("a thread panicked".to_owned()));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads.clamp(1, batches.len().max(1))).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| died()))
    })?;
    if stopped.into_inner() {
        return Err(DataError::Stopped.into());
    }
    Ok(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect())
}

/// The loss of the sessions of a batch, side by side, in windows with carried state.
fn batch_nats(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[Encoded],
    told: &dyn Fn(u64) -> bool,
) -> Result<Vec<Nats>, LikelihoodError> {
    let head = codec.head();
    let fields = model.config().context_fields();
    let mut walks: Vec<Walk> = sessions.iter().map(|_| Walk::new(codec, model.config().context)).collect();
    let mut nats: Vec<Nats> = sessions.iter().map(Nats::unread).collect();
    let mut rows: Vec<usize> = (0..sessions.len()).collect();
    let mut state = model.zero_state(rows.len())?;
    let mut at = 0;
    while !rows.is_empty() {
        let lengths: Vec<usize> =
            rows.iter().map(|&r| WINDOW.min(sessions[r].tokens.len() - 1 - at)).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut inputs = vec![0_u32; rows.len() * width];
        let mut targets = vec![IGNORE; rows.len() * width];
        let mut context = Vec::with_capacity(inputs.len() * fields);
        for (i, (&r, &n)) in rows.iter().zip(&lengths).enumerate() {
            for (k, pair) in sessions[r].tokens[at..=at + n].windows(2).enumerate() {
                inputs[i * width + k] = u32::from(pair[0]);
                walks[r].push(pair[0], &mut context);
                targets[i * width + k] = u32::from(pair[1]);
            }
            context.resize((i + 1) * width * fields, 0);
        }
        let inputs = Tensor::from_vec(inputs, (rows.len(), width), model.device())?; // (b, l)
        let input = Input { tokens: &inputs, context: &context };
        let logits = model.forward(input, Some(&lengths), Some(&mut state))?; // (b, l, v)
        let each = token_nats(&logits, &targets)?;
        for ((&r, &n), each) in rows.iter().zip(&lengths).zip(each.chunks(width)) {
            for (k, &x) in each[..n].iter().enumerate() {
                let place = at + k + 1;
                nats[r].predicted(f64::from(x), place < head, codec.is_time(sessions[r].tokens[place]));
            }
        }
        if told(lengths.iter().map(|&n| n as u64).sum()) {
            break;
        }
        at += WINDOW;
        let left: Vec<usize> = (0..rows.len()).filter(|&i| sessions[rows[i]].tokens.len() > at + 1).collect();
        if left.len() < rows.len() {
            state = state.select(&left)?;
            rows = left.into_iter().map(|i| rows[i]).collect();
        }
    }
    Ok(nats)
}
