//! The pacer: says when the next packet may leave. No clock inside.
//!
//! Every deadline is computed from one anchor and the packet's own place in the schedule, never from the
//! packet before it. A late packet is late by itself and moves nothing; errors cannot add up, however long
//! the run. This is what the replay tools before us got wrong (rates that drift after hours, pacing that
//! stops in the middle of a file): they slept between packets.
//!
//! ```
//! use netssm_replay::clock::MonoTime;
//! use netssm_replay::pace::{Pace, Pacer, Speed};
//! use std::time::Duration;
//! let pacer = Pacer::new(MonoTime(1_000), Speed::factor(2.0)?);
//! let offset = Duration::from_nanos(500); // half of it at double speed
//! assert_eq!(pacer.next(offset, MonoTime(1_100)), Pace::WaitUntil(MonoTime(1_250)));
//! assert_eq!(pacer.next(offset, MonoTime(1_260)), Pace::Send { late: Duration::from_nanos(10) });
//! # Ok::<(), netssm_replay::pace::SpeedError>(())
//! ```

use std::time::Duration;

use crate::clock::MonoTime;

/// How fast the schedule runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// By this factor; 1 is real time. Always within [`Speed::MIN`] and [`Speed::MAX`].
    Factor(Factor),
    /// Without waiting at all.
    Top,
}

/// A checked speed factor; made by [`Speed::factor`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor(f64);

impl Factor {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// A speed that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("speed {got} is outside of {} to {}", Speed::MIN, Speed::MAX)]
pub struct SpeedError {
    /// What was given.
    pub got: f64,
}

impl Speed {
    /// Slowest factor: a second takes 17 minutes.
    pub const MIN: f64 = 1e-3;
    /// Fastest factor; beyond it, [`Speed::Top`] is what is meant.
    pub const MAX: f64 = 1e6;

    /// A speed by factor.
    ///
    /// # Errors
    /// [`SpeedError`] for a factor that is not a number within [`Speed::MIN`] and [`Speed::MAX`].
    pub fn factor(factor: f64) -> Result<Speed, SpeedError> {
        if (Speed::MIN..=Speed::MAX).contains(&factor) {
            Ok(Speed::Factor(Factor(factor)))
        } else {
            Err(SpeedError { got: factor })
        }
    }
}

/// What to do with the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It is time.
    Send {
        /// How long past its deadline it is; always zero at [`Speed::Top`].
        late: Duration,
    },
    /// Ask again at this moment.
    WaitUntil(MonoTime),
}

/// Deadlines from one anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacer {
    anchor: MonoTime,
    speed: Speed,
}

impl Pacer {
    /// A schedule whose offset zero is at `anchor`.
    pub fn new(anchor: MonoTime, speed: Speed) -> Pacer {
        Pacer { anchor, speed }
    }

    /// The anchor.
    pub fn anchor(&self) -> MonoTime {
        self.anchor
    }

    /// The speed.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// When the packet at `offset` of the schedule is due. At speed 1 it is exact; at others it is rounded to
    /// the nearest nanosecond for the first 104 days of schedule (2^53 ns, what a double holds) and to a few
    /// nanoseconds for decades after, and the rounding of one packet never reaches the next. At
    /// [`Speed::Top`] everything is due at the anchor.
    pub fn deadline(&self, offset: Duration) -> MonoTime {
        match self.speed {
            Speed::Top => self.anchor,
            Speed::Factor(Factor(1.0)) => self.anchor + offset,
            Speed::Factor(Factor(factor)) => {
                let scaled = (offset.as_nanos() as f64 / factor).round(); // `as` saturates
                self.anchor + Duration::from_nanos(scaled as u64)
            }
        }
    }

