//! Kernel density estimation: a smooth curve of a sample's density, for plots.
//!
//! Gaussian kernels, all of one bandwidth by Scott's rule: the sample's standard deviation (divided by n - 1) times n
//! to the power of -1/5. As SciPy's `gaussian_kde` does by default. Heavy-tailed samples (gaps, sizes over decades)
//! want their logarithms here.
//!
//! Source: D. W. Scott, "Multivariate Density Estimation" (Wiley, 1992).

/// Beyond this many bandwidths a kernel adds less than 1e-17 of its height.
const REACH: f64 = 8.9;

/// A density estimate of a sorted sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kde<'a> {
    sorted: &'a [f64],
    bandwidth: f64,
}

impl<'a> Kde<'a> {
    /// With Scott's bandwidth. `None` if there are fewer than two values, or they do not vary.
    pub fn scott(sorted: &'a [f64]) -> Option<Self> {
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let bandwidth = variance.sqrt() * n.powf(-0.2);
        (sorted.len() > 1 && bandwidth > 0.0 && bandwidth.is_finite()).then_some(Self { sorted, bandwidth })
    }

    /// The bandwidth, in the unit of the sample.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// Density at a point, per unit of the sample.
    pub fn density(&self, x: f64) -> f64 {
        let reach = REACH * self.bandwidth;
        let from = self.sorted.partition_point(|&value| value < x - reach);
        let near = self.sorted[from..].iter().take_while(|&&value| value <= x + reach);
        let sum: f64 = near.map(|value| (-0.5 * ((x - value) / self.bandwidth).powi(2)).exp()).sum();
        sum / (self.sorted.len() as f64 * self.bandwidth * (2.0 * std::f64::consts::PI).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{fixture, near};
    use super::*;

    #[test]
    fn bandwidth_and_density_agree_with_scipy() {
        let fixture = fixture();
        assert!(fixture.kde.len() >= 3);
        for case in &fixture.kde {
            let kde = Kde::scott(&case.sample).expect("a density");
            near(&case.name, kde.bandwidth(), case.bandwidth);
            let peak = case.density.iter().copied().fold(0.0, f64::max); // in its unit: densities may be tiny
            for (x, expected) in case.at.iter().zip(&case.density) {
                near(&case.name, kde.density(*x) / peak, expected / peak);
            }
        }
    }

    #[test]
    fn samples_that_do_not_vary_have_no_density() {
        assert_eq!(Kde::scott(&[]), None);
        assert_eq!(Kde::scott(&[1.0]), None);
        assert_eq!(Kde::scott(&[2.0; 9]), None);
    }
}
