//! The pacer: when each packet of a session is due, in whole nanoseconds. No clock inside.
//!
//! Every deadline is computed from the session's start and the packet's own time in it, never from the packet before. A
//! late packet delays no other, and errors do not add up. Tools that sleep between packets drift: their rates are wrong
//! after hours.
//!
//! Deadlines are offsets from the start of the run. The player ties that start to the monotonic clock once
//! ([`Anchor`](crate::clock::Anchor)) and sleeps until absolute times.
//!
//! ```
//! use netssm_replay::pace::{Pacer, Speed};
//! use std::time::Duration;
//! let pacer = Pacer::new(Duration::from_nanos(1_000), Speed::factor(2.0)?);
//! let offset = Duration::from_nanos(500); // half of it at double speed
//! assert_eq!(pacer.deadline(offset), Duration::from_nanos(1_250));
//! # Ok::<(), netssm_replay::pace::SpeedError>(())
//! ```

use std::time::Duration;

/// How fast time inside a session runs.
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

    /// `nanos` divided by the factor, rounded to the nearest nanosecond, a half up; saturates at 584 years.
    ///
    /// Exact: a double within the limits of a speed is a whole number below 2^53 over a power of two, 2^33 to 2^62.
    fn divide(self, nanos: u64) -> u64 {
        const EXPLICIT_BITS: u32 = 52;
        let bits = self.0.to_bits();
        let mantissa = u128::from(bits & ((1 << EXPLICIT_BITS) - 1) | 1 << EXPLICIT_BITS);
        let exponent = (bits >> EXPLICIT_BITS) as u32; // the sign is 0
        let shift = (1023 + EXPLICIT_BITS).saturating_sub(exponent);
        let quotient = ((u128::from(nanos) << shift) + mantissa / 2) / mantissa;
        u64::try_from(quotient).unwrap_or(u64::MAX)
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
    /// Fastest factor. Use [`Speed::Top`] beyond it.
    pub const MAX: f64 = 1e6;
    /// As fast as the session says.
    pub const REAL_TIME: Speed = Speed::Factor(Factor(1.0));

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

/// The deadlines of one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacer {
    /// When the moment `from` of the session is due.
    base: Duration,
    from: Duration,
    speed: Speed,
}

impl Pacer {
    /// Of a session that starts at `start` of the run.
    pub fn new(start: Duration, speed: Speed) -> Pacer {
        Pacer { base: start, from: Duration::ZERO, speed }
    }

    /// When the packet at `offset` of the session is due, from the start of the run. At speed 1 it is exact, at others
    /// rounded to the nearest nanosecond, and the rounding of one packet never reaches the next. At [`Speed::Top`]
    /// everything is due at the session's start. Saturates after 584 years.
    pub fn deadline(&self, offset: Duration) -> Duration {
        self.base.saturating_add(self.scaled(offset.saturating_sub(self.from)))
    }

    /// Changes the speed from here on: the packet at `next` of the session stays due when it was. What lies before it is
    /// due with it.
    pub fn set_speed(&mut self, speed: Speed, next: Duration) {
        self.base = self.deadline(next);
        self.from = next;
        self.speed = speed;
    }

