//! The main thread while the daemon runs. It handles signals, ended threads, the watchdog and reloads.
//!
//! ```text
//!            SIGTERM, SIGINT           second one
//! running ------------------> draining ----------> cutting ---> player ended
//!    ^  |                        |                                  ^
//!    |  | SIGHUP                 +---- all done, or grace over -----+
//!    +--+ (good: new sessions follow the new profile; bad: refused)
//! ```
//! A reload is read on its own thread ([`Reading`]), so the main thread can feed the watchdog while a large checkpoint
//! is opened.

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use netssm_replay::guard::Allowlist;
use netssm_replay::rewrite::Allocator;

use super::notify::Notifier;
use super::plan;
use super::reload::{Loaded, Reading};
use crate::cli::RunArgs;
use crate::exit::{self, Failure};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::notices::{GuardFailed, Notice, ReloadRefused, Reloaded};
use crate::pipeline::{Control, Engine, Event, Waiting};
use crate::profile::Profile;
use crate::signals::Signal;

/// How often the main thread serves the watchdog, the metrics and the status line.
const TURN: Duration = Duration::from_millis(250);
/// How often a warm-up or a drain logs what it waits for.
const DRAIN_SAYS: Duration = Duration::from_secs(2);
/// How long the player may take to close its files after it was told to stop at once.
const CLOSING: Duration = Duration::from_secs(3);
/// How much more time to start is asked of systemd in each turn of the warm-up.
const START_MORE: Duration = Duration::from_secs(30);

/// How far a stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Live sessions may finish until the player cuts the rest.
    Draining,
    Cutting {
        since: MonoTime,
    },
}

/// The state of the main thread. The module describes what it does.
pub(crate) struct Controller<'a> {
    args: &'a RunArgs,
    profile: Profile,
    allocator: Arc<Allocator>,
    allow: Arc<Allowlist>,
    metrics: &'a Metrics,
    health: &'a Health,
    notifier: &'a Notifier,
    phase: Phase,
    /// The reload that is being read, if there is one.
    reading: Option<Reading>,
    /// Whether another reload was asked for meanwhile.
    read_again: bool,
    said: MonoTime,
    clock: SystemClock,
}

impl<'a> Controller<'a> {
    /// A controller for a profile that is about to run.
    pub(crate) fn new(
        args: &'a RunArgs,
        profile: Profile,
        allocator: Arc<Allocator>,
        allow: Arc<Allowlist>,
        metrics: &'a Metrics,
        health: &'a Health,
        notifier: &'a Notifier,
    ) -> Self {
        let clock = SystemClock::new();
        let (phase, said) = (Phase::Running, clock.now());
        let (reading, read_again) = (None, false);
        Self {
            args,
            profile,
            allocator,
            allow,
            metrics,
            health,
            notifier,
            phase,
            reading,
            read_again,
            said,
            clock,
        }
    }

    /// Waits until every label has a session to play. Gives `false` if a stop came, or the generator ended, before
    /// that.
    pub(crate) fn warm_up(&mut self, engine: &Engine) -> bool {
        loop {
            let empty = engine.pool().wait_stocked(Duration::ZERO);
            if empty.is_empty() {
                return true;
            }
            let (ready, depth) = engine.pool().fill();
            let tokens = engine.stats().counts.tokens;
            let status = format!(
                "warming up: {ready} of {depth} sessions, {} labels to go, {tokens} tokens",
                empty.len()
            );
            self.notifier.starting(&status, START_MORE);
            self.say_every(DRAIN_SAYS, &status);
            match engine.next_event(TURN) {
                Some(Event::Signal(Signal::Stop)) => {
                    self.notifier.stopping("stopped while warming up");
                    return false;
                }
                Some(Event::GeneratorEnded) => return false,
                Some(Event::Signal(Signal::Reload)) => {
                    tracing::warn!("not ready yet: the reload is ignored, send SIGHUP again");
                }
                Some(Event::PlayerEnded | Event::ReloadRead) | None => {}
            }
            self.turn();
        }
    }

    /// Tells systemd, `/ready` and the log that the player runs.
    pub(crate) fn ready(&self) {
        self.health.set_ready(true);
        let status = format!("playing profile {}", self.profile.name);
        self.notifier.ready(&status);
        tracing::info!(
            rate = self.profile.arrivals.rate,
            labels = self.profile.traffic.len(),
            "ready: sessions are being played"
        );
    }

    /// Handles events until the player has ended.
    pub(crate) fn control_until_played(&mut self, engine: &Engine) {
        loop {
            match engine.next_event(TURN) {
                Some(Event::PlayerEnded) => break,
                Some(Event::Signal(Signal::Stop)) => self.stop(engine),
                Some(Event::Signal(Signal::Reload)) if self.phase == Phase::Running => {
                    self.begin_reload(engine);
                }
                Some(Event::Signal(Signal::Reload)) => tracing::warn!("stopping: the reload is ignored"),
                Some(Event::ReloadRead) if self.phase == Phase::Running => self.end_reload(engine),
                Some(Event::ReloadRead) => tracing::warn!("stopping: the reload is ignored"),
                Some(Event::GeneratorEnded) if self.phase == Phase::Running => {
                    tracing::error!("the generator failed: no more sessions are started");
                    self.stop(engine);
                }
                Some(Event::GeneratorEnded) | None => {}
            }
            self.turn();
            // Also when the player drains by itself, at the end of `--for`.
            if let Some(waiting) = engine.waiting() {
                self.say_every(DRAIN_SAYS, &draining(&waiting));
            }
            match self.phase {
                Phase::Cutting { since } if self.clock.now().since(since) > CLOSING => {
                    exit::at_once("the outputs do not close: giving up")
                }
                _ => {}
            }
        }
        self.health.set_ready(false);
        self.notifier.stopping("closed");
    }

