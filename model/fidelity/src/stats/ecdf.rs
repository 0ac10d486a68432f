//! Empirical distribution functions as points, few enough for a plot.

/// Points `(value, share of the sample at or below it)` of a sorted sample, one a distinct value; where these are more
/// than `most`, only so many that the function between two points is nowhere more than `1 / (most - 1)` off. The first
/// and the last value are always among them (`most` below 2 counts as 2). Drawn as steps: constant up to the next
/// point.
pub fn ecdf(sorted: &[f64], most: usize) -> Vec<(f64, f64)> {
    let buckets = most.max(2) - 1;
    let distinct = sorted.chunk_by(|a, b| a == b);
    let thin = distinct.clone().take(most.max(2) + 1).count() > most.max(2);
    let mut points = Vec::new();
    let (mut below, mut last) = (0, None);
    for run in distinct {
        below += run.len();
        // The bucket of this share; 1 has one of its own, so there are `most` of them.
        let bucket = below * buckets / sorted.len();
        if !thin || last != Some(bucket) {
            points.push((run[0], below as f64 / sorted.len() as f64));
        }
        last = Some(bucket);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{fixture, near};
    use super::*;

    #[test]
    fn points_agree_with_scipy() {
        for pair in &fixture().pairs {
            let points = ecdf(&pair.a, usize::MAX);
            assert_eq!(points.len(), pair.ecdf.len(), "{}", pair.name);
            for (got, expected) in points.iter().zip(&pair.ecdf) {
                near(&pair.name, got.0, expected.0);
                near(&pair.name, got.1, expected.1);
            }
        }
    }

    #[test]
    fn thinned_points_are_few_and_near() {
        let sample: Vec<f64> = (0..10_000).map(|i| (f64::from(i) / 100.0).exp().floor()).collect();
        let all = ecdf(&sample, usize::MAX);
        for most in [2, 3, 50, 300] {
            let points = ecdf(&sample, most);
            assert!(points.len() <= most, "{most}: {}", points.len());
            assert_eq!((points[0].0, points.last()), (all[0].0, all.last()));
            let at = |x: f64| points.iter().rev().find(|p| p.0 <= x).expect("the first is the smallest").1;
            let off = all.iter().map(|&(x, share)| (share - at(x)).abs()).fold(0.0, f64::max);
            assert!(off <= 1.0 / (most as f64 - 1.0) + 1e-12, "{most}: {off}");
        }
        assert_eq!(ecdf(&[], 10), []);
        assert_eq!(ecdf(&[7.0, 7.0], 10), [(7.0, 1.0)]);
    }
}
