//! Measures durations for the rates and times in reports. This is the only file of training that reads a clock. No
//! result depends on it.

use std::time::Instant;

/// A running stopwatch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// A stopwatch that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock file of training")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start. Always above zero, so that it can be a divisor.
    pub(super) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64().max(1e-9)
    }
}
