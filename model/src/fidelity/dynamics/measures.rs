//! Tests and distances of two samples that NetSSM's Table 5 reports and `stats` does not have.
//!
//! All take *sorted* samples of finite numbers, like `stats`, and give `None` where they have no value. A test compares each
//! with SciPy.

use std::f64::consts::PI;

/// Bins of [`kl`].
const BINS: usize = 30;

/// Cells of the lattice up to which [`ks_p_value`] counts exactly: about 10 ms.
const EXACT_CELLS: usize = 4_000_000;

/// Probability that two samples of these sizes from one continuous law are at least `distance` apart in the two-sample
/// Kolmogorov-Smirnov sense.
///
/// Every order of the pooled sample is a path on a lattice and all are equally likely; the mass that leaves the band in
/// which the distribution functions are closer than `distance` is the answer (J. L. Hodges, "The significance probability of the
/// Smirnov two-sample test", Arkiv för Matematik 3, 1958). Ties make it conservative. Large samples: Kolmogorov's limit.
pub(super) fn ks_p_value(distance: f64, n: usize, m: usize) -> Option<f64> {
    if n == 0 || m == 0 {
        return None;
    }
    if n.saturating_mul(m) > EXACT_CELLS {
        let (n, m) = (n as f64, m as f64);
        return Some(kolmogorov(distance * (n * m / (n + m)).sqrt()));
    }
    // Distances are multiples of 1 / (n m).
    let limit = (distance * (n * m) as f64).round() as usize;
    if limit == 0 {
        return Some(1.0);
    }
    // mass[j]: probability of being at i values of one and j of the other without having left the band.
    let mut mass = vec![0.0; m + 1];
    let mut left = 0.0;
    for i in 0..=n {
        for j in 0..=m {
            let arrived = if (i, j) == (0, 0) {
                1.0
            } else {
                let from_below =
                    if i == 0 { 0.0 } else { mass[j] * (n - i + 1) as f64 / (n + m - i + 1 - j) as f64 };
                let from_left =
                    if j == 0 { 0.0 } else { mass[j - 1] * (m - j + 1) as f64 / (n + m - i - j + 1) as f64 };
                from_below + from_left
            };
            let outside = (i * m).abs_diff(j * n) >= limit;
            left += if outside { arrived } else { 0.0 };
            mass[j] = if outside { 0.0 } else { arrived };
        }
    }
    Some(left.min(1.0))
}

/// Survival function of Kolmogorov's limit law.
fn kolmogorov(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0; // to within 1e-12, and the series below converges slowly
    }
    let term = |k: f64| (-2.0 * k * k * x * x).exp();
    let sum: f64 = (1..=100).map(|k| if k % 2 == 1 { term(f64::from(k)) } else { -term(f64::from(k)) }).sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

/// Two-sample Anderson-Darling statistic, with ranks in the middle of ties, less its expectation and over its standard
/// deviation under one law for both: about 0 for the same law, and larger the less likely that is. `None` below four values
/// or if all are the same.
///
/// Source: F. W. Scholz and M. A. Stephens, "K-sample Anderson-Darling tests", Journal of the American Statistical
/// Association 82 (1987), equations 7 and 4.
pub(super) fn anderson_darling(a: &[f64], b: &[f64]) -> Option<f64> {
    let total = a.len() + b.len();
    if a.is_empty() || b.is_empty() || total < 4 {
        return None;
    }
    let n = total as f64;
    let (mut i, mut j) = (0, 0);
    let mut sums = [0.0; 2];
    let mut distinct = 0;
    while i < a.len() || j < b.len() {
        let here = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
            (None, None) => break,
        };
        let same = |side: &[f64], from: usize| side[from..].iter().take_while(|&&x| x <= here).count();
        let (ties_a, ties_b) = (same(a, i), same(b, j));
        let ties = (ties_a + ties_b) as f64;
        let below = (i + j) as f64 + ties / 2.0;
        let middle = [i as f64 + ties_a as f64 / 2.0, j as f64 + ties_b as f64 / 2.0];
        let spread = below * (n - below) - n * ties / 4.0;
        if spread > 0.0 {
            for (sum, (rank, size)) in sums.iter_mut().zip(middle.iter().zip([a.len(), b.len()])) {
                *sum += ties / n * (n * rank - below * size as f64).powi(2) / spread;
            }
        }
        (i, j) = (i + ties_a, j + ties_b);
        distinct += 1;
    }
    if distinct < 2 {
        return None;
    }
    let statistic = (sums[0] / a.len() as f64 + sums[1] / b.len() as f64) * (n - 1.0) / n;
    let variance = anderson_darling_variance(a.len(), b.len());
    (variance > 0.0).then(|| (statistic - 1.0) / variance.sqrt())
}

