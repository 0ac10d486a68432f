//! Whole frames as values, header by header, with the packet that an ICMP error quotes.
//!
//! `FrameRepr::parse(bytes).emit()` gives back `bytes` for every input: each header is whole, or cut or
//! invalid with its bytes, and all else is payload or padding. The other way round, a frame built of whole
//! headers with agreeing lengths ([`IpPacket::set_lengths`]) parses to itself.
//!
//! The headers are etherparse's where these keep every bit. Its `PacketHeaders` is not used, because it keeps
//! nothing of a header that it cannot read, and one extension header of a kind.
//!
//! ```
//! use netssm_wire::packet::{FrameRepr, Upper};
//! let bytes = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0\0\x14cut";
//! let frame = FrameRepr::parse(bytes);
//! let ip = frame.ip().expect("the ethertype says so");
//! assert_eq!(ip.upper, Upper::None); // the IPv4 header is cut
//! assert_eq!(frame.emit(), bytes);
//! ```

use crate::frame::{ethertype, protocol};
use crate::header::{Header, Wire};
use crate::{arp, ethernet, icmp, ipv4, ipv6, tcp, udp};

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRepr {
    /// Ethernet header and tags.
    pub link: Header<ethernet::Repr>,
    /// What follows.
    pub body: Body,
}

/// What follows the ethertype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// ARP, and the padding after it. Boxed, because it has room for the longest addresses.
    Arp(Box<Header<arp::Repr>>, Vec<u8>),
    /// IPv4 or IPv6.
    Ip(Box<IpPacket>),
    /// Another ethertype, or nothing.
    Other(Vec<u8>),
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// IP header, for IPv6 with extension headers.
    pub header: IpHeader,
    /// Transport header.
    pub upper: Upper,
    /// What follows up to the end that the IP length gives.
    pub payload: Vec<u8>,
    /// What follows after that: Ethernet padding.
    pub padding: Vec<u8>,
}

/// The header of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpHeader {
    /// IPv4.
    V4(Header<ipv4::Repr>),
    /// IPv6.
    V6(Header<ipv6::Repr>),
}

/// The transport header of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// Not one of those below, a later fragment, or behind a header that is not whole.
    None,
    /// TCP.
    Tcp(Header<tcp::Repr>),
    /// UDP.
    Udp(Header<udp::Repr>),
    /// ICMP or ICMPv6.
    Icmp {
        /// The first 8 bytes.
        header: Header<icmp::Repr>,
        /// The packet that an error quotes; it is usually cut.
        quoted: Option<Box<IpPacket>>,
    },
}

impl FrameRepr {
    /// Reads a frame, whole or cut.
    pub fn parse(bytes: &[u8]) -> FrameRepr {
        let link = ethernet::Repr::parse(bytes);
        let rest = &bytes[link.emit_len()..];
        let body = match link.whole().map(ethernet::Repr::ethertype) {
            Some(ethertype::ARP) => {
                let packet = Header::parse(rest);
                let padding = rest[packet.emit_len()..].to_vec();
                Body::Arp(Box::new(packet), padding)
            }
            Some(ethertype::IPV4) => Body::Ip(Box::new(IpPacket::parse_v4(rest, true))),
            Some(ethertype::IPV6) => Body::Ip(Box::new(IpPacket::parse_v6(rest, true))),
            _ => Body::Other(rest.to_vec()),
        };
        FrameRepr { link, body }
    }

    /// The frame's bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.link.emit(&mut out);
        match &self.body {
            Body::Arp(packet, padding) => {
                packet.emit(&mut out);
                out.extend_from_slice(padding);
            }
            Body::Ip(packet) => packet.emit(&mut out),
            Body::Other(bytes) => out.extend_from_slice(bytes),
        }
        out
    }

    /// The IP packet, if the frame carries one.
    pub fn ip(&self) -> Option<&IpPacket> {
        match &self.body {
            Body::Ip(packet) => Some(packet),
            _ => None,
        }
    }

    /// The IP packet for changing.
    pub fn ip_mut(&mut self) -> Option<&mut IpPacket> {
        match &mut self.body {
            Body::Ip(packet) => Some(packet),
            _ => None,
        }
    }
}

impl IpPacket {
    /// A packet of the given headers and payload, its lengths set.
    pub fn new(header: IpHeader, upper: Upper, payload: Vec<u8>) -> IpPacket {
        let mut packet = IpPacket { header, upper, payload, padding: Vec::new() };
        packet.set_lengths();
        packet
    }

