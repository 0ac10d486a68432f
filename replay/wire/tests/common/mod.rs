//! What several test files need: the data directory, and frames of every kind that the crate parses.

#![allow(dead_code)] // each test file uses its own part

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use etherparse::{ArpHardwareId, ArpOperation, EtherType, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};
use netssm_wire::frame::{ethertype, protocol};
use netssm_wire::header::Header;
use netssm_wire::ipv6::Extension;
use netssm_wire::packet::{Body, FrameRepr, IpHeader, IpPacket, Upper};
use netssm_wire::tcp::{Flags, Options, Seq, TcpOption};
use netssm_wire::{MacAddr, arp, checksum, ethernet, icmp, ipv4, ipv6, tcp, udp};

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

pub(crate) fn v4(number: u8) -> ipv4::Repr {
    let header = Ipv4Header::new(0, 64, IpNumber(number), CLIENT.octets(), SERVER.octets());
    ipv4::Repr { header: header.unwrap(), reserved: false }
}

pub(crate) fn v6(number: u8, extensions: Vec<Extension>) -> ipv6::Repr {
    let header = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::try_new(0xabcde).unwrap(),
        payload_length: 0,
        next_header: IpNumber(number),
        hop_limit: 64,
        source: CLIENT_6.octets(),
        destination: SERVER_6.octets(),
    };
    ipv6::Repr::new(header, extensions, number).unwrap()
}

pub(crate) fn tcp(flags: Flags, options: &[TcpOption<'_>]) -> Upper {
    Upper::Tcp(Header::Whole(tcp::Repr {
        src_port: 49152,
        dst_port: 443,
        seq: Seq(u32::MAX - 1),
        ack: Seq(77),
        flags,
        window: 64240,
        checksum: 0,
        urgent: 0,
        options: Options::from_list(options).unwrap(),
    }))
}

pub(crate) fn udp() -> Upper {
    Upper::Udp(Header::Whole(udp::Repr { source_port: 50000, destination_port: 53, length: 0, checksum: 0 }))
}

/// With a checksum as the first fragment of a datagram has it: made over bytes that are not in the frame.
pub(crate) fn udp_of_fragment() -> Upper {
    Upper::Udp(Header::Whole(udp::Repr {
        source_port: 50000,
        destination_port: 53,
        length: 0,
        checksum: 0x1234,
    }))
}

pub(crate) fn icmp(kind: u8, code: u8, quoted: Option<IpPacket>) -> Upper {
    let header = icmp::Repr { kind, code, checksum: 0, word: [0, 0, 0, 1] };
    Upper::Icmp { header: Header::Whole(header), quoted: quoted.map(Box::new) }
}

/// A frame around an IP packet, with checksums unless its headers do not allow any.
pub(crate) fn ip_frame(packet: IpPacket, tags: &[(u16, u16)]) -> Vec<u8> {
    let kind = match packet.header {
        IpHeader::V4(_) => ethertype::IPV4,
        IpHeader::V6(_) => ethertype::IPV6,
    };
    let mut link =
        ethernet::Repr::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), kind).unwrap();
    tags.iter().for_each(|&(tpid, tci)| assert!(link.push_tag(tpid, tci)));
    let frame = FrameRepr { link: Header::Whole(link), body: Body::Ip(Box::new(packet)) };
    let mut bytes = frame.emit();
    checksum::fill(&mut bytes).unwrap();
    bytes
}

pub(crate) fn v4_frame(upper: Upper, number: u8, payload: &[u8]) -> Vec<u8> {
    ip_frame(IpPacket::new(IpHeader::V4(Header::Whole(v4(number))), upper, payload.to_vec()), &[])
}

pub(crate) fn v6_frame(upper: Upper, number: u8, extensions: Vec<Extension>, payload: &[u8]) -> Vec<u8> {
    let header = IpHeader::V6(Header::Whole(v6(number, extensions)));
    ip_frame(IpPacket::new(header, upper, payload.to_vec()), &[])
}

