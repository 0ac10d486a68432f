//! Rolling captures: files that a sensor can follow, each with its labels, in a directory that never
//! overflows.
//!
//! A capture grows in a hidden place, is synced when it is complete, and then appears by a rename together
//! with its label file, so a reader of the directory sees whole captures only, also after `kill -9` or a
//! power cut. It ends by bytes, by packets, or at a multiple of a period on the wall clock (UTC), by the
//! times of the packets themselves; a file without packets never appears. Times have nanoseconds.
//!
//! **A full disk** (no space, quota, I/O error) stops writing, not the run: the file is cut back to its last
//! whole record and finished, for which room for its labels was set aside; from there on frames are dropped
//! and counted, the directory is tried again every [`RollingConfig::probe`], and when [`RollingConfig::room`]
//! bytes can be had, a new file begins. [`SinkEvent::Stalled`] and [`SinkEvent::Resumed`] tell.
//!
//! Syncing and renaming a finished file happens on a thread of its own, one file at a time; [`Sink::send_frame`]
//! only waits for it when the next file is complete before.

mod config;
mod directory;
mod file;
mod finish;

pub use config::{RollingConfig, RollingError};

use std::io;
use std::sync::Arc;

use super::{CloseError, DropReason, FileCounters, FinishReason, Sink, SinkError, SinkEvent, SinkStats};
use crate::clock::{Clock, MonoTime, WallTime};
use crate::guard::Guard;
use crate::rewrite::TestbedFrame;
use directory::Directory;
use file::{FILE_HEADER, OpenFile, RECORD_HEADER};
use finish::{Done, Finisher, Job, Outcome};

/// Rolling captures in one directory.
pub struct RollingSink {
    config: RollingConfig,
    guard: Guard,
    clock: Arc<dyn Clock>,
    directory: Directory,
    open: Option<OpenFile>,
    /// Window of the wall clock that the open file belongs to.
    window: i64,
    finisher: Finisher,
    /// Complete, but the disk would not let them be finished; tried again at each probe.
    refused: Vec<Job>,
    stall: Option<Stall>,
    stats: SinkStats,
    files: FileCounters,
    events: Vec<SinkEvent>,
}

/// Writing is stopped.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// [`DropReason::DiskFull`] before it.
    dropped_before: u64,
    next_probe: MonoTime,
}

