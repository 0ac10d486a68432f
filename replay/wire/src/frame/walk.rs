//! The walk behind [`Layout::parse`].
//!
//! Own code and not etherparse's `LaxSlicedPacket`, because callers change frames in place and so need
//! offsets, which its slices do not give, and because it does not say how far a cut header goes.

use super::extensions::{extension_len, is_extension};
use super::{
    ETHERNET_LEN, Fragment, Ipv4Layout, Ipv6Layout, Layer, Layout, Net, Stop, TAG_LEN, Tag, Tags, Transport,
    ethertype, protocol,
};
use crate::bytes::{be16, be32};

/// How many IPv6 extension headers are walked. RFC 8200 section 4.1 has at most six in order; a longer chain
/// than this is an attack or noise, and the walk must be bounded by more than the frame's length.
const MAX_EXTENSIONS: usize = 16;

pub(super) fn walk(frame: &[u8]) -> Layout {
    let mut layout = empty();
    if frame.len() < ETHERNET_LEN {
        layout.stop = Stop::Cut(Layer::Ethernet);
        return layout;
    }
    let mut at = ETHERNET_LEN - 2;
    loop {
        // The tag's own two bytes are read before the type that follows them, so a missing type is a cut tag.
        let Some(kind) = be16(frame, at) else {
            layout.stop = Stop::Cut(Layer::Vlan);
            return layout;
        };
        if !ethertype::is_tag(kind) || layout.tags.len() == Tags::MAX {
            layout.ethertype = kind;
            at += 2;
            break;
        }
        let Some(tci) = be16(frame, at + 2) else {
            layout.stop = Stop::Cut(Layer::Vlan);
            return layout;
        };
        layout.tags.push(Tag { at, tpid: kind, tci });
        at += TAG_LEN;
    }
    network(frame, at, &mut layout);
    layout
}

pub(super) fn walk_ip(packet: &[u8]) -> Layout {
    let mut layout = empty();
    match packet.first().map(|first| first >> 4) {
        Some(4) => layout.ethertype = ethertype::IPV4,
        Some(6) => layout.ethertype = ethertype::IPV6,
        Some(_) => layout.stop = Stop::Invalid(Layer::Ipv4, "version is neither 4 nor 6"),
        None => layout.stop = Stop::Cut(Layer::Ipv4),
    }
    network(packet, 0, &mut layout);
    layout
}

fn empty() -> Layout {
    Layout {
        tags: Tags::default(),
        ethertype: 0,
        net: Net::None,
        transport: Transport::None,
        stop: Stop::Whole,
    }
}

fn network(frame: &[u8], at: usize, layout: &mut Layout) {
    match layout.ethertype {
        ethertype::ARP => arp(frame, at, layout),
        ethertype::IPV4 => ipv4(frame, at, layout),
        ethertype::IPV6 => ipv6(frame, at, layout),
        _ => layout.net = Net::Other { at },
    }
}

fn arp(frame: &[u8], at: usize, layout: &mut Layout) {
    let Some(head) = frame.get(at..at + 8) else {
        layout.net = Net::Other { at };
        layout.stop = Stop::Cut(Layer::Arp);
        return;
    };
    layout.net = Net::Arp { at };
    let len = 8 + 2 * (usize::from(head[4]) + usize::from(head[5]));
    if frame.len() < at + len {
        layout.stop = Stop::Cut(Layer::Arp);
    }
}

fn ipv4(frame: &[u8], at: usize, layout: &mut Layout) {
    layout.net = Net::Other { at };
    let Some(head) = frame.get(at..at + 20) else {
        layout.stop = Stop::Cut(Layer::Ipv4);
        return;
    };
    if head[0] >> 4 != 4 {
        layout.stop = Stop::Invalid(Layer::Ipv4, "version is not 4");
        return;
    }
    let header_len = usize::from(head[0] & 0x0f) * 4;
    if header_len < 20 {
        layout.stop = Stop::Invalid(Layer::Ipv4, "header length below 20 bytes");
        return;
    }
    let total_len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let flags = u16::from_be_bytes([head[6], head[7]]);
    let offset = usize::from(flags & 0x1fff) * 8;
    let more = flags & 0x2000 != 0;
    let id = u32::from(u16::from_be_bytes([head[4], head[5]]));
    let fragment = (more || offset > 0).then_some(Fragment { offset, more, id });
    layout.net = Net::Ipv4(Ipv4Layout { at, header_len, total_len, protocol: head[9], fragment });
    if total_len < header_len {
        layout.stop = Stop::Invalid(Layer::Ipv4, "total length below header length");
    } else if frame.len() < at + header_len {
        layout.stop = Stop::Cut(Layer::Ipv4);
    } else if offset == 0 {
        let transport =
            TransportWalk { at: at + header_len, end: at + total_len, number: head[9], fragment: more };
        transport.walk(frame, layout);
    }
}

