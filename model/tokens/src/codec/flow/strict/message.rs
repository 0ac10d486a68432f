//! ICMP (RFC 792), ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), listener discovery (RFC 2710, 3810) and IGMP (RFC
//! 2236, 3376): which messages, how long, with which fields.
//!
//! Allowed is what captures of ordinary networks hold and what completion can give a body: echo, errors that quote TCP or
//! UDP, solicitations and advertisements, reports, queries and leaving. Left out are redirects (their fields are an
//! address), packet-too-big and parameter problems (an MTU and a place in the quote), timestamps, version 1 reports.

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

// Errors come last, so that a slice's end leaves them out.
const SOLICIT: u16 = 0x8700;
const ADVERTISE: u16 = 0x8800;
const ROUTER_SOLICIT: u16 = 0x8500;
const ROUTER_ADVERTISE: u16 = 0x8600;
const NEAR_V6: [u16; 8] = [ROUTER_ADVERTISE, SOLICIT, ADVERTISE, 0x0100, 0x0101, 0x0103, 0x0104, 0x0300];
const LISTENER: [u16; 4] = [0x8200, 0x8300, 0x8400, 0x8f00];
const TO_GROUP: [u16; 8] =
    [0x8200, 0x8300, 0x8400, 0x8f00, ROUTER_SOLICIT, ROUTER_ADVERTISE, SOLICIT, ADVERTISE];
const NAMELESS: [u16; 3] = [0x8f00, ROUTER_SOLICIT, SOLICIT];
/// Queries by the maximum response time of routers and switches (tenths of a second), reports, leaving.
const IGMP_KINDS: [u16; 5] = [0x1164, 0x110a, 0x2200, 0x1600, 0x1700];

/// Legal values of type and code (`type << 8 | code`). Empty where no message may stand: the masks of what comes before
/// ([`may_pair`](super::may_pair), [`may_echo`]) see to it that this does not happen, except that a router alert needs a
/// link-local or no sender.
///
/// Echo requests go forth and replies back. Errors need two hosts of one scope. Between hosts stand discovery
/// (advertisements of a router from link-local addresses only, RFC 4861 section 6.1.2), to groups also what listeners say
/// (RFC 3810 section 5: from a link-local address or `::`); a host without an address solicits and reports only.
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
                // Link-local to link-local, and between other scopes, errors too.
                (_, LinkLocalV6, _) if local => &NEAR_V6,
                (_, dst, _) if local || dst == LinkLocalV6 => &NEAR_V6[1..3],
                _ => &NEAR_V6[1..],
            }
        }
        _ => &[],
    }
}

/// Whether these may exchange echoes: two hosts of one scope.
pub(in super::super) fn may_echo(protocol: u8, src: HostClass, dst: HostClass) -> bool {
    let scopes = (src == HostClass::LinkLocalV6) == (dst == HostClass::LinkLocalV6);
    matches!(protocol, ICMP | ICMPV6) && src.may_send() && dst.may_send() && scopes
}

/// Whether a router alert stands before a message of ICMPv6: before those of listeners (RFC 3810 section 5), no others.
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

/// The two words behind the checksum, which are what the rest of the packet makes them; `None` in an echo, where they are
/// identifier and number.
///
/// Zeros in errors, solicitations and queries (nothing is put there: RFC 4884's length would announce an extension); the
/// number of records in a report, the group in one of IGMP version 2; in an advertisement hop limit 64 for half an hour,
/// or the flags of an answer, without "solicited" to a group; in a listener query ten seconds.
pub(in super::super) fn words(protocol: u8, kind: u16, dst: IpAddr, payload_len: u32) -> Option<(u16, u16)> {
    const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
    let group = match dst {
        // To whom a host says that it leaves; what it leaves is another group.
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

/// The four bytes behind the first eight of an IGMP query or report of version 3, where a record has no sound ones: it has
/// them from elsewhere, and completion lets them stand only if they are a record's type that says a state, no auxiliary
/// data and no sources; in a query robustness, interval and no sources.
///
/// The type is "change to exclude", by which hosts join; robustness is 2 and the interval 125 seconds (RFC 3376 section 8).
pub(in super::super) fn window(kind: u16, told: &[u8]) -> [u8; 4] {
    match *told {
        [robustness @ 0..16, interval, 0, 0] if kind >> 8 == 0x11 => [robustness, interval, 0, 0],
        [state @ 1..=4, 0, 0, 0] if kind >> 8 == 0x22 => [state, 0, 0, 0],
        _ if kind >> 8 == 0x11 => [2, 125, 0, 0],
        _ => [4, 0, 0, 0],
    }
}
