//! What several test files need: the data directory, and frames of every kind that the crate parses.

#![allow(dead_code)] // each test file uses its own part

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use netssm_wire::checksum;
use netssm_wire::frame::{ethertype, protocol};
use netssm_wire::tcp::{Flags, TcpOption};

/// Whether a missing tool or data set fails the test instead of skipping it.
pub(crate) fn require_all() -> bool {
    std::env::var_os("NETSSMD_REQUIRE_ALL").is_some_and(|value| value == "1")
}

/// The real captures, outside the repository. `None`, said loudly, where they are not.
pub(crate) fn data_dir() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::var_os("NETSSMD_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    if dir.join("MANIFEST.tsv").is_file() {
        return Some(dir);
    }
    // The data is nobody's to require: it may not be in the repository, so its absence never fails.
    eprintln!("SKIPPED: no captures at {} (set NETSSMD_DATA)", dir.display());
    None
}

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const CLIENT_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const SERVER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// An IPv4 packet around `body` with the given flags and fragment offset and options (a multiple of 4 bytes).
pub(crate) fn v4_with(flags_offset: u16, options: &[u8], number: u8, body: &[u8]) -> Vec<u8> {
    let words = (5 + options.len() / 4) as u8;
    let total = (20 + options.len() + body.len()) as u16;
    let mut out = vec![0x40 | words, 0];
    out.extend([total, 0, flags_offset].map(u16::to_be_bytes).concat());
    out.extend([64, number, 0, 0]);
    [&out[..], &CLIENT.octets(), &SERVER.octets(), options, body].concat()
}

/// An IPv4 packet around `body`.
pub(crate) fn v4(number: u8, body: &[u8]) -> Vec<u8> {
    v4_with(0x4000, &[], number, body)
}

/// An IPv6 packet around `body`, which begins with the extension header (or the header) `next`.
pub(crate) fn v6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0x0a, 0xbc, 0xde];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend([next, 64]);
    [&out[..], &CLIENT_6.octets(), &SERVER_6.octets(), body].concat()
}

/// A TCP header with options, padded to whole words, and `payload`.
pub(crate) fn tcp(flags: Flags, options: &[TcpOption<'_>], payload: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    options.iter().for_each(|option| option.emit(&mut raw));
    raw.resize(raw.len().next_multiple_of(4), 0);
    let mut out = [49152u16, 443].map(u16::to_be_bytes).concat();
    out.extend([u32::MAX - 1, 77].map(u32::to_be_bytes).concat());
    let offset_flags = ((5 + raw.len() / 4) as u16) << 12 | flags.bits();
    out.extend([offset_flags, 64240, 0, 0].map(u16::to_be_bytes).concat());
    [&out[..], &raw, payload].concat()
}

/// A UDP header with that checksum, and `payload`.
pub(crate) fn udp(checksum: u16, payload: &[u8]) -> Vec<u8> {
    let header = [50000, 53, (8 + payload.len()) as u16, checksum].map(u16::to_be_bytes).concat();
    [&header[..], payload].concat()
}

/// The first 8 bytes of a message of either ICMP, and what follows.
pub(crate) fn icmp(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 0, 0, 1][..], rest].concat()
}

/// A frame around `packet` with the given tags (outermost last), and its checksums.
pub(crate) fn frame(tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    let mut out = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (tpid, tci) in tags.iter().rev() {
        out.extend([*tpid, *tci].map(u16::to_be_bytes).concat());
    }
    out.extend(kind.to_be_bytes());
    out.extend(packet);
    checksum::fill(&mut out).unwrap();
    out
}

pub(crate) fn arp_frame() -> Vec<u8> {
    let mut out = vec![0xff; 6];
    out.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
    out.extend(CLIENT.octets());
    out.extend([0; 6]);
    out.extend(SERVER.octets());
    out.extend([0; 18]);
    out
}

