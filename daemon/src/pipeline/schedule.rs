//! When sessions start, and of which label. Pure: the clock is an argument.
//!
//! Arrivals are a Poisson process: the gaps are exponential with mean `1 / rate`, and each arrival draws its label by
//! weight. Both come from one ChaCha8 stream that the profile seeds, so the n-th arrival is the same in every run.
//!
//! Arrival times are absolute offsets from the start of the run, never "now plus a gap", so a late thread does not slow
//! the process down. Two causes delay an arrival: the cap on concurrent sessions, and a label without a session to
//! play. A delay moves this arrival and all later ones, so the rate falls while something is missing and no burst
//! follows.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::profile::Arrivals;
use crate::seeds::{Purpose, derive};

/// The start of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its time, counted from the start of the run.
    pub at: Duration,
    /// Index of its label.
    pub label: usize,
    /// Number of arrivals before it.
    pub number: u64,
}

/// The arrival process.
#[derive(Debug)]
pub(crate) struct Schedule {
    rng: ChaCha8Rng,
    arrivals: Arrivals,
    next: Arrival,
    live: u64,
}

impl Schedule {
    /// The process of a profile. The first arrival is at 0, so that even a short run starts a session.
    pub(crate) fn new(arrivals: Arrivals, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, Purpose::Arrivals, "", 0));
        let label = draw_label(&mut rng, &arrivals.weights);
        Self { rng, arrivals, next: Arrival { at: Duration::ZERO, label, number: 0 }, live: 0 }
    }

    /// The labels of all arrivals to come: until the limit or, if `end` is given, until `end`. They are right as long
    /// as nothing delays an arrival.
    pub(crate) fn labels(
        arrivals: Arrivals,
        seed: u64,
        end: Option<Duration>,
    ) -> impl Iterator<Item = usize> + Send {
        let mut process = Self::new(Arrivals { max_concurrent: u64::MAX, ..arrivals }, seed);
        std::iter::from_fn(move || {
            let next = process.next().filter(|next| end.is_none_or(|end| next.at < end))?;
            process.started();
            Some(next.label)
        })
    }

    /// Continues from `now` with other rates, weights and seed. Live sessions stay counted.
    pub(crate) fn replace(&mut self, arrivals: Arrivals, seed: u64, now: Duration) {
        self.rng = ChaCha8Rng::seed_from_u64(derive(seed, Purpose::Arrivals, "", self.next.number));
        self.arrivals = arrivals;
        self.next.label = draw_label(&mut self.rng, &self.arrivals.weights);
        self.next.at = now + self.gap();
    }

    /// The next arrival. `None` when the limit is reached, or while the cap on concurrent sessions holds it back (until
    /// [`Schedule::ended`]).
    pub(crate) fn next(&self) -> Option<Arrival> {
        (!self.is_over() && self.live < self.arrivals.max_concurrent).then_some(self.next)
    }

    /// Notes that the next arrival has started, and draws the one after it.
    pub(crate) fn started(&mut self) {
        self.live += 1;
        let at = self.next.at + self.gap();
        let label = draw_label(&mut self.rng, &self.arrivals.weights);
        self.next = Arrival { at, label, number: self.next.number + 1 };
    }

    /// Delays the next arrival, which could not start, to `at`. All later arrivals move with it. Never moves it to an
    /// earlier time.
    pub(crate) fn delay(&mut self, at: Duration) {
        self.next.at = self.next.at.max(at);
    }

    /// Notes that a live session ended at `at`. If the cap held the next arrival back, it becomes due at `at`.
    pub(crate) fn ended(&mut self, at: Duration) {
        if self.live >= self.arrivals.max_concurrent {
            self.delay(at);
        }
        self.live = self.live.saturating_sub(1);
    }

    /// Whether the limit is reached: no session will start any more.
    pub(crate) fn is_over(&self) -> bool {
        self.arrivals.limit > 0 && self.next.number >= self.arrivals.limit
    }

    fn gap(&mut self) -> Duration {
        // 1 - u is in (0, 1], so the logarithm is finite.
        let u: f64 = self.rng.random();
        Duration::try_from_secs_f64(-(1.0 - u).ln() / self.arrivals.rate).unwrap_or(Duration::MAX / 4)
    }
}

