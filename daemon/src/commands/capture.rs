//! A capture as one session, for replaying and rewriting it.

use std::path::Path;

use anyhow::Context;
use netssm_replay::clock::WallTime;
use netssm_wire::capture::{CaptureError, CapturedSession, read_session};
use netssm_wire::session::Session;

use crate::exit::Outcome;

/// What was read.
#[derive(Debug)]
pub(super) struct Recording {
    /// The packets, with times from the first one.
    pub session: Session,
    /// Time of the first packet.
    pub start: WallTime,
    /// Why the capture was not read to its end; what comes before is in the session.
    pub damage: Option<CaptureError>,
}

/// Reads a capture.
///
/// # Errors
/// It cannot be opened, or has not a single packet.
pub(super) fn read(file: &Path, seed: u64) -> Outcome<Recording> {
    let label = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let CapturedSession { session, first_ns, ended_by: damage, .. } = read_session(file, &label, seed)?;
    let start = match (first_ns, damage.is_some()) {
        (Some(start), _) => start,
        (None, true) => return Err(damage.context("read the first packet")?.into()),
        (None, false) => return Err(anyhow::anyhow!("{}: a capture without packets", file.display()).into()),
    };
    Ok(Recording { session, start: WallTime(start), damage })
}
