//! The summary of a run: a few log lines, and JSON for programs.

use std::collections::BTreeMap;
use std::io::Write;

use netssm_model::generate::Stats;
use netssm_replay::sink::SinkError;
use serde::Serialize;

use crate::exit::Failure;
use crate::pipeline::{End, OutputKind, Played};

/// The summary of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Name of the profile.
    pub profile: String,
    /// "done", "cut" or "failed".
    pub end: &'static str,
    /// How long the run played, on its timeline, in seconds.
    pub seconds: f64,
    /// Counts of sessions.
    pub sessions: Sessions,
    /// Frames handed to the outputs.
    pub frames: u64,
    /// The numbers of each output.
    pub outputs: Vec<OutputSummary>,
    /// Packets that were dropped before they became a frame, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// How late frames were. Absent if no frame was sent.
    pub lateness: Option<LatenessSummary>,
    /// What the model generated.
    pub generated: Generated,
}

/// Counts of sessions.
#[derive(Debug, Serialize)]
pub(crate) struct Sessions {
    /// Sessions started, by label.
    pub started: BTreeMap<String, u64>,
    /// Sessions that played to their end.
    pub finished: u64,
    /// Sessions that a stop cut.
    pub cut: u64,
    /// Replays of sessions that were played before.
    pub reused: u64,
    /// Arrivals that had to wait for the model.
    pub underruns: u64,
}

/// The numbers of one output.
#[derive(Debug, Serialize)]
pub(crate) struct OutputSummary {
    /// Name of the interface, or "pcap".
    pub name: String,
    /// "interface" or "capture".
    pub kind: &'static str,
    /// Frames that the kernel, or the capture, took.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Frames that the output dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Packets that the interface's own counter added during the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_tx_packets: Option<u64>,
    /// Number of finished capture files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// Upper bounds of lateness, in seconds, for a share of the frames.
#[derive(Debug, Serialize)]
pub(crate) struct LatenessSummary {
    /// For half of the frames.
    pub p50: f64,
    /// For 99 of 100 frames.
    pub p99: f64,
    /// For all frames.
    pub max: f64,
}

/// What the model generated.
#[derive(Debug, Serialize)]
pub(crate) struct Generated {
    /// Tokens drawn.
    pub tokens: u64,
    /// Packets decoded from these tokens.
    pub packets: u64,
    /// Sessions finished.
    pub sessions: u64,
}

impl From<&crate::pipeline::Closed> for OutputSummary {
    fn from(closed: &crate::pipeline::Closed) -> Self {
        let stats = &closed.stats;
        Self {
            name: closed.name.clone(),
            kind: match closed.kind {
                OutputKind::Interface => "interface",
                OutputKind::Capture => "capture",
            },
            frames: stats.frames,
            bytes: stats.bytes,
            dropped: stats.dropped.iter().filter(|(_, n)| *n > 0).map(|(r, n)| (r.as_str(), n)).collect(),
            interface_tx_packets: stats.wire.map(|wire| wire.tx_packets),
            files: stats.files.map(|files| files.finished),
        }
    }
}

/// The failure of a run.
pub(crate) struct RunFailure {
    /// Whether the guard stopped the run.
    pub guard: bool,
    /// The failure, with its exit code.
    pub failure: Failure,
}

impl Summary {
    /// Builds the summary from the outcome of the player and the generator.
    pub(crate) fn new(profile: &str, played: &Played, generated: &Stats) -> Self {
        let tally = &played.tally;
        let lateness = &tally.lateness;
        Self {
            profile: profile.to_owned(),
            end: match played.end {
                End::Done => "done",
                End::Cut => "cut",
                End::Failed(_) => "failed",
            },
            seconds: played.took.as_secs_f64(),
            sessions: Sessions {
                started: tally.started.iter().map(|(label, n)| (label.to_string(), *n)).collect(),
                finished: tally.finished,
                cut: played.cut,
                reused: tally.reused,
                underruns: tally.underruns,
            },
            frames: tally.frames,
            outputs: played.outputs.iter().map(OutputSummary::from).collect(),
            dropped: tally.dropped.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
            lateness: lateness.below(0.5).zip(lateness.below(0.99)).map(|(p50, p99)| LatenessSummary {
                p50,
                p99,
                max: lateness.max().as_secs_f64(),
            }),
            generated: Generated {
                tokens: generated.counts.tokens,
                packets: generated.counts.packets,
                sessions: generated.sessions,
            },
        }
    }

    /// The failure, if the run failed.
    pub(crate) fn failure(end: End) -> Option<RunFailure> {
        let End::Failed(error) = end else { return None };
        let guard = matches!(error, SinkError::Refused(_));
        Some(RunFailure {
            guard,
            failure: Failure::Run(anyhow::Error::new(error).context("sending stopped")),
        })
    }

    /// Logs the summary in a few lines.
    pub(crate) fn log(&self) {
        let started: u64 = self.sessions.started.values().sum();
        tracing::info!(
            seconds = format!("{:.1}", self.seconds),
            sessions = started,
            finished = self.sessions.finished,
            cut = self.sessions.cut,
            reused = self.sessions.reused,
            underruns = self.sessions.underruns,
            frames = self.frames,
            "played"
        );
        for output in &self.outputs {
            let dropped: u64 = output.dropped.values().sum();
            tracing::info!(
                output = output.name,
                kind = output.kind,
                frames = output.frames,
                bytes = output.bytes,
                dropped,
                "output closed"
            );
        }
        for (reason, n) in &self.dropped {
            tracing::warn!(reason, packets = n, "packets gave no frame");
        }
    }

    /// Prints the summary on standard output as one JSON object.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)?;
        Ok(())
    }
}
