//! The two-sample Anderson-Darling test, in the form with midranks, which allows ties.
//!
//! The squared difference of the two empirical distribution functions, weighted so that the tails count as much as the
//! middle, summed over the pooled sample; then less its mean and divided by its standard deviation under the hypothesis
//! that both samples come from one distribution. So the statistic is about 0 (at least about -1.3) for samples of one
//! distribution, whatever their size, and grows *with the size of the samples* where they differ: compare it between
//! pairs of samples of the same sizes only.
//!
//! Source: F. W. Scholz and M. A. Stephens, "K-sample Anderson-Darling tests", Journal of the American Statistical
//! Association 82 (1987), equations 7 and 4, and Table 2 for the significance.

use serde::Serialize;

/// Critical values of the statistic for two samples at [`LEVELS`] (Scholz and Stephens, Table 2 with m = 1).
#[cfg(test)]
#[expect(clippy::approx_constant, reason = "2.718 is a critical value here, not e")]
const CRITICAL: [f64; 7] = [0.325, 1.226, 1.961, 2.718, 3.752, 4.592, 6.546];
/// The significance levels of these values.
#[cfg(test)]
const LEVELS: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];
/// The table's range: below the first and above the last value nothing is known but a bound.
const TABLE: (f64, f64) = (0.325, 6.546);
/// Largest and smallest significance that the table has.
const BOUNDS: (f64, f64) = (0.25, 0.001);
/// The parabola through the logarithm of the levels over the critical values, by least squares: what SciPy interpolates
/// with.
const PARABOLA: [f64; 3] = [-1.077_770_279_820_484, -1.008_226_564_465_251_5, 0.018_198_094_574_111_47];

/// Result of [`anderson_darling`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AndersonDarling {
    /// The statistic, normalised: in standard deviations from its mean for samples of one distribution.
    pub statistic: f64,
    /// How often samples of one distribution are at least as far apart, if their values are independent; interpolated,
    /// between 0.001 and 0.25. Packets of a session are not independent: do not read it as a p-value there.
    pub significance: f64,
    /// Whether `significance` is only a bound.
    pub bound: Option<Bound>,
}

/// Beyond the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The true significance is 0.25 or more.
    AtLeast,
    /// The true significance is 0.001 or less.
    AtMost,
}

/// Compares two sorted samples. `None` if one is empty, both together have fewer than four values (the variance
/// needs them), or all values are equal.
pub fn anderson_darling(a: &[f64], b: &[f64]) -> Option<AndersonDarling> {
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let n = na + nb;
    if a.is_empty() || b.is_empty() || a.len() + b.len() < 4 {
        return None;
    }
    if a[0] == b[0] && a[a.len() - 1] == a[0] && b[b.len() - 1] == a[0] {
        return None;
    }
    let (mut i, mut j) = (0, 0);
    let mut sum = 0.0;
    while i < a.len() || j < b.len() {
        let here = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
            (None, None) => break,
        };
        let (from_i, from_j) = (i, j);
        while a.get(i).is_some_and(|&x| x <= here) {
            i += 1;
        }
        while b.get(j).is_some_and(|&x| x <= here) {
            j += 1;
        }
        // Midranks: of the values that are equal to this one, half count as smaller.
        let ties = (i - from_i + j - from_j) as f64;
        let below = (from_i + from_j) as f64 + ties / 2.0;
        let below_a = (i + from_i) as f64 / 2.0;
        let below_b = (j + from_j) as f64 / 2.0;
        let weight = ties / n / (below * (n - below) - n * ties / 4.0);
        sum += weight * ((n * below_a - below * na).powi(2) / na + (n * below_b - below * nb).powi(2) / nb);
    }
    let raw = sum * (n - 1.0) / n;
    let statistic = (raw - 1.0) / variance(a.len(), b.len()).sqrt(); // 1: samples less one, the mean
    let (significance, bound) = if statistic < TABLE.0 {
        (BOUNDS.0, Some(Bound::AtLeast))
    } else if statistic > TABLE.1 {
        (BOUNDS.1, Some(Bound::AtMost))
    } else {
        let [c0, c1, c2] = PARABOLA;
        ((c0 + (c1 + c2 * statistic) * statistic).exp(), None)
    };
    Some(AndersonDarling { statistic, significance, bound })
}

/// Variance of the statistic for two samples of one distribution without ties (equation 4 with k = 2).
fn variance(na: usize, nb: usize) -> f64 {
    let k = 2.0;
    let n = (na + nb) as f64;
    let inverse = 1.0 / na as f64 + 1.0 / nb as f64;
    // h: sum of 1/i for i below n. g: sum of 1/((n - i) j) for i from 1 to n - 2 and j above i.
    let mut tail = 0.0;
    let mut g = 0.0;
    for i in 2..na + nb {
        tail += 1.0 / (na + nb + 1 - i) as f64;
        g += tail / i as f64;
    }
    let h = tail + 1.0;
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{fixture, near};
    use super::*;

    #[test]
    fn statistic_and_significance_agree_with_scipy() {
        let fixture = fixture();
        assert!(fixture.pairs.len() >= 8);
        let mut bounds = 0;
        for pair in &fixture.pairs {
            let got = anderson_darling(&pair.a, &pair.b);
            let Some(expected) = &pair.anderson else {
                assert_eq!(got, None, "{}", pair.name);
                continue;
            };
            let got = got.expect("a statistic");
            near(&pair.name, got.statistic, expected.statistic);
            near(&pair.name, got.significance, expected.significance);
            bounds += usize::from(got.bound.is_some());
            assert_eq!(got.bound.is_some(), [0.25, 0.001].contains(&expected.significance), "{}", pair.name);
        }
        assert!(bounds > 0 && bounds < fixture.pairs.len());
    }

    #[test]
    fn the_parabola_fits_the_table_of_the_paper() {
        for (critical, level) in CRITICAL.into_iter().zip(LEVELS) {
            let [c0, c1, c2] = PARABOLA;
            let fitted = (c0 + c1 * critical + c2 * critical * critical).exp();
            assert!((fitted / level - 1.0).abs() < 0.05, "{critical}: {fitted} for {level}");
        }
        assert_eq!((TABLE.0, TABLE.1, BOUNDS.0, BOUNDS.1), (CRITICAL[0], CRITICAL[6], LEVELS[0], LEVELS[6]));
    }

    #[test]
    fn what_has_no_statistic_has_none() {
        assert_eq!(anderson_darling(&[], &[1.0, 2.0, 3.0, 4.0]), None);
        assert_eq!(anderson_darling(&[1.0], &[2.0, 3.0]), None);
        assert_eq!(anderson_darling(&[1.0; 5], &[1.0; 9]), None);
    }
}
