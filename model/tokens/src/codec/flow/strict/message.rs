//! The strict rules of ICMP (RFC 792), ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), listener discovery (RFC 2710,
//! 3810) and IGMP (RFC 2236, 3376): legal messages, their lengths and their fields.
//!
//! Legal are messages that ordinary networks have and whose body completion can make: echoes, errors that quote TCP or
//! UDP, solicitations and advertisements, reports, queries and leaves. Not legal are redirects (their fields are an
//! address), packet-too-big and parameter problems (an MTU and a place in the quote), timestamp messages and version 1
//! reports.

use std::net::{IpAddr, Ipv4Addr};

use super::{HostClass, ICMP, ICMPV6, IGMP, Lengths, room};

/// What is known of an ICMP, ICMPv6 or IGMP packet before its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// 1, 2 or 58.
    pub(in super::super) protocol: u8,
    /// Sender of this packet, not of the flow.
    pub(in super::super) src: HostClass,
    /// Receiver of this packet.
    pub(in super::super) dst: HostClass,
    /// The flow has an identifier: it is an echo.
    pub(in super::super) echo: bool,
    /// The packet goes against the flow's initiator.
    pub(in super::super) back: bool,
    /// Whether there is a router alert before ICMPv6; `None` when the type decides.
    pub(in super::super) alert: Option<bool>,
}

const ERRORS_V4: [u16; 7] = [
    0x0300, // network unreachable
    0x0301, // host
    0x0303, // port
    0x0309, // prohibited: network, host, by filter
    0x030a, 0x030d, 0x0b00, // time exceeded in transit
];

// Errors come last, so that a shorter slice leaves them out.
const SOLICIT: u16 = 0x8700;
const ADVERTISE: u16 = 0x8800;
const ROUTER_SOLICIT: u16 = 0x8500;
const ROUTER_ADVERTISE: u16 = 0x8600;
const NEAR_V6: [u16; 8] = [ROUTER_ADVERTISE, SOLICIT, ADVERTISE, 0x0100, 0x0101, 0x0103, 0x0104, 0x0300];
const LISTENER: [u16; 4] = [0x8200, 0x8300, 0x8400, 0x8f00];
const TO_GROUP: [u16; 8] =
    [0x8200, 0x8300, 0x8400, 0x8f00, ROUTER_SOLICIT, ROUTER_ADVERTISE, SOLICIT, ADVERTISE];
const NAMELESS: [u16; 3] = [0x8f00, ROUTER_SOLICIT, SOLICIT];
/// Queries with the maximum response times that routers and switches use (tenths of a second), reports, leave.
const IGMP_KINDS: [u16; 5] = [0x1164, 0x110a, 0x2200, 0x1600, 0x1700];

/// Legal values of type and code (`type << 8 | code`). Empty if no message is legal. The masks of earlier fields
/// ([`may_pair`](super::may_pair), [`may_echo`]) prevent this case, with one exception: a router alert needs a
/// link-local sender or none.
///
/// Echo requests go forward and replies backward. Errors need two hosts of one scope. Discovery messages are legal
/// between hosts; a router advertisement needs a link-local sender (RFC 4861 section 6.1.2). Listener messages go to
/// groups, from a link-local address or `::` (RFC 3810 section 5). A host without an address only solicits and reports.
pub(in super::super) fn kinds(place: &Place) -> &'static [u16] {
    use HostClass::{LinkLocalV6, MulticastV6, OtherV6, Zero};
    match (place.protocol, place.echo, place.back) {
        (ICMP, true, false) => &[0x0800],
        (ICMP, true, true) => &[0x0000],
        (ICMPV6, true, _) if !may_echo(place.protocol, place.src, place.dst) => &[],
        (ICMPV6, true, false) => &[0x8000],
        (ICMPV6, true, true) => &[0x8100],
        (ICMP, false, _) => &ERRORS_V4,
        (IGMP, _, _) if place.src == Zero => &IGMP_KINDS[..3],
        (IGMP, _, _) => &IGMP_KINDS,
        (ICMPV6, false, _) => {
            let local = place.src == LinkLocalV6;
            match (place.src, place.dst, place.alert) {
                (OtherV6, MulticastV6, Some(true)) => &NAMELESS[..1],
                (OtherV6, MulticastV6, Some(false)) => &NAMELESS[1..],
                (OtherV6, MulticastV6, None) => &NAMELESS,
                (_, MulticastV6, Some(true)) if local => &LISTENER,
                (_, MulticastV6, Some(false)) if local => &TO_GROUP[4..],
                (_, MulticastV6, None) if local => &TO_GROUP,
                (_, MulticastV6, Some(false) | None) => &TO_GROUP[6..],
                (OtherV6, _, _) | (_, _, Some(true)) => &[],
                // Errors are legal too, between two link-local hosts or between two others.
                (_, LinkLocalV6, _) if local => &NEAR_V6,
                (_, dst, _) if local || dst == LinkLocalV6 => &NEAR_V6[1..3],
                _ => &NEAR_V6[1..],
            }
        }
        _ => &[],
    }
}

/// Whether hosts of these classes may exchange echoes: they need one scope.
pub(in super::super) fn may_echo(protocol: u8, src: HostClass, dst: HostClass) -> bool {
    let scopes = (src == HostClass::LinkLocalV6) == (dst == HostClass::LinkLocalV6);
    matches!(protocol, ICMP | ICMPV6) && src.may_send() && dst.may_send() && scopes
}

