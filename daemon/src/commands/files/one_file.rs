//! One capture file and its labels.
//!
//! The rolling sink does the work, without limits, in a hidden directory beside the file. The finished capture is
//! renamed into place when it is complete, so that nobody ever sees half of it. Where a week-long run waits for room on
//! a full disk, a command that was asked for one file fails instead.

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

/// A capture that appears when it is complete.
pub(super) struct OneFile {
    path: PathBuf,
    labels: PathBuf,
    /// The hidden directory, removed in the end whatever happens.
    parts: Parts,
    inner: Box<RollingSink>,
}

/// A directory that goes with its owner.
struct Parts(PathBuf);

impl Drop for Parts {
    fn drop(&mut self) {
        // What is left is of no use; an error here has no one to go to.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl OneFile {
    /// Begins a capture that will be at `path`, with its labels at `labels`.
    pub(super) fn create(path: &Path, labels: &Path, guard: Guard) -> Outcome<Self> {
        let name = path.file_name().unwrap_or_default();
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let hidden = format!(".{}.{}.parts", name.to_string_lossy(), std::process::id());
        let directory = parent.join(hidden);
        fs::create_dir(&directory).with_context(|| format!("write in {}", parent.display()))?;
        let parts = Parts(directory);
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

    /// Makes a full disk an error.
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

    fn send(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.inner.send(frame, at)?;
        self.look()
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        // A file that nobody can see yet need not be pushed out packet by packet.
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
        publish(&parts.0, &path, &labels).map_err(|source| {
            failed(RollingError::Io { action: "finish", path: path.clone(), source }.into())
        })?;
        Ok(stats)
    }
}

/// Moves the one capture of `parts` and its labels to their names.
fn publish(parts: &Path, path: &Path, labels: &Path) -> io::Result<()> {
    let mut captures = Vec::new();
    for entry in fs::read_dir(parts)? {
        let entry = entry?.path();
        if entry.extension().is_some_and(|e| e == "pcap") {
            captures.push(entry);
        }
    }
    let [capture] = captures.as_slice() else {
        // The rolling sink begins a file with its first packet.
        return Err(io::Error::other("not a single packet was there to be written"));
    };
    // Labels first: whoever sees the capture finds them.
    put(&labels_beside(capture), labels)?;
    put(capture, path)
}
