//! Label records: what every flow of the output is, one JSON object a line.
//!
//! A [`LabelTracker`] adds up the frames that a sink wrote. [`LabelTracker::drain`] gives one [`LabelRecord`] for
//! each two-way flow of each replay and starts anew, so a sink that drains when it closes a file gets the labels
//! of that file: **a flow that spans files has a record beside each of them, with the part that this file holds**
//! (times, packets and bytes are of the part). Session, flow and Community ID are the same in all of them, so
//! they can be joined.
//!
//! The five-tuple is the initiator's, in testbed addresses. Frames without a flow (ARP, fragments whose first part
//! is missing) have no record; ICMP flows have type and code as ports, as Zeek's logs do.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use netssm_wire::flow::{FiveTuple, community_id};
use serde::{Deserialize, Serialize};

use crate::rewrite::{FlowId, SessionFacts, TestbedFrame};

/// One flow in one capture file (or in a whole run, if drained once at its end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Number of the replay.
    pub session: u64,
    /// Traffic label.
    pub label: String,
    /// Address of the flow's initiator.
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
    /// [`Origin::model`](netssm_wire::session::Origin::model): empty for captured sessions.
    pub model: String,
    /// [`Origin::precision`](netssm_wire::session::Origin::precision): left out for captured sessions, and by versions
    /// that had f32 only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub precision: String,
    /// Seed that the session was generated with.
    pub seed: u64,
    /// Seed of the replay.
    pub replay_seed: u64,
    /// [`Origin::timing`](netssm_wire::session::Origin::timing): "drawn", "learned" or "captured".
    pub timing: Cow<'static, str>,
    /// Time of the flow's first frame in nanoseconds since 1970-01-01 UTC.
    pub first_ns: i64,
    /// Time of its last one.
    pub last_ns: i64,
    /// Frames sent by the initiator.
    pub packets_to_server: u64,
    /// Frames sent to the initiator.
    pub packets_to_client: u64,
    /// Bytes of the initiator's frames, Ethernet headers included.
    pub bytes_to_server: u64,
    /// Bytes of the frames sent to the initiator.
    pub bytes_to_client: u64,
}

impl LabelRecord {
    /// Writes the record as one line of JSON.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_line(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// Adds up flows, frame by frame. Memory is one entry for each flow since the last [`LabelTracker::drain`].
#[derive(Debug, Default)]
pub struct LabelTracker {
    index: HashMap<(u64, FlowId), usize>,
    flows: Vec<FlowTotals>,
}

/// A flow so far. The session's facts are shared, and hold no lease.
#[derive(Debug)]
struct FlowTotals {
    facts: Arc<SessionFacts>,
    initiator: FiveTuple,
    first_ns: i64,
    last_ns: i64,
    /// Packets and bytes, from the initiator and to it.
    from_initiator: (u64, u64),
    to_initiator: (u64, u64),
}

impl LabelTracker {
    /// Nothing observed yet.
    pub fn new() -> LabelTracker {
        LabelTracker::default()
    }

    /// How many flows were observed since the last [`LabelTracker::drain`].
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether no flow was observed since then.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Counts one frame, written at `at_ns` nanoseconds since 1970-01-01 UTC.
    pub fn observe(&mut self, frame: &TestbedFrame, at_ns: i64) {
        let Some(flow) = frame.flow() else { return };
        let session = frame.session();
        let next = self.flows.len();
        let number = *self.index.entry((session.id(), flow.id)).or_insert(next);
        if number == next {
            self.flows.push(FlowTotals {
                facts: Arc::clone(session.facts()),
                initiator: flow.initiator,
                first_ns: at_ns,
                last_ns: at_ns,
                from_initiator: (0, 0),
                to_initiator: (0, 0),
            });
        }
        let totals = &mut self.flows[number];
        (totals.first_ns, totals.last_ns) = (totals.first_ns.min(at_ns), totals.last_ns.max(at_ns));
        let (packets, bytes) =
            if flow.from_initiator { &mut totals.from_initiator } else { &mut totals.to_initiator };
        *packets += 1;
        *bytes += frame.len() as u64;
    }

    /// The flows observed since the last call, by first frame; starts anew.
    pub fn drain(&mut self) -> Vec<LabelRecord> {
        self.index.clear();
        self.flows.drain(..).map(FlowTotals::record).collect()
    }
}

impl FlowTotals {
    fn record(self) -> LabelRecord {
        let FlowTotals { facts, initiator, .. } = self;
        LabelRecord {
            session: facts.id,
            label: facts.label.to_string(),
            src: initiator.src,
            src_port: initiator.src_port,
            dst: initiator.dst,
            dst_port: initiator.dst_port,
            protocol: initiator.protocol,
            community_id: community_id(&initiator, 0),
            model: facts.origin.model().to_owned(),
            precision: facts.origin.precision().to_owned(),
            seed: facts.seed,
            replay_seed: facts.replay_seed,
            timing: facts.origin.timing().into(),
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            packets_to_server: self.from_initiator.0,
            packets_to_client: self.to_initiator.0,
            bytes_to_server: self.from_initiator.1,
            bytes_to_client: self.to_initiator.1,
        }
    }
}
