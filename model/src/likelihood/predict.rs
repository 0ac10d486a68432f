//! Likelihood by passes: the loss of every token of encoded sessions, in windows with carried state.
//!
//! Threads share the sessions in batches of similar length. Each session is read in windows, so memory does not grow
//! with its length. Every session's loss is summed by itself, so neither batches nor threads change a result beyond the
//! model's own rounding.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use netssm_tokens::codec::Codec;

use super::{EncodedSession, LikelihoodError, Nats};
use crate::lm::Mamba2;
use crate::windows::token_losses;

/// Sessions that one thread reads side by side. A window of this many fills the matmuls, and few sessions still make
/// enough batches for every thread. It is a constant, so that results do not depend on the number of threads.
const ROWS: usize = 4;

/// The loss of every session, in the order of `sessions`.
pub(super) fn predict(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[EncodedSession],
    threads: usize,
    follow: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Vec<Nats>, LikelihoodError> {
    let all = sessions.iter().map(|session| session.tokens.len() as u64 - 1).sum();
    let batches: Vec<&[EncodedSession]> = sessions.chunks(ROWS).collect();
    let done = Mutex::new(vec![Vec::new(); batches.len()]);
    let (next, tokens, stopped) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let told = |n: u64| {
        if follow(tokens.fetch_add(n, Ordering::Relaxed) + n, all) {
            stopped.store(true, Ordering::Relaxed);
        }
        stopped.load(Ordering::Relaxed)
    };
    let work = || -> Result<(), LikelihoodError> {
        // Threads already share the sessions, so each thread computes serially.
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
        return Err(LikelihoodError::Stopped);
    }
    Ok(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect())
}

/// The loss of the sessions of one batch, read side by side in windows with carried state.
fn batch_nats(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[EncodedSession],
    told: &dyn Fn(u64) -> bool,
) -> Result<Vec<Nats>, LikelihoodError> {
    let head = codec.head();
    let mut nats: Vec<Nats> = sessions.iter().map(Nats::unread).collect();
    let tokens: Vec<&[u16]> = sessions.iter().map(|session| &session.tokens[..]).collect();
    let mut add = |session: usize, first: usize, each: &[f32]| {
        for (place, &x) in (first..).zip(each) {
            nats[session].predicted(f64::from(x), place < head, codec.is_time(tokens[session][place]));
        }
    };
    let follow = |n| if told(n) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    token_losses(model, codec, &tokens, &mut add, &follow)?;
    Ok(nats)
}
