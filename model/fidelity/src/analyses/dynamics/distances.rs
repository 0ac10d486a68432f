//! Distances between two samples, and their medians over pairs of sessions as NetSSM's Table 5 has them.

use serde::Serialize;

use crate::stats::{Summary, anderson_darling, emd, kl_smoothed, ks, ks_p_value};

/// Bins of [`kl`].
const BINS: usize = 30;

/// How far a sample is from the real one. Values that a sample is too small for are `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distances {
    /// Pairs of sessions that this is over; 1 where all sessions of a side are taken together.
    pub pairs: u64,
    /// Difference of the means, in the unit of the values. Over pairs, as the paper has it: the mean over the pairs of
    /// the difference of their *medians*.
    pub mean_delta: Option<f64>,
    /// Difference of the medians. Over pairs: its median.
    pub median_delta: Option<f64>,
    /// Difference of the standard deviations. Over pairs: its median.
    pub std_delta: Option<f64>,
    /// Two-sample Kolmogorov-Smirnov distance, 0 to 1; the median over pairs, as all below.
    pub ks: Option<f64>,
    /// Probability of one at least as large, if both samples came from one law and their values were independent.
    pub ks_p: Option<f64>,
    /// Two-sample Anderson-Darling statistic, less its expectation and over its standard deviation under one law.
    pub ad: Option<f64>,
    /// Its probability, between 0.001 and 0.25.
    pub ad_p: Option<f64>,
    /// Kullback-Leibler divergence from real, in nats, of histograms of ln(1 + value).
    pub kl: Option<f64>,
    /// Earth mover's distance, in the unit of the values.
    pub emd: Option<f64>,
}

impl Distances {
    /// Of two sorted samples; `None` if one is empty.
    pub(super) fn of(real: &[f64], other: &[f64]) -> Option<Self> {
        let (a, b) = (Summary::of(real)?, Summary::of(other)?);
        let distance = ks(real, other);
        let test = anderson_darling(real, other);
        // Sizes spread over many orders of magnitude: on their own scale nearly all would be in one bin.
        let logarithms = |sample: &[f64]| sample.iter().map(|x| x.ln_1p()).collect::<Vec<_>>();
        Some(Self {
            pairs: 1,
            mean_delta: Some((a.mean - b.mean).abs()),
            median_delta: Some((a.p50 - b.p50).abs()),
            std_delta: Some((a.std - b.std).abs()),
            ks: distance,
            ks_p: distance.and_then(|distance| ks_p_value(distance, real.len(), other.len())),
            ad: test.map(|test| test.statistic),
            ad_p: test.map(|test| test.significance),
            kl: kl(&logarithms(real), &logarithms(other)),
            emd: emd(real, other),
        })
    }

    /// Over pairs of sessions; `None` without one.
    pub(super) fn over(pairs: &[Self]) -> Option<Self> {
        let values = |value: fn(&Self) -> Option<f64>| pairs.iter().filter_map(value).collect::<Vec<f64>>();
        let median = |value| {
            let mut values = values(value);
            crate::stats::sort(&mut values);
            Summary::of(&values).map(|summary| summary.p50)
        };
        let deltas = values(|d| d.median_delta);
        (!pairs.is_empty()).then(|| Self {
            pairs: pairs.len() as u64,
            mean_delta: (!deltas.is_empty()).then(|| deltas.iter().sum::<f64>() / deltas.len() as f64),
            median_delta: median(|d| d.median_delta),
            std_delta: median(|d| d.std_delta),
            ks: median(|d| d.ks),
            ks_p: median(|d| d.ks_p),
            ad: median(|d| d.ad),
            ad_p: median(|d| d.ad_p),
            kl: median(|d| d.kl),
            emd: median(|d| d.emd),
        })
    }
}

/// Kullback-Leibler divergence in nats of `b` from `a`, sorted samples: of histograms with 30 bins of equal width over
/// the range of both, half a count added to every bin (R. E. Krichevsky and V. K. Trofimov, IEEE Transactions on
/// Information Theory 27, 1981), so that it is finite. It depends on the bins and on how many values there are: compare
/// it with the floor and the random baseline, not with numbers made in another way. 0 if all values are the same.
fn kl(a: &[f64], b: &[f64]) -> Option<f64> {
    let (low, high) = (a.first()?.min(*b.first()?), a.last()?.max(*b.last()?));
    if high <= low {
        return Some(0.0);
    }
    let histogram = |sample: &[f64]| {
        let mut counts = [0.0; BINS];
        for x in sample {
            let bin = (x - low) / (high - low) * BINS as f64;
            counts[(bin as usize).min(BINS - 1)] += 1.0;
        }
        counts
    };
    kl_smoothed(&histogram(a), &histogram(b), 0.5)
}

