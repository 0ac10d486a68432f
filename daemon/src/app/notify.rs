//! Tells systemd the daemon's state: READY, RELOADING, STOPPING, the watchdog, a status line. Does nothing if
//! `NOTIFY_SOCKET` is not set.

use std::time::Duration;

use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use sd_notify::NotifyState;

/// Sends messages to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// How often to feed the watchdog: half of the unit's limit. `None` if the unit has no watchdog.
    every: Option<Duration>,
    last: std::cell::Cell<MonoTime>,
}

impl Notifier {
    /// Reads from the environment what the unit asks for.
    pub(crate) fn new() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 2), last: std::cell::Cell::default() }
    }

    /// Tells that sessions are being played.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Tells that a reload begins. [`Notifier::ready`] ends it.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic time for the service manager"),
        }
    }

    /// Tells that the daemon stops.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Tells what the start is doing, and asks for `more` time to start.
    pub(crate) fn starting(&self, status: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// Feeds the watchdog if it is time. Call it only while every thread makes progress.
    pub(crate) fn alive(&self) {
        let now = SystemClock::new().now();
        if self.every.is_some_and(|every| now.since(self.last.get()) >= every) {
            self.last.set(now);
            self.send(&[NotifyState::Watchdog]);
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}
