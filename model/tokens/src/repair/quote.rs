//! The packets that error messages quote.
//!
//! An ICMP error carries the head of the packet that caused it. The tokens hold only the eight header bytes of the
//! error, so repair quotes a packet that the session sent before in the other direction.

use std::{collections::VecDeque, net::IpAddr};

use netssm_wire::{
    address_class::is_group,
    checksum::fill_ipv4_header,
    frame::{Layout, Net, Transport},
    quote,
};

/// A router's error follows its cause within a round trip. A session hardly sends more packets in one.
const DEPTH: usize = 64;

/// The last packets of a session that an error may quote.
#[derive(Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Quote>,
}

#[derive(Debug)]
struct Quote {
    source: IpAddr,
    destination: IpAddr,
    /// Bytes from the IP header on: in IPv4 up to eight bytes of transport (RFC 792), in IPv6 the whole transport
    /// header.
    bytes: Vec<u8>,
}

impl History {
    /// Takes note of a repaired frame.
    pub(super) fn remember(&mut self, frame: &[u8]) {
        let layout = Layout::parse(frame);
        let (at, end) = match (&layout.net, &layout.transport) {
            // RFC 1122 section 3.2.2: no error about an error; the other ICMP messages are left out with them.
            (_, Transport::Icmp { .. } | Transport::Icmpv6 { .. } | Transport::Igmp { .. }) => return,
            (Net::Ipv4(ip), _) => (ip.at, ip.at + ip.header_len + quote::LEAST),
            (Net::Ipv6(ip), Transport::Tcp { at, header_len }) => (ip.at, at + header_len),
            (Net::Ipv6(ip), Transport::Udp { at }) => (ip.at, at + 8),
            _ => return,
        };
        let Some((source, destination)) = layout.addresses(frame) else { return };
        let to_group = is_group(destination);
        let nameless = source.is_unspecified();
        let Some(bytes) = frame.get(at..end).filter(|_| !to_group && !nameless) else { return };
        let mut bytes = bytes.to_vec();
        if let Net::Ipv4(ip) = &layout.net {
            fill_ipv4_header(&mut bytes[..ip.header_len]);
        }
        if self.packets.len() == DEPTH {
            self.packets.pop_front();
        }
        self.packets.push_back(Quote { source, destination, bytes });
    }

    /// The latest packet from `receiver` that an error from `reporter` may be about. A packet to `reporter` comes
    /// first. If there is none and routers report such errors too (`on_path`), it is the latest packet to anybody.
    pub(super) fn quote(&self, reporter: IpAddr, receiver: IpAddr, on_path: bool) -> Option<&[u8]> {
        let latest = || self.packets.iter().rev().filter(|quote| quote.source == receiver);
        let direct = latest().find(|quote| quote.destination == reporter);
        direct.or_else(|| latest().next().filter(|_| on_path)).map(|quote| quote.bytes.as_slice())
    }
}
