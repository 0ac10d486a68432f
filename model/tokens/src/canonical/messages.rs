//! ICMP, ICMPv6 and IGMP. Addresses inside messages are mapped like those of headers. Parts that the code does not know
//! are left out.
//!
//! Each function takes a captured message and returns the canonical one: whole, with checksum zero, and at most
//! [`MESSAGE_LIMIT_BYTES`] long. For messages that quote or carry a payload only the eight header bytes are returned.

use netssm_wire::bytes::{be16, put};
use netssm_wire::icmp::neighbour_fixed_len;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Hosts,
    ports::{IdSpace, Ports},
};
use crate::packet::{
    Skip,
    shape::{ICMP_BYTES, MESSAGE_LIMIT_BYTES},
};

/// A canonical message: its bytes, and whether they are all of it. If they are not, a payload follows.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) whole: bool,
}

fn header(bytes: &[u8]) -> Result<Vec<u8>, Skip> {
    let mut header = bytes.get(..ICMP_BYTES).ok_or(Skip::Cut)?.to_vec();
    put(&mut header, 2, &[0, 0]);
    Ok(header)
}

fn echo(header: &mut [u8], ports: &mut Ports) {
    let id = be16(header, 4).unwrap_or_default();
    put(header, 4, &ports.id(IdSpace::Echo, id).to_be_bytes());
}

/// RFC 792.
pub(super) fn icmp(bytes: &[u8], hosts: &mut Hosts, ports: &mut Ports) -> Result<Message, Skip> {
    let mut header = header(bytes)?;
    match (header[0], header[1]) {
        (0 | 8 | 13..=18, _) => echo(&mut header, ports),
        // Fragmentation needed: the last two bytes are the next hop's MTU (RFC 1191).
        (3, 4) => put(&mut header, 4, &[0, 0]),
        (5, _) => {
            let gateway = hosts.v4(v4_at(&header, 4)?, false)?;
            put(&mut header, 4, &gateway.octets());
        }
        (12, _) => put(&mut header, 5, &[0; 3]),
        _ => put(&mut header, 4, &[0; 4]),
    }
    Ok(Message { bytes: header, whole: false })
}

/// RFC 1112, 2236, 3376.
pub(super) fn igmp(bytes: &[u8], hosts: &mut Hosts) -> Result<Message, Skip> {
    let mut out = header(bytes)?;
    match out[0] {
        0x22 => {
            let records = be16(&out, 6).unwrap_or_default();
            let kept = records_of(&bytes[ICMP_BYTES..], records, 4, &mut out, |group| {
                hosts.v4(v4_at(group, 0)?, false).map(|group| group.octets().to_vec())
            })?;
            put(&mut out, 4, &[0, 0]);
            put(&mut out, 6, &kept.to_be_bytes());
        }
        0x11 | 0x12 | 0x16 | 0x17 => {
            let group = hosts.v4(v4_at(&out, 4)?, false)?;
            put(&mut out, 4, &group.octets());
            // A version 3 query goes on: four bytes of parameters, then sources.
            if let (0x11, Some(&parameters)) =
                (out[0], bytes.get(ICMP_BYTES..).and_then(<[u8]>::first_chunk::<4>))
            {
                out.extend_from_slice(&parameters[..2]);
                out.extend_from_slice(&[0, 0]);
            }
        }
        _ => return Err(Skip::Protocol),
    }
    Ok(Message { bytes: out, whole: true })
}

