//! Empirical distribution functions, reduced to what a plot shows.

use crate::page::{Axis, Curve, Plot, Style};

/// Points of a curve, at most.
const POINTS: usize = 200;

/// One row's distribution function on each side: value and the share of values that are at most that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curves {
    pub(super) real: Vec<(f64, f64)>,
    pub(super) synthetic: Vec<(f64, f64)>,
    pub(super) floor: Option<Vec<(f64, f64)>>,
}

/// The distribution function of a sorted sample.
pub(super) fn ecdf(sorted: &[f64]) -> Vec<(f64, f64)> {
    crate::stats::ecdf(sorted, POINTS)
}

impl Curves {
    /// As a plot, the real side first.
    pub(super) fn plot(&self, caption: String, unit: &str) -> Plot {
        let all = || [&self.real, &self.synthetic].into_iter().chain(&self.floor).flatten().map(|&(x, _)| x);
        // Only where it spreads what would else stick to the axis, and no more than the zeros are lost.
        let (low, high) = all()
            .filter(|&x| x > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
        let log = all().all(|x| x >= 0.0) && high > 100.0 * low;
        let curve = |name: &str, points: &Vec<(f64, f64)>| Curve {
            name: name.to_owned(),
            style: Style::Steps,
            // Up from nothing at the smallest value.
            points: points
                .first()
                .map(|&(x, _)| (x, 0.0))
                .into_iter()
                .chain(points.iter().copied())
                .collect(),
        };
        let mut curves = vec![curve("real", &self.real), curve("synthetic", &self.synthetic)];
        curves.extend(self.floor.as_ref().map(|floor| curve("floor (second real set)", floor)));
        let y = Axis { label: "share of values at most this".to_owned(), log: false };
        Plot { caption, x: Axis { label: unit.to_owned(), log }, y, curves }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_function_ends_at_one() {
        assert_eq!(ecdf(&[]), []);
        assert_eq!(ecdf(&[1.0, 1.0, 2.0, 4.0]), [(1.0, 0.5), (2.0, 0.75), (4.0, 1.0)]);
        let many: Vec<f64> = (0..100_000).map(|i| f64::from(i / 10)).collect();
        let points = ecdf(&many);
        assert_eq!(points.len(), POINTS);
        assert_eq!((points[0], points[POINTS - 1]), ((0.0, 1e-4), (9999.0, 1.0)));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }

    #[test]
    fn wide_positive_values_get_a_log_axis() {
        let plot = |real: &[f64]| Curves { real: ecdf(real), ..Curves::default() }.plot("x".into(), "us");
        assert!(plot(&[0.0, 1.0, 1000.0]).x.log);
        assert!(!plot(&[1.0, 50.0]).x.log && !plot(&[-1.0, 1000.0]).x.log && !plot(&[]).x.log);
    }
}
