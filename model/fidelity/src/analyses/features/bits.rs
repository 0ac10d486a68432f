//! Header bits of the first packets of a session, in nPrint's form: 1, 0, or -1 where the packet has no such bit.
//!
//! A packet is the EtherType (16 bits), IPv4 with options (480), the fixed IPv6 header (320), TCP with options (480),
//! UDP (64) and ICMP or ICMPv6 (64), each at its own place, so that a bit means the same in every packet. That is
//! nPrint's layout (J. Holland, P. Schmitt, N. Feamster, P. Mittal, "New directions in automated traffic analysis", CCS
//! 2021) with the EtherType before it, which tells ARP from LLC.
//!
//! NetSSM (5.2) says that classifiers train on captures in this form and neither how many packets they see nor whether
//! addresses are among the bits; its captures hold one flow each. Here a sample is a session, however many flows it
//! has, by its first packets; and left out (-1 in every packet) are addresses, ports, checksums and what a connection
//! draws at random: IP identification, flow label, sequence and acknowledgement number, TCP timestamps, ICMP
//! identifiers. With them a classifier tells recordings, not applications.

use netssm_wire::frame::{Layout, Net, Transport};

use crate::input::session::CapturedSession;

/// A bit that the packet does not have, or that is left out.
const ABSENT: i8 = -1;

/// Where a header lies in a row of bits, and which of its bytes are left out.
struct Place {
    /// First bit.
    at: usize,
    /// Room in bytes.
    bytes: usize,
    /// Ranges of bytes that stay absent.
    hidden: &'static [(usize, usize)],
}

const ETHERTYPE: Place = Place { at: 0, bytes: 2, hidden: &[] };
/// Identification, checksum, addresses.
const IPV4: Place = Place { at: 16, bytes: 60, hidden: &[(4, 6), (10, 20)] };
/// The lower 16 bits of the flow label (its upper 4 share a byte with the traffic class), addresses.
const IPV6: Place = Place { at: 496, bytes: 40, hidden: &[(2, 4), (8, 40)] };
/// Ports, sequence and acknowledgement number, checksum.
const TCP: Place = Place { at: 816, bytes: 60, hidden: &[(0, 12), (16, 18)] };
/// Ports, checksum.
const UDP: Place = Place { at: 1296, bytes: 8, hidden: &[(0, 4), (6, 8)] };
/// All but type and code.
const ICMP: Place = Place { at: 1360, bytes: 8, hidden: &[(2, 8)] };
/// Bits of a packet.
pub(crate) const PACKET: usize = 1424;

/// Name of a bit of a session's row: packet (from 1), header, byte and bit (from the most significant) in it.
#[cfg(test)]
fn name(bit: usize) -> String {
    let (packet, within) = (bit / PACKET + 1, bit % PACKET);
    let places = [
        ("icmp", ICMP),
        ("udp", UDP),
        ("tcp", TCP),
        ("ipv6", IPV6),
        ("ipv4", IPV4),
        ("ethertype", ETHERTYPE),
    ];
    let (name, place) =
        places.into_iter().find(|(_, place)| within >= place.at).expect("all bits are somewhere");
    format!("{packet}.{name}.{}.{}", (within - place.at) / 8, (within - place.at) % 8)
}

/// The bits of `packets` packets of a session from packet `skip` on; absent where it has fewer.
pub(crate) fn row(session: &CapturedSession, skip: usize, packets: usize) -> Vec<i8> {
    let mut row = vec![ABSENT; packets * PACKET];
    for (number, bits) in row.chunks_exact_mut(PACKET).enumerate() {
        packet(session.frame(skip + number), bits);
    }
    row
}

fn packet(frame: &[u8], out: &mut [i8]) {
    let layout = Layout::parse(frame);
    if frame.len() >= 14 {
        ETHERTYPE.write(&layout.ethertype.to_be_bytes(), out);
    }
    let from = |at: usize, len: usize| &frame[at.min(frame.len())..(at + len).min(frame.len())];
    match layout.net {
        Net::Ipv4(ip) => IPV4.write(from(ip.at, ip.header_len), out),
        Net::Ipv6(ip) => IPV6.write(from(ip.at, 40), out),
        _ => {}
    }
    match layout.transport {
        Transport::Tcp { at, header_len } => {
            let header = from(at, header_len);
            TCP.write(header, out);
            hide_timestamps(header, out);
        }
        Transport::Udp { at } => UDP.write(from(at, 8), out),
        Transport::Icmp { at } | Transport::Icmpv6 { at } => ICMP.write(from(at, 8), out),
        _ => {}
    }
}

