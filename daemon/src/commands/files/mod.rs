//! The file that a user names as an output, and what may stand there already.
//!
//! An output never takes the place of a device, a pipe or a link: devices and pipes are opened and written into, links
//! are followed, `-` is standard output. Only a regular file is replaced, as one, when its successor is complete.

mod one_file;
mod place;

use std::io;
use std::path::{Path, PathBuf};

use netssm_replay::guard::Guard;
use netssm_replay::sink::stream::StreamSink;

use self::one_file::OneFile;
pub(super) use self::place::put;
use self::place::{Opened, Place};
use crate::exit::Outcome;
use crate::pipeline::{Output, OutputKind};
use crate::profile::Sends;

/// Where a command's capture goes, found out before any work is done.
pub(super) struct CaptureFile {
    /// The name as the user gave it.
    name: PathBuf,
    place: Place,
}

impl CaptureFile {
    /// Looks at what is there.
    ///
    /// # Errors
    /// Something is there that a capture cannot be written to: a folder, a disk, a socket, a terminal.
    pub(super) fn at(name: &Path) -> Outcome<Self> {
        Ok(Self { name: name.to_owned(), place: Place::of(name)? })
    }

    /// The label file: the name as given with `.labels.jsonl` in place of the extension. `None` where the capture
    /// goes into a pipe or a device, which has nothing beside it.
    pub(super) fn labels(&self) -> Option<PathBuf> {
        match self.place {
            Place::File(_) => Some(labels_beside(&self.name)),
            Place::Opened(_) => None,
        }
    }

    /// Whether the capture goes to standard output, so that nothing else may.
    pub(super) fn is_standard_output(&self) -> bool {
        matches!(self.place, Place::Opened(Opened::StandardOutput))
    }

    /// The output. A file is there under its name when the output was closed; a pipe or a device gets the packets as
    /// they come.
    ///
    /// # Errors
    /// The file's directory is not there or cannot be written, or the pipe or device cannot be opened. A pipe without
    /// a reader is waited for.
    pub(super) fn open(&self, guard: Guard) -> Outcome<Output> {
        let name = self.name.to_string_lossy();
        let sink: Box<dyn netssm_replay::sink::Sink> = match &self.place {
            Place::File(path) => Box::new(OneFile::create(path, &labels_beside(&self.name), guard)?),
            Place::Opened(Opened::StandardOutput) => {
                Box::new(StreamSink::new("standard output", io::stdout(), guard))
            }
            Place::Opened(Opened::Path) => Box::new(StreamSink::new(name, place::open(&self.name)?, guard)),
        };
        Ok(Output { sink, sends: Sends::Both, kind: OutputKind::Capture })
    }
}

/// What a report says of the labels of a capture.
pub(super) fn say_labels(labels: Option<&Path>) -> String {
    match labels {
        Some(path) => format!("labels in {}", path.display()),
        None => "no label file, as the capture did not go into a file".to_owned(),
    }
}

fn labels_beside(capture: &Path) -> PathBuf {
    capture.with_extension("labels.jsonl")
}