    fn stop(&mut self, engine: &Engine) {
        self.health.set_ready(false);
        match self.phase {
            Phase::Running => {
                let grace = self.profile.grace;
                tracing::info!(
                    grace_s = grace.as_secs_f64(),
                    "stopping: live sessions may finish; a second signal cuts them"
                );
                self.notifier.stopping("draining");
                engine.tell_player(Control::Drain(grace));
                self.phase = Phase::Draining;
            }
            Phase::Draining => {
                tracing::warn!("second signal: stopping at once");
                engine.tell_player(Control::Cut);
                self.phase = Phase::Cutting { since: self.clock.now() };
            }
            Phase::Cutting { .. } => {}
        }
    }

    /// Whether a second signal cut the drain short.
    pub(crate) fn was_forced(&self) -> bool {
        matches!(self.phase, Phase::Cutting { .. })
    }

    /// Name of the current profile.
    pub(crate) fn profile_name(&self) -> &str {
        &self.profile.name
    }

    /// Reports a failure of the guard, and keeps the metrics up for a moment. If the run ended at once, Prometheus
    /// could not read the reason.
    pub(crate) fn guard_failed(&self, failure: &Failure, linger: Duration) {
        GuardFailed { reason: failure.to_string() }.emit(self.metrics);
        if self.profile.metrics.is_some() {
            let linger = linger.min(self.profile.grace);
            tracing::info!(seconds = linger.as_secs_f64(), "metrics stay up for a moment");
            self.clock.sleep_until(self.clock.now() + linger);
        }
    }

    fn begin_reload(&mut self, engine: &Engine) {
        if self.reading.is_some() {
            self.read_again = true;
            tracing::info!("a reload is being read; another one follows it");
            return;
        }
        self.notifier.reloading();
        if self.args.virtual_clock {
            self.refuse_reload("a run on the virtual clock cannot be reloaded".into());
            return;
        }
        match Reading::start(&self.args.profile, &self.profile, &self.allow, engine.sender()) {
            Ok(reading) => self.reading = Some(reading),
            Err(error) => self.refuse_reload(format!("cannot start a thread for it: {error}")),
        }
    }

    /// Puts a reload into effect that has been read. Every possible failure comes before the first change.
    fn end_reload(&mut self, engine: &Engine) {
        let Some(reading) = self.reading.take() else { return };
        let loaded = reading.finish().and_then(|loaded| {
            let plan = plan(&loaded.profile, &self.allocator).map_err(|error| error.to_string())?;
            Ok((loaded, plan))
        });
        match loaded {
            Ok((Loaded { profile, model }, plan)) => {
                let model_changed = model.is_some();
                let model = model.map(|(model, facts)| {
                    self.metrics.set_model(&facts.sha256, &facts.codec, facts.labels.len());
                    model
                });
                engine.tell_player(Control::Reload(Box::new(plan), model));
                self.profile = profile;
                Reloaded { profile: self.args.profile.clone(), model_changed }.emit(self.metrics);
                self.end_of_reload();
            }
            Err(reason) => self.refuse_reload(reason),
        }
        if std::mem::take(&mut self.read_again) {
            self.begin_reload(engine);
        }
    }

    fn refuse_reload(&mut self, reason: String) {
        ReloadRefused { profile: self.args.profile.clone(), reason }.emit(self.metrics);
        self.end_of_reload();
    }

    fn end_of_reload(&self) {
        self.notifier.ready(&format!("playing profile {}", self.profile.name));
    }

    /// Does the regular work: metrics and watchdog.
    fn turn(&self) {
        self.metrics.upkeep();
        match self.health.check(self.clock.now()) {
            Ok(()) => self.notifier.alive(),
            // The watchdog is not fed, so systemd restarts a daemon that hangs.
            Err(why) => tracing::error!("{why}"),
        }
    }

    /// Logs a line, unless a line was logged less than `every` ago.
    fn say_every(&mut self, every: Duration, line: &str) {
        let now = self.clock.now();
        if now.since(self.said) >= every {
            self.said = now;
            tracing::info!("{line}");
        }
    }
}

/// Says which sessions a drain waits for, and for how long.
fn draining(Waiting { by_label, left }: &Waiting) -> String {
    let labels: Vec<String> = by_label.iter().map(|(label, n)| format!("{label} {n}")).collect();
    let total: u64 = by_label.values().sum();
    format!(
        "draining: {total} sessions are still live ({}); they are cut in {:.1} s",
        labels.join(", "),
        left.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_names_the_labels_that_are_late() {
        let by_label = [("youtube".into(), 2), ("HueBridge".into(), 1)].into();
        assert_eq!(
            draining(&Waiting { by_label, left: Duration::from_millis(4250) }),
            "draining: 3 sessions are still live (HueBridge 1, youtube 2); they are cut in 4.2 s"
        );
    }
}
