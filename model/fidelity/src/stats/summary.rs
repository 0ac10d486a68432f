//! A sample in a few numbers, as NumPy's `mean`, `std` and `quantile` give them.

use serde::Serialize;

/// A sample in a few numbers, in its own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Values.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the sample itself (divided by n, as NumPy does).
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Quantiles with linear interpolation (Hyndman and Fan's type 7, as NumPy does).
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// See `p10`.
    pub p90: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Of a sorted sample; `None` if it is empty.
    pub fn of(sorted: &[f64]) -> Option<Self> {
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let variance = sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let quantile = |share| quantile(sorted, share).unwrap_or(mean); // there is at least one value
        Some(Self {
            n: sorted.len() as u64,
            mean,
            std: variance.sqrt(),
            min,
            p10: quantile(0.1),
            p50: quantile(0.5),
            p90: quantile(0.9),
            max,
        })
    }
}

/// The value below which a share (0 to 1) of a sorted sample lies, with linear interpolation (Hyndman and Fan's type
/// 7); `None` if the sample is empty.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let low = (at as usize).min(last);
    let high = (low + 1).min(last);
    Some(sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64))
}
