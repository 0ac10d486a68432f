//! The player: one thread that starts sessions when they are due and sends every packet at its deadline.
//!
//! ```text
//!            arrival due: pool -> rewriter -> merge
//! wait ---->                                          ----> outputs (allowlist, interfaces, captures) ----> wait
//!            packet due:  merge -> frame
//! ```
//! Deadlines are offsets from one anchor ([`Timeline`]), so errors do not add up. A packet is rewritten when it is due,
//! not before. When the host is late, packets leave back to back, in order, until no deadline is in the past.
//!
//! The player owns the outputs and closes them however it ends. On the real timeline it never waits for the model: it
//! delays an arrival whose label has no session to play, and tries again later. On the virtual timeline waiting costs
//! no time, so there it waits for the model and takes sessions in strict order.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use netssm_replay::clock::{Clock, SystemClock};
use netssm_replay::guard::Gate;
use netssm_replay::pace::Speed;
use netssm_replay::rewrite::RewriteError;
use netssm_replay::rewrite::{Dropped, Rewriter, SessionReplay, TestbedFrame};
use netssm_replay::sink::SinkError;

use super::buffer::{Next, Taken};
use super::live::LiveSessions;
use super::merge::{Merge, Source};
use super::outputs::{Closed, Outputs};
use super::pool::{Limits, Pool};
use super::schedule::Schedule;
use super::tally::Tally;
use super::timeline::Timeline;
use crate::health::Pulse;
use crate::metrics::Metrics;
use crate::notices::{Notice, SessionRefused, SessionsCut, Underrun};
use crate::profile::Arrivals;
use crate::seeds::{Purpose, derive};

/// How long an arrival is delayed when its label has no session to play. It is short compared with the gaps of any
/// sensible rate.
const RETRY: Duration = Duration::from_millis(20);
/// The longest sleep. The player looks at control messages, the gate and the pulse at least this often.
const NAP: Duration = Duration::from_millis(50);
/// The last stretch before a deadline. The player sleeps through it without listening for messages, because a condition
/// variable wakes up later than `clock_nanosleep` does.
const PRECISE: Duration = Duration::from_millis(2);
/// Most frames sent between two looks at the clock and the control messages, while the player catches up.
const BATCH: usize = 64;
/// How often the player updates the metrics.
const FOLD: Duration = Duration::from_millis(250);
/// How often sinks are ticked.
const TICK: Duration = Duration::from_secs(1);

/// A message to the player.
#[derive(Debug)]
pub(crate) enum Control<M> {
    /// Start no more sessions. Live sessions may go on for this long.
    Drain(Duration),
    /// Stop sending now, without a grace period.
    Cut,
    /// Use another profile for new sessions, perhaps with another model.
    Reload(Box<Plan>, Option<M>),
}

/// The part of a profile that the player needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// When sessions start.
    pub arrivals: Arrivals,
    /// The labels, depth, replays and seed of the pool.
    pub limits: Limits,
    /// How fast time runs inside sessions.
    pub speed: Speed,
    /// Gives hosts their addresses.
    pub rewriter: Rewriter,
}

/// Why the player ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Every planned session was played, or the drain was complete.
    Done,
    /// It was told to stop at once, or the grace period was over.
    Cut,
    /// The guard refused a frame, or an output failed.
    Failed(SinkError),
}

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct Played {
    /// Why the player ended.
    pub end: End,
    /// Number of sessions that were cut.
    pub cut: u64,
    /// What was counted.
    pub tally: Tally,
    /// Final statistics of each sink.
    pub outputs: Vec<Closed>,
    /// How long it played, on its timeline.
    pub took: Duration,
}