/// RFC 4443, 4861, 2710, 3810.
pub(super) fn icmpv6(bytes: &[u8], hosts: &mut Hosts, ports: &mut Ports) -> Result<Message, Skip> {
    let mut out = header(bytes)?;
    let fixed_len = match out[0] {
        1 | 3 => {
            put(&mut out, 4, &[0; 4]);
            return Ok(Message { bytes: out, whole: false });
        }
        2 | 4 => return Ok(Message { bytes: out, whole: false }),
        128 | 129 => {
            echo(&mut out, ports);
            return Ok(Message { bytes: out, whole: false });
        }
        130..=132 => {
            let group = hosts.v6(v6_at(bytes, ICMP_BYTES)?)?;
            out.extend_from_slice(&group.octets());
            if let (130, Some(&parameters)) = (out[0], bytes.get(24..).and_then(<[u8]>::first_chunk::<4>)) {
                out.extend_from_slice(&parameters[..2]);
                out.extend_from_slice(&[0, 0]);
            }
            return Ok(Message { bytes: out, whole: true });
        }
        143 => {
            let records = be16(&out, 6).unwrap_or_default();
            let kept = records_of(&bytes[ICMP_BYTES..], records, 16, &mut out, |group| {
                hosts.v6(v6_at(group, 0)?).map(|group| group.octets().to_vec())
            })?;
            put(&mut out, 4, &[0, 0]);
            put(&mut out, 6, &kept.to_be_bytes());
            return Ok(Message { bytes: out, whole: true });
        }
        kind => neighbour_fixed_len(kind).ok_or(Skip::Protocol)?,
    };
    out.extend_from_slice(bytes.get(ICMP_BYTES..fixed_len).ok_or(Skip::Cut)?);
    if matches!(out[0], 133 | 135 | 137) {
        put(&mut out, 4, &[0; 4]);
    }
    if out[0] != 134 {
        for at in (ICMP_BYTES..fixed_len).step_by(16) {
            let address = hosts.v6(v6_at(&out, at)?)?;
            put(&mut out, at, &address.octets());
        }
    }
    discovery_options(&bytes[fixed_len..], hosts, &mut out)?;
    Ok(Message { bytes: out, whole: true })
}

/// Group records of IGMPv3 and MLDv2: type, auxiliary length, number of sources, group. Sources are left out (a record
/// without sources is the common join or leave); returns how many records fit.
fn records_of(
    mut rest: &[u8],
    records: u16,
    address_len: usize,
    out: &mut Vec<u8>,
    mut map: impl FnMut(&[u8]) -> Result<Vec<u8>, Skip>,
) -> Result<u16, Skip> {
    let mut kept = 0;
    for _ in 0..records {
        let (Some(&kind), Some(&auxiliary), Some(sources)) = (rest.first(), rest.get(1), be16(rest, 2))
        else {
            break;
        };
        let Some(group) = rest.get(4..4 + address_len) else { break };
        if out.len() + 4 + address_len > MESSAGE_LIMIT_BYTES {
            break;
        }
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend(map(group)?);
        kept += 1;
        let len = 4 + address_len * (1 + usize::from(sources)) + 4 * usize::from(auxiliary);
        rest = rest.get(len..).unwrap_or_default();
    }
    if kept == 0 { Err(Skip::Malformed) } else { Ok(kept) }
}