fn ipv6(frame: &[u8], at: usize, layout: &mut Layout) {
    layout.net = Net::Other { at };
    let Some(head) = frame.get(at..at + 40) else {
        layout.stop = Stop::Cut(Layer::Ipv6);
        return;
    };
    if head[0] >> 4 != 6 {
        layout.stop = Stop::Invalid(Layer::Ipv6, "version is not 6");
        return;
    }
    let payload_len = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let end = at + 40 + payload_len;
    let mut ip = Ipv6Layout { at, payload_len, protocol: head[6], transport_at: at + 40, fragment: None };
    layout.stop = chain(frame, end, &mut ip);
    layout.net = Net::Ipv6(ip);
    let first = ip.fragment.is_none_or(|f| f.offset == 0);
    if layout.stop == Stop::Whole && first && ip.protocol != protocol::NO_NEXT {
        let transport = TransportWalk {
            at: ip.transport_at,
            end,
            number: ip.protocol,
            fragment: ip.fragment.is_some_and(|f| f.more),
        };
        transport.walk(frame, layout);
    }
}

/// Follows the extension headers from `ip.protocol` on, leaving in `ip` what follows the last whole one.
fn chain(frame: &[u8], end: usize, ip: &mut Ipv6Layout) -> Stop {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(ip.protocol) {
            return Stop::Whole;
        }
        let at = ip.transport_at;
        if at + 8 > end {
            return Stop::Invalid(Layer::Ipv6, "extension header beyond the payload length");
        }
        let Some(head) = frame.get(at..at + 8) else {
            return Stop::Cut(Layer::Ipv6);
        };
        let len = extension_len(ip.protocol, head[1]);
        if at + len > end {
            return Stop::Invalid(Layer::Ipv6, "extension header beyond the payload length");
        }
        if at + len > frame.len() {
            return Stop::Cut(Layer::Ipv6);
        }
        if ip.protocol == protocol::FRAGMENT {
            let word = u16::from_be_bytes([head[2], head[3]]);
            let (offset, more) = (usize::from(word & 0xfff8), word & 1 == 1);
            if more || offset > 0 {
                ip.fragment = Some(Fragment { offset, more, id: be32(head, 4).unwrap_or_default() });
            }
        }
        ip.protocol = head[0];
        ip.transport_at = at + len;
        // What follows in a later fragment is not a header.
        if ip.fragment.is_some_and(|f| f.offset > 0) {
            return Stop::Whole;
        }
    }
    if is_extension(ip.protocol) {
        return Stop::Invalid(Layer::Ipv6, "more extension headers than are followed");
    }
    Stop::Whole
}

/// What follows the IP headers, up to `end` by the IP length.
struct TransportWalk {
    at: usize,
    end: usize,
    number: u8,
    /// A first fragment: lengths inside speak of the whole datagram.
    fragment: bool,
}

impl TransportWalk {
    fn walk(&self, frame: &[u8], layout: &mut Layout) {
        let at = self.at;
        let (layer, fixed) = match self.number {
            protocol::TCP => (Layer::Tcp, 20),
            protocol::UDP => (Layer::Udp, 8),
            protocol::ICMP => (Layer::Icmp, 8),
            protocol::ICMPV6 => (Layer::Icmpv6, 8),
            protocol::IGMP => (Layer::Igmp, 8),
            _ => {
                layout.transport = Transport::Other { at: at.min(frame.len()), protocol: self.number };
                return;
            }
        };
        if let Some(stop) = self.ends_before(frame, at + fixed, layer) {
            layout.transport = Transport::Other { at: at.min(frame.len()), protocol: self.number };
            layout.stop = stop;
            return;
        }
        layout.transport = match layer {
            Layer::Tcp => {
                let words = usize::from(frame[at + 12] >> 4);
                let header_len = words.max(5) * 4;
                if words < 5 {
                    layout.stop = Stop::Invalid(Layer::Tcp, "data offset below 5 words");
                } else if let Some(stop) = self.ends_before(frame, at + header_len, layer) {
                    layout.stop = stop;
                }
                Transport::Tcp { at, header_len }
            }
            Layer::Udp => {
                let len = usize::from(be16(frame, at + 4).unwrap_or_default());
                if len < 8 {
                    layout.stop = Stop::Invalid(Layer::Udp, "length below 8 bytes");
                } else if at + len > self.end && !self.fragment {
                    layout.stop = Stop::Invalid(Layer::Udp, "length beyond the ip packet");
                }
                Transport::Udp { at }
            }
            Layer::Icmp => Transport::Icmp { at },
            Layer::Icmpv6 => Transport::Icmpv6 { at },
            _ => Transport::Igmp { at },
        };
    }