pub(crate) fn arp_frame() -> Vec<u8> {
    let packet = arp::Repr::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &[2, 0, 0, 0, 0, 1],
        &CLIENT.octets(),
        &[0; 6],
        &SERVER.octets(),
    );
    let link = ethernet::Repr::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::BROADCAST, ethertype::ARP).unwrap();
    let body = Body::Arp(Box::new(Header::Whole(packet.unwrap())), vec![0; 18]);
    FrameRepr { link: Header::Whole(link), body }.emit()
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
    let syn = || tcp(Flags::SYN, &SYN_OPTIONS);
    let v4_packet = |upper, number| IpPacket::new(IpHeader::V4(Header::Whole(v4(number))), upper, vec![7; 5]);
    let mut fragment = v4(protocol::UDP);
    fragment.header.more_fragments = true;
    let mut later = v4(protocol::UDP);
    later.header.fragment_offset = 3.try_into().unwrap();
    let mut options = v4(protocol::TCP);
    options.header.options = [131, 7, 4, 10, 9, 9, 9, 0].into();
    let mut padded = v4_packet(syn(), protocol::TCP);
    padded.padding = vec![0; 6];
    let ext = |number, bytes: &[u8]| Extension::new(number, bytes).unwrap();
    let mut quoted = v4_packet(syn(), protocol::TCP);
    quoted.payload.clear();
    let mut quoted_6 = v6(protocol::UDP, vec![]);
    quoted_6.header_mut().payload_length = 300;
    let quoted_6 = IpPacket {
        header: IpHeader::V6(Header::Whole(quoted_6)),
        upper: Upper::Udp(Header::Whole(udp::Repr {
            source_port: 9,
            destination_port: 8,
            length: 300,
            checksum: 7,
        })),
        payload: vec![1; 9],
        padding: vec![],
    };
    let v4_with =
        |header, upper| ip_frame(IpPacket::new(IpHeader::V4(Header::Whole(header)), upper, vec![9; 24]), &[]);
    vec![
        ("arp", arp_frame()),
        ("tcp", v4_frame(syn(), protocol::TCP, b"")),
        ("tcp data", v4_frame(tcp(Flags::PSH | Flags::ACK, &[]), protocol::TCP, b"GET / HTTP/1.1")),
        ("tcp padded", ip_frame(padded, &[])),
        ("tcp source route", v4_with(options, syn())),
        ("tcp vlan", ip_frame(v4_packet(syn(), protocol::TCP), &[(ethertype::VLAN, 7)])),
        (
            "tcp qinq",
            ip_frame(v4_packet(syn(), protocol::TCP), &[(ethertype::VLAN, 7), (ethertype::QINQ, 9)]),
        ),
        ("udp", v4_frame(udp(), protocol::UDP, b"odd")),
        ("udp first fragment", v4_with(fragment, udp_of_fragment())),
        ("udp later fragment", v4_with(later, Upper::None)),
        ("icmp echo", v4_frame(icmp(8, 0, None), protocol::ICMP, b"abcdefg")),
        ("icmp unreachable", v4_frame(icmp(3, 3, Some(quoted)), protocol::ICMP, b"")),
        ("igmp", v4_frame(Upper::None, protocol::IGMP, &[0x16, 0, 0, 0, 239, 1, 2, 3])),
        ("esp", v4_frame(Upper::None, 50, &[3; 40])),
        ("tcp 6", v6_frame(syn(), protocol::TCP, vec![], b"six")),
        ("udp 6 hop-by-hop", {
            v6_frame(udp(), protocol::UDP, vec![ext(0, &[0, 0, 5, 2, 0, 0, 1, 0])], b"hello")
        }),
        ("udp 6 routed", {
            let mut routing = vec![0, 2, 0, 1, 0, 0, 0, 0];
            routing.extend(Ipv6Addr::LOCALHOST.octets());
            v6_frame(udp(), protocol::UDP, vec![ext(protocol::ROUTING, &routing)], b"hello")
        }),
        ("udp 6 fragment", {
            let header = ext(protocol::FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 7]);
            v6_frame(udp_of_fragment(), protocol::UDP, vec![header], b"hello")
        }),
        ("icmpv6 echo", v6_frame(icmp(128, 0, None), protocol::ICMPV6, vec![], b"abc")),
        ("icmpv6 too big", v6_frame(icmp(2, 0, Some(quoted_6)), protocol::ICMPV6, vec![], b"")),
        ("lldp", {
            let link = ethernet::Repr::new(MacAddr::ZERO, MacAddr::BROADCAST, 0x88cc).unwrap();
            FrameRepr { link: Header::Whole(link), body: Body::Other(vec![2, 7, 4]) }.emit()
        }),
    ]
}
