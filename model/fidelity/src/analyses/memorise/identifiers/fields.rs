//! Addresses in header fields: Ethernet, ARP, IPv4, IPv6, what ICMP errors quote, neighbour discovery.
//!
//! The caller leaves common identifiers out. One kind can only be recognised here: the IPv4 destination of a frame to a
//! group MAC is the broadcast address of a subnet, not a host's address.

use std::net::{IpAddr, Ipv6Addr};

use netssm_wire::bytes::array;
use netssm_wire::frame::{Layout, Net, Transport};
use netssm_wire::icmp::{Version, neighbour_options};
use netssm_wire::{MacAddr, arp, ethernet, quote};

use super::{Identifier, Visit};

/// An IP address as an identifier.
fn ip(ip: IpAddr) -> Identifier {
    match ip {
        IpAddr::V4(ip) => Identifier::Ipv4(ip),
        IpAddr::V6(ip) => Identifier::Ipv6(ip),
    }
}

/// Visits the addresses of a frame's headers.
pub(super) fn visit(frame: &[u8], found: &mut Visit<'_>) {
    let Some(link) = ethernet::View::new(frame) else { return };
    found(Identifier::Mac(link.dst()), "Ethernet destination");
    found(Identifier::Mac(link.src()), "Ethernet source");
    let layout = Layout::parse(frame);
    if let Net::Arp { at } = layout.net
        && let Some(view) = frame.get(at..).and_then(arp::View::new).filter(arp::View::is_ethernet_ipv4)
    {
        found(Identifier::Mac(view.sender_mac()), "ARP sender");
        found(Identifier::Mac(view.target_mac()), "ARP target");
        found(Identifier::Ipv4(view.sender_ip()), "ARP sender");
        found(Identifier::Ipv4(view.target_ip()), "ARP target");
    }
    let Some((src, dst)) = layout.addresses(frame) else { return };
    found(ip(src), "IP source");
    if !(dst.is_ipv4() && link.dst().is_group()) {
        found(ip(dst), "IP destination");
    }
    let end = layout.l3_end().map_or(frame.len(), |end| end.min(frame.len()));
    match layout.transport {
        Transport::Icmp { at } => quoted(Version::V4, frame.get(at..end), found),
        Transport::Icmpv6 { at } => {
            quoted(Version::V6, frame.get(at..end), found);
            neighbours(frame.get(at..end).unwrap_or_default(), found);
        }
        _ => {}
    }
}

/// The addresses of the packet that an error is about.
fn quoted(version: Version, message: Option<&[u8]>, found: &mut Visit<'_>) {
    let Some(packet) = message.and_then(|message| message.get(quote::range(version, message)?)) else {
        return;
    };
    if let Some((src, dst)) = Layout::parse_ip(packet).addresses(packet) {
        found(ip(src), "IP source quoted by ICMP");
        found(ip(dst), "IP destination quoted by ICMP");
    }
}

/// Targets and link-layer addresses of neighbour discovery (RFC 4861 sections 4.3 to 4.6), prefixes of a router.
fn neighbours(message: &[u8], found: &mut Visit<'_>) {
    let mut address = |at: usize, field| {
        if let Some(octets) = array::<16>(message, at) {
            found(Identifier::Ipv6(Ipv6Addr::from(octets)), field);
        }
    };
    match message.first() {
        Some(135 | 136) => address(8, "neighbour discovery target"),
        Some(137) => {
            address(8, "redirect target");
            address(24, "redirect destination");
        }
        _ => {}
    }
    for option in neighbour_options(message) {
        match option.kind {
            1 | 2 => {
                if let Some(octets) = array::<6>(option.data, 0) {
                    found(Identifier::Mac(MacAddr(octets)), "neighbour discovery option");
                }
            }
            3 => {
                if let Some(octets) = array::<16>(option.data, 14) {
                    found(Identifier::Ipv6(Ipv6Addr::from(octets)), "prefix of a router");
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn all(frame: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        visit(frame, &mut |identifier, field| out.push(format!("{field}: {}", identifier.text())));
        out
    }

    #[test]
    fn headers_have_addresses() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 53), 8);
        frames.arp(0);
        let [udp, arp] = &mut frames.records[..] else { panic!("two frames") };
        udp.frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        arp.frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        arp.frame[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 4]);
        assert_eq!(
            all(&udp.frame),
            [
                "Ethernet destination: 02:00:00:00:00:01",
                "Ethernet source: 02:00:00:00:00:02",
                "IP source: 10.0.0.2",
                "IP destination: 198.18.0.1",
            ]
        );
        assert_eq!(
            all(&arp.frame)[2..],
            [
                "ARP sender: 02:00:00:00:00:04",
                "ARP target: 00:00:00:00:00:00",
                "ARP sender: 10.0.0.2",
                "ARP target: 198.18.0.1",
            ]
        );
        udp.frame[..6].fill(0xff); // the broadcast of a subnet
        assert_eq!(all(&udp.frame).len(), 3);
    }

    #[test]
    fn quotes_and_neighbour_discovery_have_addresses() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 53), 8);
        let quote = frames.records[0].frame[14..42].to_vec();
        let mut error = frames.records[0].frame[..34].to_vec();
        error[23] = 1;
        error[17] = 56;
        error[26..30].copy_from_slice(&[10, 0, 0, 9]);
        error.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        error.extend(quote);
        assert_eq!(
            all(&error)[4..],
            ["IP source quoted by ICMP: 10.0.0.2", "IP destination quoted by ICMP: 198.18.0.1"]
        );
        let mut six = vec![2; 12];
        six.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
        six.extend([0xfd; 32]);
        six.extend([135, 0, 0, 0, 0, 0, 0, 0]);
        six.extend([0xfc; 16]);
        six.extend([1, 1, 0, 0xc, 0x29, 1, 2, 3]);
        let got = all(&six);
        assert_eq!(got[4], "neighbour discovery target: fcfc:fcfc:fcfc:fcfc:fcfc:fcfc:fcfc:fcfc");
        assert_eq!(got[5], "neighbour discovery option: 00:0c:29:01:02:03");
        for cut in 0..six.len() {
            let _ = (all(&six[..cut]), all(&error[..cut.min(error.len())]));
        }
    }
}
