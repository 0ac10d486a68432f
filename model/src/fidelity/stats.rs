//! Statistics of samples: the two-sample Kolmogorov-Smirnov distance, the 1-Wasserstein distance, a summary.
//!
//! All take *sorted* samples ([`sort`]) of finite numbers, are exact for samples (no binning), and run in linear time.
//! The values agree with SciPy's `ks_2samp`, `wasserstein_distance` and NumPy's `quantile`; a test compares them.

use serde::Serialize;

/// Sorts a sample for the functions of this module. Not-a-numbers and infinities, which no measure should give, go.
pub fn sort(sample: &mut Vec<f64>) {
    sample.retain(|x| x.is_finite());
    sample.sort_unstable_by(f64::total_cmp);
}

/// Two-sample Kolmogorov-Smirnov distance: the largest difference between the two empirical distribution functions,
/// 0 (the same) to 1 (apart). `None` if a sample is empty.
///
/// Only the distance, no p-value: packets of a session are not independent, so the p-value would mean nothing.
///
/// Source: N. V. Smirnov, "Table for estimating the goodness of fit of empirical distributions", Annals of
/// Mathematical Statistics 19 (1948).
pub fn ks(a: &[f64], b: &[f64]) -> Option<f64> {
    let mut largest = None::<f64>;
    walk(a, b, |fa, fb, _| {
        let difference = (fa - fb).abs();
        largest = Some(largest.map_or(difference, |so_far| so_far.max(difference)));
    })?;
    largest
}

/// Earth mover's distance in one dimension, the 1-Wasserstein distance: the area between the two empirical
/// distribution functions, in the unit of the samples. `None` if a sample is empty.
///
/// Source: S. S. Vallender, "Calculation of the Wasserstein distance between probability distributions on the line",
/// Theory of Probability and its Applications 18 (1974).
pub fn emd(a: &[f64], b: &[f64]) -> Option<f64> {
    let mut area = 0.0;
    walk(a, b, |fa, fb, width| area += (fa - fb).abs() * width)?;
    Some(area)
}

/// Visits the steps of both distribution functions from left to right: their values on a step, and its width (0 on the
/// last one). `None` if a sample is empty.
fn walk(a: &[f64], b: &[f64], mut step: impl FnMut(f64, f64, f64)) -> Option<()> {
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j) = (0, 0);
    let mut here = a.first()?.min(*b.first()?);
    loop {
        while a.get(i).is_some_and(|&x| x <= here) {
            i += 1;
        }
        while b.get(j).is_some_and(|&x| x <= here) {
            j += 1;
        }
        let next = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
            (None, None) => here,
        };
        step(i as f64 / na, j as f64 / nb, next - here);
        if i == a.len() && j == b.len() {
            return Some(());
        }
        here = next;
    }
}

/// A sample in a few numbers, in its own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Values.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the sample itself (divided by n, as NumPy does).
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Quantiles with linear interpolation (Hyndman and Fan's type 7, as NumPy does).
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// See `p10`.
    pub p90: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Of a sorted sample; `None` if it is empty.
    pub fn of(sorted: &[f64]) -> Option<Self> {
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let quantile = |share: f64| {
            let at = share * (n - 1.0);
            let low = (at as usize).min(sorted.len() - 1);
            let high = (low + 1).min(sorted.len() - 1);
            sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
        };
        Some(Self {
            n: sorted.len() as u64,
            mean,
            std: variance.sqrt(),
            min,
            p10: quantile(0.1),
            p50: quantile(0.5),
            p90: quantile(0.9),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// One pair of samples with SciPy's and NumPy's answers; made by `tests/fixtures/make_stats_fixture.py`.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        a: Vec<f64>,
        b: Vec<f64>,
        ks: f64,
        emd: f64,
        mean: f64,
        std: f64,
        quantiles: [f64; 3],
    }

    #[test]
    fn values_agree_with_scipy() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../tests/fixtures/stats.json")).expect("a fixture");
        assert!(cases.len() >= 8);
        for mut case in cases {
            sort(&mut case.a);
            sort(&mut case.b);
            let near = |got: f64, expected: f64| {
                assert!(
                    (got - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                    "{}: {got}, {expected}",
                    case.name
                );
            };
            near(ks(&case.a, &case.b).expect("a distance"), case.ks);
            near(emd(&case.a, &case.b).expect("a distance"), case.emd);
            let summary = Summary::of(&case.a).expect("a summary");
            near(summary.mean, case.mean);
            near(summary.std, case.std);
            near(summary.p10, case.quantiles[0]);
            near(summary.p50, case.quantiles[1]);
            near(summary.p90, case.quantiles[2]);
        }
    }

    #[test]
    fn empty_samples_have_no_distance() {
        assert_eq!(ks(&[], &[1.0]), None);
        assert_eq!(emd(&[1.0], &[]), None);
        assert_eq!(Summary::of(&[]), None);
        let mut odd = vec![f64::NAN, 2.0, f64::INFINITY, 1.0];
        sort(&mut odd);
        assert_eq!(odd, [1.0, 2.0]);
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_and_zero_only_for_the_same(
            mut a in prop::collection::vec(-50i32..50, 1..60),
            mut b in prop::collection::vec(-50i32..50, 1..60),
        ) {
            a.sort_unstable();
            b.sort_unstable();
            let (fa, fb): (Vec<f64>, Vec<f64>) =
                (a.iter().copied().map(f64::from).collect(), b.iter().copied().map(f64::from).collect());
            let (there, back) = (ks(&fa, &fb).unwrap(), ks(&fb, &fa).unwrap());
            prop_assert!((there - back).abs() < 1e-12 && (0.0..=1.0).contains(&there));
            let area = emd(&fa, &fb).unwrap();
            prop_assert!((area - emd(&fb, &fa).unwrap()).abs() < 1e-9);
            prop_assert_eq!((ks(&fa, &fa), emd(&fa, &fa)), (Some(0.0), Some(0.0)));
            // Moving everything by a constant costs that constant; disjoint samples are a distance of 1 apart.
            let far: Vec<f64> = fa.iter().map(|x| x + 1000.0).collect();
            prop_assert_eq!(ks(&fa, &far), Some(1.0));
            prop_assert!((emd(&fa, &far).unwrap() - 1000.0).abs() < 1e-9);
            prop_assert_eq!(there == 0.0, area == 0.0);
        }
    }
}
