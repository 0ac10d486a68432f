//! Why a plan cannot be used and why a session cannot be begun.

use std::net::IpAddr;

use ipnet::IpNet;
use netssm_wire::MacAddr;

use super::Side;

/// Why an [`AddressPlan`](super::AddressPlan) cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A side has no prefix at all.
    #[error("no {side} prefix: give at least one, for example 10.10.0.0/16")]
    NoPrefix {
        /// The side.
        side: Side,
    },
    /// A prefix holds too few hosts.
    #[error("{side} prefix {prefix} is too small: the longest that can be used is /{longest}")]
    TooSmall {
        /// The side that it is listed for.
        side: Side,
        /// The prefix.
        prefix: IpNet,
        /// Longest prefix length accepted for its family.
        longest: u8,
    },
    /// Bits right of the prefix length are set.
    #[error("{side} prefix {prefix} has host bits set: expected {network}")]
    HostBits {
        /// The side that it is listed for.
        side: Side,
        /// The prefix as given.
        prefix: IpNet,
        /// The prefix without these bits.
        network: IpNet,
    },
    /// A prefix that no unicast host may use.
    #[error("{side} prefix {prefix} holds {what} addresses, which no host can be given")]
    Reserved {
        /// The side that it is listed for.
        side: Side,
        /// The prefix.
        prefix: IpNet,
        /// What the range is for.
        what: &'static str,
    },
    /// Two prefixes share addresses, so that hosts could not be told apart.
    #[error("{side} prefix {prefix} overlaps {other_side} prefix {other}")]
    Overlap {
        /// Side of the later one.
        side: Side,
        /// The later one.
        prefix: IpNet,
        /// Side of the earlier one.
        other_side: Side,
        /// The earlier one.
        other: IpNet,
    },
    /// A fixed Ethernet address that a frame cannot come from.
    #[error("{side} mac {mac} is not a unicast address")]
    Mac {
        /// The side.
        side: Side,
        /// The address.
        mac: MacAddr,
    },
    /// A VLAN identifier out of range.
    #[error("vlan {id} is out of range: expected 1 to 4094")]
    Vlan {
        /// The number given.
        id: u16,
    },
}

/// Why a session could not be begun. The session is untouched, and nothing stays leased.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The plan has too few free addresses for one more session.
    #[error(
        "{side} prefixes have {free} free addresses for the {wanted} hosts of the session ({in_use} are leased to running sessions)"
    )]
    AddressesExhausted {
        /// The side that lacks addresses.
        side: Side,
        /// Addresses that the session asks for, of one family.
        wanted: u64,
        /// Addresses free.
        free: u64,
        /// Addresses leased to sessions that still run.
        in_use: u64,
    },
    /// No interface identifier could be found that is free for every host that shares it.
    #[error("no free ipv6 interface identifier for the {hosts} hosts that share one, after {tries} tries")]
    IdentifiersExhausted {
        /// Hosts that share the low bits.
        hosts: usize,
        /// Candidates tried.
        tries: u32,
    },
    /// A host uses more ephemeral ports than there are.
    #[error("host {host} uses more ports than the {available} that can be given for protocol {protocol}")]
    PortsExhausted {
        /// The host, by its new address.
        host: IpAddr,
        /// IP protocol number.
        protocol: u8,
        /// Ports that can be given.
        available: usize,
    },
}
