//! Writes one capture file and its label file.
//!
//! A rolling sink without limits writes into a hidden directory beside the file. The capture is renamed into place when
//! it is complete, so a half-written one is never visible under its name. On a full disk, a rolling sink waits for
//! room, because a run may last for weeks. This sink fails instead, because the user asked for one file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use netssm_replay::clock::{SystemClock, WallTime};
use netssm_replay::guard::Guard;
use netssm_replay::rewrite::TestbedFrame;
use netssm_replay::sink::rolling::{RollingConfig, RollingError, RollingSink};
use netssm_replay::sink::{CloseError, Sink, SinkError, SinkEvent, SinkStats};

use super::{labels_beside, put};
use crate::exit::Outcome;

/// Directories of one process that are tried in one folder: far more than a process has outputs.
const MOST_PARTS: u32 = 1_000;

/// A capture that appears under its name when it is complete.
pub(super) struct OneFile {
    path: PathBuf,
    labels: PathBuf,
    /// The hidden directory. It is removed in the end, unless a finished capture could not be given its name.
    parts: Parts,
    inner: Box<RollingSink>,
}

/// A directory that is removed when this is dropped.
struct Parts(PathBuf);

impl Parts {
    /// A new one in `parent`. The process id alone is no name of its own: containers have the same ones, and a killed
    /// process leaves its directory behind.
    fn create(parent: &Path) -> io::Result<Self> {
        let mut number = 0;
        loop {
            let directory = parent.join(format!(".netssmd.{}.{number}.parts", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => return Ok(Self(directory)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_PARTS => {
                    number += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Leaves the directory where it is.
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What is left there is useless, and an error here has no receiver.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

impl OneFile {
    /// Begins a capture for `path`, with its labels for `labels`.
    pub(super) fn create(path: &Path, labels: &Path, guard: Guard) -> Outcome<Self> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parts = Parts::create(parent).with_context(|| format!("write in {}", parent.display()))?;
        let unlimited = RollingConfig {
            prefix: "capture".into(),
            max_bytes: 0,
            max_seconds: 0,
            max_packets: 0,
            directory_bytes: 0,
            ..RollingConfig::new(&parts.0)
        };
        let inner = RollingSink::open(unlimited, guard, Arc::new(SystemClock::new()))?;
        Ok(Self { path: path.to_owned(), labels: labels.to_owned(), parts, inner: Box::new(inner) })
    }

    /// Gives an error if the disk is full.
    fn look(&mut self) -> Result<(), SinkError> {
        for event in self.inner.take_events() {
            if let SinkEvent::Stalled { error, .. } = event {
                return Err(self.failed("write", io::Error::new(io::ErrorKind::StorageFull, error)));
            }
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> SinkError {
        RollingError::Io { action, path: self.path.clone(), source }.into()
    }
}

impl Sink for OneFile {
    fn name(&self) -> &str {
        "pcap"
    }

    fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.inner.send_frame(frame, at)?;
        self.look()
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        // The file is not visible yet, so it need not be flushed for each packet.
        Ok(())
    }

    fn tick(&mut self, now: WallTime) -> Result<(), SinkError> {
        self.inner.tick(now)?;
        self.look()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.inner.finish()?;
        self.look()
    }

    fn stats(&self) -> SinkStats {
        self.inner.stats()
    }

    fn close(mut self: Box<Self>) -> Result<SinkStats, CloseError> {
        let looked = self.look();
        let Self { path, labels, parts, inner } = *self;
        let stats = inner.close()?;
        let failed = |error: SinkError| CloseError { stats: Box::new(stats), error };
        looked.map_err(failed)?;
        let unfinished =
            |source| failed(RollingError::Io { action: "finish", path: path.clone(), source }.into());
        let capture = finished_capture(&parts.0).map_err(unfinished)?;
        // Labels first: a reader who sees the capture finds its labels.
        let moved = put(&labels_beside(&capture), &labels).and_then(|()| put(&capture, &path));
        moved.map_err(|source| {
            // The work is done; only its name could not be given.
            let kept = parts.keep();
            let what = format!("{source}; what was made is kept in {}", kept.display());
            unfinished(io::Error::new(source.kind(), what))
        })?;
        Ok(stats)
    }
}

/// The one capture in `parts`.
fn finished_capture(parts: &Path) -> io::Result<PathBuf> {
    let mut captures = Vec::new();
    for entry in fs::read_dir(parts)? {
        let entry = entry?.path();
        if entry.extension().is_some_and(|e| e == "pcap") {
            captures.push(entry);
        }
    }
    // The rolling sink creates a file with the first packet, so without one there was none.
    captures.pop().ok_or_else(|| io::Error::other("not a single packet was there to be written"))
}
