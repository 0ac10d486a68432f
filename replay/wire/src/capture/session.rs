//! A whole capture as a session, for captures that a user replays or rewrites as their own.

use std::path::Path;
use std::time::Duration;

use super::{Capture, CaptureError};
use crate::session::{Origin, Packet, Session};

/// A capture as a session.
#[derive(Debug)]
pub struct CapturedSession {
    /// Every frame with all the bytes that the capture has of it.
    pub session: Session,
    /// Time of the first record in nanoseconds since 1970; `None` without records.
    pub first_ns: Option<i64>,
    /// Records that hold nothing that Ethernet carries.
    pub unmapped: u64,
    /// What ended the reading early, if it did. The session has everything before it.
    pub ended_by: Option<CaptureError>,
}

/// Reads a whole capture into memory: about the size of the file, since hosts and their sides are only known when all
/// packets are.
///
/// Records keep the order of the file. One with a time before its predecessor's is sent together with that, since the
/// times of a session do not decrease. Times count from the first record.
///
/// # Errors
/// The file cannot be opened as a capture. A record that cannot be read ends the session instead:
/// [`CapturedSession::ended_by`].
pub fn read_session(path: &Path, label: &str, seed: u64) -> Result<CapturedSession, CaptureError> {
    let mut capture = Capture::open(path)?;
    let mut packets: Vec<Packet> = Vec::new();
    let mut first_ns = None;
    let mut latest = Duration::ZERO;
    let ended_by = loop {
        match capture.next_record() {
            Ok(Some(record)) => {
                let first = *first_ns.get_or_insert(record.time_ns);
                let since = u64::try_from(record.time_ns.saturating_sub(first)).unwrap_or(0);
                latest = latest.max(Duration::from_nanos(since));
                packets.push(Packet { time: latest, wire_len: record.wire_len, header: record.frame });
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let session = Session { label: label.to_owned(), seed, origin: Origin::Captured, packets };
    Ok(CapturedSession { session, first_ns, unmapped: capture.unmapped(), ended_by })
}
