//! The packets that error messages quote.
//!
//! An ICMP error carries the head of the packet that caused it. The tokens hold only the error's eight header bytes, so
//! the quote is taken from what the session sent before, in the other direction.

use std::{collections::VecDeque, net::IpAddr};

use netssm_wire::{
    address_class::is_group,
    checksum::fill_ipv4_header,
    frame::{Layout, Net, Transport},
    quote,
};

/// A router's error follows its cause within a round trip; more packets than this do not fit in one here.
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
    /// From the IP header on: with eight bytes of transport in IPv4 (RFC 792), with its whole header in IPv6.
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

    /// The latest packet from `receiver` that `reporter` would complain about: one to itself if there is one, or (when
    /// `on_path`, since routers report too) any other.
    pub(super) fn quote(&self, reporter: IpAddr, receiver: IpAddr, on_path: bool) -> Option<&[u8]> {
        let latest = || self.packets.iter().rev().filter(|quote| quote.source == receiver);
        let direct = latest().find(|quote| quote.destination == reporter);
        direct.or_else(|| latest().next().filter(|_| on_path)).map(|quote| quote.bytes.as_slice())
    }
}
