//! The main thread while the daemon runs: signals, ended threads, watchdog, reloads.
//!
//! ```text
//!            SIGTERM, SIGINT           second one
//! running ------------------> draining ----------> cutting ---> player ended
//!    ^  |                        |                                  ^
//!    |  | SIGHUP                 +---- all done, or grace over -----+
//!    +--+ (good: new sessions follow the new profile; bad: refused)
//! ```

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use netssm_replay::guard::Allowlist;
use netssm_replay::rewrite::Allocator;

use super::notify::Notifier;
use super::{plan, reload, testbed};
use crate::cli::RunArgs;
use crate::exit::Failure;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::models;
use crate::notices::{GuardFailed, Notice, ReloadRefused, Reloaded};
use crate::pipeline::{Control, Engine, Event};
use crate::profile::Profile;
use crate::signals::Signal;

/// How often the watchdog, the metrics and the status line get their turn.
const TURN: Duration = Duration::from_millis(250);
/// How often a drain that goes on says who is late.
const DRAIN_SAYS: Duration = Duration::from_secs(2);
/// How long a player that was told to stop at once may take to close its files.
const CLOSING: Duration = Duration::from_secs(3);
/// How much more time to start is asked for at each turn of the warm-up.
const START_MORE: Duration = Duration::from_secs(30);

/// How far the stop has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    Cutting { since: MonoTime },
}

/// See the module.
pub(crate) struct Controller<'a> {
    args: &'a RunArgs,
    profile: Profile,
    allocator: Arc<Allocator>,
    allow: Arc<Allowlist>,
    metrics: &'a Metrics,
    health: &'a Health,
    notifier: &'a Notifier,
    phase: Phase,
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
        Self { args, profile, allocator, allow, metrics, health, notifier, phase, said, clock }
    }

    /// Waits until every label has a session. `false` if it was told to stop, or the generator failed, before.
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
            match engine.next(TURN) {
                Some(Event::Signal(Signal::Stop)) => {
                    self.notifier.stopping("stopped while warming up");
                    return false;
                }
                Some(Event::GeneratorEnded) => return false,
                Some(Event::Signal(Signal::Reload)) => {
                    tracing::warn!("not ready yet: the reload is ignored, send SIGHUP again");
                }
                Some(Event::PlayerEnded) | None => {}
            }
            self.turn();
        }
    }

    /// The player runs.
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

    /// Reacts to what happens until the player has ended.
    pub(crate) fn run(&mut self, engine: &Engine) {
        loop {
            match engine.next(TURN) {
                Some(Event::PlayerEnded) => break,
                Some(Event::Signal(Signal::Stop)) => self.stop(engine),
                Some(Event::Signal(Signal::Reload)) if self.phase == Phase::Running => self.reload(engine),
                Some(Event::Signal(Signal::Reload)) => tracing::warn!("stopping: the reload is ignored"),
                Some(Event::GeneratorEnded) if self.phase == Phase::Running => {
                    tracing::error!("the generator failed: no more sessions are started");
                    self.stop(engine);
                }
                Some(Event::GeneratorEnded) | None => {}
            }
            self.turn();
            match self.phase {
                Phase::Draining => self.say_every(DRAIN_SAYS, "draining: live sessions go on"),
                Phase::Cutting { since } if self.clock.now().since(since) > CLOSING => {
                    // Captures have a hidden name until they are complete, so nothing half-written becomes visible.
                    tracing::error!("the outputs do not close: giving up");
                    std::process::exit(1);
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
                engine.tell(Control::Drain(grace));
                self.phase = Phase::Draining;
            }
            Phase::Draining => {
                tracing::warn!("second signal: stopping at once");
                engine.tell(Control::Cut);
                self.phase = Phase::Cutting { since: self.clock.now() };
            }
            Phase::Cutting { .. } => {}
        }
    }

    /// Whether a second signal cut the drain short.
    pub(crate) fn was_forced(&self) -> bool {
        matches!(self.phase, Phase::Cutting { .. })
    }

    /// Name of the profile in effect.
    pub(crate) fn profile_name(&self) -> &str {
        &self.profile.name
    }

    /// Reports a failure of the guard, and keeps the metrics up for a moment: a run that ends at once would take its
    /// own reason with it before Prometheus comes by.
    pub(crate) fn guard_failed(&self, failure: &Failure, linger: Duration) {
        GuardFailed { reason: failure.to_string() }.emit(self.metrics);
        if self.profile.metrics.is_some() {
            let linger = linger.min(self.profile.grace);
            tracing::info!(seconds = linger.as_secs_f64(), "metrics stay up for a moment");
            self.clock.sleep_until(self.clock.now() + linger);
        }
    }

    fn reload(&mut self, engine: &Engine) {
        self.notifier.reloading();
        let path = self.args.profile.clone();
        match self.try_reload(engine) {
            Ok(model_changed) => Reloaded { profile: path, model_changed }.emit(self.metrics),
            Err(reason) => ReloadRefused { profile: path, reason }.emit(self.metrics),
        }
        self.notifier.ready(&format!("playing profile {}", self.profile.name));
    }

    /// Everything that can go wrong goes wrong before anything changes. Gives whether the model changed.
    fn try_reload(&mut self, engine: &Engine) -> Result<bool, String> {
        if self.args.virtual_clock {
            return Err("a run on the virtual clock cannot be reloaded".into());
        }
        let new =
            Profile::load(&self.args.profile, &models::labels).map_err(|problems| problems.to_string())?;
        let allow = testbed::allowlist(&new).map_err(|error| error.to_string())?;
        let changes = reload::needs_restart(&self.profile, &new, &self.allow, &allow);
        if !changes.is_empty() {
            return Err(format!("a change of {} needs a restart", changes.join(" and ")));
        }
        let model_changed = new.model != self.profile.model;
        let model = if model_changed {
            let labels: Vec<&str> = new.traffic.iter().map(|t| &*t.label).collect();
            let (model, facts) = models::load(&new.model, &labels).map_err(|error| error.to_string())?;
            self.metrics.set_model(&facts.sha256, &facts.codec, facts.labels.len());
            Some(model)
        } else {
            None
        };
        let plan = plan(&new, &self.allocator).map_err(|error| error.to_string())?;
        engine.tell(Control::Reload(Box::new(plan), model));
        self.profile = new;
        Ok(model_changed)
    }

    /// What is due every now and then.
    fn turn(&self) {
        self.metrics.upkeep();
        match self.health.check(self.clock.now()) {
            Ok(()) => self.notifier.alive(),
            // No feed for the watchdog: systemd restarts what hangs.
            Err(why) => tracing::error!("{why}"),
        }
    }

    /// Logs a line unless one was logged a short time ago.
    fn say_every(&mut self, every: Duration, line: &str) {
        let now = self.clock.now();
        if now.since(self.said) >= every {
            self.said = now;
            tracing::info!("{line}");
        }
    }
}