/// Whether a router alert stands before an ICMPv6 message. Only listener messages have one (RFC 3810 section 5).
pub(in super::super) fn needs_alert(protocol: u8, kind: u16) -> bool {
    protocol == ICMPV6 && matches!(kind >> 8, 130..=132 | 143)
}

/// Lengths of what follows the first eight bytes of a message.
///
/// | message | behind the first eight bytes |
/// |---|---|
/// | echo | any |
/// | ICMP error | IP header and 8 bytes, to the 576 bytes that every host takes (RFC 1812 section 4.3.2.3) |
/// | ICMPv6 error | the same with IPv6, to 1,280 (RFC 4443 section 2.4) |
/// | router solicitation | the sender's link-layer address, if it has an IP address, or nothing |
/// | router advertisement | 8 bytes and up to 56 of options: more than repair keeps would be cut |
/// | neighbour solicitation | 16 of target; the link-layer address must follow to a group, cannot from `::` |
/// | neighbour advertisement | 16 of target, the link-layer address; must to a group |
/// | listener query, report, done | 16 of group; a query of version 2 has 4 more |
/// | listener report, version 2 | 1 to 8 records of 20 without sources |
/// | IGMP query | nothing, or 4 in version 3 |
/// | IGMP report, leave, version 2 | nothing |
/// | IGMP report, version 3 | 1 to 16 records of 8 without sources |
pub(in super::super) fn message_lengths(place: &Place, kind: u16) -> Lengths {
    let (nameless, to_group) = (place.src == HostClass::OtherV6, place.dst.is_group());
    match (place.protocol, kind >> 8) {
        (ICMP, 0 | 8) => Lengths::new(0, (room(false) - 8) as u16, 1),
        (ICMPV6, 128 | 129) => Lengths::new(0, (room(true) - 8) as u16, 1),
        (ICMP, _) => Lengths::new(20 + 8, 576 - 20 - 8, 1),
        (ICMPV6, 0..128) => Lengths::new(40 + 8, 1280 - 40 - 8, 1),
        (ICMPV6, 133) if nameless => Lengths::only(0),
        (ICMPV6, 133) => Lengths::new(0, 8, 8),
        (ICMPV6, 134) => Lengths::new(8, 64, 8),
        (ICMPV6, 135) if nameless => Lengths::only(16),
        (ICMPV6, 135 | 136) if to_group => Lengths::only(24),
        (ICMPV6, 135 | 136) => Lengths::new(16, 24, 8),
        (ICMPV6, 130) => Lengths::new(16, 20, 4),
        (ICMPV6, 143) => Lengths::new(20, 160, 20),
        (ICMPV6, _) => Lengths::only(16),
        (IGMP, 0x11) => Lengths::new(0, 4, 4),
        (IGMP, 0x22) => Lengths::new(8, 128, 8),
        _ => Lengths::only(0),
    }
}

/// The two words behind the checksum. The rest of the packet determines them. `None` in an echo, where they are
/// identifier and sequence number.
///
/// They are zeros in errors, solicitations and queries (the length of RFC 4884 would announce an extension); the number
/// of records in a report, or the group in a report of IGMP version 2; hop limit 64 and half an hour in a router
/// advertisement; flags in a neighbour advertisement, without "solicited" if it goes to a group; and ten seconds in a
/// listener query.
pub(in super::super) fn words(protocol: u8, kind: u16, dst: IpAddr, payload_len: u32) -> Option<(u16, u16)> {
    const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
    let group = match dst {
        // A leave message goes to all routers. It names another group than the one that it goes to.
        IpAddr::V4(v4) if v4 != ALL_ROUTERS || kind == 0x1600 => v4,
        _ => Ipv4Addr::new(224, 0, 0, 251),
    };
    let [a, b, c, d] = group.octets();
    Some(match (protocol, kind >> 8) {
        (ICMP, 0 | 8) | (ICMPV6, 128 | 129) => return None,
        (ICMPV6, 130) => (10_000, 0),
        (ICMPV6, 134) => (64 << 8, 1_800),
        (ICMPV6, 136) if dst.is_multicast() => (0x2000, 0),
        (ICMPV6, 136) => (0x6000, 0),
        (ICMPV6, 143) => (0, (payload_len / 20) as u16),
        (IGMP, 0x16 | 0x17) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
        (IGMP, 0x22) => (0, (payload_len / 8) as u16),
        _ => (0, 0),
    })
}

/// The four bytes behind the first eight of an IGMP query or report of version 3. Those of the record stay if they are
/// legal: in a report the type of a record, no auxiliary data and no sources; in a query robustness, interval and no
/// sources. Otherwise they are replaced.
///
/// The replacement is the type "change to exclude", by which hosts join, or robustness 2 and an interval of 125 seconds
/// (RFC 3376 section 8).
pub(in super::super) fn window(kind: u16, told: &[u8]) -> [u8; 4] {
    match *told {
        [robustness @ 0..16, interval, 0, 0] if kind >> 8 == 0x11 => [robustness, interval, 0, 0],
        [state @ 1..=4, 0, 0, 0] if kind >> 8 == 0x22 => [state, 0, 0, 0],
        _ if kind >> 8 == 0x11 => [2, 125, 0, 0],
        _ => [4, 0, 0, 0],
    }
}
