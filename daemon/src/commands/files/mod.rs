//! The file that a user names as an output, and what may stand there already.
//!
//! An output never replaces a device, a pipe or a link. Devices and pipes are opened and written into, links are
//! followed, and `-` is standard output. Only a regular file is replaced, in one step, once the new file is complete.

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

/// The destination of a command's capture. It is examined before the command does any work.
pub(super) struct CaptureFile {
    /// The name as the user gave it.
    name: PathBuf,
    place: Place,
}

impl CaptureFile {
    /// Examines what stands at `name`.
    ///
    /// # Errors
    /// If a capture cannot be written to what stands there: a folder, a disk, a socket, a terminal.
    pub(super) fn at(name: &Path) -> Outcome<Self> {
        let place = Place::of(name)?;
        if matches!(place, Place::File(_)) {
            // Labels come last, so what stands in their way is found now.
            Place::of(&labels_beside(name))?;
        }
        Ok(Self { name: name.to_owned(), place })
    }

    /// The label file: the name of the capture with `.labels.jsonl` in place of the extension. `None` if the capture
    /// goes into a pipe or a device, which have no place for a second file.
    pub(super) fn labels(&self) -> Option<PathBuf> {
        match self.place {
            Place::File(_) => Some(labels_beside(&self.name)),
            Place::Opened(_) => None,
        }
    }

    /// Whether the capture goes to standard output. Then nothing else may go there.
    pub(super) fn is_standard_output(&self) -> bool {
        matches!(self.place, Place::Opened(Opened::StandardOutput))
    }

    /// Opens the output. A file appears under its name when the output is closed. A pipe or a device gets the packets
    /// as they come.
    ///
    /// # Errors
    /// If the file's directory does not exist or cannot be written, or the pipe or device cannot be opened. Opening a
    /// pipe waits until it has a reader.
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

/// The part of a report that says where the labels are.
pub(super) fn say_labels(labels: Option<&Path>) -> String {
    match labels {
        Some(path) => format!("labels in {}", path.display()),
        None => "no label file, as the capture did not go into a file".to_owned(),
    }
}

fn labels_beside(capture: &Path) -> PathBuf {
    capture.with_extension("labels.jsonl")
}
