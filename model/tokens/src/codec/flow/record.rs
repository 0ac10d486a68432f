//! What the codec keeps of a captured frame: the *record*.
//!
//! A record has the time in microseconds, the length on the wire, and header bytes. These are Ethernet with up to two
//! 802.1Q tags; IPv4 with options, or IPv6 with at most a hop-by-hop header that is a router alert; TCP with options;
//! UDP, another IP protocol or a fragment with up to 12 bytes of payload; 8 bytes of ICMP and ICMPv6; 12 bytes of IGMP;
//! ARP for IPv4 over Ethernet; and 64 bytes of other link protocols and of frames that contradict themselves. Bytes
//! that the capture length cut are missing in the record too.
//!
//! [`Record::parse`] and [`Record::emit`] are inverse on those bytes.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use netssm_wire::bytes;
use netssm_wire::frame::ethertype;

use super::transport::Transport;

/// Bytes of payload that a record keeps behind UDP and unknown headers.
pub const WINDOW_BYTES: usize = 12;
/// Bytes that a record keeps of a frame that fits no other form.
pub const RAW_BYTES: usize = 64;
pub(super) const ETHERNET_BYTES: usize = 14;
/// A router alert in an IPv6 hop-by-hop header (RFC 2711), before ICMPv6, padded to eight bytes.
pub(super) const ROUTER_ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// An Ethernet address.
pub type Mac = [u8; 6];
/// Tag control informations, outer first.
pub type Tags = ArrayVec<u16, 2>;

/// One packet as the codec keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Microseconds since the epoch, or since the start of a generated session.
    pub time_us: i64,
    /// Bytes of the frame on the wire, without check sequence.
    pub wire_len: u32,
    /// The headers.
    pub frame: Frame,
}

/// The headers of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// IPv4 or IPv6.
    Ip(IpFrame),
    /// ARP for IPv4 over Ethernet.
    Arp(ArpFrame),
    /// Another link protocol: LLC, EAPOL, LLDP, PPPoE ...
    Link(LinkFrame),
    /// The first bytes of a frame that fits no other form.
    Raw(ArrayVec<u8, RAW_BYTES>),
}

/// Ethernet addresses and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ether {
    /// Destination.
    pub dst: Mac,
    /// Source.
    pub src: Mac,
    /// 802.1Q tags.
    pub tags: Tags,
}

impl Ether {
    /// Bytes of the header.
    pub fn header_len(&self) -> usize {
        ETHERNET_BYTES + 4 * self.tags.len()
    }
}

/// An IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFrame {
    /// Link header.
    pub ether: Ether,
    /// Source.
    pub src: IpAddr,
    /// Destination; of the same version.
    pub dst: IpAddr,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// IPv4 identification.
    pub id: u16,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// IPv4 header checksum.
    pub checksum: u16,
    /// IPv4 options.
    pub options: ArrayVec<u8, 40>,
    /// IPv6 flow label.
    pub label: u32,
    /// IPv6: a hop-by-hop header with a router alert stands before the transport header.
    pub alert: bool,
    /// Transport header.
    pub transport: Transport,
    /// Bytes behind the transport header, as the length fields say.
    pub payload_len: u32,
    /// Header and window bytes that the capture lacks at the end.
    pub missing: u8,
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpFrame {
    /// Link header.
    pub ether: Ether,
    /// 1 request, 2 reply.
    pub op: u16,
    /// Sender hardware address.
    pub sha: Mac,
    /// Sender protocol address.
    pub spa: [u8; 4],
    /// Target hardware address.
    pub tha: Mac,
    /// Target protocol address.
    pub tpa: [u8; 4],
}

/// A frame of another link protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFrame {
    /// Link header.
    pub ether: Ether,
    /// Ethertype, or 0 for LLC, where the field is a length.
    pub kind: u16,
    /// LLC: the length field. Otherwise the bytes on the wire behind the type.
    pub payload_len: u32,
    /// The bytes behind type or length, up to [`RAW_BYTES`] of the frame.
    pub body: ArrayVec<u8, 50>,
}

// These readers give zero for a word that the capture length cut; those of wire give nothing.

pub(super) fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes::be16(bytes, at).unwrap_or_default()
}

pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}

pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes::array(bytes, at).unwrap_or([0; N])
}

/// The first bytes of a slice, as many as there is room for. This copies in one step; collecting an iterator would take
/// one step per byte.
pub(super) fn head<const N: usize>(bytes: &[u8]) -> ArrayVec<u8, N> {
    ArrayVec::try_from(&bytes[..bytes.len().min(N)]).unwrap_or_default()
}

