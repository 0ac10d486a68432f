//! How long something took: the only look at a clock in training, for rates and times left in reports.
//! No result depends on it.

use std::time::Instant;

/// A running stopwatch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// One that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock file of training")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start, a little above zero at least, so that it can be divided by.
    pub(super) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64().max(1e-9)
    }
}
