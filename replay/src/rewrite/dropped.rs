//! Why a packet of a session gives no frame. Dropping is normal life, counted by reason, not an error.

use std::fmt;

use netssm_wire::frame::Stop;

/// Why a packet of a session gives no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dropped {
    /// The header bytes do not hold whole, well-formed headers.
    Headers(Stop),
    /// Lengths in the headers and the frame's length contradict each other; the text says which.
    Length(&'static str),
    /// Neither IP nor ARP for IPv4 over Ethernet: nothing proves that it holds no address. The ethertype.
    NotIp(u16),
    /// An IP protocol that is not rewritten (only TCP, UDP, ICMP, ICMPv6 and IGMP are). Its number.
    Protocol(u8),
    /// An ICMP or ICMPv6 type whose body is not known. The type.
    IcmpType(u8),
    /// An IPv6 routing header, which lists addresses of hosts on the way.
    SourceRoute,
    /// From or to a loopback address, which no wire carries.
    Loopback,
    /// Group or link-scope traffic, and the plan drops it.
    Group,
    /// A sender or receiver that no host can be: a group as source, 0.0.0.0 as destination.
    Address,
    /// The plan has no prefix of this address family for the host's side.
    NoPrefix,
}

impl Dropped {
    /// Name of the reason, without details, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Dropped::Headers(_) => "headers",
            Dropped::Length(_) => "length",
            Dropped::NotIp(_) => "not_ip",
            Dropped::Protocol(_) => "protocol",
            Dropped::IcmpType(_) => "icmp_type",
            Dropped::SourceRoute => "source_route",
            Dropped::Loopback => "loopback",
            Dropped::Group => "group",
            Dropped::Address => "address",
            Dropped::NoPrefix => "no_prefix",
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::Headers(stop) => write!(f, "{stop}"),
            Dropped::Length(what) => f.write_str(what),
            Dropped::NotIp(ethertype) => write!(f, "ethertype {ethertype:#06x} is not rewritten"),
            Dropped::Protocol(number) => write!(f, "ip protocol {number} is not rewritten"),
            Dropped::IcmpType(kind) => write!(f, "icmp type {kind} is not rewritten"),
            Dropped::SourceRoute => f.write_str("ipv6 routing header"),
            Dropped::Loopback => f.write_str("loopback address"),
            Dropped::Group => f.write_str("group or link-scope traffic, dropped by the plan"),
            Dropped::Address => f.write_str("an address that is no host's"),
            Dropped::NoPrefix => f.write_str("the plan has no prefix of this family for the host's side"),
        }
    }
}
