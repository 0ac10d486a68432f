//! From logits to one token: the sampling policy, its exact order, and an explicit random generator.
//!
//! The order is fixed, because each filter sees what the previous one left:
//!
//! 1. **mask**: tokens the codec's grammar forbids are removed;
//! 2. **repetition penalty** r over the last `repetition_window` tokens: a positive logit is
//!    divided by r, a negative one multiplied (Keskar et al., CTRL, arXiv 1909.05858, section 4.1,
//!    in the form that leaves the sign of a logit alone);
//! 3. **temperature**: logits are divided by it; 0 means the largest logit wins, and nothing below
//!    applies;
//! 4. **top-k**: the k largest stay;
//! 5. softmax over what is left;
//! 6. **min-p**: tokens less likely than `min_p` times the likeliest go (Nguyen et al., arXiv
//!    2407.01082);
//! 7. **eta**: tokens less likely than `eta` go, unless many are about as unlikely: the threshold is the smaller of
//!    `eta` and `sqrt(eta) exp(-entropy)` (Hewitt et al., arXiv 2210.15191). Unlike min-p, it keeps a rare event next
//!    to a likely one. It cuts the probability that a model spreads thinly over tokens that never follow;
//! 8. **top-p**: the fewest most likely tokens whose probabilities reach `top_p` of the sum stay
//!    (Holtzman et al., arXiv 1904.09751);
//! 9. one uniform number in [0, 1) picks from the cumulative sum.
//!
//! Equal logits rank by token id, the lower one first, so a cut is never ambiguous. Each draw
//! takes exactly one `u64` from the generator (greedy: none), whatever the filters left, so the
//! position in the random stream is the number of tokens drawn. Probabilities are f64.

use std::collections::VecDeque;

use rand::RngCore;

/// How a token is chosen. The module docs state the order.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Divides the logits. At least 0; 1 samples the model's own distribution, 0 is greedy.
    pub temperature: f64,
    /// Number of tokens to keep. 0 = all.
    pub top_k: usize,
    /// Keeps the likeliest tokens up to this probability, in (0, 1]. 1 = all.
    pub top_p: f64,
    /// Drops tokens less likely than this share of the likeliest, in [0, 1). 0 = none.
    pub min_p: f64,
    /// Drops tokens less likely than the smaller of `eta` and `sqrt(eta) exp(-entropy)`, in [0, 1). 0 = none.
    pub eta: f64,
    /// Divides or multiplies the logits of recent tokens. At least 1; 1 = off. Header bytes repeat by design, so use it
    /// with care.
    pub repetition_penalty: f64,
    /// Number of last tokens that the repetition penalty applies to.
    pub repetition_window: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            eta: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
        }
    }
}

impl Policy {
    /// Checks every field's range; the error names the field, the value and the range.
    pub fn validate(&self) -> Result<(), SampleError> {
        let check = |name, value: f64, ok: bool, range| {
            if ok { Ok(()) } else { Err(SampleError::Policy { name, value, range }) }
        };
        let t = self.temperature;
        check("temperature", t, t.is_finite() && t >= 0.0, "0 (greedy) or above")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1")?;
        check("min_p", self.min_p, (0.0..1.0).contains(&self.min_p), "at least 0, below 1")?;
        check("eta", self.eta, (0.0..1.0).contains(&self.eta), "at least 0, below 1")?;
        let r = self.repetition_penalty;
        check("repetition_penalty", r, r.is_finite() && r >= 1.0, "1 (off) or above")
    }

    /// Whether the sampler needs the last tokens.
    pub fn looks_back(&self) -> bool {
        self.repetition_penalty > 1.0 && self.repetition_window > 0
    }
}

/// Why no token could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// A logit of the model is not finite.
    #[error("logit of token {token} is {value}, expected a finite number")]
    NotFinite {
        /// The token.
        token: u32,
        /// Its logit.
        value: f32,
    },
    /// The mask allows no token.
    #[error("no legal token among {vocab} logits")]
    NothingLegal {
        /// Number of logits.
        vocab: usize,
    },
    /// A field of the policy is out of range.
    #[error("sampling {name}: expected {range}, got {value}")]
    Policy {
        /// Field.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
}

/// The last tokens of one session, for the repetition penalty.
#[derive(Clone, Debug, Default)]
pub struct Recent(VecDeque<u32>);

