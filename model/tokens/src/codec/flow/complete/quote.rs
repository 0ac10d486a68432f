//! The packets that generated errors quote.
//!
//! An error carries the head of the packet that caused it (RFC 792: its IP header and at least 8 bytes; RFC 1812
//! section 4.3.2.3 and RFC 4443 section 2.4: as much as fits). No token says which packet that was, but the length of
//! the error is a hint, because many systems quote the whole packet. The quote is the latest packet of the receiver
//! with that length; else the latest longer one, cut; else the latest datagram, with larger length fields (a TCP
//! segment with payload that was never sent would not fit its stream). If the receiver sent no packet that the error
//! may be about, the quote is a datagram to the reporter, as traceroute sends them.
//!
//! A quote is never longer than the quoted packet. Bytes after it, beyond the 128th, would be an extension (RFC 4884).

use netssm_wire::bytes::put;
use netssm_wire::frame::protocol;
use std::{collections::VecDeque, net::IpAddr};

use arrayvec::ArrayVec;
use netssm_wire::address_class::is_group;
use netssm_wire::checksum::{fill_ipv4_header, fill_transport};
use netssm_wire::ports::{FIRST_DYNAMIC, TRACEROUTE};

use crate::codec::flow::{record::IpFrame, transport::Transport};
use crate::packet::shape::{IPV4_BYTES, IPV6_BYTES, UDP_BYTES};

/// An error follows its cause within a round trip. A session hardly sends more packets in one.
const DEPTH: usize = 64;
/// IPv6 and a TCP header with all options.
const HEADER_BYTES: usize = IPV6_BYTES + 60;
/// Ports of a traceroute datagram: from a dynamic port to traceroute's first one.
const TRACE_PORTS: (u16, u16) = (FIRST_DYNAMIC, TRACEROUTE);

/// The last packets that an error may quote.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Quote>,
}

/// A packet, from its IP header to the end of its transport header.
#[derive(Clone, Debug)]
struct Quote {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    /// Bytes of the IP packet.
    total: usize,
    head: ArrayVec<u8, HEADER_BYTES>,
}

impl History {
    /// Remembers a TCP or UDP packet between two hosts, with the header bytes `header`. Packets with IPv4 options are
    /// left out, because the shortest quote would not hold their ports.
    pub(super) fn remember(&mut self, ip: &IpFrame, header: &[u8]) {
        let at = ip.ether.header_len();
        let plain = matches!(ip.transport, Transport::Tcp(_) | Transport::Udp(_))
            && ip.options.is_empty()
            && !ip.alert;
        let Some(head) = header.get(at..at + ip.header_len()) else { return };
        if is_group(ip.dst) || ip.src.is_unspecified() || !plain {
            return;
        }
        if self.packets.len() == DEPTH {
            self.packets.pop_front();
        }
        self.packets.push_back(Quote {
            src: ip.src,
            dst: ip.dst,
            protocol: ip.protocol,
            total: ip.told_len() as usize - at,
            head: head.iter().copied().take(HEADER_BYTES).collect(),
        });
    }

    /// The length of the latest packet from `receiver` to `reporter`; if routers may send such errors too, to anybody.
    #[cfg(test)]
    pub(super) fn latest(&self, reporter: IpAddr, receiver: IpAddr, on_path: bool) -> Option<usize> {
        self.find(reporter, receiver, on_path, |_| true).map(|quote| quote.total)
    }

    fn find(
        &self,
        reporter: IpAddr,
        receiver: IpAddr,
        on_path: bool,
        fits: impl Fn(&Quote) -> bool,
    ) -> Option<&Quote> {
        let sent = || self.packets.iter().rev().filter(|quote| quote.src == receiver && fits(quote));
        sent().find(|quote| quote.dst == reporter).or_else(|| sent().next().filter(|_| on_path))
    }

    /// Appends the quote of the error `ip` of type and code `kind`, as many bytes as the error declares.
    pub(super) fn quote(&self, ip: &IpFrame, kind: u16, out: &mut Vec<u8>) {
        let (v6, len) = (!ip.is_v4(), (ip.payload_len as usize).min(usize::from(u16::MAX)));
        // Only the destination itself knows that it has no such port or protocol.
        let on_path = !matches!((ip.protocol, kind), (protocol::ICMP, 0x0302 | 0x0303) | (_, 0x0104));
        let find = |fits: &dyn Fn(&Quote) -> bool| self.find(ip.src, ip.dst, on_path, fits);
        let found = find(&|quote| quote.total == len)
            .or_else(|| find(&|quote| quote.total > len))
            .or_else(|| find(&|quote| quote.protocol == protocol::UDP));
        let made;
        let quote = match found {
            Some(quote) => quote,
            None => {
                made = traced(ip);
                &made
            }
        };
        out.extend_from_slice(&quote.head[..quote.head.len().min(len)]);
        out.resize(len, 0);
        finish(quote, v6, is_late(ip.protocol, kind), out);
    }
}

fn is_late(protocol: u8, kind: u16) -> bool {
    kind >> 8 == if protocol == protocol::ICMP { 11 } else { 3 }
}

/// A datagram that the error's receiver could have sent to its sender.
fn traced(error: &IpFrame) -> Quote {
    let mut head = ArrayVec::<u8, HEADER_BYTES>::new();
    match (error.dst, error.src) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            head.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol::UDP, 0, 0]);
            head.extend(src.octets().into_iter().chain(dst.octets()));
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            head.extend([0x60, 0, 0, 0, 0, 8, protocol::UDP, 64]);
            head.extend(src.octets().into_iter().chain(dst.octets()));
        }
        // Both are of one version by construction.
        _ => {}
    }
    let total = head.len() + UDP_BYTES;
    for word in [TRACE_PORTS.0, TRACE_PORTS.1, UDP_BYTES as u16, 0] {
        head.extend(word.to_be_bytes());
    }
    Quote { src: error.dst, dst: error.src, protocol: protocol::UDP, total, head }
}

/// Makes the lengths reach the end of the quote, sets TTL or hop limit to its end if the error says so, and corrects
/// checksums. The checksum of a transport header whose payload is cut stays as the packet had it.
fn finish(quote: &Quote, v6: bool, late: bool, out: &mut [u8]) {
    let len = out.len();
    let network = if v6 { IPV6_BYTES } else { IPV4_BYTES };
    if quote.total < len {
        if v6 {
            put(out, 4, &((len - IPV6_BYTES) as u16).to_be_bytes());
        } else {
            put(out, 2, &(len as u16).to_be_bytes());
        }
        if quote.protocol == protocol::UDP {
            put(out, network + 4, &((len - network) as u16).to_be_bytes());
        }
    }
    if late {
        put(out, if v6 { 7 } else { 8 }, &[1]);
    }
    if let Some(header) = out.get_mut(..IPV4_BYTES).filter(|_| !v6) {
        fill_ipv4_header(header);
    }
    if quote.total <= len {
        fill_transport(quote.src, quote.dst, quote.protocol, out.get_mut(network..).unwrap_or_default());
    }
}
