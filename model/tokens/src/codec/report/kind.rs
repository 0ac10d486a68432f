//! Kinds of packets that differ in the number of their tokens: the rows of a report.

use netssm_wire::frame::{Layout, Net, Transport};
use netssm_wire::ports::{DNS_FORMAT, HTTPS};
use netssm_wire::tcp::Flags;
use serde::Serialize;

use crate::packet::tcp;

/// Flags that open or close a connection.
const CONTROL: [Flags; 3] = [Flags::SYN, Flags::FIN, Flags::RST];

/// What a packet is. Every packet is of exactly one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketKind {
    /// UDP to or from port 443.
    Quic,
    /// TCP with payload.
    TcpData,
    /// TCP without payload, and none of SYN, FIN and RST.
    TcpAck,
    /// TCP with SYN, FIN or RST.
    TcpSynFinRst,
    /// UDP to or from a port of DNS, mDNS or LLMNR.
    Dns,
    /// Other UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
    /// ARP.
    Arp,
    /// Everything else.
    Other,
}

impl PacketKind {
    /// Every kind, in the order of a report's rows.
    pub const ALL: [Self; 9] = [
        Self::Quic,
        Self::TcpData,
        Self::TcpAck,
        Self::TcpSynFinRst,
        Self::Dns,
        Self::Udp,
        Self::Icmp,
        Self::Arp,
        Self::Other,
    ];

    /// Name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "QUIC (UDP 443)",
            Self::TcpData => "TCP with data",
            Self::TcpAck => "TCP, pure ACK",
            Self::TcpSynFinRst => "TCP, SYN, FIN or RST",
            Self::Dns => "DNS",
            Self::Udp => "other UDP",
            Self::Icmp => "ICMP",
            Self::Arp => "ARP",
            Self::Other => "anything else",
        }
    }

    /// The kind of a frame.
    pub fn of(frame: &[u8], layout: &Layout) -> Self {
        match layout.transport {
            Transport::Tcp { at, header_len } => {
                let closing = tcp::flags(frame, at)
                    .is_some_and(|flags| CONTROL.iter().any(|&control| flags.contains(control)));
                match layout.l3_end() {
                    _ if closing => Self::TcpSynFinRst,
                    Some(end) if end > at + header_len => Self::TcpData,
                    _ => Self::TcpAck,
                }
            }
            Transport::Udp { at } => {
                let port = |at: usize| {
                    frame.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
                };
                let ports = [port(at), port(at + 2)];
                if ports.iter().any(|port| DNS_FORMAT.contains(port)) {
                    Self::Dns
                } else if ports.contains(&HTTPS) {
                    Self::Quic
                } else {
                    Self::Udp
                }
            }
            Transport::Icmp { .. } | Transport::Icmpv6 { .. } => Self::Icmp,
            _ if matches!(layout.net, Net::Arp { .. }) => Self::Arp,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(protocol: u8, payload: &[u8]) -> PacketKind {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((20 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(payload);
        PacketKind::of(&frame, &Layout::parse(&frame))
    }

    fn tcp(flags: u8, payload: usize) -> PacketKind {
        let mut segment = vec![0; 20 + payload];
        segment[12..14].copy_from_slice(&[0x50, flags]);
        kind(6, &segment)
    }

    #[test]
    fn packets_are_sorted_by_what_they_are() {
        assert_eq!([tcp(0x10, 0), tcp(0x18, 4)], [PacketKind::TcpAck, PacketKind::TcpData]);
        assert_eq!([tcp(0x02, 0), tcp(0x11, 0), tcp(0x14, 0)], [PacketKind::TcpSynFinRst; 3]);
        let udp = |port: u16| kind(17, &[&port.to_be_bytes()[..], &[0x9c, 0x40, 0, 8, 0, 0]].concat());
        assert_eq!([udp(443), udp(5353), udp(5000)], [PacketKind::Quic, PacketKind::Dns, PacketKind::Udp]);
        assert_eq!([kind(1, &[8; 8]), kind(47, &[0; 8])], [PacketKind::Icmp, PacketKind::Other]);
        let arp = [&[2; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
        assert_eq!(PacketKind::of(&arp, &Layout::parse(&arp)), PacketKind::Arp);
        assert_eq!(PacketKind::of(&[], &Layout::parse(&[])), PacketKind::Other);
    }
}