fn draw_label(rng: &mut ChaCha8Rng, weights: &[f64]) -> usize {
    let total: f64 = weights.iter().sum();
    let mut left = rng.random::<f64>() * total;
    for (i, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return i;
        }
    }
    weights.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate: f64, max_concurrent: u64, limit: u64, weights: &[f64]) -> Arrivals {
        Arrivals { rate, max_concurrent, limit, weights: weights.to_vec() }
    }

    fn draw(n: usize, rate: f64, weights: &[f64], seed: u64) -> Vec<Arrival> {
        let mut schedule = Schedule::new(arrivals(rate, u64::MAX, 0, weights), seed);
        (0..n)
            .map(|_| {
                let next = schedule.next().unwrap();
                schedule.started();
                next
            })
            .collect()
    }

    #[test]
    fn gaps_are_exponential_with_the_mean_of_the_rate() {
        let all = draw(20_001, 4.0, &[1.0], 9);
        let gaps: Vec<f64> = all.windows(2).map(|w| (w[1].at - w[0].at).as_secs_f64()).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt();
        // The standard error of the mean is 0.25 / sqrt(20000) = 0.0018. The test allows 4 of them either way.
        assert!((mean - 0.25).abs() < 0.0072, "mean gap {mean}");
        assert!(
            (deviation / mean - 1.0).abs() < 0.03,
            "an exponential has deviation = mean, got {deviation}"
        );
        let beyond = gaps.iter().filter(|g| **g > 0.25).count() as f64 / n;
        assert!((beyond - (-1.0_f64).exp()).abs() < 0.014, "P(gap > mean) = 1/e, got {beyond}");
    }

    #[test]
    fn labels_come_by_weight() {
        let all = draw(20_000, 1.0, &[3.0, 1.0, 0.0001], 5);
        let share = |l| all.iter().filter(|a| a.label == l).count() as f64 / all.len() as f64;
        assert!((share(0) - 0.75).abs() < 0.0123, "{}", share(0));
        assert!((share(1) - 0.25).abs() < 0.0123, "{}", share(1));
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_does_not() {
        assert_eq!(draw(100, 2.0, &[1.0, 2.0], 1), draw(100, 2.0, &[1.0, 2.0], 1));
        assert_ne!(draw(100, 2.0, &[1.0, 2.0], 1), draw(100, 2.0, &[1.0, 2.0], 2));
    }

    #[test]
    fn the_labels_to_come_are_those_that_come() {
        let all = draw(50, 4.0, &[1.0, 2.0], 9);
        let end = all[30].at;
        let planned: Vec<usize> = Schedule::labels(arrivals(4.0, 1, 0, &[1.0, 2.0]), 9, Some(end)).collect();
        assert_eq!(planned, all[..30].iter().map(|a| a.label).collect::<Vec<_>>());
        assert_eq!(Schedule::labels(arrivals(4.0, 1, 7, &[1.0, 2.0]), 9, None).count(), 7);
    }

    #[test]
    fn the_first_is_at_zero_and_none_comes_after_the_limit() {
        let mut schedule = Schedule::new(arrivals(1.0, 9, 2, &[1.0]), 1);
        assert_eq!(schedule.next().map(|a| (a.at, a.number)), Some((Duration::ZERO, 0)));
        schedule.started();
        assert!(!schedule.is_over());
        schedule.started();
        assert!(schedule.is_over() && schedule.next().is_none());
    }

    #[test]
    fn at_the_cap_the_next_arrival_waits_for_an_end_and_no_burst_follows() {
        let free = draw(4, 100.0, &[1.0], 3);
        let mut schedule = Schedule::new(arrivals(100.0, 1, 0, &[1.0]), 3);
        schedule.started();
        assert_eq!(schedule.next(), None);
        let end = Duration::from_secs(5);
        schedule.ended(end);
        assert_eq!(schedule.next().map(|a| a.at), Some(end));
        schedule.started();
        schedule.ended(end + Duration::from_nanos(1));
        let gap = free[2].at - free[1].at;
        assert_eq!(schedule.next().map(|a| a.at), Some(end + gap), "later ones keep their gaps");
    }

    #[test]
    fn a_delay_moves_all_later_arrivals() {
        let free = draw(3, 1.0, &[1.0], 3);
        let mut schedule = Schedule::new(arrivals(1.0, 9, 0, &[1.0]), 3);
        schedule.started();
        let late = free[1].at + Duration::from_secs(7);
        schedule.delay(late);
        schedule.delay(Duration::ZERO);
        assert_eq!(schedule.next().map(|a| a.at), Some(late), "a delay never moves an arrival forward");
        schedule.started();
        assert_eq!(schedule.next().map(|a| a.at), Some(free[2].at + Duration::from_secs(7)));
    }

    #[test]
    fn a_reload_counts_on_from_now() {
        let mut schedule = Schedule::new(arrivals(1.0, 9, 0, &[1.0]), 3);
        schedule.started();
        let now = Duration::from_secs(100);
        schedule.replace(arrivals(1000.0, 9, 0, &[1.0, 1.0]), 4, now);
        let next = schedule.next().unwrap();
        assert!(next.at >= now && next.at < now + Duration::from_secs(1));
        assert_eq!((next.number, schedule.live), (1, 1));
    }
}
