//! What a drain still waits for. The player counts it, and the main thread logs it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The sessions that a drain waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Live sessions by label.
    pub by_label: BTreeMap<Arc<str>, u64>,
    /// Time until they are cut.
    pub left: Duration,
}

/// What the player last said of its drain: nothing while it does not drain, so that playing pays nothing. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveSessions(Arc<Mutex<Option<Waiting>>>);

impl LiveSessions {
    /// The drain waits for one session per label in `labels`, for at most `left`.
    pub(crate) fn set<'a>(&self, labels: impl Iterator<Item = &'a Arc<str>>, left: Duration) {
        let mut by_label = BTreeMap::new();
        for label in labels {
            *by_label.entry(Arc::clone(label)).or_default() += 1;
        }
        *self.lock() = Some(Waiting { by_label, left });
    }

    /// What a drain waits for; `None` without one.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        // A panic elsewhere cannot leave the value half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
