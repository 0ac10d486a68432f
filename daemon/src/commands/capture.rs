//! A capture as one session, for replaying and rewriting it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use netssm_replay::clock::WallTime;
use netssm_wire::capture::{Capture, CaptureError};
use netssm_wire::session::{Packet, Session, Timing};

use crate::exit::Outcome;

/// What was read.
#[derive(Debug)]
pub(super) struct Recording {
    /// The packets, with times from the first one. Held in memory as a whole, since hosts and their sides are only
    /// known when all packets are: about the size of the capture.
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
    let mut capture = Capture::open(file)?;
    let mut packets: Vec<Packet> = Vec::new();
    let mut start = None;
    let damage = loop {
        match capture.next_record() {
            Ok(Some(record)) => {
                let start = *start.get_or_insert(record.time_ns);
                let since = u64::try_from(record.time_ns.saturating_sub(start)).unwrap_or(0);
                // A session's time never runs backwards; some captures' does.
                let before = packets.last().map_or(Duration::ZERO, |p| p.time);
                packets.push(Packet {
                    time: Duration::from_nanos(since).max(before),
                    wire_len: record.wire_len,
                    header: record.frame,
                });
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let start = match (start, damage.is_some()) {
        (Some(start), _) => start,
        (None, true) => return Err(damage.context("read the first packet")?.into()),
        (None, false) => return Err(anyhow::anyhow!("{}: a capture without packets", file.display()).into()),
    };
    let label = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let session = Session {
        label,
        seed,
        model: String::new(),
        precision: String::new(),
        timing: Timing::Captured,
        packets,
    };
    Ok(Recording { session, start: WallTime(start), damage })
}
