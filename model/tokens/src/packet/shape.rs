//! How far the headers of a frame reach, found from as few leading bytes as possible.
//!
//! The encoder asks this walk how many bytes of a captured frame to write. The decoder asks it, token by token, whether
//! the header so far is whole. Both use the same code, so they cannot disagree. [`netssm_wire::frame::Layout`] walks
//! *complete* frames. This walk differs in two ways: it says how many more bytes it needs, and it refuses what the
//! codecs do not carry.
//!
//! Contract: never panics, never reads past the slice, at most two VLAN tags and one extension header deep.

use netssm_wire::bytes::be16;
use netssm_wire::frame::{ethertype, protocol};
use netssm_wire::ports::is_dns;

use super::{MAX_HEADER_BYTES, Skip};

// --- Where fields are ------------------------------------------------------------------------------------------------

/// Ethernet II: two addresses, then the type.
pub(crate) const ETHERTYPE_AT: usize = 12;
pub(crate) const ETHERNET_BYTES: usize = 14;
pub(crate) const TAG_BYTES: usize = 4;
/// RFC 826 for IPv4 over Ethernet: types, lengths, operation, two address pairs.
pub(crate) const ARP_BYTES: usize = 28;
pub(crate) const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
pub(crate) const IPV4_BYTES: usize = 20;
pub(crate) const IPV6_BYTES: usize = 40;
pub(crate) const TCP_BYTES: usize = 20;
pub(crate) const UDP_BYTES: usize = 8;
pub(crate) const ICMP_BYTES: usize = 8;

/// Extension headers other than hop-by-hop. ESP is one of them; what follows it is encrypted.
const IPV6_EXTENSIONS: [u8; 8] = [
    protocol::ROUTING,
    protocol::FRAGMENT,
    protocol::ESP,
    protocol::AUTHENTICATION,
    protocol::DESTINATION,
    protocol::MOBILITY,
    protocol::HIP,
    protocol::SHIM6,
];

/// NetSSM keeps this much of a UDP payload: the fixed header of DNS and RTP.
pub(crate) const UDP_PREFIX_BYTES: usize = 12;
/// Longest ICMPv6 or IGMP message kept: a neighbour advertisement with its option is 32 bytes, a listener report with
/// three records 68.
pub(crate) const MESSAGE_LIMIT_BYTES: usize = 72;
/// Longest hop-by-hop header carried; the one that matters (router alert of MLD) is 8 bytes.
const HOP_BY_HOP_LIMIT_BYTES: usize = 24;

/// Which network header a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    Arp,
    V4,
    V6,
}

/// What the network header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Arp,
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Igmp,
}

/// A walked header: every offset is from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) net: Net,
    pub(crate) net_at: usize,
    pub(crate) protocol: Protocol,
    /// Where the transport header (or ARP) starts.
    pub(crate) body_at: usize,
    /// Where the part that codecs carry ends.
    pub(crate) end: usize,
    /// Bytes from `body_at` to where the network header says that the packet ends.
    pub(crate) body_len: usize,
}

/// How far the header reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It ends at `Shape::end`, which may lie beyond the bytes given.
    Whole(Shape),
    /// Unknown until this many bytes are there. The number is always above the number given.
    More(usize),
    /// No codec carries such a frame.
    Foreign(Skip),
}

/// How much of a UDP payload belongs to the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpPrefix {
    /// Of every datagram, as NetSSM does.
    Always,
    /// Only where it is a DNS header.
    DnsOnly,
}

/// Result of a part of the walk. An early exit says that more bytes are needed, or that no codec carries the frame.
type Walk<T> = Result<T, Extent>;

fn need(bytes: &[u8], len: usize) -> Walk<()> {
    if bytes.len() < len { Err(Extent::More(len)) } else { Ok(()) }
}

fn foreign<T>(why: Skip) -> Walk<T> {
    Err(Extent::Foreign(why))
}

/// Walks the headers at the front of `bytes`.
pub(crate) fn extent(bytes: &[u8], prefix: UdpPrefix) -> Extent {
    match walk(bytes, prefix) {
        Ok(shape) if shape.end > MAX_HEADER_BYTES => Extent::Foreign(Skip::TooLong),
        Ok(shape) => Extent::Whole(shape),
        Err(other) => other,
    }
}

fn walk(bytes: &[u8], prefix: UdpPrefix) -> Walk<Shape> {
    need(bytes, ETHERNET_BYTES)?;
    let mut at = ETHERTYPE_AT;
    let mut ethertype = be16(bytes, at).unwrap_or_default();
    for _ in 0..2 {
        if ethertype::is_tag(ethertype) {
            at += TAG_BYTES;
            need(bytes, at + 2)?;
            ethertype = be16(bytes, at).unwrap_or_default();
        }
    }
    let net_at = at + 2;
    match ethertype {
        ethertype::ARP => arp(bytes, net_at),
        ethertype::IPV4 => ipv4(bytes, net_at, prefix),
        ethertype::IPV6 => ipv6(bytes, net_at, prefix),
        _ => foreign(Skip::Ethertype),
    }
}