pub(crate) const SYN_OPTIONS: [TcpOption<'static>; 5] = [
    TcpOption::MaxSegmentSize(1460),
    TcpOption::SackPermitted,
    TcpOption::Timestamps { value: 9, echo: 0 },
    TcpOption::Nop,
    TcpOption::WindowScale(7),
];

/// Well-formed frames of every kind that the crate parses, with a name each.
pub(crate) fn frames() -> Vec<(&'static str, Vec<u8>)> {
    use protocol::{ICMP, ICMPV6, IGMP, ROUTING, TCP, UDP};
    let syn = |payload: &[u8]| tcp(Flags::SYN, &SYN_OPTIONS, payload);
    let routed = [&[UDP, 2, 0, 1, 0, 0, 0, 0][..], &Ipv6Addr::LOCALHOST.octets(), &udp(0, b"hello")].concat();
    // A first fragment's checksum is made over bytes that are not in the frame.
    let fragment_6 = [&[UDP, 0, 0, 1, 0, 0, 0, 7][..], &udp(0x1234, b"hello")].concat();
    let hop_by_hop = [&[UDP, 0, 5, 2, 0, 0, 1, 0][..], &udp(0, b"hello")].concat();
    // A quoted datagram of 300 bytes, cut.
    let quoted_6 = [&[0, 9, 0, 8, 1, 44, 0, 7][..], &[1; 9]].concat();
    let mut quoted_6 = v6(UDP, &quoted_6);
    quoted_6[4..6].copy_from_slice(&300u16.to_be_bytes());
    let tagged = |tags: &[(u16, u16)]| frame(tags, &v4(TCP, &syn(&[7; 5])));
    vec![
        ("arp", arp_frame()),
        ("tcp", frame(&[], &v4(TCP, &syn(b"")))),
        ("tcp data", frame(&[], &v4(TCP, &tcp(Flags::PSH | Flags::ACK, &[], b"GET / HTTP/1.1")))),
        ("tcp padded", [tagged(&[]), vec![0; 6]].concat()),
        ("tcp source route", {
            frame(&[], &v4_with(0x4000, &[131, 7, 4, 10, 9, 9, 9, 0], TCP, &syn(&[9; 24])))
        }),
        ("tcp vlan", tagged(&[(ethertype::VLAN, 7)])),
        ("tcp qinq", tagged(&[(ethertype::VLAN, 7), (ethertype::QINQ, 9)])),
        ("udp", frame(&[], &v4(UDP, &udp(0, b"odd")))),
        ("udp first fragment", frame(&[], &v4_with(0x6000, &[], UDP, &udp(0x1234, &[9; 24])))),
        ("udp later fragment", frame(&[], &v4_with(3, &[], UDP, &[9; 24]))),
        ("icmp echo", frame(&[], &v4(ICMP, &icmp(8, 0, b"abcdefg")))),
        ("icmp unreachable", frame(&[], &v4(ICMP, &icmp(3, 3, &v4(TCP, &syn(b"")))))),
        ("igmp", frame(&[], &v4(IGMP, &[0x16, 0, 0, 0, 239, 1, 2, 3]))),
        ("esp", frame(&[], &v4(50, &[3; 40]))),
        ("tcp 6", frame(&[], &v6(TCP, &syn(b"six")))),
        ("udp 6 hop-by-hop", frame(&[], &v6(0, &hop_by_hop))),
        ("udp 6 routed", frame(&[], &v6(ROUTING, &routed))),
        ("udp 6 fragment", frame(&[], &v6(protocol::FRAGMENT, &fragment_6))),
        ("icmpv6 echo", frame(&[], &v6(ICMPV6, &icmp(128, 0, b"abc")))),
        ("icmpv6 too big", frame(&[], &v6(ICMPV6, &icmp(2, 0, &quoted_6)))),
        ("lldp", [&[0xff; 6][..], &[0; 6], &[0x88, 0xcc, 2, 7, 4]].concat()),
    ]
}
