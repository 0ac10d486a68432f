//! Label records: what every flow of the output is, one JSON object a line.

use netssm_wire::session::Timing;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::rewrite::TestbedFrame;

/// One flow in one capture file (or one run, if drained once at its end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Number of the replay.
    pub session: u64,
    /// Traffic label.
    pub label: String,
    /// Address of the flow's opener.
    pub src: IpAddr,
    /// Its port; the ICMP type for ICMP.
    pub src_port: u16,
    /// Address across.
    pub dst: IpAddr,
    /// Its port; the ICMP code for ICMP.
    pub dst_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Community ID version 1, seed 0: what Zeek and Suricata print for the same flow.
    pub community_id: String,
    /// SHA-256 of the model's weights in hexadecimal; empty for captured sessions.
    pub model: String,
    /// Seed that the session was generated with.
    pub seed: u64,
    /// Seed of the replay.
    pub replay_seed: u64,
    /// Where the times come from.
    pub timing: Timing,
    /// Time of the flow's first frame in nanoseconds since 1970-01-01 UTC.
    pub first_ns: i64,
    /// Time of its last one.
    pub last_ns: i64,
    /// Frames sent by the opener.
    pub packets_to_server: u64,
    /// Frames sent to the opener.
    pub packets_to_client: u64,
    /// Bytes of the opener's frames, Ethernet headers included.
    pub bytes_to_server: u64,
    /// Bytes of the frames sent to the opener.
    pub bytes_to_client: u64,
}

/// Adds up flows, frame by frame.
#[derive(Debug, Default)]
pub struct LabelTracker {
    open: Vec<LabelRecord>,
}

impl LabelTracker {
    /// Nothing observed yet.
    pub fn new() -> LabelTracker {
        LabelTracker::default()
    }

    /// Counts one frame, written at `at_ns` nanoseconds since 1970-01-01 UTC.
    pub fn observe(&mut self, _frame: &TestbedFrame, _at_ns: i64) {}

    /// The flows observed since the last call, by first frame; starts anew.
    pub fn drain(&mut self) -> Vec<LabelRecord> {
        std::mem::take(&mut self.open)
    }
}