fn arp(bytes: &[u8], net_at: usize) -> Walk<Shape> {
    need(bytes, net_at + ARP_KIND.len())?;
    if bytes[net_at..net_at + ARP_KIND.len()] != ARP_KIND {
        return foreign(Skip::ArpKind);
    }
    let end = net_at + ARP_BYTES;
    Ok(Shape { net: Net::Arp, net_at, protocol: Protocol::Arp, body_at: net_at, end, body_len: ARP_BYTES })
}

fn ipv4(bytes: &[u8], net_at: usize, prefix: UdpPrefix) -> Walk<Shape> {
    need(bytes, net_at + 1)?;
    let header_len = usize::from(bytes[net_at] & 0x0f) * 4;
    if bytes[net_at] >> 4 != 4 || header_len < IPV4_BYTES {
        return foreign(Skip::Malformed);
    }
    need(bytes, net_at + 10)?;
    if be16(bytes, net_at + 6).unwrap_or_default() & 0x1fff != 0 {
        return foreign(Skip::Fragment);
    }
    let total_len = usize::from(be16(bytes, net_at + 2).unwrap_or_default());
    let Some(body_len) = total_len.checked_sub(header_len) else {
        return foreign(Skip::Malformed);
    };
    let body_at = net_at + header_len;
    let protocol = match bytes[net_at + 9] {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        protocol::ICMP => Protocol::Icmp,
        protocol::IGMP => Protocol::Igmp,
        _ => return foreign(Skip::Protocol),
    };
    transport(bytes, Shape { net: Net::V4, net_at, protocol, body_at, end: body_at, body_len }, prefix)
}

fn ipv6(bytes: &[u8], net_at: usize, prefix: UdpPrefix) -> Walk<Shape> {
    need(bytes, net_at + 7)?;
    if bytes[net_at] >> 4 != 6 {
        return foreign(Skip::Malformed);
    }
    let mut body_len = usize::from(be16(bytes, net_at + 4).unwrap_or_default());
    let mut next = bytes[net_at + 6];
    let mut body_at = net_at + IPV6_BYTES;
    if next == protocol::HOP_BY_HOP {
        need(bytes, body_at + 2)?;
        let len = (usize::from(bytes[body_at + 1]) + 1) * 8;
        if len > HOP_BY_HOP_LIMIT_BYTES {
            return foreign(Skip::Extension);
        }
        next = bytes[body_at];
        body_at += len;
        body_len = match body_len.checked_sub(len) {
            Some(rest) => rest,
            None => return foreign(Skip::Malformed),
        };
    }
    let protocol = match next {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        protocol::ICMPV6 => Protocol::Icmpv6,
        protocol::HOP_BY_HOP => return foreign(Skip::Extension),
        extension if IPV6_EXTENSIONS.contains(&extension) => return foreign(Skip::Extension),
        _ => return foreign(Skip::Protocol),
    };
    transport(bytes, Shape { net: Net::V6, net_at, protocol, body_at, end: body_at, body_len }, prefix)
}

/// Finds `end` from the transport header at `shape.body_at`.
fn transport(bytes: &[u8], shape: Shape, prefix: UdpPrefix) -> Walk<Shape> {
    let at = shape.body_at;
    let len = match shape.protocol {
        Protocol::Arp => ARP_BYTES,
        Protocol::Tcp => {
            need(bytes, at + 13)?;
            let len = usize::from(bytes[at + 12] >> 4) * 4;
            if len < TCP_BYTES {
                return foreign(Skip::Malformed);
            }
            len
        }
        Protocol::Udp => {
            need(bytes, at + 4)?;
            let ports = (be16(bytes, at).unwrap_or_default(), be16(bytes, at + 2).unwrap_or_default());
            let kept = match prefix {
                UdpPrefix::Always => UDP_PREFIX_BYTES,
                UdpPrefix::DnsOnly if is_dns(ports.0, ports.1) => UDP_PREFIX_BYTES,
                UdpPrefix::DnsOnly => 0,
            };
            UDP_BYTES + kept.min(shape.body_len.saturating_sub(UDP_BYTES))
        }
        Protocol::Icmp => ICMP_BYTES,
        Protocol::Icmpv6 => {
            need(bytes, at + 1)?;
            // Errors quote a packet and echoes carry payload, so only their headers are kept. The other types are
            // neighbour and listener discovery, whose body is the message.
            if bytes[at] <= 129 { ICMP_BYTES } else { shape.body_len.clamp(ICMP_BYTES, MESSAGE_LIMIT_BYTES) }
        }
        Protocol::Igmp => shape.body_len.clamp(ICMP_BYTES, MESSAGE_LIMIT_BYTES),
    };
    if shape.body_len < len {
        return foreign(Skip::Malformed);
    }
    Ok(Shape { end: at + len, ..shape })
}
