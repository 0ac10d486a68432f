//! How likely a Kolmogorov-Smirnov distance is between samples of one distribution.

/// Cells of the lattice up to which [`ks_p_value`] counts exactly: about 10 ms.
const EXACT_CELLS: usize = 4_000_000;

/// Probability that two samples of these sizes from one continuous law are at least `distance` apart in the two-sample
/// Kolmogorov-Smirnov sense.
///
/// Every order of the pooled sample is a path on a lattice and all are equally likely; the mass that leaves the band in
/// which the distribution functions are closer than `distance` is the answer (J. L. Hodges, "The significance
/// probability of the Smirnov two-sample test", Arkiv för Matematik 3, 1958). Ties make it conservative. Large samples:
/// Kolmogorov's limit.
pub fn ks_p_value(distance: f64, n: usize, m: usize) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_have_an_answer() {
        assert_eq!((ks_p_value(0.5, 0, 3), ks_p_value(0.5, 3, 0)), (None, None));
        assert_eq!(ks_p_value(0.0, 50, 50), Some(1.0));
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
