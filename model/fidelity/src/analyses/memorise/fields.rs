//! The header fields of a packet by name, as Scapy and with it the NAIC'24 paper name them (appendix B.2, Table 2), and
//! those of IPv6, UDP, ICMP and ARP, which its TCP captures did not need.

use netssm_wire::frame::{Layout, Net, Transport};
use netssm_wire::{arp, ethernet, icmp, ipv4, ipv6, tcp, udp};

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number; the change is the absolute difference.
    Number(u32),
    /// Anything else; the change is 1 where it differs.
    Bytes(&'a [u8]),
}

/// Names of all fields, in the order of the headers. Those of Table 2 of the paper have its names.
#[rustfmt::skip]
pub(super) const NAMES: [&str; 45] = [
    "Ether_dst", "Ether_src", "Ether_type",
    "ARP_op", "ARP_hwsrc", "ARP_psrc", "ARP_hwdst", "ARP_pdst",
    "IP_version", "IP_ihl", "IP_tos", "IP_len", "IP_id", "IP_flags", "IP_frag", "IP_ttl", "IP_proto", "IP_chksum", "IP_src",
    "IP_dst", "IP_options",
    "IPv6_tc", "IPv6_fl", "IPv6_plen", "IPv6_nh", "IPv6_hlim", "IPv6_src", "IPv6_dst",
    "TCP_sport", "TCP_dport", "TCP_seq", "TCP_ack", "TCP_dataofs", "TCP_reserved", "TCP_flags", "TCP_window", "TCP_chksum",
    "TCP_urgptr", "TCP_options",
    "UDP_sport", "UDP_dport", "UDP_len", "UDP_chksum",
    "ICMP_type", "ICMP_code",
];

/// The payload behind the headers, as far as it was kept; beside the fields of [`NAMES`].
pub(super) const LOAD: &str = "Raw_load";

/// Bytes of the headers: all before the payload, or all that is kept where no transport header was found.
pub(super) fn headers(frame: &[u8]) -> &[u8] {
    let end = Layout::parse(frame).payload_at().unwrap_or(frame.len());
    &frame[..end.min(frame.len())]
}

/// Every field that a frame has.
pub(super) fn fields(frame: &[u8]) -> Vec<(&'static str, Value<'_>)> {
    let mut out = Vec::with_capacity(32);
    let layout = Layout::parse(frame);
    let rest = |at: usize| frame.get(at..).unwrap_or_default();
    let mut number = |name, value: u32| out.push((name, Value::Number(value)));
    if frame.len() >= ethernet::View::LEN {
        number("Ether_type", layout.ethertype.into());
    }
    match layout.net {
        Net::Arp { at } => {
            if let Some(view) = arp::View::new(rest(at)).filter(arp::View::is_ethernet_ipv4) {
                number("ARP_op", view.operation().into());
            }
        }
        Net::Ipv4(ip) => {
            if let Some(view) = ipv4::View::new(rest(ip.at)) {
                number("IP_version", view.version().into());
                number("IP_ihl", view.header_len() as u32 / 4);
                number("IP_tos", view.tos().into());
                number("IP_len", view.total_len().into());
                number("IP_id", view.id().into());
                number("IP_flags", u32::from(view.flags_offset()) >> 13);
                number("IP_frag", u32::from(view.flags_offset()) & 0x1fff);
                number("IP_ttl", view.ttl().into());
                number("IP_proto", view.protocol().into());
                number("IP_chksum", view.checksum().into());
            }
        }
        Net::Ipv6(ip) => {
            if let Some(view) = ipv6::View::new(rest(ip.at)) {
                number("IPv6_tc", view.traffic_class().into());
                number("IPv6_fl", view.flow_label());
                number("IPv6_plen", view.payload_len().into());
                number("IPv6_nh", view.next_header().into());
                number("IPv6_hlim", view.hop_limit().into());
            }
        }
        Net::None | Net::Other { .. } => {}
    }
    match layout.transport {
        Transport::Tcp { at, .. } => {
            if let Some(view) = tcp::View::new(rest(at)) {
                number("TCP_sport", view.src_port().into());
                number("TCP_dport", view.dst_port().into());
                number("TCP_seq", view.seq().0);
                number("TCP_ack", view.ack().0);
                number("TCP_dataofs", view.header_len() as u32 / 4);
                number("TCP_reserved", u32::from(view.offset_flags()) >> 9 & 7);
                number("TCP_flags", u32::from(view.offset_flags()) & 0x1ff);
                number("TCP_window", view.window().into());
                number("TCP_chksum", view.checksum().into());
                number("TCP_urgptr", view.urgent().into());
            }
        }
        Transport::Udp { at } => {
            if let Some(view) = udp::View::new(rest(at)) {
                number("UDP_sport", view.src_port().into());
                number("UDP_dport", view.dst_port().into());
                number("UDP_len", view.length().into());
                number("UDP_chksum", view.checksum().into());
            }
        }
        Transport::Icmp { at } | Transport::Icmpv6 { at } => {
            if let Some(view) = icmp::View::new(rest(at)) {
                number("ICMP_type", view.kind().into());
                number("ICMP_code", view.code().into());
            }
        }
        Transport::None | Transport::Igmp { .. } | Transport::Other { .. } => {}
    }
    addresses(frame, &layout, &mut out);
    out
}