    /// Why the header that should reach `need` does not: the IP packet ends there, or the capture does.
    fn ends_before(&self, frame: &[u8], need: usize, layer: Layer) -> Option<Stop> {
        if need > self.end {
            // The rest of a first fragment's header is in the next one: cut, but no contradiction.
            Some(match self.fragment {
                true => Stop::Cut(layer),
                false => Stop::Invalid(layer, "header beyond the ip packet"),
            })
        } else if need > frame.len() {
            Some(Stop::Cut(layer))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet header with the given type in front of `rest`.
    fn frame(kind: u16, rest: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &kind.to_be_bytes(), rest].concat()
    }

    /// A TCP header of 24 bytes in a packet of 44, addresses left zero.
    fn v4() -> Vec<u8> {
        let mut packet = vec![0; 44];
        packet[..4].copy_from_slice(&[0x45, 0, 0, 44]);
        (packet[9], packet[32]) = (6, 0x60);
        packet
    }

    fn stop_of(change: impl Fn(&mut Vec<u8>)) -> Stop {
        let mut packet = v4();
        change(&mut packet);
        Layout::parse(&frame(0x0800, &packet)).stop
    }

    #[test]
    fn ipv4_headers_that_contradict_themselves_say_why() {
        assert_eq!(stop_of(|_| {}), Stop::Whole);
        assert_eq!(stop_of(|p| p[0] = 0x65), Stop::Invalid(Layer::Ipv4, "version is not 4"));
        assert_eq!(stop_of(|p| p[0] = 0x44), Stop::Invalid(Layer::Ipv4, "header length below 20 bytes"));
        assert_eq!(stop_of(|p| p[3] = 19), Stop::Invalid(Layer::Ipv4, "total length below header length"));
        assert_eq!(stop_of(|p| p[32] = 0x40), Stop::Invalid(Layer::Tcp, "data offset below 5 words"));
        assert_eq!(stop_of(|p| p[32] = 0x70), Stop::Invalid(Layer::Tcp, "header beyond the ip packet"));
        assert_eq!(stop_of(|p| p[3] = 39), Stop::Invalid(Layer::Tcp, "header beyond the ip packet"));
        assert_eq!(stop_of(|p| p.truncate(43)), Stop::Cut(Layer::Tcp));
        assert_eq!(stop_of(|p| p.truncate(19)), Stop::Cut(Layer::Ipv4));
        assert_eq!(stop_of(|p| (p[9], p[25]) = (17, 7)), Stop::Invalid(Layer::Udp, "length below 8 bytes"));
        assert_eq!(
            stop_of(|p| (p[9], p[25]) = (17, 25)),
            Stop::Invalid(Layer::Udp, "length beyond the ip packet")
        );
        // In a first fragment the UDP length speaks of the whole datagram, and a header may go on in the next
        // one.
        assert_eq!(stop_of(|p| (p[6], p[9], p[25]) = (0x20, 17, 25)), Stop::Whole);
        assert_eq!(stop_of(|p| (p[3], p[6]) = (39, 0x20)), Stop::Cut(Layer::Tcp));
    }

    #[test]
    fn a_cut_transport_header_still_names_its_protocol_and_ports() {
        let mut bytes = frame(0x0800, &v4());
        bytes[34..38].copy_from_slice(&[0, 1, 0, 2]);
        let layout = Layout::parse(&bytes[..40]);
        assert_eq!(layout.transport, Transport::Other { at: 34, protocol: 6 });
        let tuple = layout.five_tuple(&bytes[..40]).unwrap();
        assert_eq!((tuple.src_port, tuple.dst_port, tuple.protocol), (1, 2, 6));
        assert_eq!(Layout::parse(&bytes[..37]).five_tuple(&bytes[..37]), None);
    }

    #[test]
    fn later_fragments_have_no_transport_but_a_place() {
        let mut bytes = frame(0x0800, &v4());
        (bytes[19], bytes[20], bytes[21]) = (9, 0x20, 3);
        let layout = Layout::parse(&bytes);
        assert_eq!(layout.fragment(), Some(Fragment { offset: 24, more: true, id: 9 }));
        assert_eq!((layout.transport, layout.stop), (Transport::None, Stop::Whole));
        assert_eq!((layout.l4_at(), layout.payload_at(), layout.l3_end()), (Some(34), None, Some(58)));
        assert_eq!(layout.five_tuple(&bytes).map(|t| (t.src_port, t.dst_port)), Some((0, 0)));
    }

    #[test]
    fn two_tags_are_read_and_a_third_is_other() {
        let tags = |n: usize| [[0x81, 0, 0x20, 7].repeat(n), vec![0x08, 0x00], v4()].concat();
        for n in [1, 2] {
            let layout = Layout::parse(&[&[2; 12][..], &tags(n)].concat());
            assert_eq!((layout.tags.len(), layout.ethertype, layout.stop), (n, 0x0800, Stop::Whole));
            assert_eq!((layout.tags[0].vlan_id(), layout.tags[0].priority()), (7, 1));
        }
        let layout = Layout::parse(&[&[2; 12][..], &tags(3)].concat());
        assert_eq!((layout.tags.len(), layout.ethertype, layout.net), (2, 0x8100, Net::Other { at: 22 }));
        for len in 14..16 {
            assert_eq!(
                Layout::parse(&[&[2; 12][..], &tags(1)[..len - 12]].concat()).stop,
                Stop::Cut(Layer::Vlan)
            );
        }
    }

    #[test]
    fn ipv6_chains_are_followed_to_their_end_and_no_further() {
        let packet = |first: u8, chain: &[u8]| {
            let mut head = vec![0; 40];
            (head[0], head[5], head[6]) = (0x60, chain.len() as u8, first);
            frame(0x86dd, &[head, chain.to_vec()].concat())
        };
        let chain =
            [[43, 0, 0, 0, 0, 0, 0, 0], [51, 0, 0, 0, 0, 0, 0, 0], [59, 0, 0, 0, 0, 0, 0, 0]].concat();
        let layout = Layout::parse(&packet(0, &chain));
        let Net::Ipv6(ip) = layout.net else { panic!("{layout:?}") };
        assert_eq!(
            (ip.protocol, ip.transport_at, layout.transport, layout.stop),
            (59, 78, Transport::None, Stop::Whole)
        );
        let endless = [0, 0, 1, 4, 0, 0, 0, 0].repeat(MAX_EXTENSIONS + 1);
        assert!(matches!(Layout::parse(&packet(0, &endless)).stop, Stop::Invalid(Layer::Ipv6, _)));
        let mut cut = packet(0, &chain);
        cut.truncate(60);
        let layout = Layout::parse(&cut);
        assert_eq!((layout.stop, layout.five_tuple(&cut)), (Stop::Cut(Layer::Ipv6), None));
        // An atomic fragment is none; a later one hides what it carries.
        let atomic = Layout::parse(&packet(44, &[59, 0, 0, 0, 0, 0, 0, 7]));
        assert_eq!((atomic.fragment(), atomic.stop), (None, Stop::Whole));
        let later = Layout::parse(&packet(44, &[60, 0, 0, 0x10, 0, 0, 0, 7]));
        assert_eq!(later.fragment(), Some(Fragment { offset: 16, more: false, id: 7 }));
        assert_eq!((later.transport, later.stop), (Transport::None, Stop::Whole));
    }

    #[test]
    fn packets_without_link_header_are_walked_from_zero() {
        let layout = Layout::parse_ip(&v4());
        assert_eq!(layout.transport, Transport::Tcp { at: 20, header_len: 24 });
        assert_eq!(Layout::parse_ip(&[]).stop, Stop::Cut(Layer::Ipv4));
        assert!(matches!(Layout::parse_ip(&[0x50]).stop, Stop::Invalid(Layer::Ipv4, _)));
    }

    #[test]
    fn arp_is_whole_by_its_own_lengths() {
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat();
        assert_eq!(Layout::parse(&frame(0x0806, &arp)).stop, Stop::Whole);
        assert_eq!(Layout::parse(&frame(0x0806, &arp[..27])).stop, Stop::Cut(Layer::Arp));
        assert_eq!(Layout::parse(&frame(0x0806, &arp[..7])).net, Net::Other { at: 14 });
    }
}