impl Record {
    /// Reads a frame. What cannot be an IP, ARP or link frame becomes [`Frame::Raw`].
    pub fn parse(time_us: i64, wire_len: u32, bytes: &[u8]) -> Record {
        let frame = parse_frame(bytes, wire_len).unwrap_or_else(|| Frame::Raw(head(bytes)));
        Record { time_us, wire_len, frame }
    }

    /// Appends the record's bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match &self.frame {
            Frame::Ip(ip) => ip.emit(out),
            Frame::Arp(arp) => arp.emit(out),
            Frame::Link(link) => link.emit(out),
            Frame::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn parse_frame(bytes: &[u8], wire_len: u32) -> Option<Frame> {
    if bytes.len() < ETHERNET_BYTES {
        return None;
    }
    let mut ether = Ether { dst: bytes_at(bytes, 0), src: bytes_at(bytes, 6), tags: Tags::new() };
    let mut kind = be16(bytes, 12);
    while kind == ethertype::VLAN && !ether.tags.is_full() && bytes.len() >= ether.header_len() + 4 {
        let at = ether.header_len();
        ether.tags.push(be16(bytes, at));
        kind = be16(bytes, at + 2);
    }
    let at = ether.header_len();
    let rest = &bytes[at..];
    match kind {
        ethertype::ARP => ArpFrame::parse(ether, rest).map(Frame::Arp),
        ethertype::IPV4 => super::network::parse_v4(ether, rest).map(Frame::Ip),
        ethertype::IPV6 => super::network::parse_v6(ether, rest).map(Frame::Ip),
        _ => {
            if bytes.len().min(RAW_BYTES) > wire_len as usize {
                // A broken capture, or a fuzzer, may hold more bytes than were on the wire.
                return None;
            }
            let llc = kind < 1536;
            // No link has such a length; a fuzzer does. No literal can say it.
            let told = u16::try_from(wire_len.checked_sub(at as u32).unwrap_or(u32::MAX));
            let payload_len = if llc { u32::from(kind) } else { u32::from(told.ok()?) };
            let body = head(&rest[..rest.len().min(RAW_BYTES - at)]);
            Some(Frame::Link(LinkFrame { ether, kind: if llc { 0 } else { kind }, payload_len, body }))
        }
    }
}

fn emit_ether(ether: &Ether, kind: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&ether.dst);
    out.extend_from_slice(&ether.src);
    for tag in &ether.tags {
        out.extend_from_slice(&ethertype::VLAN.to_be_bytes());
        out.extend_from_slice(&tag.to_be_bytes());
    }
    out.extend_from_slice(&kind.to_be_bytes());
}

impl IpFrame {
    /// Whether it is IPv4.
    pub fn is_v4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// Bytes of IP, extension and transport headers.
    pub fn header_len(&self) -> usize {
        let network = if self.is_v4() { 20 + self.options.len() } else { 40 + 8 * usize::from(self.alert) };
        network + self.transport.header_len()
    }

    /// The length of the frame according to its IP header, in bytes.
    pub fn told_len(&self) -> u32 {
        (self.ether.header_len() + self.header_len()) as u32 + self.payload_len
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        emit_ether(&self.ether, if self.is_v4() { ethertype::IPV4 } else { ethertype::IPV6 }, out);
        super::network::emit(self, out);
        if matches!(self.transport, Transport::Tcp(_)) {
            // A decoded record has all its options, even if the capture cut them.
            out.truncate(start + self.ether.header_len() + self.header_len() - usize::from(self.missing));
        }
    }
}

impl ArpFrame {
    const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

    fn parse(ether: Ether, rest: &[u8]) -> Option<Self> {
        let op = be16(rest, 6);
        if rest.len() < 28 || !rest.starts_with(&Self::KIND) || !matches!(op, 1 | 2) {
            return None;
        }
        let (sha, spa) = (bytes_at(rest, 8), bytes_at(rest, 14));
        Some(Self { ether, op, sha, spa, tha: bytes_at(rest, 18), tpa: bytes_at(rest, 24) })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        emit_ether(&self.ether, ethertype::ARP, out);
        out.extend_from_slice(&Self::KIND);
        out.extend_from_slice(&self.op.to_be_bytes());
        out.extend_from_slice(&self.sha);
        out.extend_from_slice(&self.spa);
        out.extend_from_slice(&self.tha);
        out.extend_from_slice(&self.tpa);
    }
}

impl LinkFrame {
    fn emit(&self, out: &mut Vec<u8>) {
        let kind = if self.kind == 0 { self.payload_len as u16 } else { self.kind };
        emit_ether(&self.ether, kind, out);
        out.extend_from_slice(&self.body);
    }
}
