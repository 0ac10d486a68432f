//! The canonical form: a session's headers with every identifier replaced by its order of use.
//!
//! Addresses, ports, sequence origins, clocks and random identifiers identify the owner of the traffic and say nothing
//! about its behaviour. [`Canonical`] maps them in each session separately. No such value reaches the tokens, and a
//! small model can learn a handshake: a SYN always has sequence number 0.
//!
//! | field | becomes |
//! |---|---|
//! | MAC | `02:00:00:kk:kk:kk` by order; broadcast and the groups of IP stay |
//! | IPv4 | private `10.0.k`, global `198.18.k`, link-local `169.254.k`; groups, broadcast, loopback, unspecified stay |
//! | IPv6 | `fd00::k`, `2001:db8::k`, `fe80::k`; groups stay, solicited-node groups follow their host |
//! | VLAN id | order in the session |
//! | port | random ones 49152 + order at the host, services stay |
//! | TCP | seq, ack, SACK, TSval, TSecr relative; cookies and keys to padding |
//! | IP ID, flow label, all checksums | 0 |
//! | DNS and echo identifiers | order |
//! | UDP payload prefix | only where it is a DNS header |
//! | inside ARP, ICMP, IGMP, neighbour discovery | mapped alike |
//!
//! Kept: lengths, flags, windows, TTL, DSCP and ECN, DF, option layout, MSS, window scale, message types and codes.
//!
//! If the capture length cut a header, the canonical header is made whole where that is possible: TCP options are
//! dropped from the first cut one on, and the lengths follow. Otherwise the frame is refused. The result is always a
//! whole header with nothing behind it. Use one value per session. Nothing panics.

mod hosts;
mod messages;
mod options;
mod ports;
mod stream;

use netssm_wire::bytes::{be16, be32, put};
use netssm_wire::frame::ethertype;
use netssm_wire::ports::is_dns;
use std::{collections::HashMap, net::IpAddr};

use netssm_wire::frame::{Layout, protocol};
use netssm_wire::initiator;
use netssm_wire::tcp::Flags;

use self::{
    hosts::Hosts,
    messages::Message,
    ports::{End, IdSpace, Ports},
    stream::Streams,
};
use crate::packet::{
    Skip,
    shape::{
        ETHERNET_BYTES, ETHERTYPE_AT, Extent, IPV4_BYTES, IPV6_BYTES, Net, Protocol, Shape, TAG_BYTES,
        TCP_BYTES, UDP_BYTES, UdpPrefix, extent,
    },
    udp::is_dns_header,
};

