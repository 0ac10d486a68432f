//! Whether the daemon is alive and ready: the pulses of its threads, and a flag.
//!
//! Each working thread beats its pulse in its own loop. So a pulse stands for real progress (a turn of the player's
//! loop, a step of the model), and not for a timer that ticks beside a hung thread. The watchdog of systemd and `/live`
//! read the same pulses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use netssm_replay::clock::MonoTime;

/// The longest silence of the player. Its loop waits 50 ms at most, so this much means that it hangs.
pub(crate) const PLAYER_LIMIT: Duration = Duration::from_secs(10);
/// The longest silence of the generator. On a slow CPU it must allow for one decode step of a large batch, or the
/// prefill of a long prompt.
pub(crate) const GENERATOR_LIMIT: Duration = Duration::from_secs(60);

/// The pulse of one thread.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Shows that the thread is alive at `now`.
    pub(crate) fn beat(&self, now: MonoTime) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

/// All pulses, and whether the daemon is ready.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pulses: std::sync::Mutex<Vec<(&'static str, Duration, Pulse)>>,
    ready: AtomicBool,
}

impl Health {
    /// Adds a pulse for a thread, set at `now`. The thread must beat at least once per `limit`.
    pub(crate) fn pulse(&self, thread: &'static str, limit: Duration, now: MonoTime) -> Pulse {
        let pulse = Pulse(Arc::new(AtomicU64::new(now.0)));
        self.lock().push((thread, limit, pulse.clone()));
        pulse
    }

    /// Removes the pulse of a thread that has ended properly.
    pub(crate) fn forget(&self, thread: &'static str) {
        self.lock().retain(|(name, ..)| *name != thread);
    }

    /// `Ok` if every thread beat in time. Otherwise the name of one that did not, and how long it has been silent.
    pub(crate) fn check(&self, now: MonoTime) -> Result<(), String> {
        for (thread, limit, pulse) in self.lock().iter() {
            let silent = now.since(MonoTime(pulse.0.load(Ordering::Relaxed)));
            if silent > *limit {
                return Err(format!("the {thread} thread has not moved for {} s", silent.as_secs()));
            }
        }
        Ok(())
    }

    /// Whether sessions are being played.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets whether sessions are being played.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, Duration, Pulse)>> {
        // A panic elsewhere cannot leave the list half changed.
        self.pulses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_thread_is_named_after_its_limit_and_a_finished_one_is_not() {
        let health = Health::default();
        let start = MonoTime(1_000_000_000);
        let player = health.pulse("player", Duration::from_secs(2), start);
        health.pulse("generator", Duration::from_secs(60), start);
        assert_eq!(health.check(start + Duration::from_secs(2)), Ok(()));
        assert_eq!(
            health.check(start + Duration::from_secs(3)),
            Err("the player thread has not moved for 3 s".into())
        );
        player.beat(start + Duration::from_secs(3));
        assert_eq!(health.check(start + Duration::from_secs(5)), Ok(()));
        health.forget("player");
        assert_eq!(health.check(start + Duration::from_secs(50)), Ok(()));
    }

    #[test]
    fn readiness_is_a_latch() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.set_ready(true);
        assert!(health.is_ready());
    }
}
