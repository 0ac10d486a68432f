//! Flows of a session, as the survey sees them: who opened each, and what shape its data has.

use std::collections::HashSet;

use netssm_wire::flow::FiveTuple;
use netssm_wire::frame::{Transport, protocol};
use netssm_wire::initiator::{self, Evidence, Guess};
use netssm_wire::quote::Quoted;
use netssm_wire::tcp::{Flags, Seq};

use super::admit::Admitted;
use super::ids::{FlowId, HostId};
use crate::payload::FlowShape;
use crate::rewrite::protocol::tcp;

/// A two-way flow, by its original five-tuple.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// As the first packet has it.
    pub(crate) first: FiveTuple,
    /// Whether the first packet is the initiator's.
    pub(crate) initiator_is_first: bool,
    evidence: Evidence,
    /// What content has to cope with.
    pub(crate) shape: FlowShape,
    /// Sequence number after the last byte sent, back and forward.
    next: [Option<Seq>; 2],
    /// The hosts of the first packet's source and destination.
    pub(crate) ends: (Option<HostId>, Option<HostId>),
}

/// TCP segments that were sent: flow, way, first sequence number, length.
pub(crate) type Segments = HashSet<(FlowId, bool, Seq, usize)>;

impl Flow {
    /// A flow whose first packet is this.
    pub(crate) fn new(first: &FiveTuple, ends: (Option<HostId>, Option<HostId>)) -> Flow {
        let Guess { sender: initiator_is_first, evidence } = Guess::of(first);
        let shape = FlowShape { least_payload: None, orderly: true };
        Flow { first: *first, initiator_is_first, evidence, shape, next: [None; 2], ends }
    }

    /// The five-tuple as the initiator sends it.
    pub(crate) fn initiator(&self) -> FiveTuple {
        if self.initiator_is_first { self.first } else { self.first.reversed() }
    }

    /// Initiator and responder among the hosts.
    pub(crate) fn roles(&self) -> (Option<HostId>, Option<HostId>) {
        if self.initiator_is_first { self.ends } else { (self.ends.1, self.ends.0) }
    }

    /// Takes in what the transport header of a packet says; `id` is the flow's.
    pub(crate) fn look(
        &mut self,
        frame: &[u8],
        admitted: &Admitted,
        (id, forward): (FlowId, bool),
        sent: &mut Segments,
    ) {
        let end = admitted.layout.l3_end().unwrap_or(frame.len());
        let payload = admitted.layout.payload_at().map_or(0, |at| end.saturating_sub(at));
        if payload > 0 {
            let least = &mut self.shape.least_payload;
            *least = Some(least.map_or(payload, |least| least.min(payload)));
        }
        let Transport::Tcp { at, .. } = admitted.layout.transport else { return };
        let header = &frame[at..];
        self.look_at_order(header, payload, (id, forward), sent);
        if let Some(by_sender) = initiator::by_flags(tcp::flags(header))
            && self.evidence < Evidence::Stated
        {
            (self.initiator_is_first, self.evidence) = (by_sender == forward, Evidence::Stated);
        }
    }

    /// Takes in that an ICMP error quotes a packet of the flow with data. Where the flow has none of its own, these
    /// bytes are all that anybody sees of its content, and no message begins with them.
    pub(crate) fn look_at_quote(&mut self, quote: &Quoted, tcp_header: usize) {
        let payload = quote.rest_len.saturating_sub(tcp_header);
        if quote.tuple.protocol == protocol::TCP && payload > 0 && self.shape.least_payload.is_none() {
            // The quote may be cut after any byte.
            self.shape = FlowShape { least_payload: Some(1), orderly: false };
        }
    }

    fn look_at_order(
        &mut self,
        header: &[u8],
        payload: usize,
        (id, forward): (FlowId, bool),
        sent: &mut Segments,
    ) {
        let syn = tcp::flags(header).contains(Flags::SYN);
        let first = tcp::sequence(header) + u32::from(syn);
        let segment = (id, forward, first, payload);
        let next = &mut self.next[usize::from(forward)];
        // How far beyond what was sent this begins; a SYN begins anew.
        let ahead = next.filter(|_| !syn).map_or(0, |next| next.distance(first));
        if payload > 0 && ahead < 0 {
            let keep_alive = payload == 1 && ahead == -1;
            self.shape.orderly &= keep_alive || sent.contains(&segment);
        } else if syn || payload > 0 || next.is_none() {
            *next = Some(first + payload as u32); // a segment is shorter than 65,536 bytes
            sent.insert(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a flow of these segments (sequence number, length) is orderly.
    fn orderly(segments: &[(u32, usize)]) -> bool {
        let tuple = FiveTuple {
            src: [10, 0, 0, 1].into(),
            dst: [198, 18, 0, 1].into(),
            src_port: 50_000,
            dst_port: 443,
            protocol: protocol::TCP,
        };
        let mut flow = Flow::new(&tuple, (Some(HostId::at(0)), Some(HostId::at(1))));
        let mut sent = Segments::new();
        for (sequence, len) in segments {
            let mut header = [0; 20];
            header[4..8].copy_from_slice(&sequence.to_be_bytes());
            header[13] = Flags::ACK.byte();
            flow.look_at_order(&header, *len, (FlowId::at(0), true), &mut sent);
        }
        flow.shape.orderly
    }

    #[test]
    fn only_exact_repetitions_keep_a_flow_orderly() {
        assert!(orderly(&[(1, 100), (101, 50), (151, 10)]));
        assert!(orderly(&[(u32::MAX - 49, 100), (50, 50)]), "across the wrap");
        assert!(orderly(&[(1, 100), (101, 50), (1, 100), (101, 50)]), "sent again");
        assert!(orderly(&[(1, 100), (201, 50), (251, 9)]), "a gap");
        assert!(orderly(&[(1, 100), (100, 1), (101, 0), (101, 5)]), "a keep-alive");
        assert!(!orderly(&[(1, 100), (101, 50), (51, 100)]), "straddles");
        assert!(!orderly(&[(1, 100), (201, 50), (101, 100)]), "fills a gap");
        assert!(!orderly(&[(1, 100), (1, 50)]), "cut elsewhere");
    }
}