/// What a player is made of.
pub(crate) struct Parts<M> {
    /// The clock of the run.
    pub time: Timeline,
    /// Gives sessions.
    pub pool: Arc<Pool<M>>,
    /// What to play.
    pub plan: Plan,
    /// Takes frames.
    pub outputs: Outputs,
    /// The gate. The player checks it even while it sends nothing.
    pub gate: Arc<Gate>,
    /// The metrics that the player updates.
    pub metrics: Metrics,
    /// Shows the watchdog that the thread makes progress.
    pub pulse: Pulse,
    /// An offset at which the player starts a drain by itself, and the grace period of that drain.
    pub stop_after: Option<(Duration, Duration)>,
}

/// The player's state. The module describes what it does.
pub(crate) struct Player<M> {
    time: Timeline,
    pool: Arc<Pool<M>>,
    rewriter: Rewriter,
    limits: Limits,
    schedule: Schedule,
    merge: Merge<SessionReplay>,
    live: LiveSessions,
    outputs: Outputs,
    gate: Arc<Gate>,
    metrics: Metrics,
    pulse: Pulse,
    stop_after: Option<(Duration, Duration)>,
    /// When a drain cuts the live sessions. `None` while nothing drains.
    cut_at: Option<Duration>,
    /// Index of the label whose arrival waits for the model, so that one wait is counted as one underrun.
    dry: Option<usize>,
    tally: Tally,
    /// Deadlines of the frames since the last flush.
    unflushed: Vec<Duration>,
    next_fold: Duration,
    next_tick: Duration,
}

impl Source for SessionReplay {
    type Packet = Result<TestbedFrame, Dropped>;

    fn peek(&self) -> Option<Duration> {
        self.peek_time()
    }

    fn next(&mut self) -> Option<Self::Packet> {
        Iterator::next(self)
    }
}

impl<M> Player<M> {
    /// A player at the start of its time.
    pub(crate) fn new(parts: Parts<M>) -> Self {
        let Plan { arrivals, limits, speed, rewriter } = parts.plan;
        Self {
            schedule: Schedule::new(arrivals, limits.seed),
            merge: Merge::new(speed),
            live: LiveSessions::default(),
            rewriter,
            limits,
            time: parts.time,
            pool: parts.pool,
            outputs: parts.outputs,
            gate: parts.gate,
            metrics: parts.metrics,
            pulse: parts.pulse,
            stop_after: parts.stop_after,
            cut_at: None,
            dry: None,
            tally: Tally::default(),
            unflushed: Vec::new(),
            next_fold: Duration::ZERO,
            next_tick: Duration::ZERO,
        }
    }

    /// Shares the live sessions of a drain through `live`.
    pub(crate) fn telling(self, live: LiveSessions) -> Self {
        Self { live, ..self }
    }

    /// Plays until nothing is left to play or `control` ends it, then closes the outputs.
    pub(crate) fn play(mut self, control: &Receiver<Control<M>>) -> Played {
        let end = match self.play_until_end(control) {
            Ok(end) => end,
            Err(error) => End::Failed(error),
        };
        let took = self.time.now();
        let cut = self.merge.cut() as u64;
        SessionsCut { sessions: cut }.emit(&self.metrics);
        let (outputs, failure) = self.outputs.close(&self.metrics);
        self.tally.fold(&self.metrics);
        self.metrics.sessions_live.set(0.0);
        let end = match (end, failure) {
            (End::Failed(first), _) => End::Failed(first),
            (_, Some(error)) => End::Failed(error),
            (end, None) => end,
        };
        Played { end, cut, tally: self.tally, outputs, took }
    }

    fn play_until_end(&mut self, control: &Receiver<Control<M>>) -> Result<End, SinkError> {
        loop {
            self.pulse.beat(SystemClock::new().now());
            self.gate.check()?;
            while let Ok(message) = control.try_recv() {
                if let Some(end) = self.obey(message)? {
                    return Ok(end);
                }
            }
            let now = self.time.now();
            if let Some((at, grace)) = self.stop_after.filter(|(at, _)| now >= *at) {
                self.stop_after = None;
                self.drain(at + grace);
            }
            if self.cut_at.is_some_and(|at| now >= at) {
                self.flush()?;
                return Ok(End::Cut);
            }
            self.housekeeping(now)?;
            let Some(next) = self.next_event() else {
                if self.is_over() {
                    self.flush()?;
                    return Ok(End::Done);
                }
                // Only the end of a session, or a message, can change anything now.
                if let Some(end) = self.wait_until_due(now + NAP, control)? {
                    return Ok(end);
                }
                continue;
            };
            if next <= now {
                self.do_due_work(now)?;
            } else if let Some(end) = self.wait_until_due(next, control)? {
                return Ok(end);
            }
        }
    }

