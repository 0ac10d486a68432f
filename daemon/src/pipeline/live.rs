//! The sessions that a drain still waits for. The player counts them, the main thread reads the counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Number of live sessions by label. Clones share the counts. The player keeps them only while it drains, so playing
/// costs nothing extra.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveSessions(Arc<Mutex<BTreeMap<Arc<str>, u64>>>);

impl LiveSessions {
    /// Replaces the counts. `labels` gives one label per live session.
    pub(crate) fn set<'a>(&self, labels: impl Iterator<Item = &'a Arc<str>>) {
        let mut counts = BTreeMap::new();
        for label in labels {
            *counts.entry(Arc::clone(label)).or_default() += 1;
        }
        *self.lock() = counts;
    }

    /// The counts as the player last set them.
    pub(crate) fn by_label(&self) -> BTreeMap<Arc<str>, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        // A panic elsewhere cannot leave the counts half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
