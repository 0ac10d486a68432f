//! One capture under the name that the user gave, and its labels beside it.
//!
//! The work is done by the rolling sink, without limits, in a hidden directory beside the file; the finished capture is
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

use crate::exit::{Failure, Outcome};
use crate::pipeline::{Output, OutputKind};
use crate::profile::Sends;

/// The label file of a capture: its name with `.labels.jsonl` in place of the extension.
pub(super) fn labels_beside(capture: &Path) -> PathBuf {
    capture.with_extension("labels.jsonl")
}

/// An output into one file, which is there when the output was closed.
///
/// # Errors
/// The file's directory is not there or cannot be written.
pub(super) fn output(path: &Path, guard: Guard) -> Outcome<Output> {
    let sink = OneFile::create(path, guard)?;
    Ok(Output { sink: Box::new(sink), sends: Sends::Both, kind: OutputKind::Capture })
}

struct OneFile {
    path: PathBuf,
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
    fn create(path: &Path, guard: Guard) -> Outcome<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(format_args!("{} is not the name of a file", path.display())))?;
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
        Ok(Self { path: path.to_owned(), parts, inner: Box::new(inner) })
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
        let Self { path, parts, inner, .. } = *self;
        let stats = inner.close()?;
        let failed = |error: SinkError| CloseError { stats: Box::new(stats), error };
        looked.map_err(failed)?;
        publish(&parts.0, &path).map_err(|source| {
            failed(RollingError::Io { action: "finish", path: path.clone(), source }.into())
        })?;
        Ok(stats)
    }
}

/// Moves the one capture of `parts` and its labels to their names.
fn publish(parts: &Path, path: &Path) -> io::Result<()> {
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
    fs::rename(labels_beside(capture), labels_beside(path))?;
    fs::rename(capture, path)
}
