//! All sinks of a run as one: sends each frame to the sinks that want it, and counts the outcome.

use netssm_replay::clock::WallTime;
use netssm_replay::rewrite::{Direction, TestbedFrame};
use netssm_replay::sink::{DropReason, Sink, SinkError, SinkStats};

use crate::metrics::Metrics;
use crate::notices::{Notice, log_sink_event};
use crate::profile::Sends;

/// The kind of a sink. It decides which metrics count its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// The sink sends frames on an interface.
    Interface,
    /// The sink writes frames to capture files.
    Capture,
}

/// One sink and the frames that it takes.
pub(crate) struct Output {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// The direction of the frames that it takes.
    pub sends: Sends,
    /// Whether it is an interface or a capture.
    pub kind: OutputKind,
}

/// The final numbers of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Name of the interface, or the name that the sink gives itself.
    pub name: String,
    /// Whether it is an interface or a capture.
    pub kind: OutputKind,
    /// Its final statistics.
    pub stats: SinkStats,
}

/// All sinks of a run. The player's thread owns them.
pub(crate) struct Outputs {
    /// Each output with the statistics that the metrics already have.
    list: Vec<(Output, SinkStats)>,
}

impl Outputs {
    /// Combines these outputs. There must be at least one.
    pub(crate) fn new(list: Vec<Output>) -> Self {
        Self { list: list.into_iter().map(|output| (output, SinkStats::default())).collect() }
    }

    /// Sends a frame to every sink that takes its direction.
    ///
    /// # Errors
    /// The error of the first sink that fails.
    pub(crate) fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        for (output, _) in &mut self.list {
            let wanted = match output.sends {
                Sends::Both => true,
                Sends::ToServer => frame.direction() == Direction::ToServer,
                Sends::ToClient => frame.direction() == Direction::ToClient,
            };
            if wanted {
                output.sink.send_frame(frame, at)?;
            }
        }
        Ok(())
    }

    /// Sends all queued frames.
    ///
    /// # Errors
    /// The error of the first sink that fails.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.list.iter_mut().try_for_each(|(output, _)| output.sink.flush())
    }

    /// Ticks every sink. The player calls it about once a second, even if it sends nothing.
    ///
    /// # Errors
    /// The error of the first sink that fails.
    pub(crate) fn tick(&mut self, now: WallTime) -> Result<(), SinkError> {
        self.list.iter_mut().try_for_each(|(output, _)| output.sink.tick(now))
    }

    /// Adds to the metrics what the sinks did since the last call, and logs their events.
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

    /// Closes all sinks, even if one fails. Gives the final statistics and the first failure.
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
            metrics.dropped(reason).increment(dropped);
        }
    }
    if let Some(files) = now.files {
        metrics.capture_stalled.set(if files.stalled { 1.0 } else { 0.0 });
    }
}