/// What is compared as a whole: addresses, options, payload.
fn addresses<'a>(frame: &'a [u8], layout: &Layout, out: &mut Vec<(&'static str, Value<'a>)>) {
    let mut bytes = |name, from: usize, to: usize| {
        if let Some(value) = frame.get(from..to.max(from)) {
            out.push((name, Value::Bytes(value)));
        }
    };
    bytes("Ether_dst", 0, 6);
    bytes("Ether_src", 6, 12);
    match layout.net {
        Net::Arp { at } => {
            if frame.get(at..).and_then(arp::View::new).is_some_and(|view| view.is_ethernet_ipv4()) {
                bytes("ARP_hwsrc", at + 8, at + 14);
                bytes("ARP_psrc", at + 14, at + 18);
                bytes("ARP_hwdst", at + 18, at + 24);
                bytes("ARP_pdst", at + 24, at + 28);
            }
        }
        Net::Ipv4(ip) => {
            bytes("IP_src", ip.at + 12, ip.at + 16);
            bytes("IP_dst", ip.at + 16, ip.at + 20);
            bytes("IP_options", ip.at + 20, ip.at + ip.header_len);
        }
        Net::Ipv6(ip) => {
            bytes("IPv6_src", ip.at + 8, ip.at + 24);
            bytes("IPv6_dst", ip.at + 24, ip.at + 40);
        }
        Net::None | Net::Other { .. } => {}
    }
    if let Transport::Tcp { at, header_len } = layout.transport {
        bytes("TCP_options", at + 20, at + header_len);
    }
    if let Some(at) = layout.payload_at() {
        let end = layout.l3_end().map_or(frame.len(), |end| end.min(frame.len()));
        bytes(LOAD, at, end);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Frames;

    #[test]
    fn fields_have_the_values_of_the_headers() {
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "SA", (7, 9), 3);
        let got = fields(&frames.records[0].frame);
        let of = |name| got.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        for (name, value) in [
            ("Ether_type", 0x800),
            ("IP_version", 4),
            ("IP_ihl", 5),
            ("IP_len", 43),
            ("IP_proto", 6),
            ("TCP_sport", 50000),
            ("TCP_dport", 443),
            ("TCP_seq", 7),
            ("TCP_ack", 9),
            ("TCP_dataofs", 5),
            ("TCP_flags", 0x12),
            ("TCP_reserved", 0),
        ] {
            assert_eq!(of(name), Some(Value::Number(value)), "{name}");
        }
        assert_eq!(of("IP_src"), Some(Value::Bytes(&[10, 0, 0, 2])));
        assert_eq!(of("TCP_options"), Some(Value::Bytes(&[])));
        assert_eq!(of(LOAD), Some(Value::Bytes(&[0; 3])));
        assert_eq!(of("UDP_len"), None);
        assert_eq!(headers(&frames.records[0].frame).len(), 54);
    }

    #[test]
    fn every_field_has_a_name_in_the_list_once() {
        assert_eq!(NAMES.iter().collect::<BTreeSet<_>>().len(), NAMES.len());
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "S", (7, 9), 3);
        frames.udp(0, (50000, 443), 3);
        frames.arp(0);
        let mut six = vec![0; 14];
        six[12..14].copy_from_slice(&[0x86, 0xdd]);
        six.extend([0x60, 0, 0, 0, 0, 8, 58, 64]);
        six.extend([0; 40]);
        for frame in frames.records.iter().map(|r| &r.frame).chain([&six]) {
            for cut in 0..=frame.len() {
                let got = fields(&frame[..cut]);
                assert!(got.iter().all(|(name, _)| NAMES.contains(name) || *name == LOAD), "{got:?}");
                let names: BTreeSet<_> = got.iter().map(|(name, _)| name).collect();
                assert_eq!(names.len(), got.len());
                let _ = headers(&frame[..cut]);
            }
        }
        let all: BTreeSet<_> = fields(&six).into_iter().map(|(name, _)| name).collect();
        assert!(all.contains("ICMP_type") && all.contains("IPv6_src"));
    }
}