    fn scaled(&self, offset: Duration) -> Duration {
        match self.speed {
            Speed::Top => Duration::ZERO,
            Speed::REAL_TIME => offset,
            Speed::Factor(factor) => {
                let nanos = u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
                Duration::from_nanos(factor.divide(nanos))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, MockClock, MonoTime, WallTime};
    use proptest::prelude::*;

    const NS: Duration = Duration::from_nanos(1);

    fn pacer(start: u64, factor: f64) -> Pacer {
        Pacer::new(NS * u32::try_from(start).unwrap(), Speed::factor(factor).unwrap())
    }

    /// Plays a session on a clock that oversleeps by an unlucky amount each time and takes a while per packet. The
    /// worst lateness, and the last.
    fn play(pacer: &Pacer, clock: &MockClock, gap: Duration, packets: u32) -> (Duration, Duration) {
        let anchor = clock.now();
        let (mut worst, mut last) = (Duration::ZERO, Duration::ZERO);
        for i in 0..packets {
            let due = anchor + pacer.deadline(gap * i);
            if clock.now() < due {
                clock.sleep_until(due);
                clock.advance(Duration::from_nanos(u64::from(i % 53) * 1_000)); // wake-up latency
            }
            last = clock.now().since(due);
            worst = worst.max(last);
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
            let (worst, last) = play(&pacer(0, factor), &clock, gap, packets);
            assert!(worst <= Duration::from_micros(53), "{worst:?}");
            assert!(last <= Duration::from_micros(53), "{last:?}");
            let took = clock.now().since(MonoTime(123));
            let planned = gap * (packets - 1) / speedup;
            assert!(
                took >= planned && took - planned < Duration::from_micros(60),
                "{took:?} for {planned:?}"
            );
        }
    }

    #[test]
    fn years_stay_exact() {
        let years = Duration::new(10 * 365 * 86_400, 1);
        assert_eq!(pacer(17, 1.0).deadline(years), years + 17 * NS);
        // What a double of seconds or of nanoseconds does not hold.
        assert_eq!(pacer(0, 0.5).deadline(years), 2 * years);
        assert_eq!(pacer(0, 2.0).deadline(2 * years), years);
        assert_eq!(pacer(0, 1e6).deadline(1_000_000 * NS), NS);
    }

    #[test]
    fn quotients_are_rounded_to_the_nearest_and_a_half_up() {
        let at = |factor: f64, nanos: u32| pacer(0, factor).deadline(NS * nanos).as_nanos();
        assert_eq!([at(2.0, 1), at(2.0, 2), at(2.0, 3), at(3.0, 4), at(3.0, 5)], [1, 1, 2, 1, 2]);
        assert_eq!((at(1.5, 3), at(1e-3, 7), at(1e6, 499_999), at(1e6, 500_000)), (2, 7_000, 0, 1));
    }

    #[test]
    fn a_change_of_speed_moves_no_packet_back() {
        let mut pacer = pacer(100, 1.0);
        let before = pacer.deadline(10 * NS);
        pacer.set_speed(Speed::factor(0.5).unwrap(), 10 * NS);
        assert_eq!((pacer.deadline(10 * NS), pacer.deadline(30 * NS)), (before, before + 40 * NS));
        pacer.set_speed(Speed::Top, 30 * NS);
        assert_eq!(pacer.deadline(90 * NS), before + 40 * NS);
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
        assert_eq!(Pacer::new(50 * NS, Speed::Top).deadline(Duration::MAX), 50 * NS);
        assert_eq!(pacer(0, 1e-3).deadline(Duration::MAX), Duration::from_nanos(u64::MAX));
    }

    proptest! {
        #[test]
        fn deadlines_keep_the_order_of_the_session(
            factor in 1e-3..=1e6f64, a in 0u64..1 << 60, b in 0u64..1 << 60, start: u32,
        ) {
            let pacer = pacer(start.into(), factor);
            let (early, late) = (a.min(b), a.max(b));
            let due = |ns| pacer.deadline(Duration::from_nanos(ns));
            prop_assert!(due(early) <= due(late));
            prop_assert_eq!(due(0), NS * start);
        }

        /// As doubles of seconds gave them, but where the quotient lies within their error of half a nanosecond.
        #[test]
        fn an_hour_is_as_doubles_have_it(factor in 1e-3..=1e3f64, ns in 0u64..3_600_000_000_000) {
            let offset = Duration::from_nanos(ns);
            let doubles = Duration::from_secs_f64(offset.as_secs_f64() / factor).as_nanos();
            let exact = pacer(0, factor).deadline(offset).as_nanos();
            let allowed = 1 + exact / (1 << 50);
            prop_assert!(exact.abs_diff(doubles) <= allowed, "{} against {}", exact, doubles);
        }
    }
}