const DF: u16 = 0x4000;
/// A query for one name with recursion desired. It replaces bytes on a DNS port that are no DNS header.
const PLAIN_QUERY: [u8; 10] = [0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
/// The maps of one session.
#[derive(Debug, Default)]
pub struct Canonical {
    hosts: Hosts,
    ports: Ports,
    streams: Streams,
    vlans: HashMap<u16, u16>,
}

impl Canonical {
    /// Maps for a session that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The canonical header of a captured frame of `wire_len` bytes on the wire.
    ///
    /// # Errors
    /// [`Skip`] if codecs do not carry such a frame, if it contradicts itself, or if it is cut too early.
    pub fn apply(&mut self, frame: &[u8], wire_len: u32) -> Result<Vec<u8>, Skip> {
        let mut bytes = frame.to_vec();
        restore_offloaded_length(&mut bytes, wire_len);
        let shape = match extent(&bytes, UdpPrefix::DnsOnly) {
            Extent::Whole(shape) => shape,
            Extent::More(_) => return Err(Skip::Cut),
            Extent::Foreign(why) => return Err(why),
        };
        if shape.body_at + shape.body_len > wire_len as usize {
            return Err(Skip::Malformed);
        }
        let floor = match shape.protocol {
            Protocol::Tcp => shape.body_at + TCP_BYTES,
            _ => shape.end,
        };
        if bytes.len() < floor {
            return Err(Skip::Cut);
        }
        let to_broadcast = bytes.starts_with(&[0xff; 6]);
        let macs = self.ethernet(&mut bytes, &shape)?;
        let header = match shape.net {
            Net::Arp => self.arp(&mut bytes, &shape)?,
            Net::V4 | Net::V6 => self.ip(&mut bytes, &shape, to_broadcast)?,
        };
        let mut out = header;
        put(&mut out, 0, &macs);
        Ok(out)
    }

    /// Maps tags in place and returns the mapped destination and source, source first in order of use.
    fn ethernet(&mut self, bytes: &mut [u8], shape: &Shape) -> Result<[u8; 12], Skip> {
        let mac = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<6>).copied().unwrap_or_default();
        let (destination, source) = (mac(0), mac(6));
        let mut macs = [0; 12];
        put(&mut macs, 6, &self.hosts.mac(source)?);
        let address = Layout::parse(bytes).addresses(bytes).map(|(_, destination)| destination);
        put(&mut macs, 0, &self.hosts.destination_mac(destination, address)?);
        for at in (ETHERNET_BYTES..shape.net_at).step_by(TAG_BYTES) {
            let tag = be16(bytes, at).unwrap_or_default();
            let next = self.vlans.len() as u16 + 1;
            let id = match tag & 0x0fff {
                0 => 0,
                id => *self.vlans.entry(id).or_insert(next),
            };
            put(bytes, at, &(tag & 0xf000 | id).to_be_bytes());
        }
        Ok(macs)
    }

    fn arp(&mut self, bytes: &mut Vec<u8>, shape: &Shape) -> Result<Vec<u8>, Skip> {
        // Sender, then target: hardware address, protocol address.
        for at in [shape.net_at + 8, shape.net_at + 18] {
            // A target may be everybody.
            let mac =
                bytes[at..].first_chunk().map_or(Ok([0; 6]), |&mac| self.hosts.destination_mac(mac, None))?;
            put(bytes, at, &mac);
            let ip = bytes[at + 6..]
                .first_chunk::<4>()
                .map_or(Err(Skip::Cut), |&ip| self.hosts.v4(ip.into(), false))?;
            put(bytes, at + 6, &ip.octets());
        }
        bytes.truncate(shape.end);
        Ok(std::mem::take(bytes))
    }

    fn ip(&mut self, bytes: &mut [u8], shape: &Shape, to_broadcast: bool) -> Result<Vec<u8>, Skip> {
        let (source, destination) = self.network(bytes, shape, to_broadcast)?;
        let mut out = bytes[..shape.body_at].to_vec();
        let captured = &bytes[shape.body_at..bytes.len().min(shape.body_at + shape.body_len)];
        let body_len = match shape.protocol {
            Protocol::Tcp => self.tcp(captured, shape, (source, destination), &mut out),
            Protocol::Udp => self.udp(captured, shape, (source, destination), &mut out),
            Protocol::Icmp => {
                close(messages::icmp(captured, &mut self.hosts, &mut self.ports)?, shape, &mut out)
            }
            Protocol::Icmpv6 => {
                close(messages::icmpv6(captured, &mut self.hosts, &mut self.ports)?, shape, &mut out)
            }
            Protocol::Igmp => close(messages::igmp(captured, &mut self.hosts)?, shape, &mut out),
            Protocol::Arp => shape.body_len,
        };
        let header_len = shape.body_at - shape.net_at;
        // Both lengths were 16-bit fields and only shrink from there.
        match shape.net {
            Net::V4 => put(&mut out, shape.net_at + 2, &((header_len + body_len) as u16).to_be_bytes()),
            _ => {
                let payload_len = (header_len - IPV6_BYTES + body_len) as u16;
                put(&mut out, shape.net_at + 4, &payload_len.to_be_bytes());
            }
        }
        Ok(out)
    }

    /// Maps the network header in place. Returns the *original* addresses, because they identify the flow.
    fn network(
        &mut self,
        bytes: &mut [u8],
        shape: &Shape,
        to_broadcast: bool,
    ) -> Result<(IpAddr, IpAddr), Skip> {
        let at = shape.net_at;
        if shape.net == Net::V4 {
            let ip = |at: usize| bytes[at..].first_chunk::<4>().copied().unwrap_or_default().into();
            let (source, destination) = (ip(at + 12), ip(at + 16));
            let fragment = be16(bytes, at + 6).unwrap_or_default() & DF;
            put(bytes, at + 4, &[0, 0]);
            put(bytes, at + 6, &fragment.to_be_bytes());
            put(bytes, at + 10, &[0, 0]);
            put(bytes, at + 12, &self.hosts.v4(source, false)?.octets());
            put(bytes, at + 16, &self.hosts.v4(destination, to_broadcast)?.octets());
            options::ipv4(&mut bytes[at + IPV4_BYTES..shape.body_at]);
            return Ok((source.into(), destination.into()));
        }
        let ip = |at: usize| bytes[at..].first_chunk::<16>().copied().unwrap_or_default().into();
        let (source, destination) = (ip(at + 8), ip(at + 24));
        // Version and traffic class stay, the flow label goes.
        bytes[at + 1] &= 0xf0;
        put(bytes, at + 2, &[0, 0]);
        put(bytes, at + 8, &self.hosts.v6(source)?.octets());
        put(bytes, at + 24, &self.hosts.v6(destination)?.octets());
        if shape.body_at > at + IPV6_BYTES {
            options::hop_by_hop(&mut bytes[at + IPV6_BYTES + 2..shape.body_at]);
        }
        Ok((source.into(), destination.into()))
    }

    fn tcp(&mut self, tcp: &[u8], shape: &Shape, ips: (IpAddr, IpAddr), out: &mut Vec<u8>) -> usize {
        let (source, destination) = ends(tcp, ips);
        let flags = Flags::from_byte(tcp[13]);
        let opens = initiator::by_flags(flags);
        let ports = self.ports.pair(protocol::TCP, source, destination, opens);
        let direction = (source, destination);
        if opens == Some(true) {
            self.streams.reopen(direction);
        }
        let (sequence, acknowledged) = (be32(tcp, 4).unwrap_or_default(), be32(tcp, 8).unwrap_or_default());
        let (sequence, acknowledged) = self.streams.numbers(direction, flags, sequence, acknowledged);
        let full_len = shape.end - shape.body_at;
        let captured = &tcp[TCP_BYTES..full_len.min(tcp.len())];
        let options = options::tcp(captured, &mut self.streams, direction, acknowledged);

        let at = out.len();
        out.extend_from_slice(&tcp[..TCP_BYTES]);
        put(out, at, &ports.0.to_be_bytes());
        put(out, at + 2, &ports.1.to_be_bytes());
        put(out, at + 4, &sequence.to_be_bytes());
        put(out, at + 8, &acknowledged.to_be_bytes());
        let len = TCP_BYTES + options.len();
        out[at + 12] = (len as u8 / 4) << 4 | tcp[12] & 0x0f;
        put(out, at + 16, &[0, 0]);
        if !flags.contains(Flags::URG) {
            put(out, at + 18, &[0, 0]);
        }
        out.extend(options);
        shape.body_len - full_len + len
    }

    fn udp(&mut self, udp: &[u8], shape: &Shape, ips: (IpAddr, IpAddr), out: &mut Vec<u8>) -> usize {
        let (source, destination) = ends(udp, ips);
        let ports = self.ports.pair(protocol::UDP, source, destination, None);
        out.extend_from_slice(&ports.0.to_be_bytes());
        out.extend_from_slice(&ports.1.to_be_bytes());
        out.extend_from_slice(&(shape.body_len as u16).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        if is_dns(source.1, destination.1) {
            let mut prefix = udp[UDP_BYTES..shape.end - shape.body_at].to_vec();
            if let Some(id) = be16(&prefix, 0) {
                put(&mut prefix, 0, &self.ports.id(IdSpace::Dns, id).to_be_bytes());
            }
            let kept = prefix.len().saturating_sub(2);
            if !is_dns_header(&prefix) {
                prefix.truncate(2);
                prefix.extend_from_slice(&PLAIN_QUERY[..kept]);
            }
            out.extend(prefix);
        }
        shape.body_len
    }
}

fn ends(transport: &[u8], ips: (IpAddr, IpAddr)) -> (End, End) {
    let port = |at| be16(transport, at).unwrap_or_default();
    ((ips.0, port(0)), (ips.1, port(2)))
}

/// Appends a message and returns the length of the packet after the network header.
fn close(message: Message, shape: &Shape, out: &mut Vec<u8>) -> usize {
    let len = message.bytes.len();
    out.extend(message.bytes);
    if message.whole { len } else { shape.body_len }
}

/// Segmentation offload leaves an IPv4 total length of zero in captures that were taken at the sender. This puts the
/// length of the frame there.
fn restore_offloaded_length(bytes: &mut [u8], wire_len: u32) {
    let mut at = ETHERTYPE_AT;
    while be16(bytes, at).is_some_and(ethertype::is_tag) {
        at += TAG_BYTES;
    }
    let net_at = at + 2;
    if be16(bytes, at) == Some(ethertype::IPV4) && be16(bytes, net_at + 2) == Some(0) {
        let total_len = (wire_len as usize).saturating_sub(net_at).min(usize::from(u16::MAX));
        put(bytes, net_at + 2, &(total_len as u16).to_be_bytes());
    }
}
