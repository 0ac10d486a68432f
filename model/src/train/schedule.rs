//! Learning rate by step: linear warm-up, then half a cosine down to a floor.
//!
//! The cosine form is that of Loshchilov and Hutter, "SGDR" (arXiv 1608.03983), without restarts.

/// The shape of the learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest rate. The warm-up ends with it.
    pub peak: f64,
    /// Rate at the end of the run.
    pub floor: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
}

impl Schedule {
    /// The rate of update number `step`, counted from 0. Past the end it stays at the floor.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / span as f64).min(1.0);
        self.floor + (self.peak - self.floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls_and_never_leaves_its_bounds() {
        let s = Schedule { peak: 1e-3, floor: 1e-4, warmup: 10, total: 110 };
        assert!((s.rate(0) - 1e-4).abs() < 1e-15);
        assert!((s.rate(9) - 1e-3).abs() < 1e-15);
        assert!((s.rate(10) - 1e-3).abs() < 1e-15);
        assert!((s.rate(60) - 5.5e-4).abs() < 1e-12, "half way down");
        assert!((s.rate(110) - 1e-4).abs() < 1e-15);
        assert!((s.rate(9999) - 1e-4).abs() < 1e-15);
        for step in 10..110 {
            assert!(s.rate(step + 1) <= s.rate(step));
        }
    }

    #[test]
    fn degenerate_lengths_divide_by_nothing() {
        let s = Schedule { peak: 1.0, floor: 0.0, warmup: 0, total: 0 };
        assert!(s.rate(0).is_finite() && s.rate(5).is_finite());
    }
}
