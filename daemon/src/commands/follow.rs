//! Shows the progress of a library that reads, measures or predicts.
//!
//! The library calls from several threads. Each call tells it whether to stop.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netssm_wire::capture::Progress as Follow;

use crate::progress::Progress;
use crate::signals::StopFlag;

/// Shows the progress of one job of a library.
pub(super) struct Follower {
    what: String,
    shown: Mutex<Shown>,
    stop: StopFlag,
    quiet: bool,
}

#[derive(Default)]
struct Shown {
    progress: Option<Progress>,
    files: u64,
    bytes: u64,
    packets: u64,
}

impl Follower {
    /// Follows the job `what`. With `quiet` it shows nothing.
    pub(super) fn new(what: &str, stop: StopFlag, quiet: bool) -> Self {
        Self { what: what.to_owned(), shown: Mutex::default(), stop, quiet }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this part of a report begins. Gives whether to go on.
    pub(super) fn part(&self, name: &str) -> bool {
        let mut shown = self.lock();
        let quiet = self.quiet;
        shown.files += 1;
        let done = shown.files;
        let progress =
            shown.progress.get_or_insert_with(|| Progress::new(self.what.clone(), "parts", 0, quiet));
        progress.set(done, name);
        !self.stop.is_set()
    }

    /// Removes the progress bar. Gives how long the job took, or zero if it never began.
    pub(super) fn finish(&self) -> Duration {
        self.lock().progress.as_ref().map_or(Duration::ZERO, Progress::finish)
    }

    /// Notes that `done` of `all` tokens are predicted. Gives whether to stop.
    pub(super) fn predicted(&self, done: u64, all: u64) -> bool {
        let mut shown = self.lock();
        let quiet = self.quiet;
        shown
            .progress
            .get_or_insert_with(|| Progress::new(self.what.clone(), "tokens", all, quiet))
            .set(done, "");
        self.stop.is_set()
    }
}

impl Follow for Follower {
    fn begin(&self, files: u64, bytes: u64) {
        let what = format!("{}: {files} captures", self.what);
        self.lock().progress = Some(Progress::new(what, "bytes", bytes, self.quiet));
    }

    fn file(&self, bytes: u64, packets: u64) {
        let mut shown = self.lock();
        shown.files += 1;
        shown.bytes += bytes;
        shown.packets += packets;
        let (done, note) = (shown.bytes, format!("{} files, {} packets", shown.files, shown.packets));
        if let Some(progress) = &mut shown.progress {
            progress.set(done, &note);
        }
    }

    fn stop(&self) -> bool {
        self.stop.is_set()
    }
}
