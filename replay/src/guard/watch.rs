//! A thread that looks at the kernel's rules and trips the gate when they are not what was installed.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Gate;
use super::nft::{NftError, NftGuard};

/// The watching thread. Dropping it stops the thread and takes the rules down.
#[derive(Debug)]
pub struct Watch {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<NftGuard>>,
}

impl Watch {
    /// Starts to look every `period` (at most [`POLL`](super::POLL)). The thread is in the network namespace
    /// of the caller.
    ///
    /// # Errors
    /// What starting a thread says; the rules are then taken down.
    pub fn start(mut guard: NftGuard, gate: Arc<Gate>, period: Duration) -> std::io::Result<Watch> {
        let (stop, stopped) = mpsc::channel::<()>();
        let period = period.min(super::POLL);
        let look = move || {
            // The wait is one for the stop, so that stopping takes no time.
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = guard.verify() {
                    gate.trip(format!("guard: {}", with_sources(&error)));
                    break;
                }
            }
            guard
        };
        let thread = thread::Builder::new().name("guard".into()).spawn(look)?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }

    /// Stops looking and takes the rules down.
    ///
    /// # Errors
    /// What [`NftGuard::remove`] says.
    pub fn stop(mut self) -> Result<(), NftError> {
        match self.join() {
            Some(guard) => guard.remove(),
            None => Ok(()),
        }
    }

    fn join(&mut self) -> Option<NftGuard> {
        drop(self.stop.take());
        self.thread.take()?.join().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.join());
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
