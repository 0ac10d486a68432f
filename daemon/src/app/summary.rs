//! How a run went: a few log lines, and JSON for programs.

use std::collections::BTreeMap;
use std::io::Write;

use netssm_model::generate::Stats;
use netssm_replay::sink::SinkError;
use serde::Serialize;

use crate::exit::Failure;
use crate::pipeline::{End, OutputKind, Played};

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Name of the profile.
    pub profile: String,
    /// "done", "cut" or "failed".
    pub end: &'static str,
    /// How long it played, in the time of the run.
    pub seconds: f64,
    /// Sessions.
    pub sessions: Sessions,
    /// Frames handed to the outputs.
    pub frames: u64,
    /// Each output's own numbers.
    pub outputs: Vec<OutputSummary>,
    /// Packets that gave no frame, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// How late frames were, in seconds; absent without frames.
    pub lateness: Option<LatenessSummary>,
    /// What the model did.
    pub generated: Generated,
}

/// Counts of sessions.
#[derive(Debug, Serialize)]
pub(crate) struct Sessions {
    /// By label.
    pub started: BTreeMap<String, u64>,
    /// Ended by themselves.
    pub finished: u64,
    /// Cut by a stop.
    pub cut: u64,
    /// Played again.
    pub reused: u64,
    /// Arrivals that waited for the model.
    pub underruns: u64,
}

/// One output.
#[derive(Debug, Serialize)]
pub(crate) struct OutputSummary {
    /// Interface, or "pcap".
    pub name: String,
    /// "interface" or "capture".
    pub kind: &'static str,
    /// Frames that the kernel took.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that went nowhere, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The interface's own counters over the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_tx_packets: Option<u64>,
    /// Captures finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// Upper bounds of the lateness of these shares of the frames.
#[derive(Debug, Serialize)]
pub(crate) struct LatenessSummary {
    /// Half of them.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All.
    pub max: f64,
}

/// What the model did.
#[derive(Debug, Serialize)]
pub(crate) struct Generated {
    /// Tokens drawn.
    pub tokens: u64,
    /// Packets made of them.
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

/// Why a run failed.
pub(crate) struct RunFailure {
    /// The guard did it.
    pub guard: bool,
    /// In words.
    pub failure: Failure,
}

impl Summary {
    /// From what the threads left.
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
            dropped: tally.dropped.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect(),
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

    /// The failure of a run that failed.
    pub(crate) fn failure(end: End) -> Option<RunFailure> {
        let End::Failed(error) = end else { return None };
        let guard = matches!(error, SinkError::Refused(_));
        Some(RunFailure {
            guard,
            failure: Failure::Run(anyhow::Error::new(error).context("sending stopped")),
        })
    }

    /// A few lines for the log.
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

    /// One JSON object on standard output.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)?;
        Ok(())
    }
}
