//! The totals of a run, over finished and live sessions.

use super::row::Row;
use super::{Counts, Ending, Generated, Generator, Stats};

/// The totals of a run.
#[derive(Default)]
pub(super) struct Tally {
    /// What the observer sees.
    stats: Stats,
    /// Counts of finished sessions only.
    finished: Counts,
}

impl Tally {
    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(super) fn into_stats(self) -> Stats {
        self.stats
    }

    /// Updates the totals from the finished sessions and `live`, the counts of all live sessions. Drop reasons stay in
    /// the map once counted, so that known reasons allocate nothing.
    pub(super) fn count<'a>(&mut self, live: impl Iterator<Item = &'a Counts>) {
        let counts = &mut self.stats.counts;
        (counts.tokens, counts.packets) = (0, 0);
        counts.drops.values_mut().for_each(|n| *n = 0);
        counts.add(&self.finished);
        self.stats.live = 0;
        for row in live {
            counts.add(row);
            self.stats.live += 1;
        }
    }

    /// Counts a finished session and hands it to `sink`.
    pub(super) fn finish(
        &mut self,
        generator: &Generator,
        row: Row,
        ending: Ending,
        sink: &mut dyn FnMut(Generated),
    ) {
        let generated = row.finish(generator, ending);
        self.finished.add(&generated.counts);
        let stats = &mut self.stats;
        stats.sessions += 1;
        stats.failed += u64::from(!matches!(ending, Ending::Limit | Ending::EndToken));
        let label = &generated.session.label;
        stats.repairs.entry(label.clone()).or_default().merge(&generated.repairs);
        let drops: u64 = generated.counts.drops.values().sum();
        *stats.drops.entry(label.clone()).or_default() += drops;
        sink(generated);
    }
}
