//! The strict profile: the rules behind the mask of a generator.
//!
//! A packet that keeps these rules and was [completed](super::complete) needs no repair ([`crate::repair`]). No stage
//! drops it, and tshark and Suricata find it well formed. All rules are pure functions of what the grammar knows where
//! it asks.
//!
//! Strict packets are TCP, UDP, ICMP, ICMPv6, IGMP and ARP, without fragments. Rules about ICMP and IGMP are in
//! `message`. The grammar itself keeps most rules of TCP and ARP. For tests they are in `tcp` and `record` too;
//! `record` checks a whole record against all rules.

mod lengths;
mod message;
#[cfg(test)]
mod record;
mod tcp;

use std::net::{IpAddr, Ipv6Addr};

use netssm_wire::address_class::Block;
use netssm_wire::frame::protocol::{ICMP, ICMPV6, IGMP, TCP, UDP};
use netssm_wire::ports::{DHCP_CLIENT, DHCP_SERVER};
use netssm_wire::{MacAddr, ipv4};

pub(super) use self::{
    lengths::Lengths,
    message::{Place, kinds, message_lengths, needs_alert, window, words},
    tcp::options_ok,
};
#[cfg(test)]
pub(super) use self::{
    message::may_echo,
    record::{arp_ok, broken_rule},
    tcp::{options_room, tcp_lengths},
};
use super::{hosts::HostClass, record::Mac};
use crate::packet::udp::shortest_payload;

/// Largest IP packet: what Ethernet carries.
const PACKET_BYTES: u32 = 1500;
const DF: u16 = 0x4000;
/// RFC 2113.
const ROUTER_ALERT: [u8; 4] = [ipv4::ROUTER_ALERT, 4, 0, 0];

/// Bytes that fit behind the IP header. A router alert needs no room here, because it only precedes short messages.
pub(super) fn room(v6: bool) -> u32 {
    PACKET_BYTES - if v6 { 40 } else { 20 }
}

// --- Addresses ---------------------------------------------------------------------------------------------------------

/// Whether a packet may have this address. Drawn addresses pass; the capture of a prompt may hold others.
///
/// Not usable are loopback, which no wire carries, and 0.0.0.0/8 and 240.0.0.0/4 except their two special addresses. Of
/// the IPv6 addresses without a class only `::` is usable, because mapped and embedded IPv4 addresses never travel (RFC
/// 4942 section 2.2).
pub(super) fn usable(address: IpAddr) -> bool {
    match HostClass::of(address) {
        HostClass::Loopback => false,
        HostClass::Public => !matches!(Block::of(address), Block::ThisNetwork | Block::Reserved),
        HostClass::OtherV6 => address.is_unspecified(),
        _ => true,
    }
}

/// Whether a host of class `src` may send packets of a protocol to one of class `dst`. For a reply this must hold with
/// the two exchanged, so no group replies.
///
/// The grammar also requires that the addresses differ (RFC 6274 section 4.2, land attack) and that both are
/// [`usable`].
pub(super) fn may_pair(src: HostClass, dst: HostClass, protocol: u8) -> bool {
    use HostClass::{Broadcast, LinkLocal, LinkLocalV6, Multicast, MulticastV6, OtherV6, Public, Zero};
    if src.is_v4() != dst.is_v4() || matches!(src, HostClass::Loopback) || matches!(dst, HostClass::Loopback)
    {
        return false;
    }
    // Link-local addresses do not pass a router (RFC 3927 section 7, RFC 4291 section 2.5.6).
    let unicast = src.may_send()
        && dst.may_send()
        && !matches!((src, dst), (LinkLocal, Public) | (Public, LinkLocal))
        && (src == LinkLocalV6) == (dst == LinkLocalV6);
    match protocol {
        // TCP has no groups, and the rules allow no echo to a group.
        TCP | ICMP => unicast && (protocol == TCP || src.is_v4()),
        UDP => match dst {
            Multicast => src.may_send(),
            // A router does not let broadcasts in. A host without an address asks for one by broadcast (RFC 2131).
            Broadcast => src.may_send() && src != Public || src == Zero,
            MulticastV6 => src.may_send(),
            _ => unicast,
        },
        // A host joins groups before it has an address.
        IGMP => dst == Multicast && (src.may_send() || src == Zero),
        ICMPV6 => match (src, dst) {
            (OtherV6, _) => dst == MulticastV6,
            (_, MulticastV6) => src.may_send() && !src.is_v4(),
            // Neighbour discovery may cross scopes; `kinds` allows no other message there.
            _ => !src.is_v4() && src.may_send() && dst.may_send(),
        },
        _ => false,
    }
}

/// The Ethernet address that belongs to a group; `None` for a host.
pub(super) fn group_mac(dst: IpAddr) -> Option<Mac> {
    MacAddr::of_group(dst).map(|mac| mac.0)
}

// --- Header fields -----------------------------------------------------------------------------------------------------

/// Whether a fragment field has at most the flag "don't fragment". Fragments would depend on each other.
pub(super) fn fragment_ok(fragment: u16) -> bool {
    fragment & !DF == 0
}

/// Lowest and highest TTL or hop limit of a packet; `kind` is that of an ICMP, ICMPv6 or IGMP message, else 0.
///
/// A 255 proves that a neighbour sent a discovery message (RFC 4861 section 7.1); 1 keeps group messages on the link
/// (RFC 3376 section 4, RFC 3810 section 5).
pub(super) fn ttls(protocol: u8, kind: u16) -> (u8, u8) {
    match (protocol, kind >> 8) {
        (IGMP, _) | (ICMPV6, 130..=132 | 143) => (1, 1),
        (ICMPV6, 133..=137) => (255, 255),
        _ => (1, 255),
    }
}

/// IPv4 options: a router alert in IGMP (RFC 2236 section 2), none elsewhere.
pub(super) fn ip_options_ok(protocol: u8, options: &[u8]) -> bool {
    options.is_empty() || protocol == IGMP && *options == ROUTER_ALERT
}

// --- UDP ---------------------------------------------------------------------------------------------------------------

/// Payload lengths of a datagram between two ports.
pub(super) fn udp_lengths(v6: bool, ports: (u16, u16)) -> Lengths {
    Lengths::new(shortest_payload(ports) as u16, (room(v6) - 8) as u16, 1)
}

/// Whether a packet may have these ports. Port 0 is not legal, and a host without an address only speaks DHCP.
pub(super) fn ports_ok(src: HostClass, ports: (u16, u16)) -> bool {
    ports.0 != 0 && ports.1 != 0 && (src != HostClass::Zero || ports == (DHCP_CLIENT, DHCP_SERVER))
}

/// ff02::1:ff00:0/104 with the low three bytes of an address (RFC 4291 section 2.7.1).
pub(super) fn solicited_node(host: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = host.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
}
