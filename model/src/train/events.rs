//! Events of a run: each is written to the log file and passed to the observer.
//!
//! Every event is a line of `train.jsonl` in the run's directory and a call of [`Progress::event`].

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrainError;

/// Validation loss of a group of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nats {
    /// Nats per predicted token.
    pub per_token: f64,
    /// Nats per packet: the loss of all tokens divided by the number of packets.
    pub per_packet: f64,
    /// Tokens predicted.
    pub tokens: u64,
    /// Packets in them.
    pub packets: u64,
    /// Sessions.
    pub sessions: u64,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts or resumes.
    Start {
        /// First update of this process.
        step: u64,
        /// Total updates of the run.
        of: u64,
        /// Parameters of the model.
        parameters: usize,
        /// Tokens per epoch.
        tokens_per_epoch: u64,
        /// Threads, which are also shards.
        threads: usize,
        /// How far back the gradient reaches, in words.
        note: String,
    },
    /// An update was made.
    Step {
        /// Updates made.
        step: u64,
        /// Total updates of the run.
        of: u64,
        /// Training loss in nats per token.
        loss: f64,
        /// Learning rate.
        lr: f64,
        /// L2 norm of the gradient before clipping. `None` where it was not finite.
        grad_norm: Option<f64>,
        /// Tokens with a loss term so far.
        tokens: u64,
        /// Share of padding among this step's positions.
        padding: f64,
        /// Tokens with a loss term per second, over the last steps.
        tokens_per_s: f64,
        /// Epoch of the row that has come furthest.
        epoch: u64,
        /// Seconds left at this rate.
        eta_s: f64,
    },
    /// A validation was made.
    Eval {
        /// Updates made.
        step: u64,
        /// Loss over everything that was validated.
        total: Nats,
        /// Loss by group of labels, as configured. By label where no group is configured.
        groups: BTreeMap<String, Nats>,
        /// Whether all validation sessions were read.
        whole: bool,
        /// Whether this is the lowest loss per token so far.
        best: bool,
        /// Duration of the validation in seconds.
        seconds: f64,
    },
    /// A checkpoint is complete on disk.
    Saved {
        /// Updates made.
        step: u64,
        /// Its directory.
        path: PathBuf,
    },
    /// The run is over.
    End {
        /// Updates made.
        step: u64,
        /// Why it ended.
        reason: End,
        /// Wall-clock seconds of this process.
        seconds: f64,
    },
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All updates were made.
    Finished,
    /// The caller asked to stop; the run can be resumed.
    Stopped,
    /// Validation stopped improving.
    Patience,
}

/// The observer of a run.
pub trait Progress {
    /// Called for every event, on the training thread. It should return quickly.
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Progress for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// The log file and the observer together.
pub(super) struct Reporter<'a> {
    file: File,
    path: PathBuf,
    progress: &'a mut dyn Progress,
}

/// Name of the log in a run's directory.
pub const LOG_FILE: &str = "train.jsonl";

impl<'a> Reporter<'a> {
    /// Opens the log of the run directory `out` for appending.
    pub(super) fn open(out: &Path, progress: &'a mut dyn Progress) -> Result<Self, TrainError> {
        let path = out.join(LOG_FILE);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self { file: file.map_err(TrainError::io("open", &path))?, path, progress })
    }

    pub(super) fn report(&mut self, event: &Event) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(event).map_err(|e| TrainError::Io {
            action: "write",
            path: self.path.clone(),
            source: e.into(),
        })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(TrainError::io("write", &self.path))?;
        self.progress.event(event);
        Ok(())
    }
}