    fn parse_v4(bytes: &[u8], outer: bool) -> IpPacket {
        let header = ipv4::Repr::parse(bytes);
        let (number, first, len) = match header.whole() {
            Some(ip) => {
                let first = ip.header.fragment_offset.value() == 0;
                (ip.header.protocol.0, first, usize::from(ip.header.total_len))
            }
            None => (protocol::NO_NEXT, false, bytes.len()),
        };
        Self::parse_rest(IpHeader::V4(header), bytes, number, first, len, outer)
    }

    fn parse_v6(bytes: &[u8], outer: bool) -> IpPacket {
        let header = ipv6::Repr::parse(bytes);
        let (number, first, len) = match header.whole() {
            Some(ip) => {
                let first = ip.fragment().is_none_or(|f| f.fragment_offset.value() == 0);
                (ip.upper(), first, ipv6::View::LEN + usize::from(ip.header().payload_length))
            }
            None => (protocol::NO_NEXT, false, bytes.len()),
        };
        Self::parse_rest(IpHeader::V6(header), bytes, number, first, len, outer)
    }

    /// `number` and `len` are what the header says; only an `outer` packet is looked into for a quoted one,
    /// so the depth is bounded.
    fn parse_rest(
        header: IpHeader,
        bytes: &[u8],
        number: u8,
        first: bool,
        len: usize,
        outer: bool,
    ) -> IpPacket {
        let at = header.emit_len();
        // A length that ends inside the header is nonsense (0 from an offloading sender): then all is the
        // packet's.
        let end = if len < at { bytes.len() } else { len.min(bytes.len()) };
        let (rest, padding) = bytes[at..].split_at(end - at);
        let upper = match number {
            _ if !first => Upper::None,
            protocol::TCP => Upper::Tcp(Header::parse(rest)),
            protocol::UDP => Upper::Udp(Header::parse(rest)),
            protocol::ICMP => Upper::parse_icmp(icmp::Version::V4, rest, outer),
            protocol::ICMPV6 => Upper::parse_icmp(icmp::Version::V6, rest, outer),
            _ => Upper::None,
        };
        let payload = rest[upper.emit_len()..].to_vec();
        IpPacket { header, upper, payload, padding: padding.to_vec() }
    }

    /// Appends the packet's bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.header.emit(out);
        self.upper.emit(out);
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&self.padding);
    }

    /// How many bytes the packet has, padding included.
    pub fn emit_len(&self) -> usize {
        self.header.emit_len() + self.upper.emit_len() + self.payload.len() + self.padding.len()
    }

    /// Makes the length fields of IP and UDP say what is there. Lengths beyond 65,535 bytes saturate; headers
    /// that are not whole, and the quoted packet, which is meant to be cut, are left alone.
    pub fn set_lengths(&mut self) {
        let saturate = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let upper = self.upper.emit_len() + self.payload.len();
        if let Upper::Udp(Header::Whole(udp)) = &mut self.upper {
            udp.length = saturate(upper);
        }
        match &mut self.header {
            IpHeader::V4(Header::Whole(ip)) => ip.header.total_len = saturate(ip.emit_len() + upper),
            IpHeader::V6(Header::Whole(ip)) => {
                ip.header_mut().payload_length = saturate(ip.emit_len() - ipv6::View::LEN + upper);
            }
            _ => {}
        }
    }
}

impl IpHeader {
    fn emit(&self, out: &mut Vec<u8>) {
        match self {
            IpHeader::V4(header) => header.emit(out),
            IpHeader::V6(header) => header.emit(out),
        }
    }

    fn emit_len(&self) -> usize {
        match self {
            IpHeader::V4(header) => header.emit_len(),
            IpHeader::V6(header) => header.emit_len(),
        }
    }
}

impl Upper {
    fn parse_icmp(version: icmp::Version, message: &[u8], outer: bool) -> Upper {
        let quoted = icmp::quoted(version, message).filter(|_| outer).map(|range| {
            let packet = &message[range];
            Box::new(match version {
                icmp::Version::V4 => IpPacket::parse_v4(packet, false),
                icmp::Version::V6 => IpPacket::parse_v6(packet, false),
            })
        });
        Upper::Icmp { header: Header::parse(message), quoted }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Upper::None => {}
            Upper::Tcp(header) => header.emit(out),
            Upper::Udp(header) => header.emit(out),
            Upper::Icmp { header, quoted } => {
                header.emit(out);
                if let Some(packet) = quoted {
                    packet.emit(out);
                }
            }
        }
    }

    fn emit_len(&self) -> usize {
        match self {
            Upper::None => 0,
            Upper::Tcp(header) => header.emit_len(),
            Upper::Udp(header) => header.emit_len(),
            Upper::Icmp { header, quoted } => {
                header.emit_len() + quoted.as_ref().map_or(0, |packet| packet.emit_len())
            }
        }
    }
}
