//! Notices: each is a value that is logged and counted in one place, so that a log line and its metric never differ.

use std::path::PathBuf;
use std::sync::Arc;

use netssm_replay::sink::SinkEvent;

use crate::drops::PacketDrop;
use crate::metrics::Metrics;

/// Something that is logged and counted.
pub(crate) trait Notice {
    /// Logs and counts it.
    fn emit(self, metrics: &Metrics);
}

/// An arrival whose label had no session left to play.
#[derive(Debug)]
pub(crate) struct Underrun {
    /// The label.
    pub label: Arc<str>,
}

impl Notice for Underrun {
    fn emit(self, metrics: &Metrics) {
        metrics.pool_underruns.increment(1);
        tracing::warn!(label = %self.label, "the pool is dry: the next session waits for the model");
    }
}

/// A session that could not start and was left out.
#[derive(Debug)]
pub(crate) struct SessionRefused {
    /// Its label.
    pub label: Arc<str>,
    /// Number of its packets. They are counted as dropped.
    pub packets: u64,
    /// Why it could not start.
    pub error: String,
}

impl Notice for SessionRefused {
    fn emit(self, metrics: &Metrics) {
        metrics.dropped(PacketDrop::SessionRefused).increment(self.packets);
        tracing::warn!(label = %self.label, packets = self.packets, error = self.error, "a session was left out");
    }
}

/// A session in which the model wrote no packet that could be repaired.
#[derive(Debug)]
pub(crate) struct SessionEmpty {
    /// Its label.
    pub label: Arc<str>,
    /// How generation ended.
    pub ending: String,
}

impl Notice for SessionEmpty {
    fn emit(self, _metrics: &Metrics) {
        tracing::warn!(label = %self.label, ending = self.ending, "the model wrote a session without a packet");
    }
}

/// A reload took effect.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// The profile.
    pub profile: PathBuf,
    /// Whether checkpoint, device, precision or sampling changed.
    pub model_changed: bool,
}

impl Notice for Reloaded {
    fn emit(self, metrics: &Metrics) {
        metrics.reloads("accepted").increment(1);
        tracing::info!(
            profile = %self.profile.display(),
            model_changed = self.model_changed,
            "profile reloaded: it counts for new sessions"
        );
    }
}

/// A reload was refused. The old profile stays.
#[derive(Debug)]
pub(crate) struct ReloadRefused {
    /// The profile that was refused.
    pub profile: PathBuf,
    /// Why, one problem per line.
    pub reason: String,
}

impl Notice for ReloadRefused {
    fn emit(self, metrics: &Metrics) {
        metrics.reloads("refused").increment(1);
        for line in self.reason.lines() {
            tracing::error!(profile = %self.profile.display(), "reload refused: {line}");
        }
        tracing::warn!("the old profile stays in effect");
    }
}

/// The guard stopped all sending.
#[derive(Debug)]
pub(crate) struct GuardFailed {
    /// What the guard found.
    pub reason: String,
}

impl Notice for GuardFailed {
    fn emit(self, metrics: &Metrics) {
        metrics.guard_failures.increment(1);
        tracing::error!(reason = self.reason, "the guard stopped sending");
    }
}

/// A stop cut live sessions.
#[derive(Debug)]
pub(crate) struct SessionsCut {
    /// How many. 0 logs nothing.
    pub sessions: u64,
}

impl Notice for SessionsCut {
    fn emit(self, metrics: &Metrics) {
        metrics.sessions_cut.increment(self.sessions);
        if self.sessions > 0 {
            tracing::warn!(sessions = self.sessions, "live sessions were cut");
        }
    }
}

/// An event of a sink.
#[derive(Debug)]
pub(crate) struct SinkNotice(SinkEvent);

/// Wraps the event of a sink as a notice.
pub(crate) fn log_sink_event(event: SinkEvent) -> SinkNotice {
    SinkNotice(event)
}

impl Notice for SinkNotice {
    fn emit(self, metrics: &Metrics) {
        match self.0 {
            SinkEvent::Finished { path, frames, bytes, why } => {
                metrics.rotations(why.as_str()).increment(1);
                tracing::info!(path = %path.display(), frames, bytes, why = why.as_str(), "capture finished");
            }
            SinkEvent::Deleted { path, bytes } => {
                metrics.files_deleted.increment(1);
                tracing::info!(path = %path.display(), bytes, "old capture deleted to stay below the limit");
            }
            SinkEvent::Stalled { path, error, lost } => {
                metrics.capture_stalls.increment(1);
                metrics.capture_stalled.set(1.0);
                tracing::error!(path = %path.display(), error, lost, "capture writing stopped; sending goes on");
            }
            SinkEvent::Resumed { path, dropped } => {
                metrics.capture_stalled.set(0.0);
                tracing::info!(path = %path.display(), dropped, "there is room again: capture writing goes on");
            }
            SinkEvent::Recovered { path, bytes, kept } => {
                tracing::info!(path = %path.display(), bytes, kept, "took care of what a dead process left behind");
            }
            other => tracing::info!(?other, "output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use netssm_replay::sink::FinishReason;

    use super::*;

    #[test]
    fn every_event_counts_what_it_logs() {
        let metrics = Metrics::new();
        Underrun { label: "a".into() }.emit(&metrics);
        SessionRefused { label: "a".into(), packets: 7, error: "no room".into() }.emit(&metrics);
        Reloaded { profile: "p".into(), model_changed: false }.emit(&metrics);
        ReloadRefused { profile: "p".into(), reason: "x".into() }.emit(&metrics);
        ReloadRefused { profile: "p".into(), reason: "y".into() }.emit(&metrics);
        GuardFailed { reason: "rules gone".into() }.emit(&metrics);
        SessionsCut { sessions: 3 }.emit(&metrics);
        let path = PathBuf::from("x");
        for event in [
            SinkEvent::Finished { path: path.clone(), frames: 1, bytes: 2, why: FinishReason::Time },
            SinkEvent::Deleted { path: path.clone(), bytes: 1 },
            SinkEvent::Stalled { path: path.clone(), error: "full".into(), lost: 0 },
        ] {
            log_sink_event(event).emit(&metrics);
        }
        let page = metrics.render();
        for line in [
            "netssmd_pool_underruns_total 1",
            "netssmd_dropped_packets_total{reason=\"session_refused\"} 7",
            "netssmd_reloads_total{result=\"accepted\"} 1",
            "netssmd_reloads_total{result=\"refused\"} 2",
            "netssmd_guard_failures_total 1",
            "netssmd_sessions_cut_total 3",
            "netssmd_capture_rotations_total{reason=\"time\"} 1",
            "netssmd_capture_files_deleted_total 1",
            "netssmd_capture_stalls_total 1",
            "netssmd_capture_stalled 1",
        ] {
            assert!(page.lines().any(|l| l == line), "no line {line} in\n{page}");
        }
        log_sink_event(SinkEvent::Resumed { path, dropped: 5 }).emit(&metrics);
        assert!(metrics.render().contains("netssmd_capture_stalled 0"));
    }
}
