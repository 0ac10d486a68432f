//! IP headers of a record, and the checksums over what a record holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use netssm_wire::checksum::Sum;
use netssm_wire::frame::protocol;

use super::{
    record::{Ether, IpFrame, ROUTER_ALERT, be16, be32, bytes_at, head},
    transport::Transport,
};

pub(super) fn parse_v4(ether: Ether, rest: &[u8]) -> Option<IpFrame> {
    let first = *rest.first()?;
    let header_len = usize::from(first & 15) * 4;
    let total = be16(rest, 2);
    if first >> 4 != 4 || header_len < 20 || rest.len() < header_len || usize::from(total) < header_len {
        return None;
    }
    let fragment = be16(rest, 6);
    let protocol = rest[9];
    let len = u32::from(total) - header_len as u32;
    let (transport, payload_len, missing) =
        Transport::parse(protocol, fragment & 0x1fff == 0, false, &rest[header_len..], len)?;
    Some(IpFrame {
        ether,
        src: IpAddr::V4(Ipv4Addr::from(bytes_at::<4>(rest, 12))),
        dst: IpAddr::V4(Ipv4Addr::from(bytes_at::<4>(rest, 16))),
        protocol,
        tos: rest[1],
        ttl: rest[8],
        id: be16(rest, 4),
        fragment,
        checksum: be16(rest, 10),
        options: head(&rest[20..header_len]),
        label: 0,
        alert: false,
        transport,
        payload_len,
        missing,
    })
}

pub(super) fn parse_v6(ether: Ether, rest: &[u8]) -> Option<IpFrame> {
    if rest.len() < 40 || rest[0] >> 4 != 6 {
        return None;
    }
    let word = be32(rest, 0);
    let len = u32::from(be16(rest, 4));
    let (mut protocol, mut at) = (rest[6], 40);
    let alert = protocol == 0 && len >= 16 && rest.get(40..48) == Some(&ROUTER_ALERT);
    if alert {
        (protocol, at) = (protocol::ICMPV6, 48);
    }
    let (transport, payload_len, missing) =
        Transport::parse(protocol, true, true, &rest[at..], len - (at as u32 - 40))?;
    Some(IpFrame {
        ether,
        src: IpAddr::V6(Ipv6Addr::from(bytes_at::<16>(rest, 8))),
        dst: IpAddr::V6(Ipv6Addr::from(bytes_at::<16>(rest, 24))),
        protocol,
        tos: (word >> 20) as u8,
        ttl: rest[7],
        id: 0,
        fragment: 0,
        checksum: 0,
        options: Default::default(),
        label: word & 0xf_ffff,
        alert,
        transport,
        payload_len,
        missing,
    })
}

/// Appends IP, extension and transport headers with the payload window.
pub(super) fn emit(ip: &IpFrame, out: &mut Vec<u8>) {
    match (ip.src, ip.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            out.extend_from_slice(&v4_head(ip, ip.checksum));
            out.extend_from_slice(&ip.options);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let len = ip.told_len() as usize - ip.ether.header_len() - 40;
            out.extend_from_slice(&(6 << 28 | u32::from(ip.tos) << 20 | ip.label).to_be_bytes());
            out.extend_from_slice(&(len as u16).to_be_bytes());
            out.extend_from_slice(&[if ip.alert { 0 } else { ip.protocol }, ip.ttl]);
            out.extend_from_slice(&src.octets());
            out.extend_from_slice(&dst.octets());
            if ip.alert {
                out.extend_from_slice(&ROUTER_ALERT);
            }
        }
        // Both are of one version by construction.
        _ => {}
    }
    ip.transport.emit(None, out);
}

fn v4_head(ip: &IpFrame, checksum: u16) -> [u8; 20] {
    let mut head = [0; 20];
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (ip.src, ip.dst) else { return head };
    let total = ip.told_len() as usize - ip.ether.header_len();
    head[0] = 0x45 + (ip.options.len() / 4) as u8;
    head[1] = ip.tos;
    head[2..4].copy_from_slice(&(total as u16).to_be_bytes());
    head[4..6].copy_from_slice(&ip.id.to_be_bytes());
    head[6..8].copy_from_slice(&ip.fragment.to_be_bytes());
    head[8] = ip.ttl;
    head[9] = ip.protocol;
    head[10..12].copy_from_slice(&checksum.to_be_bytes());
    head[12..16].copy_from_slice(&src.octets());
    head[16..20].copy_from_slice(&dst.octets());
    head
}

/// The right IPv4 header checksum.
pub(super) fn v4_checksum(ip: &IpFrame) -> u16 {
    Sum::default().bytes(&v4_head(ip, 0)).bytes(&ip.options).stored().0
}

/// The transport checksum before the network card completes it: the sum of the pseudo-header alone.
pub(super) fn partial_checksum(ip: &IpFrame) -> u16 {
    pseudo(ip).folded()
}

/// The right transport checksum, if the record holds all bytes that it covers.
pub(super) fn full_checksum(ip: &IpFrame) -> Option<u16> {
    let whole = match &ip.transport {
        Transport::Tcp(_) => ip.payload_len == 0,
        Transport::Udp(udp) => udp.window.len() == ip.payload_len as usize,
        Transport::Icmp(icmp) => icmp.window.len() == ip.payload_len as usize,
        Transport::Other(_) => false,
    };
    if !whole || ip.missing > 0 {
        return None;
    }
    let mut bytes = ArrayVec::<u8, 72>::new();
    ip.transport.emit(Some(0), &mut bytes);
    let stored = pseudo(ip).bytes(&bytes).stored();
    Some(if matches!(ip.transport, Transport::Udp(_)) { stored.udp().0 } else { stored.0 })
}

fn pseudo(ip: &IpFrame) -> Sum {
    let len = ip.transport.header_len() as u32 + ip.payload_len;
    match (ip.src, ip.dst) {
        // ICMP and IGMP over IPv4 have no pseudo-header.
        (IpAddr::V4(_), _) if matches!(ip.protocol, protocol::ICMP | protocol::IGMP) => Sum::default(),
        (IpAddr::V4(src), IpAddr::V4(dst)) => Sum::default().pseudo_v4(src, dst, ip.protocol, len as u16),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Sum::default().pseudo_v6(src, dst, ip.protocol, len),
        _ => Sum::default(),
    }
}
