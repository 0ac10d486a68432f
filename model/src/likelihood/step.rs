//! Likelihood by steps: encoded sessions are read token by token, as in generation.
//!
//! Passes over whole windows compute in f32, so the cost of int8 shows only in steps. Many sessions are read in lock
//! step, and the engine splits them over threads. Every session's loss is summed by itself and no row depends on
//! another, so neither batches nor threads change a result at all.

use netssm_tokens::codec::Codec;

use super::{EncodedSession, LikelihoodError, Nats};
use crate::engine::cpu::loss::nats_rows;
use crate::lm::{Mamba2, Stepped};
use crate::walk::Walk;

/// Sessions read side by side: enough for blocks of rows on every thread.
const ROWS: usize = 64;
/// Steps between two calls of `follow`.
const TELL: usize = 64;

/// The reading of one session.
struct Reader<'a> {
    session: &'a EncodedSession,
    codec: &'a dyn Codec,
    head: usize,
    walk: Walk,
    context: Vec<u32>,
    /// Position of the token that the model reads next.
    at: usize,
    nats: Nats,
}

impl<'a> Reader<'a> {
    fn new(model: &Mamba2, codec: &'a dyn Codec, session: &'a EncodedSession) -> Self {
        let mut walk = Walk::new(codec, model.config().context);
        let mut context = Vec::new();
        walk.push(session.tokens[0], &mut context);
        Self { session, codec, head: codec.head(), walk, context, at: 0, nats: Nats::unread(session) }
    }

    /// Whether the last token is reached. It is predicted, but the model does not read it.
    fn done(&self) -> bool {
        self.at + 1 == self.session.tokens.len()
    }
}

impl Stepped for Reader<'_> {
    fn token(&self) -> u32 {
        u32::from(self.session.tokens[self.at])
    }

    fn context(&self) -> &[u32] {
        &self.context
    }

    fn wanted(&self) -> Option<&[u64]> {
        None
    }

    fn take(&mut self, logits: &[f32]) {
        self.at += 1;
        let token = self.session.tokens[self.at];
        let mut nats = [0.0];
        nats_rows(logits, &[u32::from(token)], logits.len(), &mut nats);
        self.nats.predicted(f64::from(nats[0]), self.at < self.head, self.codec.is_time(token));
        self.context.clear();
        self.walk.push(token, &mut self.context);
    }
}

/// The loss of every session, in the order of `sessions`.
pub(super) fn predict(
    model: &Mamba2,
    codec: &dyn Codec,
    sessions: &[EncodedSession],
    threads: usize,
    follow: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Vec<Nats>, LikelihoodError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    let pool = pool.map_err(|error| LikelihoodError::Thread(error.to_string()))?;
    let all = sessions.iter().map(|session| session.tokens.len() as u64 - 1).sum();
    let mut out = Vec::with_capacity(sessions.len());
    let mut tokens = 0;
    for batch in sessions.chunks(ROWS) {
        // Longest first, so that finished sessions stand behind live ones.
        let mut readers: Vec<Reader<'_>> = batch.iter().map(|s| Reader::new(model, codec, s)).collect();
        let mut state = model.zero_state(readers.len())?;
        let mut live = readers.len();
        for step in 1_usize.. {
            live = readers[..live].iter().take_while(|reader| !reader.done()).count();
            if live == 0 {
                break;
            }
            state.retain(|row| row < live)?;
            pool.install(|| model.step_each(&mut readers[..live], &mut state))?;
            tokens += live as u64;
            if step.is_multiple_of(TELL) && follow(tokens, all) {
                return Err(LikelihoodError::Stopped);
            }
        }
        if follow(tokens, all) {
            return Err(LikelihoodError::Stopped);
        }
        out.extend(readers.into_iter().map(|reader| reader.nats));
    }
    Ok(out)
}
