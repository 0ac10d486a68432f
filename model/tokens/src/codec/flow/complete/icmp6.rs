//! Bodies of neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710, 3810).

use std::net::{IpAddr, Ipv6Addr};

use super::seen::Seen;
use crate::codec::flow::{
    record::{IpFrame, Mac},
    strict::solicited_node,
};

const RECORD_BYTES: usize = 20;
/// Type of a record by which a host joins a group: an empty list of excluded sources.
const CHANGE_TO_EXCLUDE: u8 = 4;
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const REPORTS_V2: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Multicast DNS, LLMNR, UPnP.
const COMMON: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc),
];

/// Appends what follows the first eight bytes of a message that is neither an error nor an echo. Returns the group that
/// the message goes to, if its RFC names one.
pub(super) fn body(ip: &IpFrame, kind: u16, seen: &Seen, out: &mut Vec<u8>) -> Option<IpAddr> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else { return None };
    let len = ip.payload_len as usize;
    let sender_link = |number: u8| link_layer(number, ip.ether.src);
    let group = match kind >> 8 {
        133 => {
            out.extend(sender_link(SOURCE_LINK));
            ALL_ROUTERS
        }
        134 => {
            router_options(src, ip.ether.src, len.saturating_sub(8), out);
            ALL_NODES
        }
        135 => {
            let target = target(ip, src, dst, seen);
            out.extend_from_slice(&target.octets());
            out.extend(sender_link(SOURCE_LINK));
            solicited_node(target)
        }
        136 => {
            // A host answers for itself.
            out.extend_from_slice(&src.octets());
            out.extend(sender_link(TARGET_LINK));
            ALL_NODES
        }
        130 => {
            // A query about all groups; in version 2 with robustness 2, an interval of 125 seconds and no sources.
            out.extend_from_slice(&[0; 16]);
            out.extend_from_slice(&[2, 125, 0, 0]);
            ALL_NODES
        }
        131 => {
            out.extend_from_slice(&dst.octets());
            dst
        }
        132 => {
            let left = if dst == ALL_ROUTERS { COMMON[0] } else { dst };
            out.extend_from_slice(&left.octets());
            ALL_ROUTERS
        }
        143 => {
            for group in groups(src, ip.ether.src, seen).take(len / RECORD_BYTES) {
                out.extend_from_slice(&[CHANGE_TO_EXCLUDE, 0, 0, 0]);
                out.extend_from_slice(&group.octets());
            }
            REPORTS_V2
        }
        _ => return None,
    };
    dst.is_multicast().then_some(IpAddr::V6(group))
}

fn link_layer(number: u8, mac: Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [number, 1, a, b, c, d, e, f]
}

/// The link-local address that a MAC endpoint makes of its own MAC address (RFC 4291 appendix A).
fn own_address(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// The target of a solicitation. It is the destination, if that is a host, or a host of the destination, if that is a
/// solicited-node group. A host without an address asks for the address that it wants. Otherwise it is a neighbour that
/// the session has shown, or the usual router.
fn target(ip: &IpFrame, src: Ipv6Addr, dst: Ipv6Addr, seen: &Seen) -> Ipv6Addr {
    if !dst.is_multicast() {
        return dst;
    }
    let [.., a, b, c] = dst.octets();
    if solicited_node(dst) == dst {
        let guess = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, u16::from(a), u16::from(b) << 8 | u16::from(c));
        let guess = if [a, b, c] == [0; 3] { own_address(ip.ether.src) } else { guess };
        return seen.neighbour_ending([a, b, c]).unwrap_or(guess);
    }
    if src.is_unspecified() {
        return own_address(ip.ether.src);
    }
    let router = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    let usual = if src == router(1) { router(2) } else { router(1) };
    seen.neighbour(ip.src).unwrap_or(usual)
}

/// Appends options of a router advertisement that fill `room`, a multiple of 8 up to 56: a prefix for addresses, the
/// router as name server, its link-layer address, and the MTU of the link.
fn router_options(src: Ipv6Addr, mac: Mac, room: usize, out: &mut Vec<u8>) {
    const HOUR: u32 = 3_600;
    // Reachable time and retransmission timer are zero: not specified.
    out.extend_from_slice(&[0; 8]);
    let (prefix, rest) = if room >= 32 { (true, room - 32) } else { (false, room) };
    if matches!(rest, 8..24) {
        out.extend(link_layer(SOURCE_LINK, mac));
    }
    if matches!(rest, 16..24) {
        out.extend_from_slice(&[5, 1, 0, 0]);
        out.extend_from_slice(&1_500_u32.to_be_bytes());
    }
    if prefix {
        // 64 bits, on the link, for autoconfiguration. The address is a placeholder (RFC 3849).
        out.extend_from_slice(&[3, 4, 64, 0xc0]);
        out.extend_from_slice(&(24 * HOUR).to_be_bytes());
        out.extend_from_slice(&(4 * HOUR).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets());
    }
    if rest >= 24 {
        // RFC 8106 section 5.1.
        out.extend_from_slice(&[25, 3, 0, 0]);
        out.extend_from_slice(&HOUR.to_be_bytes());
        out.extend_from_slice(&src.octets());
    }
}

/// An endless list of distinct groups: the solicited-node group of the sender, the groups that datagrams of the session
/// went to, and the usual ones.
fn groups(src: Ipv6Addr, mac: Mac, seen: &Seen) -> impl Iterator<Item = Ipv6Addr> + '_ {
    let own = solicited_node(if src.is_unspecified() { own_address(mac) } else { src });
    let used = move || {
        seen.groups_v6().filter(move |group| ![ALL_NODES, ALL_ROUTERS, REPORTS_V2, own].contains(group))
    };
    let common = COMMON.into_iter().filter(move |common| !used().any(|group| group == *common));
    // Then transient groups (RFC 4291 section 2.7), from the first one on.
    let more = (1..=u16::MAX).map(|low| Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, low));
    let more = more.filter(move |more| !used().any(|group| group == *more));
    std::iter::once(own).chain(used()).chain(common).chain(more)
}
