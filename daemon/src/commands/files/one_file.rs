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

/// A capture that appears under its name when it is complete.
pub(super) struct OneFile {
    path: PathBuf,
    labels: PathBuf,
    /// The hidden directory. It is removed in the end, even after an error.
    parts: Parts,
    inner: Box<RollingSink>,
}

/// A directory that is removed when this is dropped.
struct Parts(PathBuf);

impl Drop for Parts {
    fn drop(&mut self) {
        // What is left there is useless, and an error here has no receiver.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl OneFile {
    /// Begins a capture for `path`, with its labels for `labels`.
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
        publish(&parts.0, &path, &labels).map_err(|source| {
            failed(RollingError::Io { action: "finish", path: path.clone(), source }.into())
        })?;
        Ok(stats)
    }
}

/// Moves the one capture in `parts` and its labels to their names.
fn publish(parts: &Path, path: &Path, labels: &Path) -> io::Result<()> {
    let mut captures = Vec::new();
    for entry in fs::read_dir(parts)? {
        let entry = entry?.path();
        if entry.extension().is_some_and(|e| e == "pcap") {
            captures.push(entry);
        }
    }
    let [capture] = captures.as_slice() else {
        // The rolling sink creates a file with the first packet, so there was none.
        return Err(io::Error::other("not a single packet was there to be written"));
    };
    // Labels first: a reader who sees the capture finds its labels.
    put(&labels_beside(capture), labels)?;
    put(capture, path)
}
