//! Which packets of a session can become frames: decided here, once, before anything is leased or rewritten.
//!
//! The survey and the rewriting both start with [`admit`], so an address is leased exactly for the packets that
//! will be sent. Whatever is not understood completely is refused: an unknown protocol may carry an address
//! anywhere.

use std::net::IpAddr;

use netssm_wire::MacAddr;
use netssm_wire::address_class::Scope;
use netssm_wire::bytes::array;
use netssm_wire::frame::{Ipv6Layout, Layout, Net, Stop, Transport, protocol};
use netssm_wire::session::Packet;

use crate::rewrite::dropped::Dropped;
use crate::rewrite::plan::GroupPolicy;
use crate::rewrite::protocol::{arp, icmp, igmp};

/// Longest frame: an IP packet of 65,535 bytes and an Ethernet header with two tags.
const MAX_WIRE_LEN: u32 = 65_535 + 22;

/// A packet that can be rewritten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// Layout of the packet's header bytes; whole.
    pub(crate) layout: Layout,
    /// Where the network layer starts in them.
    pub(crate) net_at: usize,
    /// Addresses as sent: IP, or ARP sender and target.
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// IP protocol number; 0 for ARP.
    pub(crate) protocol: u8,
}

/// The Ethernet destination of a frame.
pub(crate) fn to_mac(frame: &[u8]) -> MacAddr {
    array(frame, 0).map_or(MacAddr::ZERO, MacAddr)
}

/// The Ethernet source of a frame.
pub(crate) fn from_mac(frame: &[u8]) -> MacAddr {
    array(frame, 6).map_or(MacAddr::ZERO, MacAddr)
}

/// Decides on one packet.
pub(crate) fn admit(packet: &Packet, groups: GroupPolicy) -> Result<Admitted, Dropped> {
    let frame = packet.header.as_slice();
    if packet.wire_len > MAX_WIRE_LEN {
        return Err(Dropped::Length("the frame is longer than an ip packet can be"));
    }
    if frame.len() > packet.wire_len as usize {
        return Err(Dropped::Length("more header bytes than the frame has"));
    }
    let layout = Layout::parse(frame);
    if layout.stop != Stop::Whole {
        return Err(Dropped::Headers(layout.stop));
    }
    if from_mac(frame).is_group() {
        return Err(Dropped::Address);
    }
    let admitted = match layout.net {
        Net::Arp { at } => {
            if groups == GroupPolicy::Drop {
                return Err(Dropped::Group);
            }
            arp::check(&frame[at..])?;
            let ip = |from: usize| array::<4>(frame, at + from).map(IpAddr::from);
            let (Some(src), Some(dst)) = (ip(14), ip(24)) else {
                return Err(Dropped::NotIp(layout.ethertype));
            };
            Admitted { layout, net_at: at, src, dst, protocol: 0 }
        }
        Net::Ipv4(ip) => Admitted { protocol: ip.protocol, ..admit_ip(packet, layout, ip.at, groups)? },
        Net::Ipv6(ip) => {
            check_extensions(frame, ip)?;
            Admitted { protocol: ip.protocol, ..admit_ip(packet, layout, ip.at, groups)? }
        }
        Net::None | Net::Other { .. } => return Err(Dropped::NotIp(layout.ethertype)),
    };
    for ip in [admitted.src, admitted.dst] {
        match Scope::of(ip) {
            Scope::Loopback => return Err(Dropped::Loopback),
            Scope::Invalid => return Err(Dropped::Address),
            _ => {}
        }
    }
    Ok(admitted)
}

fn admit_ip(packet: &Packet, layout: Layout, at: usize, groups: GroupPolicy) -> Result<Admitted, Dropped> {
    let frame = packet.header.as_slice();
    let Some((src, dst)) = layout.addresses(frame) else {
        return Err(Dropped::Headers(layout.stop));
    };
    if layout.l3_end().is_none_or(|end| end > packet.wire_len as usize) {
        return Err(Dropped::Length("the ip packet ends after the frame"));
    }
    if Scope::of(src) == Scope::Group || Scope::of(dst) == Scope::Unspecified {
        return Err(Dropped::Address);
    }
    check_transport(frame, &layout, src.is_ipv4())?;
    if groups == GroupPolicy::Drop {
        let routed =
            |ip| matches!(Scope::of(ip), Scope::Local | Scope::Global | Scope::Loopback | Scope::Invalid);
        let link_scope = match layout.transport {
            Transport::Icmpv6 { at } => icmp::is_link_scope(frame[at]),
            Transport::Igmp { .. } => true,
            _ => false,
        };
        if !routed(src) || !routed(dst) || to_mac(frame).is_group() || link_scope {
            return Err(Dropped::Group);
        }
    }
    Ok(Admitted { layout, net_at: at, src, dst, protocol: 0 })
}

/// Only protocols whose every byte is known, each over the IP version that it belongs to.
fn check_transport(frame: &[u8], layout: &Layout, v4: bool) -> Result<(), Dropped> {
    let end = layout.l3_end().unwrap_or(frame.len());
    match layout.transport {
        Transport::Tcp { .. } | Transport::Udp { .. } => Ok(()),
        Transport::Icmp { at } if v4 => icmp::check_v4(&frame[at..], end - at),
        Transport::Icmpv6 { at } if !v4 => icmp::check_v6(&frame[at..], end - at),
        Transport::Igmp { at } if v4 => igmp::check(&frame[at..]),
        Transport::Icmp { .. } => Err(Dropped::Protocol(protocol::ICMP)),
        Transport::Icmpv6 { .. } => Err(Dropped::Protocol(protocol::ICMPV6)),
        Transport::Igmp { .. } => Err(Dropped::Protocol(protocol::IGMP)),
        Transport::Other { protocol, .. } => Err(Dropped::Protocol(protocol)),
        // A later fragment, or nothing at all.
        Transport::None => {
            let number = match layout.net {
                Net::Ipv4(ip) => ip.protocol,
                Net::Ipv6(ip) => ip.protocol,
                _ => protocol::NO_NEXT,
            };
            let known = match number {
                protocol::TCP | protocol::UDP => true,
                protocol::ICMP => v4,
                protocol::ICMPV6 => !v4,
                _ => false,
            };
            if known && layout.fragment().is_some() { Ok(()) } else { Err(Dropped::Protocol(number)) }
        }
    }
}

/// Extension headers may be hop-by-hop, destination options and fragments. A routing header lists addresses of
/// hosts on the way, the others (authentication, mobility, HIP, SHIM6) sign or carry addresses.
fn check_extensions(frame: &[u8], ip: Ipv6Layout) -> Result<(), Dropped> {
    for extension in ip.extensions(frame) {
        match extension.number {
            protocol::HOP_BY_HOP | protocol::DESTINATION | protocol::FRAGMENT => {}
            protocol::ROUTING => return Err(Dropped::SourceRoute),
            other => return Err(Dropped::Protocol(other)),
        }
    }
    Ok(())
}