/// A row of NetSSM's Table 5, on the paper's Netflix sessions, in the units of the paper, which it does not name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    /// `NetSSM` or `Random`.
    pub of: &'static str,
    /// Name of the [`DynamicsEvaluation`](super::DynamicsEvaluation).
    pub evaluation: &'static str,
    /// Mean, median and standard deviation delta; K-S statistic and p-value; Anderson-Darling statistic and p-value; KL
    /// divergence in nats; EMD.
    pub values: [f64; 9],
}

/// The whole table.
pub const PUBLISHED: [Published; 6] = [
    row("NetSSM", "average", [4.15, 1.28, 79.08, 0.22, 0.82, 0.29, 0.73, 2.67, 30.75]),
    row("Random", "average", [5.40, 3.86, 103.27, 1.00, 0.00, 11.90, 0.00, 4.62, 44.50]),
    row("NetSSM", "raw", [2.56, 1.28, 209.80, 0.21, 0.03, 6.86, 0.01, 1.14, 72.94]),
    row("Random", "raw", [4.43, 3.58, 256.95, 0.80, 0.00, 62.74, 0.00, 2.86, 88.74]),
    row("NetSSM", "count", [43.78, 1.00, 15.71, 0.17, 0.95, 0.41, 0.76, 2.97, 8.04]),
    row("Random", "count", [30.81, 13.15, 6.25, 0.42, 0.26, 2.08, 0.35, 6.83, 15.72]),
];

const fn row(of: &'static str, evaluation: &'static str, values: [f64; 9]) -> Published {
    Published { of, evaluation, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of samples with SciPy's answers; made by `tests/fidelity/make_dynamics_fixture.py`.
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        a: Vec<f64>,
        b: Vec<f64>,
        ks: f64,
        ks_p: f64,
        ad: f64,
        ad_p: f64,
        kl: f64,
        emd: f64,
    }

    #[test]
    fn values_agree_with_scipy() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../../../tests/fidelity/dynamics.json"))
                .expect("a fixture");
        assert!(cases.len() >= 7);
        for mut case in cases {
            crate::stats::sort(&mut case.a);
            crate::stats::sort(&mut case.b);
            let near = |what: &str, got: Option<f64>, expected: f64| {
                let got = got.expect("a value");
                assert!(
                    (got - expected).abs() <= 1e-9 * expected.abs(),
                    "{} {what}: {got}, {expected}",
                    case.name
                );
            };
            let got = Distances::of(&case.a, &case.b).expect("distances");
            near("K-S", got.ks, case.ks);
            near("K-S p", got.ks_p, case.ks_p);
            near("A-D", got.ad, case.ad);
            near("A-D p", got.ad_p, case.ad_p);
            near("EMD", got.emd, case.emd);
            near("KL", kl(&case.a, &case.b), case.kl);
        }
        assert_eq!((kl(&[], &[1.0]), kl(&[2.0; 3], &[2.0; 9])), (None, Some(0.0)));
    }

    #[test]
    fn equal_samples_are_no_distance_apart() {
        let sample: Vec<f64> = (1..40).map(f64::from).collect();
        let d = Distances::of(&sample, &sample).expect("distances");
        for value in [d.mean_delta, d.median_delta, d.std_delta, d.ks, d.kl, d.emd] {
            assert_eq!(value, Some(0.0));
        }
        assert_eq!((d.ks_p, d.ad_p), (Some(1.0), Some(0.25)));
        assert_eq!(Distances::of(&sample, &[]), None);
        let one = Distances::of(&[3.0], &[5.0]).expect("distances");
        assert_eq!((one.mean_delta, one.std_delta, one.ad, one.ad_p), (Some(2.0), Some(0.0), None, None));
    }

    #[test]
    fn over_pairs_the_mean_delta_is_of_medians() {
        let pair = |a: &[f64], b: &[f64]| Distances::of(a, b).expect("distances");
        let pairs = [
            pair(&[1.0, 2.0, 9.0], &[3.0, 4.0, 5.0]), // medians 2 and 4, means 4 and 4
            pair(&[1.0], &[1.0]),
            pair(&[1.0], &[11.0]),
        ];
        let over = Distances::over(&pairs).expect("pairs");
        assert_eq!((over.pairs, over.mean_delta, over.median_delta), (3, Some(4.0), Some(2.0)));
        assert_eq!(over.ks, Some(2.0 / 3.0));
        assert_eq!(Distances::over(&[]), None);
    }
}
