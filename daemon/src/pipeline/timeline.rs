//! The time of a run: an offset from its start, on a real or on a virtual clock.
//!
//! The player computes with offsets only. On the real timeline one anchor ties offset 0 to the host's two clocks, once.
//! On the virtual timeline only waiting moves the time, and waiting takes no real time. So such a run is as fast as its
//! sessions are generated, and every byte depends on profile, model and seed alone.

use std::time::Duration;

use netssm_replay::clock::{Anchor, Clock, SystemClock, WallTime};

/// The clock that offsets are measured on.
#[derive(Debug)]
pub(crate) enum Timeline {
    /// The clocks of the host.
    Real {
        /// Reads the time and waits.
        clock: SystemClock,
        /// Offset 0 on both clocks.
        anchor: Anchor,
    },
    /// A clock that moves only when the player waits.
    Virtual {
        /// The current offset.
        now: Duration,
        /// Offset 0 on the wall clock.
        start: WallTime,
    },
}

impl Timeline {
    /// Real time, starting now.
    pub(crate) fn real() -> Self {
        let clock = SystemClock::new();
        Self::Real { clock, anchor: Anchor::now(&clock) }
    }

    /// Virtual time that starts at `start`.
    pub(crate) fn from(start: WallTime) -> Self {
        Self::Virtual { now: Duration::ZERO, start }
    }

    /// Whether waiting takes no time.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual { .. })
    }

    /// The current offset.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Real { clock, anchor } => clock.now().since(anchor.mono),
            Self::Virtual { now, .. } => *now,
        }
    }

    /// Wall-clock time of an offset. A step of the wall clock during the run does not change it.
    pub(crate) fn wall_at(&self, offset: Duration) -> WallTime {
        match self {
            Self::Real { anchor, .. } => anchor.wall + offset,
            Self::Virtual { start, .. } => *start + offset,
        }
    }

    /// Returns at `offset`, or at once if that has passed.
    pub(crate) fn sleep_until(&mut self, offset: Duration) {
        match self {
            Self::Real { clock, anchor } => clock.sleep_until(anchor.mono + offset),
            Self::Virtual { now, .. } => *now = (*now).max(offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_by_waiting_and_never_back() {
        let mut time = Timeline::from(WallTime::from_secs(100));
        assert_eq!(time.now(), Duration::ZERO);
        time.sleep_until(Duration::from_secs(3));
        time.sleep_until(Duration::from_secs(1));
        assert_eq!(time.now(), Duration::from_secs(3));
        assert_eq!(time.wall_at(time.now()), WallTime::from_secs(103));
    }

    #[test]
    fn real_time_starts_at_zero_and_waits() {
        let mut time = Timeline::real();
        let soon = time.now() + Duration::from_millis(2);
        time.sleep_until(soon);
        assert!(time.now() >= soon && !time.is_virtual());
    }
}
