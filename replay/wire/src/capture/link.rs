//! Link headers to Ethernet form.
//!
//! Links without Ethernet addresses get synthetic ones. An IP host's is derived from its address
//! ([`host_mac`]), so that it is the same as sender and as receiver. Two IPv6 hosts share one if their
//! addresses end in the same four bytes.
//!
//! Own code for the cooked headers: etherparse's `LinuxSllHeader` refuses hardware types that it does not
//! know, tunnels among them, and has no version 2.

use std::net::IpAddr;

use super::LinkType;
use crate::MacAddr;
use crate::bytes::{array, be16};
use crate::frame::ethertype;

/// Hosts about which nothing is known: the sender, and the receiver.
const SENDER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const RECEIVER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);

/// The synthetic Ethernet address of an IP host: locally administered and made of the low bytes of its
/// address, or the group address that a multicast or broadcast IP address is sent to.
pub fn host_mac(ip: IpAddr) -> MacAddr {
    MacAddr::of_group(ip).unwrap_or_else(|| match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            MacAddr([0x02, 0x04, a, b, c, d])
        }
        IpAddr::V6(ip) => {
            let o = ip.octets();
            MacAddr([0x02, 0x06, o[12], o[13], o[14], o[15]])
        }
    })
}

/// Brings a captured record to Ethernet form: the frame bytes and the length of the whole frame.
///
/// `wire_len` is the record's length on its own link; one below `data.len()` is raised to it. `None` when the
/// record holds nothing that Ethernet carries, or too few bytes to tell.
pub fn to_ethernet(link: LinkType, data: &[u8], wire_len: u32) -> Option<(Vec<u8>, u32)> {
    let wire_len = wire_len.max(u32::try_from(data.len()).unwrap_or(u32::MAX));
    if link == LinkType::Ethernet {
        return Some((data.to_vec(), wire_len));
    }
    let head = link.header_len() as u32; // at most 20
    let body_wire = wire_len.saturating_sub(head);
    let body = data.get(head as usize..)?;
    let (kind, cooked) = match link {
        LinkType::Ethernet => return None, // handled above
        LinkType::RawIp => (version(body)?, None),
        LinkType::Ipv4 => (ethertype::IPV4, None),
        LinkType::Ipv6 => (ethertype::IPV6, None),
        LinkType::Null => (family(null_family(array(data, 0)?))?, None),
        LinkType::Loop => (family(u32::from_be_bytes(array(data, 0)?))?, None),
        LinkType::LinuxSll => {
            let cooked = Cooked::v1(data)?;
            (cooked.ethertype(body_wire)?, Some(cooked))
        }
        LinkType::LinuxSll2 => {
            let cooked = Cooked::v2(data)?;
            (cooked.ethertype(body_wire)?, Some(cooked))
        }
    };
    let (src, dst) = addresses(kind, body, cooked);
    let mut frame = Vec::with_capacity(14 + body.len());
    frame.extend_from_slice(&dst.0);
    frame.extend_from_slice(&src.0);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(body);
    Some((frame, body_wire.saturating_add(14)))
}

/// The ethertype by IP version.
fn version(body: &[u8]) -> Option<u16> {
    match body.first()? >> 4 {
        4 => Some(ethertype::IPV4),
        6 => Some(ethertype::IPV6),
        _ => None,
    }
}

/// The address family of a BSD loopback header, which is in the byte order of a host that we do not know.
/// Families are small numbers, so the order that gives one is right.
fn null_family(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes).min(u32::from_be_bytes(bytes))
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on Darwin.
fn family(number: u32) -> Option<u16> {
    match number {
        2 => Some(ethertype::IPV4),
        10 | 24 | 28 | 30 => Some(ethertype::IPV6),
        _ => None,
    }
}

/// Source and destination: from the IP or ARP addresses, else from the cooked header, else placeholders.
fn addresses(kind: u16, body: &[u8], cooked: Option<Cooked>) -> (MacAddr, MacAddr) {
    let ip = match kind {
        ethertype::IPV4 => array::<4>(body, 12).zip(array::<4>(body, 16)).map(|(s, d)| (s.into(), d.into())),
        ethertype::IPV6 => array::<16>(body, 8).zip(array::<16>(body, 24)).map(|(s, d)| (s.into(), d.into())),
        _ => None,
    };
    if let Some((src, dst)) = ip {
        return (host_mac(src), host_mac(dst));
    }
    let group = cooked.is_some_and(|c| matches!(c.kind, PACKET_BROADCAST | PACKET_MULTICAST));
    let fallback = if group { MacAddr::BROADCAST } else { RECEIVER };
    let sender = cooked.and_then(|c| c.address).unwrap_or(SENDER);
    if kind == ethertype::ARP && be16(body, 4) == Some(0x0604) {
        let sender = array::<6>(body, 8).map_or(sender, MacAddr);
        // A request does not know its target yet.
        let target = array::<6>(body, 18).map(MacAddr).filter(|mac| *mac != MacAddr::ZERO);
        return (sender, target.unwrap_or(MacAddr::BROADCAST));
    }
    (sender, fallback)
}

const PACKET_BROADCAST: u8 = 1;
const PACKET_MULTICAST: u8 = 2;

/// What the two cooked headers have in common.
#[derive(Clone, Copy)]
struct Cooked {
    /// 0 to us, 1 broadcast, 2 multicast, 3 to another host, 4 from us.
    kind: u8,
    hardware: u16,
    address: Option<MacAddr>,
    protocol: u16,
}

impl Cooked {
    fn v1(data: &[u8]) -> Option<Cooked> {
        let h: [u8; 16] = array(data, 0)?;
        Some(Cooked {
            kind: h[1],
            hardware: u16::from_be_bytes([h[2], h[3]]),
            address: if [h[4], h[5]] == [0, 6] { array(&h, 6).map(MacAddr) } else { None },
            protocol: u16::from_be_bytes([h[14], h[15]]),
        })
    }

    fn v2(data: &[u8]) -> Option<Cooked> {
        let h: [u8; 20] = array(data, 0)?;
        Some(Cooked {
            kind: h[10],
            hardware: u16::from_be_bytes([h[8], h[9]]),
            address: if h[11] == 6 { array(&h, 12).map(MacAddr) } else { None },
            protocol: u16::from_be_bytes([h[0], h[1]]),
        })
    }

    /// What stands in the Ethernet header's type field.
    fn ethertype(self, body_wire: u32) -> Option<u16> {
        match (self.hardware, self.protocol) {
            // Frame relay, 802.11 (three forms) and netlink: the protocol field means something else.
            (770 | 801..=803 | 824, _) => None,
            (_, protocol) if protocol >= ethertype::FIRST => Some(protocol),
            // 802.2 LLC and Novell's raw 802.3: Ethernet has the length there.
            (_, 0x0004 | 0x0001) => u16::try_from(body_wire).ok().filter(|len| *len < ethertype::FIRST),
            _ => None,
        }
    }
}