    /// Whether the packet at `offset` of the schedule may leave at `now`. An exact hit is on time.
    pub fn next(&self, offset: Duration, now: MonoTime) -> Pace {
        if self.speed == Speed::Top {
            return Pace::Send { late: Duration::ZERO };
        }
        let deadline = self.deadline(offset);
        if now >= deadline { Pace::Send { late: now.since(deadline) } } else { Pace::WaitUntil(deadline) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, MockClock, WallTime};
    use proptest::prelude::*;

    /// Plays a schedule on a clock that oversleeps by an unlucky amount each time and takes a while per
    /// packet.
    fn play(pacer: &Pacer, clock: &MockClock, gap: Duration, packets: u32) -> (Duration, Duration) {
        let (mut worst, mut last) = (Duration::ZERO, Duration::ZERO);
        for i in 0..packets {
            let offset = gap * i;
            loop {
                match pacer.next(offset, clock.now()) {
                    Pace::Send { late } => {
                        (worst, last) = (worst.max(late), late);
                        break;
                    }
                    Pace::WaitUntil(at) => {
                        clock.sleep_until(at);
                        clock.advance(Duration::from_nanos(u64::from(i % 53) * 1_000)); // wake-up latency
                    }
                }
            }
            clock.advance(Duration::from_nanos(700)); // the send itself
        }
        (worst, last)
    }

    #[test]
    fn nothing_adds_up_over_ten_simulated_hours() {
        let gap = Duration::from_micros(7_200);
        let packets = 5_000_000; // 7.2 ms apart: 10 hours
        for (factor, speedup) in [(1.0, 1), (4.0, 4)] {
            let clock = MockClock::new(MonoTime(123), WallTime(0));
            let pacer = Pacer::new(clock.now(), Speed::factor(factor).unwrap());
            let (worst, last) = play(&pacer, &clock, gap, packets);
            assert!(worst <= Duration::from_micros(53), "{worst:?}");
            assert!(last <= Duration::from_micros(53), "{last:?}");
            let took = clock.now().since(pacer.anchor());
            let planned = gap * (packets - 1) / speedup;
            assert!(
                took >= planned && took - planned < Duration::from_micros(60),
                "{took:?} for {planned:?}"
            );
        }
    }

    #[test]
    fn a_stall_is_caught_up_without_moving_the_schedule() {
        let clock = MockClock::new(MonoTime(0), WallTime(0));
        let pacer = Pacer::new(clock.now(), Speed::factor(1.0).unwrap());
        let gap = Duration::from_millis(1);
        clock.advance(Duration::from_millis(100));
        assert_eq!(pacer.next(gap, clock.now()), Pace::Send { late: Duration::from_millis(99) });
        assert_eq!(pacer.next(gap * 101, clock.now()), Pace::WaitUntil(MonoTime(101_000_000)));
    }

    #[test]
    fn years_of_schedule_stay_exact_at_speed_one() {
        let pacer = Pacer::new(MonoTime(17), Speed::factor(1.0).unwrap());
        let years = Duration::new(10 * 365 * 86_400, 1);
        assert_eq!(pacer.deadline(years), MonoTime(17 + 315_360_000_000_000_001));
    }

    #[test]
    fn impossible_speeds_are_refused_by_name() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7, 1e-4] {
            let error = Speed::factor(bad).unwrap_err();
            assert!(error.to_string().ends_with("is outside of 0.001 to 1000000"), "{error}");
        }
    }

    #[test]
    fn top_speed_never_waits() {
        let pacer = Pacer::new(MonoTime(50), Speed::Top);
        assert_eq!(pacer.next(Duration::MAX, MonoTime(0)), Pace::Send { late: Duration::ZERO });
    }

    proptest! {
        #[test]
        fn deadlines_keep_the_order_of_the_schedule(
            factor in 1e-3..1e6f64, a in 0u64..1 << 60, b in 0u64..1 << 60, anchor in 0u64..1 << 60,
        ) {
            let pacer = Pacer::new(MonoTime(anchor), Speed::factor(factor).unwrap());
            let (early, late) = (a.min(b), a.max(b));
            let d = |ns| pacer.deadline(Duration::from_nanos(ns));
            prop_assert!(d(early) <= d(late));
            prop_assert!(d(0) == MonoTime(anchor));
            let expected = early as f64 / factor;
            let got = d(early).since(MonoTime(anchor)).as_nanos() as f64;
            prop_assert!((got - expected).abs() <= 1.0 + expected * 1e-15, "{} for {}", got, expected);
        }
    }
}