impl Recent {
    /// Adds `token` and forgets what is older than the policy's window.
    pub fn push(&mut self, token: u32, policy: &Policy) {
        if policy.looks_back() {
            while self.0.len() >= policy.repetition_window {
                self.0.pop_front();
            }
            self.0.push_back(token);
        }
    }

    /// The tokens, oldest first.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    fn contains(&self, token: u32) -> bool {
        self.0.contains(&token)
    }
}

/// Applies a policy. It owns scratch space, so that sampling does not allocate.
#[derive(Clone, Debug)]
pub struct Sampler {
    policy: Policy,
    /// (weight, token): logit first, then probability.
    candidates: Vec<(f64, u32)>,
}

impl Sampler {
    /// A sampler for a policy that [`Policy::validate`] accepts.
    pub fn new(policy: Policy) -> Result<Self, SampleError> {
        policy.validate()?;
        Ok(Self { policy, candidates: Vec::new() })
    }

    /// The policy in use.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Chooses a token id below `logits.len()`. `legal` is a bit mask: token t is bit t % 64 of word t / 64, and
    /// missing words forbid their tokens. `None` allows all.
    pub fn sample(
        &mut self,
        logits: &[f32],
        legal: Option<&[u64]>,
        recent: &Recent,
        rng: &mut impl RngCore,
    ) -> Result<u32, SampleError> {
        self.gather(logits, legal, recent)?;
        let p = self.policy;
        let c = &mut self.candidates;
        if p.temperature == 0.0 {
            let best = c.iter().copied().reduce(|a, b| if ranks_before(&b, &a) { b } else { a });
            return best.map(|(_, token)| token).ok_or(SampleError::NothingLegal { vocab: logits.len() });
        }
        if p.top_k > 0 && p.top_k < c.len() {
            c.select_nth_unstable_by(p.top_k - 1, order);
            c.truncate(p.top_k);
        }
        let top = c.iter().fold(f64::NEG_INFINITY, |m, &(logit, _)| m.max(logit));
        for (weight, _) in c.iter_mut() {
            *weight = ((*weight - top) / p.temperature).exp();
        }
        if p.min_p > 0.0 {
            // The likeliest token has weight exactly 1.
            c.retain(|&(weight, _)| weight >= p.min_p);
        }
        if p.eta > 0.0 {
            let total = c.iter().map(|&(weight, _)| weight).sum::<f64>();
            let entropy: f64 =
                c.iter().map(|&(weight, _)| weight / total).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
            let least = p.eta.min(p.eta.sqrt() * (-entropy).exp()) * total;
            // The likeliest token has weight exactly 1, and stays.
            c.retain(|&(weight, _)| weight >= least.min(1.0));
        }
        if p.top_p < 1.0 {
            c.sort_unstable_by(order);
            let goal = p.top_p * c.iter().map(|&(weight, _)| weight).sum::<f64>();
            let mut sum = 0.0;
            let keep = c.iter().position(|&(weight, _)| {
                sum += weight;
                sum >= goal
            });
            c.truncate(keep.map_or(c.len(), |at| at + 1));
        } else if p.top_k > 0 {
            // The order after the selection depends on its pivots. Sorting by id removes that.
            c.sort_unstable_by_key(|&(_, token)| token);
        }
        let total = c.iter().map(|&(weight, _)| weight).sum::<f64>();
        let at = uniform(rng) * total;
        let mut sum = 0.0;
        for &(weight, token) in c.iter() {
            sum += weight;
            if at < sum {
                return Ok(token);
            }
        }
        // Rounding can make `at` equal to the last sum.
        c.last().map(|&(_, token)| token).ok_or(SampleError::NothingLegal { vocab: logits.len() })
    }