impl std::fmt::Debug for RollingSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RollingSink")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl RollingSink {
    /// Opens the directory and clears up after a process that died in it (see [`SinkEvent::Recovered`]).
    ///
    /// # Errors
    /// [`RollingError`]: a bad prefix, a directory that cannot be made or written, another process on the
    /// same prefix.
    pub fn open(
        config: RollingConfig,
        guard: Guard,
        clock: Arc<dyn Clock>,
    ) -> Result<RollingSink, RollingError> {
        config.validate()?;
        let (directory, events) = Directory::open(&config)?;
        Ok(RollingSink {
            config,
            guard,
            clock,
            directory,
            open: None,
            window: 0,
            finisher: Finisher::default(),
            refused: Vec::new(),
            stall: None,
            stats: SinkStats::default(),
            files: FileCounters::default(),
            events,
        })
    }

    fn window_of(&self, at: WallTime) -> i64 {
        match i64::try_from(self.config.max_seconds) {
            Ok(0) | Err(_) => 0,
            Ok(period) => at.secs().div_euclid(period),
        }
    }

    /// Why the open file must end before a frame of `len` bytes at `at` is written, if it must.
    fn end_before(&self, len: usize, at: WallTime) -> Option<FinishReason> {
        let open = self.open.as_ref()?;
        let (max_bytes, max_packets) = (self.config.file_bytes(), self.config.max_packets);
        let grown = open.full_length() + RECORD_HEADER + len as u64;
        // Only ever forward: a frame from before the window began, late for whatever reason, stays in this
        // file.
        if self.window_of(at) > self.window {
            Some(FinishReason::Time)
        } else if max_bytes > 0 && grown > max_bytes && open.full_length() > FILE_HEADER {
            Some(FinishReason::Bytes)
        } else if max_packets > 0 && open.full_frames() >= max_packets {
            Some(FinishReason::Packets)
        } else {
            None
        }
    }

    /// Looks whether what was written is on the disk, and whether a file before is finished.
    fn look(&mut self) {
        if let Some(outcome) = self.finisher.poll() {
            self.take_outcome(outcome);
        }
        let Some(open) = &mut self.open else { return };
        match open.look() {
            Ok(confirmed) => {
                self.stats.frames += confirmed.frames;
                self.stats.bytes += confirmed.bytes;
                if let Err(error) = open.reserve_labels() {
                    self.stop(error);
                }
            }
            Err(error) => self.stop(error),
        }
        self.keep_below_cap();
    }

    /// The disk refuses: loses what is pending, finishes what is confirmed, stops.
    fn stop(&mut self, error: io::Error) {
        let mut lost = 0;
        let mut path = self.directory.path().to_owned();
        if self.stall.is_none() {
            self.files.stalls += 1;
            let dropped_before = self.stats.dropped.get(DropReason::DiskFull);
            self.stall = Some(Stall { dropped_before, next_probe: self.clock.now() + self.config.probe });
        }
        let open = self.open.take();
        if let Some(open) = open {
            path.clone_from(&open.paths.capture_part);
            lost = open.pending();
            self.stats.dropped.add(DropReason::DiskFull, lost);
            self.events.push(SinkEvent::Stalled { path, error: error.to_string(), lost });
            // What cannot even be deleted is a hidden file that the next start removes.
            let ended = if open.frames == 0 { open.discard().map(|()| None) } else { open.seal().map(Some) };
            if let Ok(Some(sealed)) = ended {
                self.hand_over(Job { sealed, why: FinishReason::Stall });
            }
        } else {
            self.events.push(SinkEvent::Stalled { path, error: error.to_string(), lost });
        }
    }

    /// Ends the open file; the next frame begins another.
    fn end_file(&mut self, why: FinishReason) {
        self.look();
        let Some(open) = self.open.take() else { return }; // the look found the disk full
        match open.seal() {
            Ok(sealed) => self.hand_over(Job { sealed, why }),
            Err(error) => self.stop(error),
        }
    }

    /// Has a file finished, after the one before.
    fn hand_over(&mut self, job: Job) {
        self.await_finisher();
        if let Some(outcome) = self.finisher.start(job) {
            self.take_outcome(outcome);
        }
    }

    fn await_finisher(&mut self) {
        while let Some(outcome) = self.finisher.wait() {
            self.take_outcome(outcome);
        }
    }

    fn take_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Ok(done) => {
                self.note(done);
                self.keep_below_cap();
            }
            Err(refused) => {
                let (job, error) = refused.into_parts();
                self.refused.push(job);
                self.stop(error);
            }
        }
    }

    fn note(&mut self, done: Done) {
        self.files.finished += 1;
        self.directory.add(&done.paths, done.bytes);
        self.events.push(done.event);
    }

    /// Tries again what the disk refused.
    fn retry(&mut self) -> Result<(), RollingError> {
        self.await_finisher();
        while let Some(job) = self.refused.pop() {
            match job.run() {
                Ok(done) => self.note(done),
                Err(refused) => {
                    self.refused.push(refused.job);
                    return Err(refused.error);
                }
            }
        }
        Ok(())
    }

    /// Deletes the oldest captures if the directory has grown beyond its cap.
    fn keep_below_cap(&mut self) {
        let cap = self.config.directory_bytes;
        if cap == 0 {
            return;
        }
        let unfinished = self.unfinished_bytes();
        if self.directory.bytes() + unfinished > cap {
            match self.directory.shrink(cap.saturating_sub(unfinished)) {
                Ok(events) => {
                    self.files.deleted += events.len() as u64;
                    self.events.extend(events);
                }
                Err(error) => self.stop(io::Error::other(error.to_string())),
            }
        }
    }

    /// Bytes of files that are not visible yet.
    fn unfinished_bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, OpenFile::footprint);
        open + self.finisher.bytes() + self.refused.iter().map(Job::bytes).sum::<u64>()
    }

    fn begin(&mut self, at: WallTime) {
        // Room for a whole file under the cap, so that it is kept while the file grows too.
        if self.config.directory_bytes > 0 {
            let others = self.config.file_bytes() + self.unfinished_bytes();
            let limit = self.config.directory_bytes.saturating_sub(others);
            match self.directory.shrink(limit) {
                Ok(events) => {
                    self.files.deleted += events.len() as u64;
                    self.events.extend(events);
                }
                Err(error) => return self.stop(io::Error::other(error.to_string())),
            }
        }
        let paths = self.directory.next_paths(at);
        match OpenFile::create(paths) {
            Ok(file) => {
                self.open = Some(file);
                self.window = self.window_of(at);
            }
            Err(error) => self.stop(error),
        }
    }

    /// Looks for room if it is time to; says whether frames can be written.
    fn can_write(&mut self) -> bool {
        let Some(stall) = self.stall else { return true };
        let now = self.clock.now();
        if now < stall.next_probe {
            return false;
        }
        self.stall = Some(Stall { next_probe: now + self.config.probe, ..stall });
        let room =
            self.retry().is_ok() && file::probe(&self.directory.probe_path(), self.config.room).is_ok();
        if room {
            self.stall = None;
            let dropped = self.stats.dropped.get(DropReason::DiskFull) - stall.dropped_before;
            self.events.push(SinkEvent::Resumed { path: self.directory.path().to_owned(), dropped });
        }
        room
    }
}

