//! The clock: the only file of the crate that reads the time or sleeps.
//!
//! Everything that must be on time gets a [`Clock`] or a time as argument, so that tests run hours of
//! schedule in microseconds with [`MockClock`] and nothing depends on a clock that it does not show.
//! [`MonoTime`] is what deadlines are made of: `CLOCK_MONOTONIC` never jumps. [`WallTime`] is what captures
//! and labels carry; an [`Anchor`] ties one to the other once, so that a step of the wall clock in the middle
//! of a run (NTP, an operator) cannot reorder the packets of a capture.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

const NANOS: i64 = 1_000_000_000;

/// A point of `CLOCK_MONOTONIC`, in nanoseconds since its arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(pub u64);

impl MonoTime {
    /// How long `earlier` is before `self`; zero if it is not.
    pub fn since(self, earlier: MonoTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = MonoTime;

    /// Saturates 584 years after the start of the clock.
    fn add(self, by: Duration) -> MonoTime {
        MonoTime(self.0.saturating_add(saturating_nanos(by)))
    }
}

impl Sub<Duration> for MonoTime {
    type Output = MonoTime;

    /// Saturates at the start of the clock.
    fn sub(self, by: Duration) -> MonoTime {
        MonoTime(self.0.saturating_sub(saturating_nanos(by)))
    }
}

fn saturating_nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// A point of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// From whole seconds since the epoch.
    pub fn from_secs(secs: i64) -> WallTime {
        WallTime(secs.saturating_mul(NANOS))
    }

    /// Nanoseconds since the epoch.
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn secs(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Nanoseconds within the second, 0 to 999,999,999.
    pub fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS) as u32
    }

    /// UTC in the form that file names carry: `20260131T235959.000000001Z`.
    pub fn compact_utc(self) -> String {
        let secs = self.secs();
        let (year, month, day) = civil_from_days(secs.div_euclid(86_400));
        let of_day = secs.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let nanos = self.subsec_nanos();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{nanos:09}Z")
    }
}

/// Date of the proleptic Gregorian calendar for a day number (0 = 1970-01-01). Counts in eras of 400 years
/// that start on 1 March, so that the leap day is the last of its year; see "chrono-compatible low-level date
/// algorithms" (H. Hinnant) for the derivation.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Add<Duration> for WallTime {
    type Output = WallTime;

    /// Saturates in the year 2262.
    fn add(self, by: Duration) -> WallTime {
        WallTime(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.compact_utc())
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The moment on the monotonic clock.
    pub mono: MonoTime,
    /// The same moment on the wall clock.
    pub wall: WallTime,
}

impl Anchor {
    /// Reads both clocks.
    pub fn now(clock: &dyn Clock) -> Anchor {
        Anchor { mono: clock.now(), wall: clock.wall() }
    }

    /// Wall-clock time of a monotonic moment as this anchor sees it, before or after itself.
    pub fn wall_at(&self, at: MonoTime) -> WallTime {
        if at >= self.mono {
            self.wall + at.since(self.mono)
        } else {
            let before = i64::try_from(self.mono.since(at).as_nanos()).unwrap_or(i64::MAX);
            WallTime(self.wall.0.saturating_sub(before))
        }
    }
}

/// What may be asked of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The monotonic clock.
    fn now(&self) -> MonoTime;

    /// The wall clock.
    fn wall(&self) -> WallTime;

    /// Returns at `deadline`, or at once when that has passed. Signals do not shorten it: who must react to a
    /// request to stop sleeps in slices.
    fn sleep_until(&self, deadline: MonoTime);
}

/// The kernel's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock {
    spin: Duration,
}

impl SystemClock {
    /// A clock that sleeps all the way.
    pub fn new() -> SystemClock {
        SystemClock::default()
    }

    /// A clock that wakes `spin` before each deadline and reads the clock in a loop until it is there. It
    /// takes out the wake-up latency of the scheduler (50 us on a busy stock kernel) for the price of a core
    /// that is busy for that long before every packet.
    pub fn with_spin(spin: Duration) -> SystemClock {
        SystemClock { spin }
    }

    /// Asks the kernel not to delay the wake-ups of the calling thread: a thread starts with 50 us of timer
    /// slack, by which the kernel may wake it late to save power. Call it once on every thread that paces.
    ///
    /// # Errors
    /// What `prctl(PR_SET_TIMERSLACK)` says; pacing works without it, only less sharply.
    pub fn sharpen_this_thread() -> std::io::Result<()> {
        Ok(nix::sys::prctl::set_timerslack(1)?)
    }
}

