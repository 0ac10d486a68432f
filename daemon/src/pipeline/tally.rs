//! The player's counts, since the last update of the metrics and over the whole run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use netssm_replay::drop_reason::DropReason;

use crate::metrics::{LATENESS_BUCKETS, Metrics};

/// Lateness over a whole run: the histogram that the metrics show too, and the maximum.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lateness {
    /// Packets by bucket of [`LATENESS_BUCKETS`], not cumulative. The last bucket holds what lies above all bounds.
    buckets: [u64; LATENESS_BUCKETS.len() + 1],
    count: u64,
    max: Duration,
}

impl Lateness {
    fn add(&mut self, late: Duration) {
        let seconds = late.as_secs_f64();
        self.buckets[LATENESS_BUCKETS.partition_point(|bound| *bound < seconds)] += 1;
        self.count += 1;
        self.max = self.max.max(late);
    }

    /// The bound, in seconds, that this share of the packets stayed below. If no bound holds, the largest lateness.
    /// `None` without packets.
    pub(crate) fn below(&self, share: f64) -> Option<f64> {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (n, bound) in self.buckets.iter().zip(LATENESS_BUCKETS) {
            seen += n;
            if seen >= wanted {
                return (self.count > 0).then_some(bound.min(self.max.as_secs_f64()));
            }
        }
        Some(self.max.as_secs_f64())
    }

    /// The largest lateness.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }
}

/// The player's counts. They are plain numbers, so the innermost loop touches nothing that threads share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Frames handed to the outputs.
    pub frames: u64,
    /// Sessions started, by label.
    pub started: BTreeMap<Arc<str>, u64>,
    /// Sessions that played to their end.
    pub finished: u64,
    /// Replays of sessions that were played before.
    pub reused: u64,
    /// Arrivals that had to wait for the model.
    pub underruns: u64,
    /// Packets that were dropped before they became a frame, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// How late frames were.
    pub lateness: Lateness,
    /// Lateness values that the metrics do not have yet.
    fresh: Vec<Duration>,
    folded: Folded,
}

/// What the metrics already have.
#[derive(Debug, Default)]
struct Folded {
    started: BTreeMap<Arc<str>, u64>,
    reused: u64,
    dropped: BTreeMap<DropReason, u64>,
}

impl Tally {
    /// Notes that frames with these deadlines were handed to the outputs at `now`.
    pub(crate) fn sent(&mut self, deadlines: &[Duration], now: Duration) {
        self.frames += deadlines.len() as u64;
        for deadline in deadlines {
            let late = now.saturating_sub(*deadline);
            self.lateness.add(late);
            self.fresh.push(late);
        }
    }

    /// Adds to the metrics what they do not have yet.
    pub(crate) fn fold(&mut self, metrics: &Metrics) {
        for (label, total) in &self.started {
            let told = self.folded.started.insert(label.clone(), *total).unwrap_or(0);
            if *total > told {
                metrics.sessions_started(label).increment(total - told);
            }
        }
        for (reason, total) in &self.dropped {
            let told = self.folded.dropped.insert(*reason, *total).unwrap_or(0);
            if *total > told {
                metrics.dropped(*reason).increment(total - told);
            }
        }
        metrics.session_reuses.increment(self.reused - self.folded.reused);
        self.folded.reused = self.reused;
        for late in self.fresh.drain(..) {
            metrics.lateness.record(late.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn lateness_is_counted_by_bucket_and_never_negative() {
        let mut tally = Tally::default();
        tally.sent(&[100 * US, 60 * US, 40 * US], 90 * US);
        let lateness = &tally.lateness;
        assert_eq!((lateness.count, lateness.max()), (3, 50 * US));
        // Lateness is 0 us, 30 us and 50 us. The bounds are 5, 50 and 50 us.
        assert_eq!((lateness.below(0.3), lateness.below(0.99)), (Some(5e-6), Some(5e-5)));
        assert_eq!(Lateness::default().below(0.5), None);
    }

    #[test]
    fn what_is_beyond_all_buckets_shows_its_own_value() {
        let mut tally = Tally::default();
        tally.sent(&[Duration::ZERO], Duration::from_secs(99));
        assert_eq!(tally.lateness.below(0.5), Some(99.0));
    }

    #[test]
    fn the_metrics_are_told_everything_once() {
        let metrics = Metrics::new();
        let mut tally = Tally::default();
        for round in 1..=3 {
            *tally.started.entry("a".into()).or_default() += 2;
            *tally.dropped.entry(DropReason::Headers).or_default() += 1;
            tally.reused += 1;
            tally.sent(&[Duration::ZERO], US);
            tally.fold(&metrics);
            tally.fold(&metrics);
            metrics.upkeep();
            let page = metrics.render();
            for line in [
                format!("netssmd_sessions_started_total{{label=\"a\"}} {}", 2 * round),
                format!("netssmd_dropped_packets_total{{reason=\"headers\"}} {round}"),
                format!("netssmd_session_reuses_total {round}"),
                format!("netssmd_send_lateness_seconds_count {round}"),
            ] {
                assert!(page.lines().any(|l| l == line), "no line {line} in\n{page}");
            }
        }
    }
}
