//! The summary that `netssmd run --json` and `netssmd replay --json` print, as far as tests look at it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The parts of a summary that are compared with what others counted.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// How many frames were handed to the outputs; `run` only.
    #[serde(default)]
    pub frames: u64,
    /// Each output's own numbers.
    pub outputs: Vec<Output>,
}

/// One output of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Output {
    /// Interface, or "pcap".
    pub name: String,
    /// "interface" or "capture".
    pub kind: String,
    /// Frames that the kernel took.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that went nowhere, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Summary {
    /// Reads the JSON of a summary.
    ///
    /// # Panics
    /// If it is not one.
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
