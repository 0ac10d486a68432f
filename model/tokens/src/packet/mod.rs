//! What codecs, the canonical form and repair share: a captured frame, a written packet, and facts about their headers.
//!
//! This is the lowest module of the crate. It knows nothing of tokens.

pub(crate) mod shape;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::time::Duration;

use netssm_wire::capture::Record;

/// Longest header, in bytes, that any codec emits or a decoder keeps: 14 Ethernet + 8 tags + 40 IPv6 + 24 hop-by-hop +
/// 72 of ICMPv6 is 158, 14 + 8 + 60 + 60 of IPv4 and TCP is 142; the rest is room for fixed widths.
pub const MAX_HEADER_BYTES: usize = 256;

/// A captured frame in Ethernet form, as an encoder takes it.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    /// Nanoseconds since the epoch. The bytes codec has no time; a codec with time does.
    pub time_ns: i64,
    /// Length on the wire, bytes.
    pub wire_len: u32,
    /// The captured bytes, at most `wire_len` of them.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a Record> for FrameRef<'a> {
    fn from(record: &'a Record) -> Self {
        Self { time_ns: record.time_ns, wire_len: record.wire_len, bytes: &record.frame }
    }
}

/// A packet as the model wrote it. Nothing in its header bytes is checked yet: `repair` makes the packet legal or drops
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawPacket {
    /// Frame prefix from the destination MAC on; with a fixed width it may end in zero padding.
    pub header: Vec<u8>,
    /// Length of the whole frame in bytes, where the codec carries it besides the length in the IP header: a short
    /// frame may be padded. `None`: the length follows from the headers.
    pub wire_len: Option<u32>,
    /// Time since the previous packet, where the codec carries time.
    pub gap: Option<Duration>,
}

impl RawPacket {
    /// A packet of a codec that carries neither frame lengths nor time.
    pub fn new(header: Vec<u8>) -> Self {
        Self { header, wire_len: None, gap: None }
    }
}

/// Why an encoder refused a frame. The session goes on with the next one; callers count these by [`Skip::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Skip {
    /// Neither IPv4, IPv6 nor ARP (LLC, EAPOL, LLDP, PPPoE, more than two VLAN tags ...).
    Ethertype,
    /// ARP for something other than IPv4 over Ethernet.
    ArpKind,
    /// An IP protocol other than TCP, UDP, ICMP, ICMPv6 and IGMP.
    Protocol,
    /// An IPv6 extension header other than a short hop-by-hop header.
    Extension,
    /// A fragment without a transport header.
    Fragment,
    /// Header fields that contradict each other.
    Malformed,
    /// The capture length cut a header that the canonical form needs whole.
    Cut,
    /// The canonical form ran out of addresses.
    Hosts,
    /// The header is longer than the codec carries.
    TooLong,
    /// The strict mask does not allow it, so a model must not learn it. Most such packets are of connections whose SYN
    /// was not captured.
    Unwritable,
}

impl Skip {
    /// A short name for reports and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ethertype => "ethertype",
            Self::ArpKind => "arp-kind",
            Self::Protocol => "ip-protocol",
            Self::Extension => "ipv6-extension",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::Cut => "cut",
            Self::Hosts => "too-many-hosts",
            Self::TooLong => "header-too-long",
            Self::Unwritable => "not-for-a-generator",
        }
    }
}
