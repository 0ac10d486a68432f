//! IGMP (RFC 1112, 2236, 3376): group membership over IPv4. The bodies are [`groups`](super::groups)'s.

use netssm_wire::frame::protocol;

use super::addresses::Addresses;
use super::groups::{self, Family};
use crate::rewrite::dropped::Dropped;

/// Version 3 report.
const REPORT_V3: u8 = 0x22;

/// Only queries, reports and leave messages: other types (DVMRP, PIM version 1) list routers.
pub(crate) fn check(have: &[u8]) -> Result<(), Dropped> {
    match have.first() {
        Some(0x11 | 0x12 | 0x16 | 0x17 | 0x22) => Ok(()),
        _ => Err(Dropped::Protocol(protocol::IGMP)),
    }
}

/// Visits the groups and sources in the bytes that are there.
pub(crate) fn visit(message: &mut [u8], addresses: &mut dyn Addresses) -> Result<(), Dropped> {
    if message.first() == Some(&REPORT_V3) {
        groups::visit_report(message, Family::V4, addresses)
    } else {
        groups::visit_query(message, Family::V4, addresses)
    }
}

/// Clears the parts of a message's head that no RFC gives a meaning, as [`icmp`](super::icmp) does: whatever a capture
/// has there is nothing that is known. RFC 9279 lets a report announce extensions in its reserved field; they would
/// follow the records, where [`finish`] leaves nothing of the session.
pub(crate) fn clear_unused(head: &mut [u8; 8]) {
    match head[0] {
        REPORT_V3 => {
            head[1] = 0;
            head[4..6].fill(0);
        }
        // The maximum response time is a query's alone (RFC 2236 section 2.2).
        0x12 | 0x16 | 0x17 => head[1] = 0,
        _ => {}
    }
}

/// Makes the end of a message whose first `have` bytes are there.
pub(crate) fn finish(message: &mut [u8], have: usize) {
    match message.first() {
        Some(&REPORT_V3) => groups::finish_report(message, Family::V4, have),
        Some(0x11) => groups::finish_query(message, Family::V4, have),
        // The older ones are 8 bytes; more is padding.
        _ => message[8.min(have)..].fill(0),
    }
}
