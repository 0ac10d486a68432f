//! The parts of the summary of `netssmd run --json` and `netssmd replay --json` that tests read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The parts of a summary that are compared with what others counted.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// Number of frames handed to the outputs. Only `run` prints it.
    #[serde(default)]
    pub frames: u64,
    /// The numbers of each output.
    pub outputs: Vec<Output>,
}

/// One output of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Output {
    /// Name of the interface, or "pcap".
    pub name: String,
    /// "interface" or "capture".
    pub kind: String,
    /// Frames that the kernel, or the capture, took.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Frames that the output dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Summary {
    /// Parses the JSON of a summary.
    ///
    /// # Panics
    /// If the text is not a summary.
    #[track_caller]
    #[must_use]
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("not a summary: {error} in {text:?}"))
    }

    /// The one output of this kind.
    ///
    /// # Panics
    /// If there is none or more than one.
    #[track_caller]
    #[must_use]
    pub fn only(&self, kind: &str) -> &Output {
        let mut outputs = self.outputs.iter().filter(|output| output.kind == kind);
        match (outputs.next(), outputs.next()) {
            (Some(output), None) => output,
            _ => panic!("expected one {kind} in {self:?}"),
        }
    }
}
