//! Distances of two samples: Kolmogorov-Smirnov and 1-Wasserstein, exact and in linear time.

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