    /// Obeys a message. Gives how the run ends if the message ends it.
    fn obey(&mut self, message: Control<M>) -> Result<Option<End>, SinkError> {
        match message {
            Control::Cut => {
                self.flush()?;
                return Ok(Some(End::Cut));
            }
            Control::Drain(grace) => self.drain(self.time.now() + grace),
            Control::Reload(plan, model) => {
                let now = self.time.now();
                let Plan { arrivals, limits, speed, rewriter } = *plan;
                self.pool.replace(&limits, model);
                self.schedule.replace(arrivals, limits.seed, now);
                self.merge.set_speed(speed);
                self.limits = limits;
                self.rewriter = rewriter;
                self.dry = None;
            }
        }
        Ok(None)
    }

    fn drain(&mut self, cut_at: Duration) {
        self.cut_at = Some(self.cut_at.map_or(cut_at, |earlier| earlier.min(cut_at)));
        // The next look around says what the drain waits for.
        self.next_fold = Duration::ZERO;
    }

    fn is_draining(&self) -> bool {
        self.cut_at.is_some()
    }

    fn is_over(&self) -> bool {
        self.merge.len() == 0 && (self.is_draining() || self.schedule.is_over())
    }

    /// When the next arrival is due. `None` if no arrival may start.
    fn next_arrival(&self) -> Option<Duration> {
        if self.is_draining() { None } else { self.schedule.next().map(|arrival| arrival.at) }
    }

    /// When the next thing is due: an arrival, a packet, or a planned stop.
    fn next_event(&self) -> Option<Duration> {
        let work = [self.next_arrival(), self.merge.next_deadline()].into_iter().flatten().min()?;
        let ends = [self.cut_at, self.stop_after.map(|(at, _)| at)];
        Some(ends.into_iter().flatten().fold(work, Duration::min))
    }

    /// Does what is due, in order of time. An arrival goes before a packet of the same moment.
    fn do_due_work(&mut self, now: Duration) -> Result<(), SinkError> {
        while self.unflushed.len() < BATCH {
            let (arrival, packet) = (self.next_arrival(), self.merge.next_deadline());
            match (arrival, packet) {
                (Some(at), packet) if at <= now && packet.is_none_or(|packet| at <= packet) => {
                    // Control messages and the gate must be looked at while the model is waited for.
                    if !self.start_session(at) {
                        break;
                    }
                }
                (_, Some(deadline)) if deadline <= now => self.send_next_packet()?,
                _ => break,
            }
        }
        self.flush()
    }

