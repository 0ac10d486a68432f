//! Area under the ROC curve: how well a score tells two kinds apart, with a confidence interval.
//!
//! The share of pairs, one of either kind, in which the positive one has the higher score; a tie counts a half (the Mann-Whitney
//! statistic). 0.5: no better than chance. The 95 % interval takes the scored things as independent of each other.
//!
//! Sources: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988), for the variance, computed from midranks as X. Sun and W. Xu,
//! IEEE Signal Processing Letters 21 (2014), do; R. G. Newcombe, Statistics in Medicine 25 (2006), method 5, where that variance is 0:
//! when the score tells all apart, DeLong's interval would be a point, however few they are.

use serde::Serialize;

use super::Interval;

/// The normal distribution's quantile for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Result of [`auc`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Auc {
    /// The area, 0 to 1.
    pub auc: f64,
    /// Its standard error by DeLong.
    pub std_error: f64,
    /// 95 % confidence interval, within 0 to 1.
    pub interval: Interval,
    /// How the interval was made.
    pub method: IntervalMethod,
}

/// How the interval of an [`Auc`] was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IntervalMethod {
    /// 1.96 standard errors to either side, cut to 0 to 1.
    Delong,
    /// Newcombe's method 5, as the standard error is 0.
    Newcombe,
}

/// Of the scores of positives and negatives, in any order. `None` if there are none of one kind, or a score is not a number.
pub fn auc(positives: &[f64], negatives: &[f64]) -> Option<Auc> {
    let (m, n) = (positives.len(), negatives.len());
    if m == 0 || n == 0 || positives.iter().chain(negatives).any(|score| score.is_nan()) {
        return None;
    }
    // Placement of each score: the share of the other kind that it beats; from its rank among all less that in its own kind.
    let together = midranks(&[positives, negatives].concat());
    let placements = |of: &[f64], all: &[f64], others: usize| -> Vec<f64> {
        midranks(of).iter().zip(all).map(|(own, all)| (all - own) / others as f64).collect()
    };
    let of_positives = placements(positives, &together[..m], n);
    let of_negatives = placements(negatives, &together[m..], m);
    let auc = of_positives.iter().sum::<f64>() / m as f64;
    let std_error = (variance(&of_positives) / m as f64 + variance(&of_negatives) / n as f64).sqrt();
    let (interval, method) = if std_error > 0.0 {
        let (low, high) = ((auc - Z * std_error).max(0.0), (auc + Z * std_error).min(1.0));
        (Interval { low, high }, IntervalMethod::Delong)
    } else {
        (newcombe(auc, m as f64, n as f64), IntervalMethod::Newcombe)
    };
    Some(Auc { auc, std_error, interval, method })
}

/// Ranks from 1, the mean of their ranks for those that are equal; in the order of the scores.
fn midranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut before = 0;
    for run in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let rank = before as f64 + (run.len() + 1) as f64 / 2.0;
        run.iter().for_each(|&at| ranks[at] = rank);
        before += run.len();
    }
    ranks
}

/// Of a sample, divided by n - 1; 0 for a single value.
fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)
}

/// The areas from which the one seen is `Z` standard errors away, the standard error being Hanley and McNeil's at that area.
fn newcombe(seen: f64, m: f64, n: f64) -> Interval {
    let star = (m + n) / 2.0 - 1.0;
    let far = |area: f64| {
        let spread = 1.0 + star * (1.0 - area) / (2.0 - area) + star * area / (1.0 + area);
        (seen - area).abs() > Z * (area * (1.0 - area) * spread / (m * n)).sqrt()
    };
    let edge = |mut outside: f64, mut inside: f64| {
        if !far(outside) {
            return outside;
        }
        for _ in 0..60 {
            let middle = (outside + inside) / 2.0;
            if far(middle) { outside = middle } else { inside = middle }
        }
        inside
    };
    Interval { low: edge(0.0, seen), high: edge(1.0, seen) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{fixture, near};
    use super::*;

    #[test]
    fn area_agrees_with_scikit_learn_and_its_error_with_the_definition() {
        let fixture = fixture();
        assert!(fixture.auc.len() >= 4);
        for case in &fixture.auc {
            let got = auc(&case.positives, &case.negatives).expect("an area");
            near(&case.name, got.auc, case.auc);
            near(&case.name, got.std_error, case.std_error);
            let Interval { low, high } = got.interval;
            assert!(0.0 <= low && low <= got.auc && got.auc <= high && high <= 1.0, "{}: {got:?}", case.name);
            assert!(low < high, "{}: {got:?}", case.name);
            near(&case.name, low, case.low);
            near(&case.name, high, case.high);
        }
    }

    #[test]
    fn few_that_are_told_apart_are_no_certainty() {
        let got = auc(&[2.0, 3.0, 4.0], &[0.0, 1.0]).expect("an area");
        assert_eq!((got.auc, got.std_error, got.method), (1.0, 0.0, IntervalMethod::Newcombe));
        assert!(got.interval.high == 1.0 && got.interval.low < 0.7, "{got:?}");
        let many = auc(&[1.0; 400], &[0.0; 400]).expect("an area");
        assert!(many.interval.low > 0.98, "{many:?}");
        let same = auc(&[1.0; 4], &[1.0; 4]).expect("an area");
        assert!(same.auc == 0.5 && same.interval.low < 0.3 && same.interval.high > 0.7, "{same:?}");
    }

    #[test]
    fn one_kind_alone_has_no_area() {
        assert_eq!(auc(&[], &[1.0]), None);
        assert_eq!(auc(&[1.0], &[]), None);
        assert_eq!(auc(&[f64::NAN], &[1.0]), None);
        assert_eq!(auc(&[1.0], &[0.0]).map(|auc| auc.auc), Some(1.0));
    }
}
