//! All strict rules as a check of a whole record, for tests.

use netssm_wire::{MacAddr, tcp::Flags};

use std::net::{IpAddr, Ipv4Addr};

use super::{
    HostClass, ICMP, ICMPV6, IGMP, Place, TCP, UDP, fragment_ok, group_mac, ip_options_ok, kinds, may_pair,
    message_lengths, needs_alert, ports_ok,
    tcp::{options_ok, options_room, tcp_flags_ok, tcp_lengths},
    ttls, udp_lengths, usable, words,
};
use crate::codec::flow::{
    record::{ArpFrame, Ether, Frame, IpFrame, Mac, Record},
    transport::{Icmp, Tcp, Transport, Udp},
};
use crate::packet::shape::ARP_BYTES;

/// The first rule that a record breaks, in words; `None` if it keeps all.
pub(in super::super) fn broken_rule(record: &Record) -> Option<&'static str> {
    match &record.frame {
        Frame::Ip(ip) => broken_ip(ip, record.wire_len),
        Frame::Arp(arp) if !arp_ok(arp) => Some("arp"),
        Frame::Arp(arp) => {
            let told_len = (arp.ether.header_len() + ARP_BYTES) as u32;
            (!wire_len_ok(record.wire_len, told_len)).then_some("length on the wire")
        }
        Frame::Link(_) | Frame::Raw(_) => Some("link protocol"),
    }
}

/// Ethernet addresses and tags around an IP packet. The source is a MAC endpoint. A frame to a group has the group's
/// address. A frame to a host has the address of a MAC endpoint, or the broadcast address if the host's address may be
/// the broadcast address of a subnet. VLAN 4095 is reserved.
fn ether_ok(ether: &Ether, dst: IpAddr) -> bool {
    let is_broadcast =
        ether.dst == MacAddr::BROADCAST.0 && matches!(dst, IpAddr::V4(v4) if v4.octets()[3] == 255);
    let to = match group_mac(dst) {
        Some(mac) => ether.dst == mac,
        None => is_broadcast || ether.dst[0] & 1 == 0,
    };
    to && ether.src[0] & 1 == 0 && tags_ok(ether)
}

fn tags_ok(ether: &Ether) -> bool {
    ether.tags.iter().all(|tag| tag & 0xfff != 0xfff)
}

/// An ARP packet. Its sender has an address, or probes in a request whether one is free (sender 0.0.0.0, RFC 5227). Its
/// target is a host, never a group; the reply to a probe has the target 0.0.0.0. An unknown MAC address is zeros; some
/// hosts write ones.
pub(in super::super) fn arp_ok(arp: &ArpFrame) -> bool {
    let host = |octets: [u8; 4]| {
        let address = IpAddr::V4(Ipv4Addr::from(octets));
        HostClass::of(address).may_send() && usable(address)
    };
    let zero = |octets: [u8; 4]| octets == [0; 4];
    let ips = match arp.op {
        1 => (host(arp.spa) || zero(arp.spa)) && host(arp.tpa),
        2 => host(arp.spa) && (host(arp.tpa) || zero(arp.tpa)),
        _ => false,
    };
    let is_unicast = |mac: Mac| mac[0] & 1 == 0;
    ips && is_unicast(arp.sha)
        && arp.sha != [0; 6]
        && (is_unicast(arp.tha) || arp.tha == MacAddr::BROADCAST.0)
        && is_unicast(arp.ether.src)
        && (is_unicast(arp.ether.dst) || arp.ether.dst == MacAddr::BROADCAST.0)
        && tags_ok(&arp.ether)
}

/// The length on the wire: that of the headers, or padded to the least Ethernet frame (60 bytes without check
/// sequence).
fn wire_len_ok(wire_len: u32, told_len: u32) -> bool {
    wire_len == told_len || wire_len == told_len.max(60)
}

