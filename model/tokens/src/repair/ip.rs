//! IPv4 and IPv6. Repair makes lengths agree, drops impossible addresses, and removes what stands between the IP header
//! and the transport header, except a router alert.

use netssm_wire::bytes::{be16, put};
use netssm_wire::frame::protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Part, Repair, RepairDrop, RepairKind, clear_checksum, counts::Fixes, discovery, icmp, igmp, tcp, udp,
};
use crate::packet::shape::{IPV4_BYTES, IPV6_BYTES};
use netssm_wire::MacAddr;
use netssm_wire::address_class::{Block, is_group};

const DEFAULT_TTL: u8 = 64;
const RESERVED_FLAG: u16 = 0x8000;
const DF: u16 = 0x4000;
/// RFC 2113.
const ROUTER_ALERT_V4: [u8; 4] = [netssm_wire::ipv4::ROUTER_ALERT, 4, 0, 0];
/// RFC 2711, as multicast listener discovery sends it: eight bytes with the padding, next header first.
const ROUTER_ALERT_V6: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];

/// What the repair of a transport header needs to know of the IP packet.
pub(super) struct Around {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// Length after the IP headers as the model declared it, in bytes. It may be any number.
    pub(super) declared: usize,
    /// Largest length after the IP headers that fits in a frame, in bytes.
    pub(super) limit: usize,
}

impl Around {
    /// The declared length, at least `least` and at most what fits.
    pub(super) fn length(&self, least: usize) -> usize {
        self.declared.max(least).min(self.limit)
    }

    pub(super) fn to_group(&self) -> bool {
        is_group(self.destination)
    }
}

type Net = (Part, Option<[u8; 6]>);

impl Repair {
    pub(super) fn ipv4(&self, rest: &[u8], link: &[u8], fixes: &mut Fixes) -> Result<Net, RepairDrop> {
        let mut header = rest.get(..IPV4_BYTES).ok_or(RepairDrop::Short)?.to_vec();
        if header[0] >> 4 != 4 {
            fixes.note(RepairKind::IpVersion);
        }
        let declared_len = usize::from(header[0] & 0x0f) * 4;
        let old_len = if (IPV4_BYTES..=rest.len()).contains(&declared_len) {
            declared_len
        } else {
            fixes.note(RepairKind::IpHeaderLength);
            IPV4_BYTES
        };
        let options = &rest[IPV4_BYTES..old_len];
        if options.windows(4).step_by(4).any(|option| option == ROUTER_ALERT_V4) {
            header.extend_from_slice(&ROUTER_ALERT_V4);
        }
        if header[IPV4_BYTES..] != *options {
            fixes.note(RepairKind::IpOptions);
        }
        header[0] = 0x40 | (header.len() / 4) as u8;

        let fragment = be16(&header, 6).unwrap_or_default();
        if fragment & RESERVED_FLAG != 0 {
            fixes.note(RepairKind::IpReservedFlag);
        }
        if fragment & !(RESERVED_FLAG | DF) != 0 {
            fixes.note(RepairKind::Fragment);
        }
        put(&mut header, 6, &(fragment & DF).to_be_bytes());
        if header[8] == 0 {
            fixes.set(RepairKind::Ttl, &mut header[8], DEFAULT_TTL);
        }
        clear_checksum(&mut header, 10);

        let ip = |at: usize| {
            header[at..].first_chunk::<4>().copied().map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from)
        };
        let (source, destination) = (ip(12), ip(16));
        let protocol = header[9];
        check_v4(source, destination, protocol)?;
        let total_len = usize::from(be16(&header, 2).unwrap_or_default());
        let around = Around {
            source: source.into(),
            destination: destination.into(),
            declared: total_len.saturating_sub(old_len),
            limit: self.max_packet_bytes - header.len(),
        };
        let transport = &rest[old_len..];
        let part = match protocol {
            protocol::TCP if !around.to_group() => tcp::repair(transport, &around, fixes)?,
            protocol::TCP => return Err(RepairDrop::Address),
            protocol::UDP => udp::repair(transport, &around, fixes)?,
            protocol::ICMP => icmp::v4(transport, &around, &self.history, fixes)?,
            protocol::IGMP if around.to_group() => {
                fixes.set(RepairKind::Ttl, &mut header[8], 1);
                igmp::repair(transport, fixes)?
            }
            protocol::IGMP => return Err(RepairDrop::Address),
            _ => return Err(RepairDrop::Protocol),
        };
        // A removed option changes the length too. That counts as the same repair.
        if part.len != around.declared {
            fixes.note(RepairKind::IpLength);
        }
        let len = header.len() + part.len;
        put(&mut header, 2, &(len as u16).to_be_bytes());
        header.extend(part.header);
        Ok((Part { header, len }, mac_v4(destination, link)))
    }

    pub(super) fn ipv6(&self, rest: &[u8], link: &[u8], fixes: &mut Fixes) -> Result<Net, RepairDrop> {
        let mut header = rest.get(..IPV6_BYTES).ok_or(RepairDrop::Short)?.to_vec();
        if header[0] >> 4 != 6 {
            fixes.set(RepairKind::IpVersion, &mut header[0], 0x60);
        }
        if header[7] == 0 {
            fixes.set(RepairKind::Ttl, &mut header[7], DEFAULT_TTL);
        }
        let ip = |at: usize| {
            header[at..].first_chunk::<16>().copied().map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)
        };
        let (source, destination) = (ip(8), ip(24));
        let mut declared = usize::from(be16(&header, 4).unwrap_or_default());
        let mut transport = &rest[IPV6_BYTES..];
        let mut protocol = header[6];
        let mut alert = false;
        while protocol == protocol::HOP_BY_HOP {
            let &[next, units, ..] = transport else { return Err(RepairDrop::Short) };
            let len = (usize::from(units) + 1) * 8;
            let (extension, after) = transport.split_at_checked(len).ok_or(RepairDrop::Short)?;
            if !alert && extension == ROUTER_ALERT_V6 {
                alert = true;
            } else {
                fixes.note(RepairKind::ExtensionHeader);
            }
            (protocol, transport, declared) = (next, after, declared.saturating_sub(len));
        }
        check_v6(source, destination, protocol)?;
        let kept = alert && protocol == protocol::ICMPV6;
        let extension_bytes = if kept { ROUTER_ALERT_V6.len() } else { 0 };
        let limit = self.max_packet_bytes - IPV6_BYTES - extension_bytes;
        let around = Around { source: source.into(), destination: destination.into(), declared, limit };
        let mut hops = header[7];
        let part = match protocol {
            protocol::TCP if !around.to_group() => tcp::repair(transport, &around, fixes)?,
            protocol::TCP => return Err(RepairDrop::Address),
            protocol::UDP => udp::repair(transport, &around, fixes)?,
            protocol::ICMPV6 => {
                let &kind = transport.first().ok_or(RepairDrop::Short)?;
                if let Some(demanded) = discovery::hop_limit(kind) {
                    hops = demanded;
                }
                icmp::v6(transport, &around, &self.history, fixes)?
            }
            _ => return Err(RepairDrop::Protocol),
        };
        fixes.set(RepairKind::Ttl, &mut header[7], hops);
        if part.len != around.declared {
            fixes.note(RepairKind::IpLength);
        }
        let mut len = part.len;
        header[6] = protocol;
        if kept {
            header[6] = protocol::HOP_BY_HOP;
            header.extend_from_slice(&ROUTER_ALERT_V6);
            len += ROUTER_ALERT_V6.len();
        } else if alert {
            fixes.note(RepairKind::ExtensionHeader);
        }
        put(&mut header, 4, &(len as u16).to_be_bytes());
        header.extend(part.header);
        Ok((Part { header, len: IPV6_BYTES + len }, mac_v6(destination, link)))
    }
}

