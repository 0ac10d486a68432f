//! Why a packet of a session gives no frame. Such packets are counted by reason; they are no error.

use std::fmt;

use netssm_wire::frame::Stop;

use crate::drop_reason::DropReason;

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
    /// The reason without details, as it is counted.
    pub fn reason(&self) -> DropReason {
        match self {
            Dropped::Headers(_) => DropReason::Headers,
            Dropped::Length(_) => DropReason::Length,
            Dropped::NotIp(_) => DropReason::NotIp,
            Dropped::Protocol(_) => DropReason::UnknownProtocol,
            Dropped::IcmpType(_) => DropReason::IcmpType,
            Dropped::SourceRoute => DropReason::SourceRoute,
            Dropped::Loopback => DropReason::Loopback,
            Dropped::Group => DropReason::Group,
            Dropped::Address => DropReason::NoHost,
            Dropped::NoPrefix => DropReason::NoPrefix,
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
