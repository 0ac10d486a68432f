//! Distances of two discrete distributions over the same outcomes.
//!
//! Both are given as weights, counts or probabilities, outcome by outcome; they are normalised here. Logarithms are
//! natural throughout, as in SciPy's defaults: divide a divergence by `ln 2` for bits. `None` if the lists have
//! different lengths, a weight is negative or not finite, or all weights of a distribution are 0.

/// The largest Jensen-Shannon *distance* with natural logarithms: the square root of `ln 2`, for distributions that
/// share no outcome.
pub const JS_DISTANCE_MAX: f64 = 0.832_554_611_157_697_8;

/// Kullback-Leibler divergence of `p` from `q` in nats: 0 for the same, without a limit. Also `None` where `q` lacks an
/// outcome that `p` has, which makes it infinite; [`kl_smoothed`] always has a value.
///
/// Source: S. Kullback and R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22
/// (1951).
pub fn kl_divergence(p: &[f64], q: &[f64]) -> Option<f64> {
    let mut sum = 0.0;
    for (p, q) in normalised(p, q)? {
        if p > 0.0 {
            if q == 0.0 {
                return None;
            }
            sum += p * (p / q).ln();
        }
    }
    Some(sum.max(0.0)) // never below 0 but for rounding
}

/// [`kl_divergence`] after adding `pseudo` to every weight of both sides, so that no outcome is impossible. The value
/// depends on `pseudo` and on the number of outcomes: say both beside it.
pub fn kl_smoothed(p: &[f64], q: &[f64], pseudo: f64) -> Option<f64> {
    let smooth = |weights: &[f64]| weights.iter().map(|weight| weight + pseudo).collect::<Vec<_>>();
    kl_divergence(&smooth(p), &smooth(q))
}

/// Jensen-Shannon divergence in nats: the mean divergence of both from their mean, 0 to `ln 2`.
///
/// Source: J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37
/// (1991).
pub fn js_divergence(p: &[f64], q: &[f64]) -> Option<f64> {
    let part = |x: f64, mean: f64| if x > 0.0 { x * (x / mean).ln() } else { 0.0 };
    let sum: f64 = normalised(p, q)?
        .map(|(p, q)| {
            let mean = (p + q) / 2.0;
            part(p, mean) + part(q, mean)
        })
        .sum();
    Some((sum / 2.0).max(0.0))
}

/// Jensen-Shannon distance, the square root of [`js_divergence`]: 0 to [`JS_DISTANCE_MAX`]. It is what
/// `scipy.spatial.distance.jensenshannon` gives.
///
/// Source: D. M. Endres and J. E. Schindelin, "A new metric for probability distributions", IEEE Transactions on
/// Information Theory 49 (2003).
pub fn js_distance(p: &[f64], q: &[f64]) -> Option<f64> {
    js_divergence(p, q).map(f64::sqrt)
}

/// Total variation distance: the largest difference in the probability of any event, half the sum of differences; 0 to
/// 1.
pub fn total_variation(p: &[f64], q: &[f64]) -> Option<f64> {
    Some((normalised(p, q)?.map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0).min(1.0))
}

/// Hellinger distance, 0 to 1: the Euclidean distance of the square roots of the probabilities, over the square root of
/// 2.
///
/// Source: E. Hellinger, Journal fuer die reine und angewandte Mathematik 136 (1909).
pub fn hellinger(p: &[f64], q: &[f64]) -> Option<f64> {
    let sum: f64 = normalised(p, q)?.map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
    Some((sum / 2.0).sqrt().min(1.0))
}

/// Probabilities of both, outcome by outcome.
fn normalised<'a>(p: &'a [f64], q: &'a [f64]) -> Option<impl Iterator<Item = (f64, f64)> + 'a> {
    let legal = |weights: &[f64]| weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
    let (of_p, of_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let totals = of_p > 0.0 && of_q > 0.0 && of_p.is_finite() && of_q.is_finite();
    (p.len() == q.len() && legal(p) && legal(q) && totals)
        .then(|| p.iter().zip(q).map(move |(p, q)| (p / of_p, q / of_q)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{fixture, near};
    use super::*;

    #[test]
    fn distances_agree_with_scipy() {
        let fixture = fixture();
        assert!(fixture.discrete.len() >= 6);
        for case in &fixture.discrete {
            let (p, q) = (&case.p, &case.q);
            match case.kl {
                Some(expected) => near(&case.name, kl_divergence(p, q).expect("finite"), expected),
                None => assert_eq!(kl_divergence(p, q), None, "{}", case.name),
            }
            near(&case.name, kl_smoothed(p, q, 0.5).expect("a value"), case.kl_smoothed);
            near(&case.name, js_distance(p, q).expect("a value"), case.js_distance);
            near(&case.name, js_divergence(p, q).expect("a value"), case.js_distance.powi(2));
            near(&case.name, total_variation(p, q).expect("a value"), case.total_variation);
            near(&case.name, hellinger(p, q).expect("a value"), case.hellinger);
        }
    }

    #[test]
    fn apart_is_the_maximum_and_nothing_is_no_distribution() {
        let (p, q) = ([3.0, 0.0], [0.0, 0.2]);
        near("js", js_distance(&p, &q).expect("a value"), JS_DISTANCE_MAX);
        assert_eq!((total_variation(&p, &q), hellinger(&p, &q)), (Some(1.0), Some(1.0)));
        for (p, q) in
            [(&[0.0][..], &[1.0][..]), (&[], &[]), (&[1.0], &[1.0, 0.0]), (&[-1.0, 3.0], &[1.0, 1.0])]
        {
            assert_eq!((js_distance(p, q), total_variation(p, q), hellinger(p, q)), (None, None, None));
            assert_eq!(kl_divergence(p, q), None);
        }
        assert_eq!(js_divergence(&[f64::NAN], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_and_in_range(
            pairs in prop::collection::vec((0u32..50, 0u32..50), 1..40),
        ) {
            let p: Vec<f64> = pairs.iter().map(|(p, _)| f64::from(*p)).collect();
            let q: Vec<f64> = pairs.iter().map(|(_, q)| f64::from(*q)).collect();
            prop_assume!(p.iter().sum::<f64>() > 0.0 && q.iter().sum::<f64>() > 0.0);
            for (distance, most) in [
                (js_distance as fn(&[f64], &[f64]) -> Option<f64>, JS_DISTANCE_MAX),
                (total_variation, 1.0),
                (hellinger, 1.0),
            ] {
                let there = distance(&p, &q).expect("a value");
                prop_assert!((there - distance(&q, &p).expect("a value")).abs() < 1e-9);
                prop_assert!((0.0..=most + 1e-12).contains(&there));
                prop_assert_eq!(distance(&p, &p), Some(0.0));
            }
            // The squared Hellinger distance is at most the total variation, and that at most its square root of 2
            // times.
            let (tv, hd) = (total_variation(&p, &q).expect("a value"), hellinger(&p, &q).expect("a value"));
            prop_assert!(hd * hd <= tv + 1e-12 && tv <= hd * std::f64::consts::SQRT_2 + 1e-12);
        }
    }
}
