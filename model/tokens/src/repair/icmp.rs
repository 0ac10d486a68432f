//! ICMP (RFC 792) and ICMPv6 (RFC 4443): known types and codes, errors with a quote, the rest with its exact body.

use netssm_wire::bytes::{be16, be32};
use std::net::Ipv4Addr;

use netssm_wire::address_class::Block;
use netssm_wire::quote::is_quote_for;

use super::{
    Part, RepairDrop, RepairKind, clear_checksum, counts::Fixes, discovery, ip::Around, quote::History,
};
use crate::packet::shape::ICMP_BYTES;

/// Smallest MTU that a path may have (RFC 791 for IPv4; RFC 8200 for IPv6).
const LEAST_MTU_V4: u16 = 68;
const LEAST_MTU_V6: u32 = 1280;
/// Replaces an impossible MTU. Tunnels commonly leave this much of 1500 bytes.
const TUNNEL_MTU: u16 = 1400;
/// A timestamp message: eight bytes of header, three times four of time.
const TIMESTAMP_BYTES: usize = 20;

pub(super) fn v4(
    rest: &[u8],
    around: &Around,
    history: &History,
    fixes: &mut Fixes,
) -> Result<Part, RepairDrop> {
    let mut header = rest.get(..ICMP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    clear_checksum(&mut header, 2);
    let codes = match header[0] {
        0 | 8 | 13 | 14 => 1,
        3 => 16,
        5 => 4,
        11 => 2,
        12 => 3,
        _ => return Err(RepairDrop::Protocol),
    };
    if header[1] >= codes {
        fixes.set(RepairKind::IcmpCode, &mut header[1], 0);
    }
    match header[0] {
        3 if header[1] == 4 => {
            fixes.put(RepairKind::IcmpFields, &mut header, 4, &[0, 0]);
            if be16(&header, 6).unwrap_or_default() < LEAST_MTU_V4 {
                fixes.put(RepairKind::IcmpFields, &mut header, 6, &TUNNEL_MTU.to_be_bytes());
            }
        }
        3 | 11 => fixes.put(RepairKind::IcmpFields, &mut header, 4, &[0; 4]),
        12 => fixes.put(RepairKind::IcmpFields, &mut header, 5, &[0; 3]),
        5 => {
            let gateway = Ipv4Addr::from(be32(&header, 4).unwrap_or_default());
            if matches!(
                Block::of_v4(gateway),
                Block::Unspecified | Block::Multicast | Block::Reserved | Block::Broadcast
            ) {
                return Err(RepairDrop::Address);
            }
        }
        13 | 14 => return Ok(Part { header, len: TIMESTAMP_BYTES }),
        _ => return Ok(Part { header, len: around.length(ICMP_BYTES) }),
    }
    // Only the destination itself reports that a port or protocol is unreachable.
    let on_path = !(header[0] == 3 && matches!(header[1], 2 | 3));
    error(header, rest, around, history, on_path, fixes)
}

pub(super) fn v6(
    rest: &[u8],
    around: &Around,
    history: &History,
    fixes: &mut Fixes,
) -> Result<Part, RepairDrop> {
    let mut header = rest.get(..ICMP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    clear_checksum(&mut header, 2);
    let codes = match header[0] {
        1 => 7,
        3 => 2,
        4 => 3,
        2 | 128..=137 | 143 => 1,
        _ => return Err(RepairDrop::Protocol),
    };
    if header[1] >= codes {
        fixes.set(RepairKind::IcmpCode, &mut header[1], 0);
    }
    match header[0] {
        1 | 3 => fixes.put(RepairKind::IcmpFields, &mut header, 4, &[0; 4]),
        2 => {
            let mtu = be32(&header, 4).unwrap_or_default();
            if !(LEAST_MTU_V6..=u32::from(u16::MAX)).contains(&mtu) {
                fixes.put(RepairKind::IcmpFields, &mut header, 4, &u32::from(TUNNEL_MTU).to_be_bytes());
            }
        }
        4 => {}
        128 | 129 => return Ok(Part { header, len: around.length(ICMP_BYTES) }),
        _ => return discovery::repair(header, rest, around, fixes),
    }
    let on_path = !(header[0] == 1 && header[1] == 4);
    error(header, rest, around, history, on_path, fixes)
}

/// An error about an earlier packet. It keeps a valid quote; otherwise it quotes a packet that the session sent.
fn error(
    mut header: Vec<u8>,
    rest: &[u8],
    around: &Around,
    history: &History,
    on_path: bool,
    fixes: &mut Fixes,
) -> Result<Part, RepairDrop> {
    if around.to_group() || around.source.is_unspecified() {
        return Err(RepairDrop::Address);
    }
    let declared = rest.get(ICMP_BYTES..around.declared.clamp(ICMP_BYTES, rest.len())).unwrap_or_default();
    if is_quote_for(declared, around.destination)
        && around.declared <= rest.len()
        && around.declared <= around.limit
    {
        header.extend_from_slice(declared);
        return Ok(Part::whole(header));
    }
    let quote =
        history.quote(around.source, around.destination, on_path).ok_or(RepairDrop::NothingToQuote)?;
    fixes.note(RepairKind::IcmpQuote);
    header.extend_from_slice(quote);
    Ok(Part::whole(header))
}
