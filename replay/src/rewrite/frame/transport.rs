//! What is above IP: ports, sequence numbers, messages, payload.

use netssm_wire::checksum;
use netssm_wire::frame::protocol;
use netssm_wire::quote;
use netssm_wire::tcp::{Flags, Seq};

use super::{Ends, SessionReplay, visitor};
use crate::draw::{Draw, draw};
use crate::payload::{Datagram, FlowFacts, FlowPayload, Keystream};
use crate::rewrite::dropped::Dropped;
use crate::rewrite::protocol::groups::{self, Family};
use crate::rewrite::protocol::icmp::{self, Kind};
use crate::rewrite::protocol::tcp::{self, Shift};
use crate::rewrite::protocol::{igmp, ndp};
use crate::rewrite::survey::PacketFacts;
use crate::rewrite::survey::ids::{FlowId, HostId, draw_key};

/// What is kept of a flow between its packets. Pairs are indexed by whether the packet goes the way of the flow's
/// first packet.
#[derive(Default)]
pub(super) struct FlowState {
    /// Sequence number, as in the session, of the stream's first byte.
    pub(super) base: [Option<Seq>; 2],
    /// Datagrams sent.
    datagrams: [u64; 2],
    /// The last datagram's first payload bytes as the session has them.
    prefix: [Prefix; 2],
    /// The last IPv4 identification.
    pub(super) last_id: [Option<u16>; 2],
    payload: Option<Box<dyn FlowPayload>>,
}

/// The payload bytes that a model may have made: at most this many of a datagram.
const PREFIX: usize = 12;

#[derive(Clone, Copy, Default)]
struct Prefix {
    bytes: [u8; PREFIX],
    len: usize,
}

impl Prefix {
    fn of(payload: &[u8]) -> Prefix {
        let mut bytes = [0; PREFIX];
        let len = payload.len().min(PREFIX);
        bytes[..len].copy_from_slice(&payload[..len]);
        Prefix { bytes, len }
    }
}

impl SessionReplay {
    /// Rewrites a whole transport segment, of which the first `have` bytes come from the session and the rest are
    /// zeros. Checksums are left to the caller. With `keep` the payload stays as it is.
    pub(super) fn segment(
        &mut self,
        ends: &Ends,
        have: usize,
        keep: bool,
        out: &mut [u8],
    ) -> Result<(), Dropped> {
        match ends.protocol {
            protocol::TCP => self.tcp(ends, keep, out),
            protocol::UDP => self.udp(ends, have, keep, out),
            protocol::ICMP => self.icmp(ends, have, keep, out)?,
            protocol::ICMPV6 => self.icmpv6(ends, have, keep, out)?,
            protocol::IGMP => {
                igmp::visit(&mut out[..have], &mut visitor(&self.map))?;
                if let Some(head) = out.first_chunk_mut() {
                    igmp::clear_unused(head);
                }
                igmp::finish(out, have);
            }
            other => return Err(Dropped::Protocol(other)),
        }
        Ok(())
    }

    /// Rewrites ports and numbers of a TCP header of this flow that goes this way, with `rewrite`.
    pub(super) fn tcp_header(&self, facts: PacketFacts, header: &mut [u8], rewrite: fn(&mut [u8], &Shift)) {
        let Some(flow) = facts.flow.map(|id| &self.map.flows[id.index()]) else { return };
        let [own, peer] = [flow.ways[usize::from(facts.forward)], flow.ways[usize::from(!facts.forward)]];
        write_ports(own.ports, header);
        let state = facts.flow.map(|id| &self.flows[id.index()]);
        let shift = Shift {
            own: own.isn,
            peer: peer.isn,
            own_clock: own.clock,
            peer_clock: peer.clock,
            silent: state.is_some_and(|f| f.base[usize::from(facts.forward)].is_none()),
            cookie: own.isn.into(),
        };
        rewrite(header, &shift);
    }

    /// Writes the ports of a packet of this flow that goes this way.
    pub(super) fn ports(&self, facts: PacketFacts, header: &mut [u8]) {
        if let Some(flow) = facts.flow.map(|id| &self.map.flows[id.index()]) {
            write_ports(flow.ways[usize::from(facts.forward)].ports, header);
        }
    }

