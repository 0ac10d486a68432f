//! Waiting, in one place: the only file of the tests that looks at a clock or sleeps.
//!
//! A test waits for something that it can ask for, with a limit, never for a time that will surely do. The exceptions are named
//! where they are: silence can only be shown by waiting.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch another process and the kernel from outside, in real time; the product's clock is not theirs"
)]

use std::time::{Duration, Instant};

/// How long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
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

/// Waits this long.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks every 20 ms until `test` holds; `false` if it does not within `limit`.
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