fn read(clock: ClockId) -> TimeSpec {
    clock_gettime(clock).expect("CLOCK_MONOTONIC and CLOCK_REALTIME are always there on Linux")
}

impl Clock for SystemClock {
    fn now(&self) -> MonoTime {
        let t = read(ClockId::CLOCK_MONOTONIC);
        MonoTime((t.tv_sec() * NANOS + t.tv_nsec()) as u64)
    }

    fn wall(&self) -> WallTime {
        let t = read(ClockId::CLOCK_REALTIME);
        WallTime(t.tv_sec() * NANOS + t.tv_nsec())
    }

    fn sleep_until(&self, deadline: MonoTime) {
        let wake = deadline - self.spin;
        if wake > self.now() {
            let at = TimeSpec::new((wake.0 / NANOS as u64) as i64, (wake.0 % NANOS as u64) as i64);
            let flags = ClockNanosleepFlags::TIMER_ABSTIME;
            // An absolute deadline stays right when a signal interrupts: just go back to sleep.
            while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &at) == Err(Errno::EINTR) {}
        }
        while self.now() < deadline {
            std::hint::spin_loop();
        }
    }
}

/// A clock for tests: stands still until it is told to move, and sleeping moves it.
#[derive(Debug)]
pub struct MockClock {
    state: Mutex<(MonoTime, WallTime)>,
}

impl MockClock {
    /// Starts with the given times.
    pub fn new(mono: MonoTime, wall: WallTime) -> MockClock {
        MockClock { state: Mutex::new((mono, wall)) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        *state = (state.0 + by, state.1 + by);
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn step_wall(&self, to: WallTime) {
        self.lock().1 = to;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (MonoTime, WallTime)> {
        // A panic elsewhere cannot leave two plain numbers half written.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for MockClock {
    fn now(&self) -> MonoTime {
        self.lock().0
    }

    fn wall(&self) -> WallTime {
        self.lock().1
    }

    fn sleep_until(&self, deadline: MonoTime) {
        let ahead = deadline.since(self.now());
        self.advance(ahead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_written_as_date_says() {
        // From `date -u -d @N +%Y%m%dT%H%M%S`.
        for (secs, text) in [
            (0, "19700101T000000"),
            (951_782_399, "20000228T235959"),
            (951_782_400, "20000229T000000"),
            (1_709_164_800, "20240229T000000"),
            (1_767_225_599, "20251231T235959"),
            (4_107_542_400, "21000301T000000"),
            (-1, "19691231T235959"),
        ] {
            assert_eq!(WallTime::from_secs(secs).compact_utc(), format!("{text}.000000000Z"));
        }
        assert_eq!(WallTime(-1).compact_utc(), "19691231T235959.999999999Z");
        assert_eq!(WallTime(1_767_225_599_000_000_001).to_string(), "20251231T235959.000000001Z");
    }

    #[test]
    fn an_anchor_ignores_steps_of_the_wall_clock() {
        let clock = MockClock::new(MonoTime(1_000), WallTime(5_000));
        let anchor = Anchor::now(&clock);
        clock.step_wall(WallTime(9_000_000));
        clock.advance(Duration::from_nanos(7));
        assert_eq!(anchor.wall_at(clock.now()), WallTime(5_007));
        assert_eq!(anchor.wall_at(MonoTime(400)), WallTime(4_400));
    }

    #[test]
    fn sleeping_ends_at_the_deadline_and_not_before() {
        for clock in [SystemClock::new(), SystemClock::with_spin(Duration::from_micros(100))] {
            SystemClock::sharpen_this_thread().unwrap();
            let deadline = clock.now() + Duration::from_millis(3);
            clock.sleep_until(deadline);
            assert!(clock.now() >= deadline);
            let past = clock.now();
            clock.sleep_until(past - Duration::from_secs(1));
            assert!(clock.now().since(past) < Duration::from_secs(1), "a past deadline waits for nothing");
        }
        let wall = SystemClock::new().wall();
        assert!(wall > WallTime::from_secs(1_700_000_000), "{wall}");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(MonoTime(u64::MAX) + Duration::from_secs(1), MonoTime(u64::MAX));
        assert_eq!(MonoTime(5) - Duration::from_secs(1), MonoTime(0));
        assert_eq!(WallTime(i64::MAX) + Duration::MAX, WallTime(i64::MAX));
        assert_eq!(MonoTime(1).since(MonoTime(2)), Duration::ZERO);
    }
}
