//! Which content goes to which port.
//!
//! # Why ports matter
//!
//! Wireshark picks a dissector by the lower port of a packet, then by the higher one, then by content. Random bytes
//! on a port that it knows are a malformed packet, and an analyst would say the same. So each port that it knows
//! has an entry: a protocol that is modelled, or the first of five fillers that its dissector reads, or
//! declines, without complaint at every length from a least one on.
//!
//! # How the table was made
//!
//! For each UDP and TCP port that `tshark -G decodes` (4.0.17) lists, each filler was sent in datagrams of 0 to
//! 79 bytes and of 24 lengths up to 1472, or in streams cut into segments in four ways and begun by either side,
//! and the packets that `tshark -Y _ws.malformed` shows were counted. A port where no filler is clean from 64
//! bytes on is *unfit*: the rewriter moves such a flow to a port that is not known. For TCP, masked bytes were
//! also sent in segments that overlap and leave gaps at random; of the ports where that led to no complaint
//! (Wireshark calls a retransmission that straddles two messages malformed) a list is kept too. Ports beyond the
//! table are guessed at by content; there 1 of 300 random datagrams was taken for RTCP, OSI or a GOOSE message
//! and found malformed, none of 190,000 whose first 8 bytes were [masked](super::keystream::mask).
//! `tests/payload_ports.rs` repeats both.

use std::sync::LazyLock;

use netssm_wire::frame::protocol;
use netssm_wire::ports;

use super::tables;

/// A filler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filler {
    /// Random, the first bytes of a datagram masked.
    Random,
    /// Random, every byte masked.
    Masked,
    /// Lines of text.
    Text,
    /// Zeros.
    Zeros,
    /// 0xff.
    Ones,
}

/// Content of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Udp {
    Filler(Filler),
    Dns,
    MulticastDns,
    NetBiosName,
    Dhcp,
    Ntp,
    Ssdp,
    Unfit,
}

/// Content of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tcp {
    Filler(Filler),
    Tls,
    Http,
    Ssh,
    Dns,
    Unfit,
}

/// The UDP ports with a model: least length in bytes.
const MODELLED: [(u16, Udp, usize); 8] = [
    (ports::DNS, Udp::Dns, super::dns::HEADER),
    (ports::DHCP_SERVER, Udp::Dhcp, super::dhcp::LEAST),
    (ports::DHCP_CLIENT, Udp::Dhcp, super::dhcp::LEAST),
    (ports::NTP, Udp::Ntp, 4),
    (ports::NETBIOS_NAME, Udp::NetBiosName, super::dns::HEADER),
    (ports::SSDP, Udp::Ssdp, 0),
    (ports::MDNS, Udp::MulticastDns, super::dns::HEADER),
    (ports::LLMNR, Udp::MulticastDns, super::dns::HEADER),
];

/// The entry of a UDP port: content and least length.
pub(super) fn udp(port: u16) -> Option<(Udp, usize)> {
    let modelled = MODELLED.iter().find(|(p, ..)| *p == port).map(|(_, content, least)| (*content, *least));
    modelled.or_else(|| {
        let row = tables::UDP.iter().find(|(_, _, ranges)| contains(ranges, port));
        row.map(|(content, least, _)| (*content, *least))
    })
}

/// The entry of a TCP port.
pub(super) fn tcp(port: u16) -> Option<Tcp> {
    tables::TCP.iter().find(|(_, ranges)| contains(ranges, port)).map(|(content, _)| *content)
}

/// Whether masked bytes do on a TCP port whose segments overlap, come late or leave gaps.
pub(super) fn takes_any_order(port: u16) -> bool {
    contains(tables::ANY_ORDER, port)
}

fn contains(ranges: &[(u16, u16)], port: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

/// Whether an analyser has a protocol in mind for this port, so that no flow of another kind should be given it.
pub fn is_known_port(number: u8, port: u16) -> bool {
    /// The tables as one flag a port: drawing ports asks for very many.
    static KNOWN: LazyLock<[Vec<bool>; 2]> = LazyLock::new(|| {
        let all = 0..=u16::MAX;
        [all.clone().map(|p| tcp(p).is_some()).collect(), all.map(|p| udp(p).is_some()).collect()]
    });
    match number {
        protocol::TCP => KNOWN[0][usize::from(port)],
        protocol::UDP => KNOWN[1][usize::from(port)],
        _ => false,
    }
}

/// The content for a flow between two ports: that of the lower known one.
pub(super) fn by_ports<T>(entry: impl Fn(u16) -> Option<T>, a: u16, b: u16) -> Option<T> {
    entry(a.min(b)).or_else(|| entry(a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_port_decides() {
        assert_eq!(by_ports(udp, 53, 50_000), Some((Udp::Dns, 12)));
        assert_eq!(by_ports(udp, 5353, 1900), Some((Udp::Ssdp, 0)));
        assert_eq!(by_ports(udp, 50_000, 50_002), None);
        assert_eq!(by_ports(tcp, 443, 3689), Some(Tcp::Tls));
    }

    #[test]
    fn no_port_has_two_entries() {
        for port in 0..=u16::MAX {
            let udp = tables::UDP.iter().filter(|(_, _, r)| contains(r, port)).count();
            let modelled = MODELLED.iter().filter(|(p, ..)| *p == port).count();
            let tcp = tables::TCP.iter().filter(|(_, r)| contains(r, port)).count();
            assert!(udp + modelled <= 1 && tcp <= 1, "{port}");
        }
    }
}