    /// Starts the session of the next arrival, or delays the arrival. `false` if the model must be waited for.
    fn start_session(&mut self, at: Duration) -> bool {
        let Some(arrival) = self.schedule.next() else { return true };
        let label = self.limits.traffic[arrival.label].label.clone();
        let session = if self.time.is_virtual() {
            match self.pool.take_session_in_order(arrival.label, NAP) {
                Next::Session(session) => session,
                Next::Later => return false,
                // The model gave no session for this arrival. The generator has logged it.
                Next::Nothing => {
                    self.schedule.started();
                    self.schedule.ended(at);
                    return true;
                }
            }
        } else {
            match self.pool.take_session(arrival.label) {
                Taken::Fresh(session) => session,
                Taken::Again(session) => {
                    self.tally.reused += 1;
                    session
                }
                dry @ (Taken::Dry | Taken::Early) => {
                    // Waiting for a label's first session is not an underrun.
                    if matches!(dry, Taken::Dry) && self.dry != Some(arrival.label) {
                        self.dry = Some(arrival.label);
                        self.tally.underruns += 1;
                        Underrun { label }.emit(&self.metrics);
                    }
                    // The delay counts from now, not from the arrival's time, so no burst follows the wait.
                    self.schedule.delay(self.time.now() + RETRY);
                    return true;
                }
            }
        };
        self.dry = None;
        let replay_seed = derive(self.limits.seed, Purpose::Replay, "", arrival.number);
        let packets = session.packets.len() as u64;
        match self.rewriter.begin_replay(session, replay_seed) {
            Ok(replay) => {
                self.schedule.started();
                if self.merge.add(arrival.number, at, replay) {
                    *self.tally.started.entry(label).or_default() += 1;
                } else {
                    self.schedule.ended(at);
                }
            }
            Err(error) => {
                // A label whose sessions never fit would block all others, so this arrival is given up.
                self.schedule.started();
                self.schedule.ended(at);
                let error = RewriteError::to_string(&error);
                SessionRefused { label, packets, error }.emit(&self.metrics);
            }
        }
        true
    }

    fn send_next_packet(&mut self) -> Result<(), SinkError> {
        let Some(popped) = self.merge.pop_due_packet() else { return Ok(()) };
        match popped.packet {
            Ok(frame) => {
                self.outputs.send_frame(&frame, self.time.wall_at(popped.deadline))?;
                self.unflushed.push(popped.deadline);
                if let Some(replay) = self.merge.source_mut(popped.session) {
                    replay.recycle(frame);
                }
            }
            Err(dropped) => *self.tally.dropped.entry(dropped.reason()).or_default() += 1,
        }
        if popped.last {
            self.tally.finished += 1;
            self.schedule.ended(popped.deadline);
        }
        Ok(())
    }

    /// Flushes the outputs and notes how late the frames are.
    fn flush(&mut self) -> Result<(), SinkError> {
        if self.unflushed.is_empty() {
            return Ok(());
        }
        self.outputs.flush()?;
        self.tally.sent(&self.unflushed, self.time.now());
        self.unflushed.clear();
        Ok(())
    }

    fn housekeeping(&mut self, now: Duration) -> Result<(), SinkError> {
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.outputs.tick(self.time.wall_at(now))?;
        }
        if now >= self.next_fold {
            self.next_fold = now + FOLD;
            self.tally.fold(&self.metrics);
            self.outputs.report(&self.metrics);
            self.metrics.sessions_live.set(self.merge.len() as f64);
            self.metrics.pool_sessions.set(self.pool.fill().0 as f64);
            if let Some(cut_at) = self.cut_at {
                let labels = self.merge.sources().map(|replay| replay.tag().label());
                self.live.set(labels, cut_at.saturating_sub(now));
            }
        }
        Ok(())
    }

    /// Waits until `until`, but at most [`NAP`]. It first listens for messages, then sleeps precisely. Gives how the
    /// run ends if a message ends it.
    fn wait_until_due(
        &mut self,
        until: Duration,
        control: &Receiver<Control<M>>,
    ) -> Result<Option<End>, SinkError> {
        self.flush()?;
        if self.time.is_virtual() {
            self.time.sleep_until(until);
            return Ok(None);
        }
        let now = self.time.now();
        let until = until.min(now + NAP);
        let listen = until.saturating_sub(now).saturating_sub(PRECISE);
        if listen > Duration::ZERO {
            match control.recv_timeout(listen) {
                Ok(message) => return self.obey(message),
                Err(RecvTimeoutError::Timeout) => {}
                // All senders are gone, so no message can come: just sleep.
                Err(RecvTimeoutError::Disconnected) => self.time.sleep_until(until),
            }
            return Ok(None);
        }
        self.time.sleep_until(until);
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