    /// Whether a packet that goes this way is the initiator's.
    fn is_initiators(&self, facts: PacketFacts) -> bool {
        facts.flow.is_none_or(|id| facts.forward == self.map.flows[id.index()].initiator_is_first)
    }

    fn tcp(&mut self, ends: &Ends, keep: bool, out: &mut [u8]) {
        let facts = ends.facts;
        let header_len = (usize::from(out[12] >> 4) * 4).clamp(20, out.len());
        let (header, payload) = out.split_at_mut(header_len);
        let sequence = tcp::sequence(header);
        let syn = tcp::flags(header).contains(Flags::SYN);
        self.tcp_header(facts, header, tcp::rewrite);
        let first = sequence + u32::from(syn);
        if let Some(flow) = facts.flow.map(|id| &mut self.flows[id.index()]) {
            let base = &mut flow.base[usize::from(facts.forward)];
            // A SYN with another number begins a new connection on the same ports.
            if syn || base.is_none() {
                *base = Some(first);
            }
        }
        if !keep && !payload.is_empty() {
            self.stream(facts, first, payload);
        }
    }

    /// Fills stream bytes from the original sequence number `first` on.
    pub(super) fn stream(&mut self, facts: PacketFacts, first: Seq, out: &mut [u8]) {
        let from_initiator = self.is_initiators(facts);
        let base = facts.flow.and_then(|id| self.flows[id.index()].base[usize::from(facts.forward)]);
        let offset = first - base.unwrap_or(first);
        if let Some(payload) = self.payload_of(facts) {
            payload.stream(from_initiator, u64::from(offset), out);
        }
    }

    fn udp(&mut self, ends: &Ends, have: usize, keep: bool, out: &mut [u8]) {
        let facts = ends.facts;
        let (header, payload) = out.split_at_mut(8);
        self.ports(facts, header);
        // Bytes after the UDP length would be nobody's.
        let len = (payload.len() + 8).min(usize::from(u16::MAX)) as u16;
        header[4..6].copy_from_slice(&len.to_be_bytes());
        let prefix = Prefix::of(&payload[..have.saturating_sub(8).min(payload.len())]);
        let ordinal = facts.flow.map(|id| &mut self.flows[id.index()]).map_or(0, |flow| {
            let way = usize::from(facts.forward);
            flow.prefix[way] = prefix;
            flow.datagrams[way] += 1;
            flow.datagrams[way] - 1
        });
        if !keep {
            self.datagram(facts, ordinal, prefix, ends.link, payload);
        }
    }

    fn datagram(
        &mut self,
        facts: PacketFacts,
        ordinal: u64,
        prefix: Prefix,
        link: [netssm_wire::MacAddr; 2],
        out: &mut [u8],
    ) {
        let from_initiator = self.is_initiators(facts);
        let [sender, receiver] = link;
        let datagram =
            Datagram { from_initiator, ordinal, prefix: &prefix.bytes[..prefix.len], sender, receiver };
        if let Some(payload) = self.payload_of(facts) {
            payload.datagram(&datagram, out);
        }
    }

    /// Fills the whole payload of the last datagram that went this way, again.
    pub(super) fn last_datagram(
        &mut self,
        facts: PacketFacts,
        link: [netssm_wire::MacAddr; 2],
        out: &mut [u8],
    ) {
        let Some(flow) = facts.flow.map(|id| &self.flows[id.index()]) else { return };
        let way = usize::from(facts.forward);
        let (ordinal, prefix) = (flow.datagrams[way].saturating_sub(1), flow.prefix[way]);
        self.datagram(facts, ordinal, prefix, link, out);
    }

    fn payload_of(&mut self, facts: PacketFacts) -> Option<&mut dyn FlowPayload> {
        let id = facts.flow?;
        let (state, mapped) = (&mut self.flows[id.index()], &self.map.flows[id.index()]);
        let (initiator, shape) = (mapped.initiator?, mapped.shape);
        let session = self.tag.facts();
        let payload = state.payload.get_or_insert_with(|| {
            self.payload.flow(&FlowFacts {
                seed: draw(session.seed, Draw::Payload, draw_key(facts.flow.map(FlowId::index)), 0),
                initiator,
                shape,
                label: session.label.clone(),
            })
        });
        Some(&mut **payload)
    }

