//! What systemd is told: READY, RELOADING, STOPPING, the watchdog, a status line. Nothing without `NOTIFY_SOCKET`.

use std::time::Duration;

use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use sd_notify::NotifyState;

/// Talks to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// How often the watchdog is to be fed, if the unit has one: half of its limit.
    every: Option<Duration>,
    last: std::cell::Cell<MonoTime>,
}

impl Notifier {
    /// Reads what the unit asks for.
    pub(crate) fn new() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|limit| limit / 2), last: std::cell::Cell::default() }
    }

    /// Sessions are being played.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no monotonic time for the service manager"),
        }
    }

    /// The end begins.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// What is going on while starting; asks for so much more time to start.
    pub(crate) fn starting(&self, status: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// Feeds the watchdog if it is time. To be called only while every thread moves.
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
