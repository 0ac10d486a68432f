//! The walk behind [`Layout::parse`].
//!
//! Own code and not etherparse's `LaxSlicedPacket`, because callers change frames in place and so need
//! offsets, which its slices do not give, and because it does not say how far a cut header goes.

use super::{
    ETHERNET_LEN, Fragment, Ipv4Layout, Ipv6Layout, Layer, Layout, Net, Stop, TAG_LEN, Tag, Tags, Transport,
    ethertype, protocol,
};
use crate::bytes::{be16, be32};

/// How many IPv6 extension headers are walked. RFC 8200 section 4.1 has at most six in order; a longer chain
/// than this is an attack or noise, and the walk must be bounded by more than the frame's length.
const MAX_EXTENSIONS: usize = 16;

pub(super) fn walk(frame: &[u8]) -> Layout {
    let mut layout = Layout {
        tags: Tags::default(),
        ethertype: 0,
        net: Net::None,
        transport: Transport::None,
        stop: Stop::Whole,
    };
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
        let is_tag = matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD);
        if !is_tag || layout.tags.len() == Tags::MAX {
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
    match layout.ethertype {
        ethertype::ARP => arp(frame, at, &mut layout),
        ethertype::IPV4 => ipv4(frame, at, &mut layout),
        ethertype::IPV6 => ipv6(frame, at, &mut layout),
        _ => layout.net = Net::Other { at },
    }
    layout
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
        let upper = Upper { at: at + header_len, end: at + total_len, number: head[9], fragment: more };
        upper.walk(frame, layout);
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
    let mut ip = Ipv6Layout { at, payload_len, upper: head[6], upper_at: at + 40, fragment: None };
    layout.stop = chain(frame, end, &mut ip);
    layout.net = Net::Ipv6(ip);
    let first = ip.fragment.is_none_or(|f| f.offset == 0);
    if layout.stop == Stop::Whole && first && ip.upper != protocol::NO_NEXT {
        let upper =
            Upper { at: ip.upper_at, end, number: ip.upper, fragment: ip.fragment.is_some_and(|f| f.more) };
        upper.walk(frame, layout);
    }
}

/// Follows the extension headers from `ip.upper` on, leaving in `ip` what follows the last whole one.
fn chain(frame: &[u8], end: usize, ip: &mut Ipv6Layout) -> Stop {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(ip.upper) {
            return Stop::Whole;
        }
        let at = ip.upper_at;
        if at + 8 > end {
            return Stop::Invalid(Layer::Ipv6, "extension header beyond the payload length");
        }
        let Some(head) = frame.get(at..at + 8) else {
            return Stop::Cut(Layer::Ipv6);
        };
        let len = extension_len(ip.upper, head[1]);
        if at + len > end {
            return Stop::Invalid(Layer::Ipv6, "extension header beyond the payload length");
        }
        if at + len > frame.len() {
            return Stop::Cut(Layer::Ipv6);
        }
        if ip.upper == protocol::FRAGMENT {
            let word = u16::from_be_bytes([head[2], head[3]]);
            let (offset, more) = (usize::from(word & 0xfff8), word & 1 == 1);
            if more || offset > 0 {
                ip.fragment = Some(Fragment { offset, more, id: be32(head, 4).unwrap_or_default() });
            }
        }
        ip.upper = head[0];
        ip.upper_at = at + len;
        // What follows in a later fragment is not a header.
        if ip.fragment.is_some_and(|f| f.offset > 0) {
            return Stop::Whole;
        }
    }
    if is_extension(ip.upper) {
        return Stop::Invalid(Layer::Ipv6, "more extension headers than are followed");
    }
    Stop::Whole
}

/// Whether `number` names an IPv6 extension header with a length that can be skipped. ESP is not one: what it
/// holds is encrypted.
pub(crate) fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}

/// Bytes of an extension header with the given length field: units of 8 beyond the first 8 (RFC 8200), of 4
/// beyond the first 8 for authentication (RFC 4302), and always 8 for fragments.
pub(crate) fn extension_len(number: u8, field: u8) -> usize {
    match number {
        protocol::FRAGMENT => 8,
        protocol::AUTHENTICATION => (usize::from(field) + 2) * 4,
        _ => (usize::from(field) + 1) * 8,
    }
}

/// What follows the IP headers, up to `end` by the IP length.
struct Upper {
    at: usize,
    end: usize,
    number: u8,
    /// A first fragment: lengths inside speak of the whole datagram.
    fragment: bool,
}

impl Upper {
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