/// Variance of the statistic for two samples of one continuous law.
fn anderson_darling_variance(na: usize, nb: usize) -> f64 {
    let n = (na + nb) as f64;
    let k = 2.0;
    let inverse = 1.0 / na as f64 + 1.0 / nb as f64;
    // h: sum of 1/i for i < n. g: sum of 1/((n - i) j) for i < j < n, whose inner sum grows from the top of h down.
    let (mut above, mut g) = (0.0, 0.0);
    for i in 1..na + nb - 1 {
        above += 1.0 / (n - i as f64);
        g += above / (i + 1) as f64;
    }
    let h = above + 1.0;
    let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g
        - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * k * k
        + (4.0 * h - 4.0 * g + 6.0) * k
        + (2.0 * h - 6.0) * inverse
        + 4.0 * h;
    let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
    (((a * n + b) * n + c) * n + d) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
}

/// Probability of an Anderson-Darling statistic at least this large under one law for both, between the critical values that
/// Scholz and Stephens tabulate (a parabola through their logarithms, as SciPy has it): not below 0.001 and not above 0.25,
/// where it means *0.25 or more*.
pub(super) fn anderson_darling_p_value(statistic: f64) -> f64 {
    if statistic < 0.325 {
        return 0.25;
    }
    if statistic > 6.546 {
        return 0.001;
    }
    let exponent =
        (0.018_198_094_574_111_47 * statistic - 1.008_226_564_465_251_5) * statistic - 1.077_770_279_820_484;
    exponent.exp()
}

/// Kullback-Leibler divergence in nats of `b` from `a`: what a code made for `b` costs on `a` beyond one made for `a`.
///
/// Of histograms with 30 bins of equal width over the range of both, half a count added to every bin (R. E. Krichevsky and V. K.
/// Trofimov, IEEE Transactions on Information Theory 27, 1981), so that it is finite. It depends on the bins and on how many
/// values there are: compare it with the floor and the random baseline, not with numbers made in another way. 0 if all values
/// are the same.
///
/// Source: S. Kullback and R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22 (1951).
pub(super) fn kl(a: &[f64], b: &[f64]) -> Option<f64> {
    let (low, high) = (a.first()?.min(*b.first()?), a.last()?.max(*b.last()?));
    if high <= low {
        return Some(0.0);
    }
    let histogram = |sample: &[f64]| {
        let mut counts = [0.5; BINS];
        for x in sample {
            let bin = (x - low) / (high - low) * BINS as f64;
            counts[(bin as usize).min(BINS - 1)] += 1.0;
        }
        counts.map(|count| count / (sample.len() as f64 + 0.5 * BINS as f64))
    };
    let (p, q) = (histogram(a), histogram(b));
    Some(p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum())
}

/// Scott's bandwidth of a Gaussian kernel: the sample's standard deviation (over n - 1) times n to the power of -1/5. `None`
/// below two values, or if all are the same.
///
/// Source: D. W. Scott, "Multivariate Density Estimation", 1992, section 6.5.
pub(super) fn bandwidth(sample: &[f64]) -> Option<f64> {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let width = variance.sqrt() * n.powf(-0.2);
    (width > 0.0 && width.is_finite()).then_some(width)
}

