//! Statistics of samples and of discrete distributions.
//!
//! | what | file | agrees with |
//! |---|---|---|
//! | [`ks`], [`emd`]: distances of two samples | `distance` | SciPy's `ks_2samp`, `wasserstein_distance` |
//! | [`ks_p_value`]: significance of the one | `significance` | SciPy's `ks_2samp` |
//! | [`Summary`], [`quantile`] | `summary` | NumPy |
//! | [`anderson_darling`]: two-sample test | `anderson` | SciPy's `anderson_ksamp`, midranks |
//! | [`kl_divergence`], [`js_divergence`], [`js_distance`], [`total_variation`], [`hellinger`] | `discrete` | SciPy's `entropy`, `jensenshannon` |
//! | [`Kde`]: Gaussian kernel density, Scott's bandwidth | `kde` | SciPy's `gaussian_kde` |
//! | [`ecdf()`]: points of a distribution function, for plots | `ecdf` | SciPy's `ecdf` |
//! | [`auc()`], [`Ranked`]: area under the ROC curve, cases weighted or not | `auc` | scikit-learn's `roc_auc_score` |
//!
//! What takes a sample takes it *sorted* ([`sort`]) and of finite numbers, except [`auc()`], which sorts for itself.
//! Nothing here panics or gives a not-a-number; what has no value is `None`. Tests compare with the answers of the
//! programs named, which `tests/fixtures/make_stats_fixture.py` and the scripts of `tests/fidelity` wrote down.

mod anderson;
mod auc;
mod discrete;
mod distance;
mod ecdf;
#[cfg(test)]
mod fixture;
mod kde;
mod significance;
mod summary;

pub use self::anderson::{AndersonDarling, Bound, anderson_darling};
pub use self::auc::{Ranked, auc};
pub use self::discrete::{
    JS_DISTANCE_MAX, hellinger, js_distance, js_divergence, kl_divergence, kl_smoothed, total_variation,
};
pub use self::distance::{emd, ks};
pub use self::ecdf::ecdf;
pub use self::kde::Kde;
pub use self::significance::ks_p_value;
pub use self::summary::{Summary, quantile};

/// Sorts a sample for the functions of this module. Not-a-numbers and infinities, which no measure should give, go.
pub fn sort(sample: &mut Vec<f64>) {
    sample.retain(|x| x.is_finite());
    sample.sort_unstable_by(f64::total_cmp);
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
            serde_json::from_str(include_str!("../../../../tests/fixtures/stats.json")).expect("a fixture");
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
