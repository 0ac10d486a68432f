//! The generator and the player as two threads, and the channel that carries their events.
//!
//! The main thread owns an [`Engine`], waits for [`Event`]s and sends the player [`Control`] messages. A thread that
//! ends sends an event, whether it ended by itself, by an error or by a panic. A stop goes downstream: first the player
//! stops starting sessions and closes its outputs, then the pool ends the generator.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use netssm_model::generate::{GenerateError, Stats};
use netssm_replay::clock::{Clock, SystemClock};

use super::generator::{Model, Watched, generate_sessions};
use super::live::{LiveSessions, Waiting};
use super::player::{Control, Parts, Played, Player};
use super::pool::{Limits, Pool};
use crate::health::{GENERATOR_LIMIT, Health, PLAYER_LIMIT};
use crate::metrics::Metrics;
use crate::signals::Signal;

/// What the main thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A signal arrived.
    Signal(Signal),
    /// The player's thread ended.
    PlayerEnded,
    /// The generator's thread ended.
    GeneratorEnded,
    /// A thread has read the profile for a reload. The result is ready for the thread that asked for it.
    ReloadRead,
}

impl From<Signal> for Event {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// Sends an event when it is dropped. A thread holds one, so its end is reported even after a panic.
struct Farewell(Sender<Event>, Event);

impl Drop for Farewell {
    fn drop(&mut self) {
        // The receiver is gone only when no thread waits for events any more.
        let _ = self.0.send(self.1);
    }
}

/// The generator, the player, and their events.
pub(crate) struct Engine {
    pool: Arc<Pool<Model>>,
    watched: Watched,
    live: LiveSessions,
    health: Arc<Health>,
    generator: JoinHandle<Result<(), GenerateError>>,
    player: Option<(Sender<Control<Model>>, JoinHandle<Played>)>,
    said: Sender<Event>,
    events: Receiver<Event>,
}

/// The outcome of a run, after both threads have ended.
pub(crate) struct Finished {
    /// What was played. `None` if the player was never started.
    pub played: Option<Played>,
    /// What was generated.
    pub generated: Stats,
    /// Why the generator failed, if it failed.
    pub failure: Option<anyhow::Error>,
}

impl Engine {
    /// Starts the generator on an empty pool. `prepare` may set up the pool first.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start_generator(
        model: Model,
        limits: &Limits,
        metrics: &Metrics,
        health: &Arc<Health>,
        prepare: impl FnOnce(&Pool<Model>),
    ) -> anyhow::Result<Self> {
        let pool = Arc::new(Pool::new(limits));
        prepare(&pool);
        let watched = Watched::default();
        let (said, events) = channel();
        let pulse = health.pulse("generator", GENERATOR_LIMIT, SystemClock::new().now());
        let generator = {
            let (pool, metrics, watched) = (Arc::clone(&pool), metrics.clone(), watched.clone());
            let farewell = Farewell(said.clone(), Event::GeneratorEnded);
            std::thread::Builder::new().name("generator".into()).spawn(move || {
                let _farewell = farewell;
                generate_sessions(model, &pool, &metrics, &pulse, &watched)
            })
        }
        .context("start the generator's thread")?;
        Ok(Self {
            pool,
            watched,
            live: LiveSessions::default(),
            health: Arc::clone(health),
            generator,
            player: None,
            said,
            events,
        })
    }

    /// Starts the player. `parts` gets the pool and the player's pulse.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start_player(
        &mut self,
        parts: impl FnOnce(Arc<Pool<Model>>, crate::health::Pulse) -> Parts<Model>,
    ) -> anyhow::Result<()> {
        let pulse = self.health.pulse("player", PLAYER_LIMIT, SystemClock::new().now());
        let player = Player::new(parts(Arc::clone(&self.pool), pulse)).telling(self.live.clone());
        let (control, orders) = channel();
        let farewell = Farewell(self.said.clone(), Event::PlayerEnded);
        let thread = std::thread::Builder::new()
            .name("player".into())
            .spawn(move || {
                let _farewell = farewell;
                if let Err(error) = SystemClock::sharpen_this_thread() {
                    tracing::debug!(%error, "timer slack stays as it is");
                }
                player.play(&orders)
            })
            .context("start the player's thread")?;
        self.player = Some((control, thread));
        Ok(())
    }

    /// A sender for events from other threads, such as signals.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.said.clone()
    }

    /// The next event, or `None` if none comes within `patience`.
    pub(crate) fn next_event(&self, patience: Duration) -> Option<Event> {
        // `self` holds a sender, so the only possible error is a timeout.
        self.events.recv_timeout(patience).ok()
    }

    /// What the player's drain waits for; `None` while it does not drain.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.live.waiting()
    }

    /// Sends the player a message. Does nothing if the player has ended.
    pub(crate) fn tell_player(&self, message: Control<Model>) {
        if let Some((control, _)) = &self.player {
            let _ = control.send(message);
        }
    }

    /// The pool.
    pub(crate) fn pool(&self) -> &Pool<Model> {
        &self.pool
    }

    /// What was generated so far.
    pub(crate) fn stats(&self) -> Stats {
        self.watched.stats()
    }

    /// Waits for the player to end, then ends the generator and waits for it too.
    ///
    /// # Errors
    /// If the player panicked. Its outputs were then not closed.
    pub(crate) fn finish(self) -> anyhow::Result<Finished> {
        let played = match self.player {
            None => None,
            Some((control, thread)) => {
                let played = thread.join().map_err(|_| anyhow::anyhow!("the player thread panicked"));
                drop(control);
                Some(played)
            }
        };
        self.health.forget("player");
        self.pool.stop();
        self.health.forget("generator");
        let failure = match self.generator.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(anyhow::Error::new(error).context("generate sessions")),
            Err(_) => Some(anyhow::anyhow!("the generator thread panicked")),
        };
        Ok(Finished { played: played.transpose()?, generated: self.watched.stats(), failure })
    }
}