/// Density of a sample at some places: a Gaussian kernel of Scott's bandwidth. Empty where that has no value.
pub(super) fn kde(sample: &[f64], at: &[f64]) -> Vec<f64> {
    let Some(width) = bandwidth(sample) else { return Vec::new() };
    let scale = 1.0 / (sample.len() as f64 * width * (2.0 * PI).sqrt());
    let density =
        |x: &f64| scale * sample.iter().map(|s| (-((x - s) / width).powi(2) / 2.0).exp()).sum::<f64>();
    at.iter().map(density).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::super::stats::{ks, sort};
    use super::*;

    /// A pair of samples with SciPy's answers; made by `tests/fidelity/make_dynamics_fixture.py`.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        a: Vec<f64>,
        b: Vec<f64>,
        ks: f64,
        ks_p: f64,
        ad: f64,
        ad_p: f64,
        kl: f64,
        at: Vec<f64>,
        kde: Vec<f64>,
        bandwidth: f64,
    }

    #[test]
    fn values_agree_with_scipy() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../tests/fidelity/dynamics.json"))
            .expect("a fixture");
        assert!(cases.len() >= 7);
        for mut case in cases {
            sort(&mut case.a);
            sort(&mut case.b);
            let near = |what: &str, got: f64, expected: f64| {
                assert!(
                    (got - expected).abs() <= 1e-9 * expected.abs(),
                    "{} {what}: {got}, {expected}",
                    case.name
                );
            };
            let distance = ks(&case.a, &case.b).expect("a distance");
            near("K-S", distance, case.ks);
            near("K-S p", ks_p_value(distance, case.a.len(), case.b.len()).expect("a value"), case.ks_p);
            let statistic = anderson_darling(&case.a, &case.b).expect("a statistic");
            near("A-D", statistic, case.ad);
            near("A-D p", anderson_darling_p_value(statistic), case.ad_p);
            near("KL", kl(&case.a, &case.b).expect("a divergence"), case.kl);
            near("bandwidth", bandwidth(&case.a).expect("a bandwidth"), case.bandwidth);
            let densities = kde(&case.a, &case.at);
            assert_eq!(densities.len(), case.kde.len());
            densities.iter().zip(&case.kde).for_each(|(got, expected)| near("density", *got, *expected));
        }
    }

    #[test]
    fn without_values_there_is_no_answer_and_without_a_difference_it_is_zero() {
        assert_eq!(
            (ks_p_value(0.5, 0, 3), kl(&[], &[1.0]), anderson_darling(&[], &[1.0; 5])),
            (None, None, None)
        );
        assert_eq!(anderson_darling(&[2.0; 5], &[2.0; 5]), None);
        assert_eq!(anderson_darling(&[1.0], &[2.0, 3.0]), None);
        assert_eq!((kde(&[3.0; 4], &[3.0]), kde(&[3.0], &[3.0]), kde(&[], &[3.0])), (vec![], vec![], vec![]));
        let sample: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!((kl(&sample, &sample), kl(&[2.0; 3], &[2.0; 9])), (Some(0.0), Some(0.0)));
        assert_eq!(ks_p_value(0.0, 50, 50), Some(1.0));
        assert!(anderson_darling(&sample, &sample).expect("a statistic") < 0.0);
    }

    #[test]
    fn large_samples_follow_the_limit() {
        // Just below and just above the size up to which paths are counted.
        let (exact, limit) = (ks_p_value(0.03, 2000, 2000), ks_p_value(0.03, 2001, 2000));
        assert!((exact.expect("a value") - limit.expect("a value")).abs() < 0.02, "{exact:?} {limit:?}");
        assert_eq!((kolmogorov(0.0), kolmogorov(0.1)), (1.0, 1.0));
        assert!((kolmogorov(1.358_098_6) - 0.05).abs() < 1e-6);
    }
}
