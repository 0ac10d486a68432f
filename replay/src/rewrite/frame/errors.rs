//! ICMP errors: the quoted packet, rewritten as it was when it was sent.
//!
//! Addresses, ports, sequence numbers and identification follow the maps of the flow that is quoted, and payload
//! is what was sent. A checksum that covers bytes beyond the quote cannot be computed; it is drawn, or for TCP that of
//! the bytes that are there. A quote that cannot be read is replaced by a datagram from the receiver of the error to
//! its sender, which is what an error usually answers.

use std::net::IpAddr;

use netssm_wire::flow::FiveTuple;
use netssm_wire::frame::protocol;
use netssm_wire::ports::{FIRST_DYNAMIC, TRACEROUTE};
use netssm_wire::quote::{self, Quoted};

use super::transport::fill_checksum;
use super::{Ends, SessionReplay, visitor};
use crate::draw::{Draw, draw};
use crate::rewrite::dropped::Dropped;
use crate::rewrite::protocol::quote::visit_quote;
use crate::rewrite::protocol::{options, tcp};
use crate::rewrite::survey::PacketFacts;
use crate::rewrite::survey::ids::{FlowId, draw_key};

impl SessionReplay {
    /// Rewrites the quote of an error, `out`, of which the first `have` bytes come from the session.
    pub(super) fn quote(
        &mut self,
        error: &Ends,
        have: usize,
        keep: bool,
        out: &mut [u8],
    ) -> Result<(), Dropped> {
        let have = have.min(out.len());
        let parsed = Quoted::read(&out[..have]).filter(|q| out.len() >= q.header_len + quote::LEAST);
        let Some(quoted) = parsed else {
            self.made_up_quote(error, out);
            return Ok(());
        };
        visit_quote(&mut out[..have], &mut visitor(&self.map))?;
        let ends = self.quoted_ends(&quoted.tuple, error)?;
        self.quoted_ip(&quoted, &ends, out);
        let rest = &mut out[quoted.header_len..];
        // Nothing follows the quoted packet's own end.
        let len = quoted.rest_len.min(rest.len());
        rest[len..].fill(0);
        let whole = quoted.rest_len == len;
        self.quoted_transport(&quoted, &ends, have - quoted.header_len, keep, &mut rest[..len]);
        self.quoted_checksum(&ends, whole, &mut rest[..len]);
        Ok(())
    }

    /// Who the quoted packet was from and to, and its flow.
    fn quoted_ends(&self, tuple: &FiveTuple, error: &Ends) -> Result<Ends, Dropped> {
        let flow = self.map.find_flow(tuple);
        let forward = flow.map(|id| &self.map.flows[id.index()]).is_none_or(|flow| {
            let first =
                if flow.initiator_is_first { flow.initiator } else { flow.initiator.map(|o| o.reversed()) };
            first == self.map.tuple(tuple)
        });
        let facts = PacketFacts {
            flow,
            forward,
            src: self.map.host(tuple.src),
            dst: self.map.host(tuple.dst),
            // The packet came from the error's receiver.
            from: error.facts.to,
            to: error.facts.from,
        };
        let (src, dst) = (self.map.ip(tuple.src)?, self.map.ip(tuple.dst)?);
        Ok(Ends { facts, src, dst, protocol: tuple.protocol, link: [error.link[1], error.link[0]] })
    }

    fn quoted_ip(&self, quoted: &Quoted, ends: &Ends, out: &mut [u8]) {
        let header = &mut out[..quoted.header_len];
        let facts = ends.facts;
        if ends.src.is_ipv4() {
            let sent = facts.flow.and_then(|id| self.flows[id.index()].last_id[usize::from(facts.forward)]);
            let seed = self.tag.facts().replay_seed;
            let id = sent
                .unwrap_or_else(|| draw(seed, Draw::IpId, draw_key(facts.flow.map(FlowId::index)), 1) as u16);
            header[4..6].copy_from_slice(&id.to_be_bytes());
            options::clean_v4(header);
        } else {
            self.flow_label(facts, header);
        }
    }

