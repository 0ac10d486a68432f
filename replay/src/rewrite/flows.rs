//! Flows of a session, as the survey sees them: who opened each, and what shape its data has.

use std::collections::HashSet;

use netssm_wire::flow::FiveTuple;
use netssm_wire::frame::{Transport, protocol};

use super::admit::Admitted;
use super::quote::Quoted;
use super::scope::Scope;
use super::tcp;
use crate::payload::FlowShape;

/// How sure it is who opened a flow; a later packet may only improve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// The sender of the first packet.
    First,
    /// One end is near, the other beyond a provider.
    Scope,
    /// One end has a service port or the other an ephemeral one.
    Ports,
    /// A SYN, its answer, an ICMP request or its reply, or a group at the other end.
    Said,
}

/// A two-way flow, by its original five-tuple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// As the first packet has it.
    pub(super) first: FiveTuple,
    /// Whether the first packet is the opener's.
    pub(super) opener_is_first: bool,
    evidence: Evidence,
    /// What content has to cope with.
    pub(super) shape: FlowShape,
    /// Sequence number after the last byte sent, back and forward.
    next: [Option<u32>; 2],
    /// The hosts of the first packet's source and destination.
    pub(super) ends: (u32, u32),
}

/// TCP segments that were sent: flow, way, first sequence number, length.
pub(super) type Segments = HashSet<(u32, bool, u32, usize)>;

impl Flow {
    /// A flow whose first packet is this.
    pub(super) fn new(first: &FiveTuple, ends: (u32, u32)) -> Flow {
        let (opener_is_first, evidence) = guess_opener(first);
        let shape = FlowShape { least_payload: None, orderly: true };
        Flow { first: *first, opener_is_first, evidence, shape, next: [None; 2], ends }
    }

    /// The five-tuple as the opener sends it.
    pub(super) fn opener(&self) -> FiveTuple {
        if self.opener_is_first { self.first } else { self.first.reversed() }
    }

    /// Opener and acceptor among the hosts.
    pub(super) fn roles(&self) -> (u32, u32) {
        if self.opener_is_first { self.ends } else { (self.ends.1, self.ends.0) }
    }

    /// Takes in what the transport header of a packet says; `number` is the flow's.
    pub(super) fn look(
        &mut self,
        frame: &[u8],
        admitted: &Admitted,
        (number, forward): (u32, bool),
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
        self.look_at_order(header, payload, (number, forward), sent);
        let by_sender = match header[13] & (tcp::SYN | tcp::ACK) {
            tcp::SYN => true,
            flags if flags == tcp::SYN | tcp::ACK => false,
            _ => return,
        };
        if self.evidence < Evidence::Said {
            (self.opener_is_first, self.evidence) = (by_sender == forward, Evidence::Said);
        }
    }

    /// Takes in that an ICMP error quotes a packet of the flow with data. Where the flow has none of its own, these bytes are
    /// all that anybody sees of its content, and no message begins with them.
    pub(super) fn look_at_quote(&mut self, quote: &Quoted, tcp_header: usize) {
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
        (number, forward): (u32, bool),
        sent: &mut Segments,
    ) {
        let syn = header[13] & tcp::SYN != 0;
        let first = tcp::sequence(header).wrapping_add(u32::from(syn));
        let segment = (number, forward, first, payload);
        let next = &mut self.next[usize::from(forward)];
        // How far beyond what was sent this begins; a SYN begins anew.
        let ahead = next.filter(|_| !syn).map_or(0, |next| first.wrapping_sub(next).cast_signed());
        if payload > 0 && ahead < 0 {
            let keep_alive = payload == 1 && ahead == -1;
            self.shape.orderly &= keep_alive || sent.contains(&segment);
        } else if syn || payload > 0 || next.is_none() {
            *next = Some(first.wrapping_add(payload as u32)); // a segment is shorter than 65,536 bytes
            sent.insert(segment);
        }
    }
}

/// Who opened a flow, as far as one packet tells: whether its sender did.
fn guess_opener(tuple: &FiveTuple) -> (bool, Evidence) {
    /// Service ports that only a privileged process gets.
    const WELL_KNOWN: u16 = 1024;
    /// Where operating systems begin to pick ports for clients (Linux; others begin at 49152).
    const EPHEMERAL: u16 = 32_768;
    if Scope::of(tuple.dst) == Scope::Group {
        return (true, Evidence::Said);
    }
    if matches!(tuple.protocol, protocol::ICMP | protocol::ICMPV6) {
        let is_reply = match tuple.protocol {
            protocol::ICMP => matches!(tuple.src_port, 0 | 14),
            _ => matches!(tuple.src_port, 129 | 134 | 136),
        };
        return (!is_reply, Evidence::Said);
    }
    let (src, dst) = (tuple.src_port, tuple.dst_port);
    if (src < WELL_KNOWN) != (dst < WELL_KNOWN) {
        return (dst < WELL_KNOWN, Evidence::Ports);
    }
    if (src >= EPHEMERAL) != (dst >= EPHEMERAL) {
        return (src >= EPHEMERAL, Evidence::Ports);
    }
    let (near, far) = (Scope::of(tuple.src).is_near(), Scope::of(tuple.dst).is_near());
    if near != far { (near, Evidence::Scope) } else { (true, Evidence::First) }
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
        let mut flow = Flow::new(&tuple, (0, 1));
        let mut sent = Segments::new();
        for (sequence, len) in segments {
            let mut header = [0; 20];
            header[4..8].copy_from_slice(&sequence.to_be_bytes());
            header[13] = tcp::ACK;
            flow.look_at_order(&header, *len, (0, true), &mut sent);
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

    #[test]
    fn the_opener_is_known_from_ports_scope_or_order() {
        let guess = |src: ([u8; 4], u16), dst: ([u8; 4], u16)| {
            let (src, dst) = ((src.0.into(), src.1), (dst.0.into(), dst.1));
            let tuple = FiveTuple { src: src.0, dst: dst.0, src_port: src.1, dst_port: dst.1, protocol: 17 };
            guess_opener(&tuple)
        };
        let (near, far) = ([10, 0, 0, 1], [198, 18, 0, 1]);
        assert_eq!(guess((far, 53), (near, 5000)), (false, Evidence::Ports));
        assert_eq!(guess((near, 40_000), (near, 5000)), (true, Evidence::Ports));
        assert_eq!(guess((far, 5000), (near, 6000)), (false, Evidence::Scope));
        assert_eq!(guess((near, 5000), (near, 6000)), (true, Evidence::First));
        assert_eq!(guess((near, 53), ([224, 0, 0, 251], 5353)), (true, Evidence::Said));
    }
}