/// `Some(rule)` if the rule does not hold.
fn rule(holds: bool, rule: &'static str) -> Option<&'static str> {
    (!holds).then_some(rule)
}

fn broken_ip(ip: &IpFrame, wire_len: u32) -> Option<&'static str> {
    let (src, dst) = (HostClass::of(ip.src), HostClass::of(ip.dst));
    let kind = if let Transport::Icmp(icmp) = &ip.transport { icmp.kind } else { 0 };
    let (low, high) = ttls(ip.protocol, kind);
    rule(usable(ip.src) && usable(ip.dst) && ip.src != ip.dst, "addresses")
        .or(rule(may_pair(src, dst, ip.protocol), "pair of hosts"))
        .or(rule(ether_ok(&ip.ether, ip.dst), "ethernet addresses or tags"))
        .or(rule((low..=high).contains(&ip.ttl), "ttl"))
        .or(rule(fragment_ok(ip.fragment), "fragment"))
        .or(rule(ip_options_ok(ip.protocol, &ip.options), "ip options"))
        .or(rule(ip.alert == needs_alert(ip.protocol, kind), "router alert"))
        .or(rule(ip.missing == 0, "missing bytes"))
        .or(rule(wire_len_ok(wire_len, ip.told_len()), "length on the wire"))
        .or_else(|| match &ip.transport {
            Transport::Tcp(tcp) if ip.protocol == TCP => broken_tcp(ip, tcp),
            Transport::Udp(udp) if ip.protocol == UDP => broken_udp(ip, udp, src),
            Transport::Icmp(icmp) if matches!(ip.protocol, ICMP | IGMP | ICMPV6) => {
                broken_icmp(ip, icmp, src, dst)
            }
            _ => Some("protocol"),
        })
}

fn broken_tcp(ip: &IpFrame, tcp: &Tcp) -> Option<&'static str> {
    let v6 = !ip.is_v4();
    let fits = tcp_lengths(v6, tcp.flags).has(ip.payload_len)
        && u32::from(tcp.options_len) <= options_room(v6, ip.payload_len)
        && usize::from(tcp.options_len) == tcp.options.len();
    rule(tcp.ports.0 != 0 && tcp.ports.1 != 0, "tcp port")
        .or(rule(tcp_flags_ok(tcp.flags), "tcp flags"))
        .or(rule(fits, "tcp length"))
        .or(rule(options_ok(&tcp.options, tcp.flags), "tcp options"))
        .or(rule(tcp.flags.contains(Flags::ACK) || tcp.ack == 0, "tcp acknowledgement"))
        .or(rule(tcp.urgent == 0, "tcp urgent pointer"))
}

fn broken_udp(ip: &IpFrame, udp: &Udp, src: HostClass) -> Option<&'static str> {
    rule(ports_ok(src, udp.ports), "udp port")
        .or(rule(udp_lengths(!ip.is_v4(), udp.ports).has(ip.payload_len), "udp length"))
        .or(rule(u32::from(udp.len) == ip.payload_len + 8, "udp length field"))
}

fn broken_icmp(ip: &IpFrame, icmp: &Icmp, src: HostClass, dst: HostClass) -> Option<&'static str> {
    let reply = matches!((ip.protocol, icmp.kind), (ICMP, 0) | (ICMPV6, 0x8100));
    let echo = reply || matches!((ip.protocol, icmp.kind), (ICMP, 0x0800) | (ICMPV6, 0x8000));
    let alert = Some(ip.alert);
    let place = Place { protocol: ip.protocol, src, dst, echo, back: reply, alert };
    let expected = words(ip.protocol, icmp.kind, ip.dst, ip.payload_len);
    rule(kinds(&place).contains(&icmp.kind), "icmp type")
        .or(rule(message_lengths(&place, icmp.kind).has(ip.payload_len), "icmp length"))
        .or(rule(expected.is_none_or(|words| words == icmp.words), "icmp words"))
}