impl Place {
    fn write(&self, header: &[u8], out: &mut [i8]) {
        for (number, &byte) in header.iter().take(self.bytes).enumerate() {
            if self.hidden.iter().any(|&(from, to)| (from..to).contains(&number)) {
                continue;
            }
            let at = self.at + 8 * number;
            for (bit, out) in out[at..at + 8].iter_mut().enumerate() {
                *out = (byte >> (7 - bit) & 1) as i8;
            }
        }
    }
}

/// Makes the values of TCP timestamps (RFC 7323) absent: a clock with a random start.
fn hide_timestamps(header: &[u8], out: &mut [i8]) {
    let options = header.get(20..).unwrap_or_default();
    for (at, option) in netssm_wire::tcp::OptionWalk::new(options) {
        if matches!(option, netssm_wire::tcp::TcpOption::Timestamps { .. }) {
            let first = TCP.at + 8 * (20 + at + 2);
            out[first..first + 64].fill(ABSENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    /// Bits that a row has, by name.
    fn present(row: &[i8]) -> Vec<(String, i8)> {
        row.iter().enumerate().filter(|(_, bit)| **bit != ABSENT).map(|(at, bit)| (name(at), *bit)).collect()
    }

    #[test]
    fn bits_are_where_they_belong_and_what_is_random_is_not_there() {
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "S", (0xffff_ffff, 0xffff_ffff), 0);
        frames.udp(1, (50000, 53), 3);
        frames.arp(2);
        let row = row(&frames.session("x"), 0, 4);
        assert_eq!(row.len(), 4 * PACKET);
        let bits = present(&row);
        let bit = |name: &str| bits.iter().find(|(n, _)| n == name).map(|(_, bit)| *bit);
        // EtherType 0x0800, version 4, protocol 6, TCP's SYN; UDP's length 11; ARP's type 0x0806.
        assert_eq!(
            (bit("1.ethertype.0.4"), bit("1.ipv4.0.1"), bit("1.ipv4.9.5")),
            (Some(1), Some(1), Some(1))
        );
        assert_eq!((bit("1.tcp.13.6"), bit("1.tcp.13.7"), bit("1.udp.4.0")), (Some(1), Some(0), None));
        assert_eq!((bit("2.udp.5.4"), bit("2.udp.5.5"), bit("2.tcp.13.6")), (Some(1), Some(0), None));
        assert_eq!(
            (bit("3.ethertype.1.5"), bit("3.ipv4.0.1"), bit("4.ethertype.0.0")),
            (Some(1), None, None)
        );
        for hidden in [
            "1.tcp.0.",
            "1.tcp.4.",
            "1.tcp.8.",
            "1.tcp.16.",
            "1.ipv4.12.",
            "1.ipv4.4.",
            "1.ipv4.10.",
            "2.udp.0.",
        ] {
            assert!(bits.iter().all(|(name, _)| !name.starts_with(hidden)), "{hidden}");
        }
        // 2 + 20 - 12 bytes of IPv4, 20 - 14 of TCP; 8 - 6 of UDP; the EtherType of ARP.
        assert_eq!(bits.len(), 8 * (2 + 8 + 6 + 2 + 8 + 2 + 2));
    }

    #[test]
    fn skipping_a_packet_moves_the_next_to_the_front() {
        let mut frames = Frames::new();
        frames.udp(0, (50000, 53), 3);
        frames.tcp(1, (50000, 443), "S", (1, 0), 0);
        let session = frames.session("x");
        assert_eq!(row(&session, 1, 1), row(&session, 0, 2)[PACKET..]);
        assert!(row(&session, 2, 1).iter().all(|bit| *bit == ABSENT));
    }

    #[test]
    fn timestamps_are_absent_and_other_options_there() {
        let mut header = vec![0_u8; 36];
        header[12] = 0x90;
        header[20..36].copy_from_slice(&[2, 4, 5, 180, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]);
        let mut out = vec![ABSENT; PACKET];
        TCP.write(&header, &mut out);
        hide_timestamps(&header, &mut out);
        let absent = |byte: usize| out[TCP.at + 8 * byte] == ABSENT;
        assert_eq!((20..36).filter(|&byte| absent(byte)).collect::<Vec<_>>(), (26..34).collect::<Vec<_>>());
    }
}
