//! All sinks of a run as one: who gets a frame, what happened to it.

use netssm_replay::clock::WallTime;
use netssm_replay::rewrite::{Direction, TestbedFrame};
use netssm_replay::sink::{DropReason, Sink, SinkError, SinkStats};

use crate::metrics::Metrics;
use crate::notices::{Notice, log_sink_event};
use crate::profile::Sends;

/// What kind of sink, which decides how its frames are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Frames are sent.
    Interface,
    /// Frames are written.
    Capture,
}

/// One sink and what it is for.
pub(crate) struct Output {
    /// Where frames go.
    pub sink: Box<dyn Sink>,
    /// Which ones.
    pub sends: Sends,
    /// Interface or capture.
    pub kind: OutputKind,
}

/// The final numbers of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Interface name, or what the sink calls itself.
    pub name: String,
    /// Interface or capture.
    pub kind: OutputKind,
    /// Its numbers.
    pub stats: SinkStats,
}

/// All sinks. They belong to the player's thread.
pub(crate) struct Outputs {
    /// With what was counted of each so far.
    list: Vec<(Output, SinkStats)>,
}

impl Outputs {
    /// At least one.
    pub(crate) fn new(list: Vec<Output>) -> Self {
        Self { list: list.into_iter().map(|output| (output, SinkStats::default())).collect() }
    }

    /// Gives a frame to every sink that wants its direction.
    ///
    /// # Errors
    /// The first sink that cannot go on.
    pub(crate) fn send(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        for (output, _) in &mut self.list {
            let wanted = match output.sends {
                Sends::Both => true,
                Sends::ToServer => frame.direction() == Direction::ToServer,
                Sends::ToClient => frame.direction() == Direction::ToClient,
            };
            if wanted {
                output.sink.send(frame, at)?;
            }
        }
        Ok(())
    }

    /// Pushes out what is queued.
    ///
    /// # Errors
    /// The first sink that cannot go on.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.list.iter_mut().try_for_each(|(output, _)| output.sink.flush())
    }

    /// About once a second, also when nothing is sent.
    ///
    /// # Errors
    /// The first sink that cannot go on.
    pub(crate) fn tick(&mut self, now: WallTime) -> Result<(), SinkError> {
        self.list.iter_mut().try_for_each(|(output, _)| output.sink.tick(now))
    }

    /// Adds what the sinks have done since the last call to the metrics, and logs their events.
    pub(crate) fn report(&mut self, metrics: &Metrics) {
        for (output, counted) in &mut self.list {
            let stats = output.sink.stats();
            count(output.kind, output.sink.name(), counted, &stats, metrics);
            *counted = stats;
            for event in output.sink.take_events() {
                log_sink_event(event).emit(metrics);
            }
        }
    }

    /// Closes all, whatever one of them says. Gives the final numbers and the first failure.
    pub(crate) fn close(self, metrics: &Metrics) -> (Vec<Closed>, Option<SinkError>) {
        let mut failure = None;
        let mut closed = Vec::new();
        for (mut output, counted) in self.list {
            let name = output.sink.name().to_owned();
            failure = failure.or(output.sink.finish().err());
            for event in output.sink.take_events() {
                log_sink_event(event).emit(metrics);
            }
            let stats = match output.sink.close() {
                Ok(stats) => stats,
                Err(error) => {
                    failure = failure.or(Some(error.error));
                    *error.stats
                }
            };
            count(output.kind, &name, &counted, &stats, metrics);
            closed.push(Closed { name, kind: output.kind, stats });
        }
        (closed, failure)
    }
}

/// Adds the difference of two snapshots to the metrics.
fn count(kind: OutputKind, name: &str, before: &SinkStats, now: &SinkStats, metrics: &Metrics) {
    let (frames, bytes) = (now.frames - before.frames, now.bytes - before.bytes);
    match kind {
        OutputKind::Interface => {
            metrics.packets_sent(name).increment(frames);
            metrics.bytes_sent.increment(bytes);
        }
        OutputKind::Capture => {
            metrics.packets_written.increment(frames);
            metrics.bytes_written.increment(bytes);
        }
    }
    for reason in DropReason::ALL {
        let dropped = now.dropped.get(reason) - before.dropped.get(reason);
        if dropped > 0 {
            metrics.dropped(reason.as_str()).increment(dropped);
        }
    }
    if let Some(files) = now.files {
        metrics.capture_stalled.set(if files.stalled { 1.0 } else { 0.0 });
    }
}
