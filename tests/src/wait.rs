//! Waiting: the only file of the tests that reads a clock or sleeps.
//!
//! A test waits until something holds that it can check, with a limit. It never waits for a time that is probably long
//! enough. The exceptions are marked where they occur: silence, for example, can only be shown by waiting.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch another process and the kernel from outside, in real time; the product's clock is not theirs"
)]

use std::time::{Duration, Instant};

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits for this time.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Checks every 20 ms until `test` holds. Gives `false` if it does not hold within `limit`.
#[must_use]
pub fn happens(limit: Duration, mut test: impl FnMut() -> bool) -> bool {
    let watch = Stopwatch::start();
    loop {
        if test() {
            return true;
        }
        if watch.elapsed() > limit {
            return false;
        }
        pause(Duration::from_millis(20));
    }
}