    fn icmp(&mut self, ends: &Ends, have: usize, keep: bool, out: &mut [u8]) -> Result<(), Dropped> {
        let kind = icmp::kind_v4(out[0]).ok_or(Dropped::IcmpType(out[0]))?;
        icmp::visit_v4(&mut out[..have], &mut visitor(&self.map))?;
        if let Some(head) = out.first_chunk_mut() {
            icmp::clear_unused_v4(head);
        }
        match kind {
            Kind::Echo => self.echo(ends, keep, out),
            Kind::Error => self.quote(ends, have - quote::AT, keep, &mut out[quote::AT..])?,
            // Three times, and nothing after them.
            _ => {
                self.echo_identifier(ends.facts, out);
                let end = have.min(20);
                out[end..].fill(0);
                let clock = |host: Option<HostId>| {
                    draw(self.tag.facts().replay_seed, Draw::Timestamp, draw_key(host.map(HostId::index)), 0)
                        as u32
                };
                icmp::move_times(&mut out[..end], clock(ends.facts.src), clock(ends.facts.dst));
            }
        }
        Ok(())
    }

    fn icmpv6(&mut self, ends: &Ends, have: usize, keep: bool, out: &mut [u8]) -> Result<(), Dropped> {
        let kind = icmp::kind_v6(out[0]).ok_or(Dropped::IcmpType(out[0]))?;
        icmp::visit_v6(&mut out[..have], &mut visitor(&self.map))?;
        if let Some(head) = out.first_chunk_mut() {
            icmp::clear_unused_v6(head);
        }
        match kind {
            Kind::Echo => self.echo(ends, keep, out),
            Kind::Error => self.quote(ends, have - quote::AT, keep, &mut out[quote::AT..])?,
            Kind::Neighbour(fixed) => ndp::finish(out, fixed, have, ends.link[0], self.map.prefix),
            Kind::Listener => groups::finish_query(out, Family::V6, have),
            Kind::ListenerReport => groups::finish_report(out, Family::V6, have),
            Kind::Timestamp => {} // IPv4 only
        }
        Ok(())
    }

    /// An echo: a fresh identifier, and data that the reply with the same identifier and sequence number repeats.
    pub(super) fn echo(&mut self, ends: &Ends, keep: bool, out: &mut [u8]) {
        let number = u32::from_be_bytes([out[4], out[5], out[6], out[7]]);
        self.echo_identifier(ends.facts, out);
        if !keep {
            let seed = self.tag.facts().seed;
            let key = draw(seed, Draw::Payload, draw_key(ends.facts.flow.map(FlowId::index)), 1);
            Keystream::new(key).fill(u64::from(number), 0, &mut out[8..]);
        }
    }

    /// Moves the identifier, one to one within the flow, so that requests and replies still match.
    fn echo_identifier(&self, facts: PacketFacts, out: &mut [u8]) {
        let moved =
            draw(self.tag.facts().replay_seed, Draw::EchoId, draw_key(facts.flow.map(FlowId::index)), 0)
                .to_be_bytes();
        out[4] ^= moved[0];
        out[5] ^= moved[1];
    }

    /// A fragment of a datagram that is not whole: no receiver can put it together, so its content is arbitrary. The
    /// header of a first fragment is rewritten; a checksum over bytes that never come is drawn.
    pub(super) fn lone_fragment(&mut self, offset: usize, ends: &Ends, have: usize, out: &mut [u8]) {
        let rewritten = offset == 0 && self.segment(ends, have, false, out).is_ok();
        if rewritten {
            fill_checksum(ends, out);
            return;
        }
        let session = self.tag.facts();
        let key = draw(session.seed, Draw::Payload, draw_key(ends.facts.flow.map(FlowId::index)), 2);
        Keystream::new(key).fill(0, offset as u64, out);
    }
}

fn write_ports((src, dst): (u16, u16), header: &mut [u8]) {
    header[..2].copy_from_slice(&src.to_be_bytes());
    header[2..4].copy_from_slice(&dst.to_be_bytes());
}

/// Writes the checksum of a whole transport segment between these ends.
pub(super) fn fill_checksum(ends: &Ends, segment: &mut [u8]) {
    checksum::fill_transport(ends.src, ends.dst, ends.protocol, segment);
}