impl Sink for RollingSink {
    fn name(&self) -> &str {
        "pcap"
    }

    fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.stats.offered += 1;
        if let Err(refusal) = self.guard.admit_frame(frame) {
            self.stats.dropped.add(DropReason::Guard, 1);
            return Err(refusal.into());
        }
        if u32::try_from(at.secs()).is_err() {
            self.stats.dropped.add(DropReason::Time, 1);
            return Ok(());
        }
        if let Some(why) = self.end_before(frame.len(), at) {
            self.end_file(why);
        }
        if self.can_write() && self.open.is_none() {
            self.begin(at);
        }
        match &mut self.open {
            Some(open) => {
                open.write(frame, at);
                if open.is_look_due() {
                    self.look();
                }
            }
            None => self.stats.dropped.add(DropReason::DiskFull, 1),
        }
        Ok(())
    }

    /// Confirms what was written; never fails, see [`SinkEvent::Stalled`].
    fn flush(&mut self) -> Result<(), SinkError> {
        self.look();
        Ok(())
    }

    fn tick(&mut self, now: WallTime) -> Result<(), SinkError> {
        self.look();
        if self.open.is_some() && self.window_of(now) > self.window {
            self.end_file(FinishReason::Time);
        }
        self.can_write();
        Ok(())
    }

    fn stats(&self) -> SinkStats {
        SinkStats {
            queued: self.open.as_ref().map_or(0, OpenFile::pending),
            files: Some(FileCounters {
                stalled: self.stall.is_some(),
                directory_bytes: self.directory.bytes() + self.unfinished_bytes(),
                ..self.files
            }),
            ..self.stats
        }
    }

    fn take_events(&mut self) -> Vec<SinkEvent> {
        std::mem::take(&mut self.events)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.end_file(FinishReason::Close);
        Ok(self.retry()?)
    }

    fn close(mut self: Box<Self>) -> Result<SinkStats, CloseError> {
        let finished = self.finish();
        let stats = self.stats();
        finished.map(|()| stats).map_err(|error| CloseError { stats: Box::new(stats), error })
    }
}
