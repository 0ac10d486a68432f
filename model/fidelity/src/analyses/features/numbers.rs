//! Statistics of one sample, as features: [`NONE`] where there are too few values.

use super::NONE;

/// Mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { NONE } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Standard deviation of the sample itself.
pub(super) fn std(values: &[f64]) -> f64 {
    if values.is_empty() {
        return NONE;
    }
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Largest value.
pub(super) fn max(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::max).unwrap_or(NONE)
}

/// Smallest value.
pub(super) fn min(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(NONE)
}

/// The median; of an even number of values the lower one in the middle. Reorders.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let Some(middle) = values.len().checked_sub(1).map(|last| last / 2) else { return NONE };
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// A share of cases.
pub(super) fn share(hits: usize, of: usize) -> f64 {
    if of == 0 { NONE } else { hits as f64 / of as f64 }
}

/// Shannon entropy of a sample's values in bits: 0 where all are the same. Reorders.
///
/// Source: C. E. Shannon, "A mathematical theory of communication", 1948.
pub(super) fn entropy(values: &mut [u32]) -> f64 {
    if values.is_empty() {
        return NONE;
    }
    values.sort_unstable();
    let n = values.len() as f64;
    let bits = |run: &[u32]| {
        let p = run.len() as f64 / n;
        -p * p.log2()
    };
    values.chunk_by(|a, b| a == b).map(bits).sum::<f64>() + 0.0
}

/// Correlation of each value's logarithm (of 1 + the value) with the next one's, -1 to 1: how gaps come in bursts. 0
/// for values drawn one by one, and where they do not vary.
pub(super) fn lag1(values: &[f64]) -> f64 {
    if values.len() < 3 {
        return NONE;
    }
    let logs: Vec<f64> = values.iter().map(|v| v.max(0.0).ln_1p()).collect();
    let mean = mean(&logs);
    let square: f64 = logs.iter().map(|v| (v - mean).powi(2)).sum();
    let next: f64 = logs.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if square > 0.0 { next / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_have_known_values() {
        assert_eq!((mean(&[1.0, 2.0, 6.0]), std(&[2.0, 4.0])), (3.0, 1.0));
        assert_eq!((median(&mut [9.0, 1.0, 5.0]), median(&mut [4.0, 1.0])), (5.0, 1.0));
        assert_eq!((min(&[3.0, 1.0]), max(&[3.0, 1.0]), share(1, 4)), (1.0, 3.0, 0.25));
        assert_eq!(
            (entropy(&mut [5, 7, 5, 7]), entropy(&mut [5, 5]), entropy(&mut [1, 2, 3, 4])),
            (1.0, 0.0, 2.0)
        );
        // Logarithms 0, L, 0, L: deviations ± L / 2, neighbours always opposite.
        assert!((lag1(&[0.0, 9.0, 0.0, 9.0]) + 0.75).abs() < 1e-12);
        assert_eq!(lag1(&[3.0, 3.0, 3.0]), 0.0);
    }

    #[test]
    fn nothing_is_not_a_number() {
        assert_eq!([mean(&[]), std(&[]), min(&[]), max(&[]), median(&mut []), share(0, 0)], [NONE; 6]);
        assert_eq!([entropy(&mut []), lag1(&[1.0, 2.0])], [NONE; 2]);
    }
}
