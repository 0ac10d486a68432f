//! Confidence intervals by resampling: how much would a number move with other sessions of the same kind?
//!
//! The percentile bootstrap: as many items as there are, drawn with replacement, many times; the interval holds the middle share of
//! what the statistic gives. Resample what is independent, which are sessions, not packets: that is why the caller gets
//! numbers of items and looks up what belongs to them. Below about ten items the interval is too narrow.
//!
//! Source: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (Chapman and Hall, 1993), chapter 13.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::{quantile, sort};

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The interval that holds a share `level` (0.95) of what `statistic` gives for `resamples` resamples of `items` items. It is
/// called with numbers of items, in any order and some more than once. `None` without items, or where more than half of the
/// resamples have no value (`None` or not finite). Equal for equal input and seed, whatever the number of threads.
pub fn bootstrap(
    items: usize,
    resamples: u32,
    level: f64,
    seed: u64,
    statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
) -> Option<Interval> {
    if items == 0 {
        return None;
    }
    let mut values: Vec<f64> = (0..resamples)
        .into_par_iter()
        .filter_map(|number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(u64::from(number)); // a stream a resample: independent of which thread does it
            let drawn: Vec<usize> = (0..items).map(|_| rng.random_range(0..items)).collect();
            statistic(&drawn)
        })
        .collect();
    sort(&mut values);
    if values.len() * 2 <= resamples as usize {
        return None;
    }
    let outside = (1.0 - level.clamp(0.0, 1.0)) / 2.0;
    Some(Interval { low: quantile(&values, outside)?, high: quantile(&values, 1.0 - outside)? })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::fixture;
    use super::*;

    fn mean(sample: &[f64], drawn: &[usize]) -> Option<f64> {
        Some(drawn.iter().map(|&i| sample[i]).sum::<f64>() / drawn.len() as f64)
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_scipy() {
        for case in &fixture().bootstrap {
            let got = bootstrap(case.sample.len(), 20_000, 0.95, 1, |drawn| mean(&case.sample, drawn));
            let got = got.expect("an interval");
            // Both are drawn at random: near, not equal.
            let width = case.high - case.low;
            assert!((got.low - case.low).abs() < 0.03 * width, "{}: {got:?}", case.name);
            assert!((got.high - case.high).abs() < 0.03 * width, "{}: {got:?}", case.name);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let sample: Vec<f64> = (0..30).map(|i| f64::from(i * i)).collect();
        let of = |seed| bootstrap(30, 500, 0.9, seed, |drawn| mean(&sample, drawn));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(alone.install(|| of(1)), of(1));
    }

    #[test]
    fn what_has_no_interval_has_none() {
        assert_eq!(bootstrap(0, 10, 0.95, 1, |_| Some(1.0)), None);
        assert_eq!(bootstrap(3, 0, 0.95, 1, |_| Some(1.0)), None);
        assert_eq!(bootstrap(3, 10, 0.95, 1, |_| None), None);
        assert_eq!(bootstrap(3, 10, 0.95, 1, |_| Some(f64::NAN)), None);
        assert_eq!(bootstrap(3, 10, 0.95, 1, |_| Some(2.0)), Some(Interval { low: 2.0, high: 2.0 }));
    }
}