    fn quoted_transport(&mut self, quoted: &Quoted, ends: &Ends, have: usize, keep: bool, out: &mut [u8]) {
        let facts = ends.facts;
        match quoted.tuple.protocol {
            protocol::TCP => {
                let sequence = tcp::sequence(out);
                // Bytes that the session does not have of the header are zeros, also the data offset.
                let len = quoted.tcp_header_len(out.get(12).copied().filter(|_| have > 12));
                if let Some(offset) = out.get_mut(12) {
                    *offset = (len as u8 / 4) << 4; // at most 60 bytes
                }
                let len = len.min(out.len());
                let (header, payload) = out.split_at_mut(len);
                self.tcp_header(facts, header, tcp::rewrite_quoted);
                if !keep && !payload.is_empty() {
                    self.stream(facts, sequence, payload);
                }
            }
            protocol::UDP => {
                self.ports(facts, out);
                out[4..6].copy_from_slice(&(quoted.rest_len.min(usize::from(u16::MAX)) as u16).to_be_bytes());
                if !keep && out.len() > 8 {
                    // Made whole, since messages depend on their length, then cut.
                    let mut payload = vec![0; quoted.rest_len - 8];
                    self.last_datagram(facts, ends.link, &mut payload);
                    let len = out.len() - 8;
                    out[8..].copy_from_slice(&payload[..len]);
                }
            }
            _ => {
                // Of other ICMP messages only echoes hold no address.
                let (request, reply) = if ends.src.is_ipv4() { (8, 0) } else { (128, 129) };
                if out[0] != request && out[0] != reply {
                    out.fill(0);
                    out[0] = request;
                }
                self.echo(ends, keep, out);
            }
        }
    }

    fn quoted_checksum(&self, ends: &Ends, whole: bool, out: &mut [u8]) {
        // TCP has no length of its own: who reads a cut quote takes what is there for the segment, and sums that up.
        if whole || ends.protocol == protocol::TCP {
            return fill_checksum(ends, out);
        }
        let field = if ends.protocol == protocol::UDP { 6 } else { 2 };
        if let Some(place) = out.get_mut(field..field + 2) {
            let seed = self.tag.facts().replay_seed;
            // Not 0, which UDP takes for "none".
            let drawn =
                draw(seed, Draw::Checksum, draw_key(ends.facts.flow.map(FlowId::index)), self.ids[0].into())
                    as u16
                    | 1;
            place.copy_from_slice(&drawn.to_be_bytes());
        }
    }

    /// Writes a UDP datagram from the error's receiver to its sender, cut to the quote's length.
    fn made_up_quote(&self, error: &Ends, out: &mut [u8]) {
        out.fill(0);
        let len = out.len();
        let seed = self.tag.facts().replay_seed;
        let header_len = match (error.dst, error.src) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                out[0] = 0x45;
                out[2..4].copy_from_slice(&(len.min(usize::from(u16::MAX)) as u16).to_be_bytes());
                out[4..6].copy_from_slice(&(draw(seed, Draw::IpId, u64::MAX, 2) as u16).to_be_bytes());
                out[8..10].copy_from_slice(&[1, protocol::UDP]);
                out[12..16].copy_from_slice(&src.octets());
                out[16..20].copy_from_slice(&dst.octets());
                20
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                out[0] = 0x60;
                out[4..6].copy_from_slice(&((len - 40).min(usize::from(u16::MAX)) as u16).to_be_bytes());
                out[6..8].copy_from_slice(&[protocol::UDP, 1]);
                out[8..24].copy_from_slice(&src.octets());
                out[24..40].copy_from_slice(&dst.octets());
                40
            }
            _ => return,
        };
        let ends = Ends { src: error.dst, dst: error.src, protocol: protocol::UDP, ..*error };
        let udp = &mut out[header_len..];
        let source = FIRST_DYNAMIC | draw(seed, Draw::Port, u64::MAX, 2) as u16;
        udp[..2].copy_from_slice(&source.to_be_bytes());
        udp[2..4].copy_from_slice(&TRACEROUTE.to_be_bytes());
        let len = udp.len().min(usize::from(u16::MAX)) as u16;
        udp[4..6].copy_from_slice(&len.to_be_bytes());
        fill_checksum(&ends, udp);
    }
}
