//! Finishing a capture: labels, sync, renames. This has a thread of its own: a sync may take long, and the thread
//! that writes frames may also pace them.
//!
//! One capture at a time, so that they become visible in order. When the disk cannot keep up, the writer
//! waits for the one before.

use std::io;
use std::thread::{self, JoinHandle};

use super::config::RollingError;
use super::directory::Paths;
use super::file::Sealed;
use crate::sink::{FinishReason, SinkEvent};

/// A capture to be finished.
pub(super) struct Job {
    pub(super) sealed: Sealed,
    pub(super) why: FinishReason,
}

/// A job that the disk refused; it may be tried again.
pub(super) struct Refused {
    pub(super) job: Job,
    pub(super) error: RollingError,
}

/// A capture that is complete and visible.
pub(super) struct Done {
    pub(super) paths: Paths,
    /// Bytes that it takes with its labels.
    pub(super) bytes: u64,
    /// What to tell.
    pub(super) event: SinkEvent,
}

pub(super) type Outcome = Result<Done, Box<Refused>>;

impl Job {
    /// Bytes that it takes with its labels.
    pub(super) fn bytes(&self) -> u64 {
        self.sealed.footprint()
    }

    /// Makes the capture complete and visible.
    pub(super) fn run(mut self) -> Outcome {
        let refused = |job, error| Err(Box::new(Refused { job, error }));
        if let Err(source) = self.sealed.sync() {
            let path = self.sealed.paths.capture_part.clone();
            return refused(self, RollingError::Io { action: "finish", path, source });
        }
        if let Err(error) = self.sealed.paths.publish() {
            return refused(self, error);
        }
        let bytes = self.sealed.footprint();
        let Sealed { paths, length, frames, .. } = self.sealed;
        let path = paths.capture.clone();
        Ok(Done { paths, bytes, event: SinkEvent::Finished { path, frames, bytes: length, why: self.why } })
    }
}

/// The job under way, if there is one.
#[derive(Default)]
pub(super) struct Finisher {
    running: Option<(JoinHandle<Outcome>, u64)>,
}

impl Finisher {
    /// Bytes of the capture under way.
    pub(super) fn bytes(&self) -> u64 {
        self.running.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Starts a job; [`Finisher::wait`] for the one before first. Where no thread can be had, does it here
    /// and now.
    pub(super) fn start(&mut self, job: Job) -> Option<Outcome> {
        let bytes = job.bytes();
        // The job travels by a channel so that it is still here if the thread does not start.
        let (give, take) = std::sync::mpsc::sync_channel::<Job>(1);
        let started = thread::Builder::new().name("pcap-sync".into()).spawn(move || {
            let job = take.recv().expect("the job is sent right after the thread has started");
            job.run()
        });
        match started {
            Ok(handle) => match give.send(job) {
                Ok(()) => {
                    self.running = Some((handle, bytes));
                    None
                }
                Err(back) => Some(back.0.run()),
            },
            Err(_) => Some(job.run()),
        }
    }

    /// The outcome of the job under way, if it is there already.
    pub(super) fn poll(&mut self) -> Option<Outcome> {
        if self.running.as_ref()?.0.is_finished() { self.wait() } else { None }
    }

    /// Waits for the job under way; `None` if there is none.
    pub(super) fn wait(&mut self) -> Option<Outcome> {
        let (handle, _) = self.running.take()?;
        Some(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Refused {
    /// The system's own error.
    pub(super) fn into_parts(self) -> (Job, io::Error) {
        let source = match self.error {
            RollingError::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        };
        (self.job, source)
    }
}
