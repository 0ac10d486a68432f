//! Reads a capture as one session, for `replay` and `rewrite`.

use std::path::Path;

use anyhow::Context;
use netssm_replay::clock::WallTime;
use netssm_wire::capture::{CaptureError, CapturedSession, read_session};
use netssm_wire::session::Session;

use crate::exit::Outcome;

/// A capture as a session.
#[derive(Debug)]
pub(super) struct Recording {
    /// The packets. Their times count from the first one.
    pub session: Session,
    /// Time of the first packet.
    pub start: WallTime,
    /// Why the capture could not be read to its end. The session holds the packets before that point.
    pub damage: Option<CaptureError>,
}

/// Reads a capture. Its label is the name of the file without the extension.
///
/// # Errors
/// If the file cannot be opened or holds no packet.
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