    /// Steps 1 and 2: collects the legal tokens with penalised logits.
    fn gather(&mut self, logits: &[f32], legal: Option<&[u64]>, recent: &Recent) -> Result<(), SampleError> {
        self.candidates.clear();
        let penalty = self.policy.repetition_penalty;
        let looks_back = self.policy.looks_back();
        for first in (0..logits.len()).step_by(64) {
            // A grammar allows few of many tokens, so the mask is walked by its set bits and not token by token.
            let mut bits = legal.map_or(u64::MAX, |mask| mask.get(first / 64).copied().unwrap_or(0));
            while bits != 0 {
                let token = first + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let Some(&value) = logits.get(token) else { break };
                let token = token as u32;
                if !value.is_finite() {
                    return Err(SampleError::NotFinite { token, value });
                }
                let mut logit = f64::from(value);
                if looks_back && recent.contains(token) {
                    logit = if logit > 0.0 { logit / penalty } else { logit * penalty };
                }
                self.candidates.push((logit, token));
            }
        }
        if self.candidates.is_empty() {
            return Err(SampleError::NothingLegal { vocab: logits.len() });
        }
        Ok(())
    }
}

/// Larger weight first, then lower id. Weights here are finite, so `total_cmp` is the usual order.
fn order(a: &(f64, u32), b: &(f64, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

fn ranks_before(a: &(f64, u32), b: &(f64, u32)) -> bool {
    order(a, b).is_lt()
}

/// 53 random bits as a number in [0, 1).
fn uniform(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn draw(policy: Policy, logits: &[f32], legal: Option<&[u64]>, seed: u64) -> Result<u32, SampleError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Sampler::new(policy)?.sample(logits, legal, &Recent::default(), &mut rng)
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let logits = [0.0f32, 1.0, 2.0];
        let mut sampler = Sampler::new(Policy { temperature: 0.5, ..Policy::default() }).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = [0f64; 3];
        for _ in 0..40_000 {
            let t = sampler.sample(&logits, None, &Recent::default(), &mut rng).unwrap();
            counts[t as usize] += 1.0 / 40_000.0;
        }
        let z = 1.0 + 2f64.exp() + 4f64.exp();
        for (i, expected) in [1.0 / z, 2f64.exp() / z, 4f64.exp() / z].into_iter().enumerate() {
            assert!((counts[i] - expected).abs() < 0.01, "token {i}: {} against {expected}", counts[i]);
        }
    }

    #[test]
    fn greedy_takes_the_lowest_id_of_equals() {
        let policy = Policy { temperature: 0.0, ..Policy::default() };
        assert_eq!(draw(policy, &[1.0, 3.0, 3.0, 2.0], None, 1), Ok(1));
        assert_eq!(draw(policy, &[1.0, 3.0, 3.0, 2.0], Some(&[0b1100]), 1), Ok(2));
    }

    #[test]
    fn min_p_and_top_p_cut_where_they_say() {
        // Probabilities 0.5, 0.3, 0.2.
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        let reach = |policy: Policy| {
            let mut seen: Vec<u32> =
                (0..400).map(|seed| draw(policy, &logits, None, seed).unwrap()).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!(reach(Policy { min_p: 0.59, ..Policy::default() }), [0, 1]);
        assert_eq!(reach(Policy { min_p: 0.61, ..Policy::default() }), [0]);
        // Entropy 1.0297: the threshold is 0.19 at eta 0.28, since its root times 0.357 is less, and 0.2 wins.
        assert_eq!(reach(Policy { eta: 0.28, ..Policy::default() }), [0, 1, 2]);
        assert_eq!(reach(Policy { eta: 0.36, ..Policy::default() }), [0, 1]);
        assert_eq!(reach(Policy { eta: 0.99, ..Policy::default() }), [0]);
        assert_eq!(reach(Policy { top_p: 0.49, ..Policy::default() }), [0]);
        assert_eq!(reach(Policy { top_p: 0.79, ..Policy::default() }), [0, 1]);
        assert_eq!(reach(Policy { top_p: 0.81, ..Policy::default() }), [0, 1, 2]);
        assert_eq!(reach(Policy { top_k: 2, ..Policy::default() }), [0, 1]);
    }

    #[test]
    fn the_penalty_lowers_a_recent_token_of_either_sign() {
        let policy = Policy { temperature: 0.0, repetition_penalty: 2.0, ..Policy::default() };
        let mut sampler = Sampler::new(policy).unwrap();
        let mut recent = Recent::default();
        recent.push(1, &policy);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(sampler.sample(&[1.0, 1.5], None, &recent, &mut rng), Ok(0));
        assert_eq!(sampler.sample(&[-1.5, -1.0], None, &recent, &mut rng), Ok(0));
        for token in 2..100 {
            recent.push(token, &policy);
        }
        assert_eq!(sampler.sample(&[1.0, 1.5], None, &recent, &mut rng), Ok(1), "1 left the window");
    }

    #[test]
    fn bad_logits_and_masks_are_values() {
        let default = Policy::default();
        assert!(matches!(
            draw(default, &[0.0, f32::NAN], None, 1),
            Err(SampleError::NotFinite { token: 1, .. })
        ));
        assert!(matches!(draw(default, &[f32::INFINITY], None, 1), Err(SampleError::NotFinite { .. })));
        assert_eq!(draw(default, &[0.0, f32::NAN], Some(&[1]), 1), Ok(0), "a forbidden logit is not read");
        assert_eq!(draw(default, &[0.0, 1.0], Some(&[0]), 1), Err(SampleError::NothingLegal { vocab: 2 }));
        assert_eq!(draw(default, &[], None, 1), Err(SampleError::NothingLegal { vocab: 0 }));
        let hot = Policy { temperature: -1.0, ..default };
        assert_eq!(
            draw(hot, &[0.0], None, 1).unwrap_err().to_string(),
            "sampling temperature: expected 0 (greedy) or above, got -1"
        );
    }

    proptest! {
        /// The set that a draw can come from, by the definition: sort everything, cut in order.
        #[test]
        fn every_draw_lies_in_the_set_the_definition_gives(
            logits in prop::collection::vec(-8f32..8.0, 1..300),
            mask in prop::collection::vec(any::<u64>(), 5),
            (top_k, top_p, min_p, temperature) in (0usize..40, 0.05f64..=1.0, 0f64..0.9, 0.05f64..3.0),
            eta in prop_oneof![Just(0.0), 0f64..0.5],
            seed in any::<u64>(),
        ) {
            let policy = Policy { temperature, top_k, top_p, min_p, eta, ..Policy::default() };
            let mut all: Vec<(f64, u32)> = (0u32..).zip(&logits)
                .filter(|(t, _)| mask[*t as usize / 64] >> (t % 64) & 1 == 1)
                .map(|(t, &l)| (f64::from(l), t)).collect();
            all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
            let result = draw(policy, &logits, Some(&mask), seed);
            if all.is_empty() {
                prop_assert_eq!(result, Err(SampleError::NothingLegal { vocab: logits.len() }));
                return Ok(());
            }
            if top_k > 0 { all.truncate(top_k); }
            let top = all[0].0;
            let mut p: Vec<f64> = all.iter().map(|(l, _)| ((l - top) / temperature).exp()).collect();
            let kept = p.iter().filter(|&&w| w >= min_p).count();
            p.truncate(kept);
            if eta > 0.0 {
                let total = p.iter().sum::<f64>();
                let entropy = -p.iter().map(|w| w / total).map(|p| p * p.max(1e-300).ln()).sum::<f64>();
                // Rounding may fall on either side of the threshold, hence the margin.
                let least = eta.min(eta.sqrt() * (-entropy).exp()) * total * (1.0 - 1e-9);
                let kept = p.iter().filter(|&&w| w >= least).count().max(1);
                p.truncate(kept);
            }
            let goal = top_p * p.iter().sum::<f64>() * (1.0 + 1e-9);
            let mut sum = 0.0;
            let upto = p.iter().position(|w| { sum += w; sum >= goal }).map_or(p.len(), |at| at + 1);
            let token = result.unwrap();
            prop_assert!(all[..upto].iter().any(|&(_, t)| t == token), "{} not in {:?}", token, &all[..upto]);
            prop_assert_eq!(draw(policy, &logits, Some(&mask), seed), Ok(token), "same seed, same token");
        }

        #[test]
        fn a_draw_takes_one_number(top_k in 0usize..5, top_p in 0.1f64..=1.0, seed in any::<u64>()) {
            let policy = Policy { top_k, top_p, ..Policy::default() };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut sampler = Sampler::new(policy).unwrap();
            for _ in 0..3 { sampler.sample(&[0.1, 0.2, 0.3], None, &Recent::default(), &mut rng).unwrap(); }
            let mut other = ChaCha8Rng::seed_from_u64(seed);
            for _ in 0..3 { other.next_u64(); }
            prop_assert_eq!(rng.next_u64(), other.next_u64());
        }
    }
}