/// Drops addresses that no packet on a wire has.
fn check_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Result<(), RepairDrop> {
    let reserved = |ip| Block::of_v4(ip) == Block::Reserved;
    let no_source = is_group(source.into()) || reserved(source) || source.is_loopback();
    // A host without an address speaks DHCP and, while it joins its groups, IGMP.
    let nameless = source.is_unspecified() && !matches!(protocol, protocol::UDP | protocol::IGMP);
    let no_destination = destination.is_unspecified() || destination.is_loopback() || reserved(destination);
    if no_source || nameless || no_destination || source == destination {
        Err(RepairDrop::Address)
    } else {
        Ok(())
    }
}

fn check_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8) -> Result<(), RepairDrop> {
    let no_source = source.is_multicast() || source.is_loopback();
    let nameless = source.is_unspecified() && protocol != protocol::ICMPV6;
    let no_destination = destination.is_unspecified() || destination.is_loopback();
    // ::a.b.c.d and ::ffff:a.b.c.d never travel (RFC 4291 section 2.5.5, RFC 4942 section 2.2).
    let embedded = |ip: Ipv6Addr| !ip.is_unspecified() && ip.octets()[..10] == [0; 10];
    let absurd = embedded(source) || embedded(destination) || source == destination;
    if no_source || nameless || no_destination || absurd { Err(RepairDrop::Address) } else { Ok(()) }
}

/// The MAC address that an IP destination demands, if it is a group or the frame goes to a group.
fn mac_v4(destination: Ipv4Addr, link: &[u8]) -> Option<[u8; 6]> {
    let octets = destination.octets();
    let group = MacAddr::of_group(destination.into()).map(|mac| mac.0);
    group.or_else(|| unicast(link, octets[3] == 255, octets))
}

fn mac_v6(destination: Ipv6Addr, link: &[u8]) -> Option<[u8; 6]> {
    let [.., a, b, c, d] = destination.octets();
    let group = MacAddr::of_group(destination.into()).map(|mac| mac.0);
    group.or_else(|| unicast(link, false, [a, b, c, d]))
}

/// A frame to one host must not go to a group MAC: it gets a locally administered one, made from the host's address.
/// The broadcast MAC stays for an address that may be the broadcast address of a subnet.
fn unicast(link: &[u8], may_broadcast: bool, [a, b, c, d]: [u8; 4]) -> Option<[u8; 6]> {
    let broadcast = may_broadcast && link.starts_with(&[0xff; 6]);
    (link[0] & 1 == 1 && !broadcast).then_some([0x02, 0x00, a, b, c, d])
}