/// Options of RFC 4861 section 4.6 and RFC 8106; unknown ones (nonces, search lists, vendor data) are left out.
fn discovery_options(mut rest: &[u8], hosts: &mut Hosts, out: &mut Vec<u8>) -> Result<(), Skip> {
    while let [kind, units, ..] = *rest {
        let len = usize::from(units) * 8;
        if len == 0 || len > rest.len() {
            break;
        }
        let (option, after) = rest.split_at(len);
        rest = after;
        if out.len() + len > MESSAGE_LIMIT_BYTES {
            continue;
        }
        let at = out.len();
        match (kind, len) {
            (1 | 2, 8) => {
                out.extend_from_slice(option);
                let mac = option[2..].first_chunk::<6>().map_or(Ok([0; 6]), |&mac| hosts.mac(mac))?;
                put(out, at + 2, &mac);
            }
            (3, 32) => {
                out.extend_from_slice(option);
                put(out, at + 12, &[0; 4]);
                put(out, at + 16, &prefix(v6_at(option, 16)?).octets());
            }
            (5, 8) => out.extend_from_slice(option),
            (25, 24) => {
                out.extend_from_slice(option);
                put(out, at + 2, &[0; 2]);
                put(out, at + 8, &hosts.v6(v6_at(option, 8)?)?.octets());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The network that mapped hosts of this scope live in.
fn prefix(address: Ipv6Addr) -> Ipv6Addr {
    if address.is_unique_local() {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)
    } else if address.is_unicast_link_local() {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)
    }
}

fn v4_at(bytes: &[u8], at: usize) -> Result<Ipv4Addr, Skip> {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|&octets| octets.into()).ok_or(Skip::Cut)
}

fn v6_at(bytes: &[u8], at: usize) -> Result<Ipv6Addr, Skip> {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<16>).map(|&octets| octets.into()).ok_or(Skip::Cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 1, 2, 0xff, 0xfe, 0xab, 0xcd, 0xef];
    const MAPPED: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn v6(bytes: &[u8]) -> Result<Vec<u8>, Skip> {
        icmpv6(bytes, &mut Hosts::default(), &mut Ports::default()).map(|message| message.bytes)
    }

    #[test]
    fn a_solicitation_loses_addresses_and_nonce() {
        let source_mac = [1, 1, 0x3c, 0x5a, 0xb4, 1, 2, 3];
        let nonce = [14, 1, 9, 8, 7, 6, 5, 4];
        let message = [&[135, 0, 0xaa, 0xbb, 0, 0, 0, 0][..], &HOST, &source_mac, &nonce].concat();
        let expected = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &MAPPED, &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
        assert_eq!(v6(&message), Ok(expected));
        assert_eq!(v6(&message[..20]), Err(Skip::Cut));
    }

    #[test]
    fn an_advertised_prefix_becomes_that_of_mapped_hosts() {
        let router = [134, 0, 9, 9, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let network = [0x2a, 2, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0];
        let prefix = [&[3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 0, 2, 0, 1, 1, 1, 1][..], &network].concat();
        let search = [31, 2, 0, 0, 0, 0, 1, 0, 4, b'c', b'o', b'r', b'p', 0, 0, 0];
        let out = v6(&[&router[..], &prefix, &search, &[5, 1, 0, 0, 0, 0, 5, 220]].concat()).expect("known");
        assert_eq!(out.len(), 16 + 32 + 8);
        assert_eq!(out[16..32], [3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(out[32..36], [0x20, 1, 0x0d, 0xb8]);
        assert!(out[36..48].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn listener_reports_keep_whole_records_without_sources() {
        let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xab, 0xcd, 0xef];
        let mapped = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
        let with_source = [&[4, 0, 0, 1][..], &group, &HOST].concat();
        let plain = [&[3, 0, 0, 0][..], &group].concat();
        let message = [&[143, 0, 9, 9, 0, 0, 0, 9][..], &with_source, &plain, &plain, &plain].concat();
        let record = |kind| [&[kind, 0, 0, 0][..], &mapped].concat();
        let expected = [vec![143, 0, 0, 0, 0, 0, 0, 3], record(4), record(3), record(3)].concat();
        assert_eq!(v6(&message), Ok(expected), "three of four fit in {MESSAGE_LIMIT_BYTES} bytes");
    }

    #[test]
    fn errors_and_echoes_are_eight_bytes() {
        let mut hosts = Hosts::default();
        let mut ports = Ports::default();
        let mut v4 = |bytes: &[u8]| icmp(bytes, &mut hosts, &mut ports).map(|message| message.bytes);
        assert_eq!(v4(&[3, 3, 1, 2, 9, 9, 9, 9, 0x45, 0]), Ok(vec![3, 3, 0, 0, 0, 0, 0, 0]));
        assert_eq!(v4(&[3, 4, 1, 2, 9, 9, 5, 120]), Ok(vec![3, 4, 0, 0, 0, 0, 5, 120]));
        assert_eq!(v4(&[5, 1, 1, 2, 192, 168, 1, 1]), Ok(vec![5, 1, 0, 0, 10, 0, 0, 1]));
        assert_eq!(v4(&[8, 0, 1, 2, 0xbe, 0xef, 0, 5]), Ok(vec![8, 0, 0, 0, 0, 1, 0, 5]));
        assert_eq!(v4(&[8, 0, 1]), Err(Skip::Cut));
    }

    #[test]
    fn group_messages_of_all_three_versions() {
        let mut hosts = Hosts::default();
        let mut map = |bytes: &[u8]| igmp(bytes, &mut hosts).map(|message| message.bytes);
        assert_eq!(map(&[0x16, 0, 9, 9, 224, 0, 0, 251]), Ok(vec![0x16, 0, 0, 0, 224, 0, 0, 251]));
        let report = [
            0x22, 0, 9, 9, 0, 0, 0, 2, 4, 0, 0, 1, 239, 255, 255, 250, 8, 8, 8, 8, 3, 0, 0, 0, 224, 0, 0, 251,
        ];
        let expected =
            [0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 239, 255, 255, 250, 3, 0, 0, 0, 224, 0, 0, 251];
        assert_eq!(map(&report), Ok(expected.to_vec()));
        assert_eq!(map(&[0x22, 0, 0, 0, 0, 0, 0, 9]), Err(Skip::Malformed), "no record at all");
        assert_eq!(map(&[0x13; 8]), Err(Skip::Protocol));
    }
}
