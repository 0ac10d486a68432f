//! Validation: nats per token and nats per packet over whole sessions with carried state.
//!
//! A validation during a run reads the first tokens of every session ([`Extent::prefix`]) rather than a few whole
//! sessions. Sessions differ far more from each other than one session does along its length.
//!
//! Sessions are read in windows ([`crate::windows`]). Each session's loss is summed by itself in f64, and the sessions'
//! sums are added in a fixed order. So neither batching nor threads change the result beyond the model's own rounding.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use netssm_tokens::codec::Codec;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::TrainError;
use super::data::Sequence;
use super::events::Nats;
use super::shards::serial_pool;
use crate::lm::Mamba2;
use crate::windows::token_losses;

/// Sessions that one thread reads side by side.
const ROWS: usize = 8;

/// Loss by group and in total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Losses {
    /// The loss over everything that was read.
    pub total: Nats,
    /// By group.
    pub groups: BTreeMap<String, Nats>,
    /// False if the extent left a part out.
    pub whole: bool,
}

/// The group of a label by the configuration's lists. "*" takes every label that no list names. If no group is
/// configured, each label is its own group.
pub(super) fn group_of(label: &str, groups: &BTreeMap<String, Vec<String>>) -> Option<String> {
    if groups.is_empty() {
        return Some(label.to_owned());
    }
    let named = groups.iter().find(|(_, labels)| labels.iter().any(|l| l == label));
    let named = named.or_else(|| groups.iter().find(|(_, labels)| labels.iter().any(|l| l == "*")));
    named.map(|(name, _)| name.clone())
}

/// How much of the sessions a validation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Tokens of each session, from its first; 0 = all.
    pub prefix: u64,
    /// Tokens of each group, after which no further session is begun; 0 = all.
    pub tokens: u64,
    /// Seed for the order in which `tokens` cuts sessions off.
    pub seed: u64,
}

impl Extent {
    /// All sessions, whole.
    pub const WHOLE: Self = Self { prefix: 0, tokens: 0, seed: 0 };
}

/// What a validation reads.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The sessions.
    pub sessions: &'a [Sequence<'a>],
    /// The codec that wrote them.
    pub codec: &'a dyn Codec,
}

/// A session, or the part of it that is read.
struct Part<'a> {
    tokens: &'a [u16],
    packets: u64,
    group: String,
}

/// Validates `model`. Sessions whose label is in no group are left out. `None` if `stop` was set during the validation.
///
/// Where no token closes a packet, a session that is read in part counts the same part of its packets. That is precise
/// enough to monitor a run. A session that is read as a whole is always counted exactly.
///
/// # Errors
/// [`TrainError::Model`] for a token outside the model's vocabulary.
pub fn evaluate(
    model: &Mamba2,
    held: &Held<'_>,
    groups: &BTreeMap<String, Vec<String>>,
    extent: Extent,
    threads: usize,
    stop: &AtomicBool,
) -> Result<Option<Losses>, TrainError> {
    let Held { sessions, codec } = *held;
    let packet = codec.vocab().packet();
    let mut order: Vec<&Sequence<'_>> = sessions.iter().collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(extent.seed));
    let mut read = BTreeMap::<String, u64>::new();
    let mut chosen = Vec::new();
    let mut whole = true;
    for session in order {
        let Some(group) = group_of(&session.label, groups) else { continue };
        if session.tokens.len() < 2 {
            continue;
        }
        let so_far = read.entry(group.clone()).or_default();
        if extent.tokens > 0 && *so_far >= extent.tokens {
            whole = false;
            continue;
        }
        let prefix = usize::try_from(extent.prefix).unwrap_or(usize::MAX);
        let part = if prefix > 0 && session.tokens.len() - 1 > prefix {
            whole = false;
            let tokens = &session.tokens[..=prefix];
            let packets = match packet {
                Some(packet) => tokens.iter().filter(|&&t| t == packet).count() as u64,
                None => share(session.packets, tokens.len(), session.tokens.len()),
            };
            Part { tokens, packets, group }
        } else {
            Part { tokens: &session.tokens, packets: session.packets, group }
        };
        *so_far += part.tokens.len() as u64 - 1;
        chosen.push(part);
    }
    // Longest first, so that the rows of a batch end at about the same time.
    chosen.sort_by_key(|part| std::cmp::Reverse(part.tokens.len()));
    let batches: Vec<&[Part<'_>]> = chosen.chunks(ROWS).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<f64>)>, TrainError> {
        let pool = serial_pool()?;
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
                return Ok(done);
            };
            let tokens: Vec<&[u16]> = batch.iter().map(|part| part.tokens).collect();
            done.push((at, pool.install(|| batch_nats(model, &tokens, codec, stop))?));
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap_or(Err(TrainError::Panicked))).collect()
    });
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut by_batch = BTreeMap::new();
    for result in results {
        by_batch.extend(result?);
    }
    let mut sums = BTreeMap::<String, (f64, Nats)>::new();
    for (batch, nats) in batches.iter().zip(by_batch.values()) {
        for (part, nats) in batch.iter().zip(nats) {
            let (sum, counts) = sums.entry(part.group.clone()).or_default();
            *sum += nats;
            counts.tokens += part.tokens.len() as u64 - 1;
            counts.packets += part.packets;
            counts.sessions += 1;
        }
    }
    let mut total = (0.0, Nats::default());
    for (sum, counts) in sums.values() {
        total.0 += sum;
        total.1.tokens += counts.tokens;
        total.1.packets += counts.packets;
        total.1.sessions += counts.sessions;
    }
    let groups = sums.into_iter().map(|(group, sum)| (group, rates(sum))).collect();
    Ok(Some(Losses { total: rates(total), groups, whole }))
}

/// The number of packets, rounded, that `read` of `all` tokens stand for.
fn share(packets: u64, read: usize, all: usize) -> u64 {
    (packets as f64 * read as f64 / all.max(1) as f64).round() as u64
}

fn rates((sum, counts): (f64, Nats)) -> Nats {
    Nats {
        per_token: sum / counts.tokens.max(1) as f64,
        per_packet: sum / counts.packets.max(1) as f64,
        ..counts
    }
}

/// Summed negative log-likelihood of each session.
fn batch_nats(
    model: &Mamba2,
    sessions: &[&[u16]],
    codec: &dyn Codec,
    stop: &AtomicBool,
) -> Result<Vec<f64>, TrainError> {
    let mut nats = vec![0f64; sessions.len()];
    let mut add = |session: usize, _: usize, each: &[f32]| {
        nats[session] += each.iter().map(|&x| f64::from(x)).sum::<f64>();
    };
    let go_on = |_| match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    token_losses(model, codec, sessions, &mut add, &go_on)?;
    Ok(nats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_take_their_labels_and_the_star_the_rest() {
        let mut groups = BTreeMap::new();
        assert_eq!(group_of("a", &groups).as_deref(), Some("a"));
        groups.insert("video".to_string(), vec!["youtube".to_string()]);
        assert_eq!(group_of("youtube", &groups).as_deref(), Some("video"));
        assert_eq!(group_of("aria", &groups), None);
        groups.insert("rest".to_string(), vec!["*".to_string()]);
        assert_eq!(group_of("aria", &groups).as_deref(), Some("rest"));
        assert_eq!(group_of("youtube", &groups).as_deref(), Some("video"));
    }
}
