//! Neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710, 3810): messages whose body matters.

use netssm_wire::bytes::be16;
use std::net::Ipv6Addr;

use super::{Part, RepairDrop, RepairKind, counts::Fixes, ip::Around};
use crate::packet::shape::{ICMP_BYTES, MESSAGE_LIMIT_BYTES};

const MLD_BYTES: usize = 24;
const MLD_QUERY_V2_BYTES: usize = 28;
const RECORD_BYTES: usize = 20;

/// The hop limit that a message must have. 255 proves that a neighbour sent it (RFC 4861 section 7.1); 1 keeps listener
/// messages on the link (RFC 3810 section 5).
pub(super) fn hop_limit(kind: u8) -> Option<u8> {
    match kind {
        133..=137 => Some(255),
        130..=132 | 143 => Some(1),
        _ => None,
    }
}

/// Repairs the message that starts with `header`. `rest` is the whole message.
pub(super) fn repair(
    mut header: Vec<u8>,
    rest: &[u8],
    around: &Around,
    fixes: &mut Fixes,
) -> Result<Part, RepairDrop> {
    let fixed_len = match header[0] {
        130..=132 => return listener(header, rest, around, fixes),
        143 => return listener_report(header, rest, fixes),
        133 => 8,
        134 => 16,
        135 | 136 => 24,
        _ => 40,
    };
    header.extend_from_slice(rest.get(ICMP_BYTES..fixed_len).ok_or(RepairDrop::Short)?);
    if matches!(header[0], 133 | 135 | 137) {
        fixes.put(RepairKind::IcmpFields, &mut header, 4, &[0; 4]);
    }
    // The target; a redirect has the destination after it.
    let addresses = if header[0] == 134 { 0 } else { (fixed_len - ICMP_BYTES) / 16 };
    for index in 0..addresses {
        let address = address(&header, ICMP_BYTES + 16 * index);
        if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            return Err(RepairDrop::Message);
        }
    }
    let declared = around.declared.clamp(fixed_len, rest.len().max(fixed_len)).min(MESSAGE_LIMIT_BYTES);
    let options = &rest[fixed_len..declared];
    // A solicitation from the unspecified address must not name its sender (RFC 4861 section 4.3).
    let nameless = around.source.is_unspecified();
    let legal = legal_options(options, nameless);
    if legal != options {
        fixes.note(RepairKind::MessageBody);
    }
    header.extend(legal);
    Ok(Part::whole(header))
}

fn address(bytes: &[u8], at: usize) -> Ipv6Addr {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<16>).map_or(Ipv6Addr::UNSPECIFIED, |&octets| octets.into())
}

/// The options that parse and are known, one of each kind.
fn legal_options(mut rest: &[u8], nameless: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seen = 0_u32;
    while let [kind, units, ..] = *rest {
        let len = usize::from(units) * 8;
        let Some((option, after)) = rest.split_at_checked(len).filter(|_| len > 0) else { break };
        let fits = match (kind, len) {
            (1, 8) => !nameless && option[2] & 1 == 0,
            (2, 8) => option[2] & 1 == 0,
            // A prefix of at most 128 bits that is no group.
            (3, 32) => option[2] <= 128 && !address(option, 16).is_multicast(),
            (5, 8) => true,
            (25, 24) => !address(option, 8).is_multicast() && !address(option, 8).is_unspecified(),
            _ => false,
        };
        if fits && seen & 1 << kind == 0 {
            seen |= 1 << kind;
            out.extend_from_slice(option);
        }
        rest = after;
    }
    out
}

fn listener(
    mut header: Vec<u8>,
    rest: &[u8],
    around: &Around,
    fixes: &mut Fixes,
) -> Result<Part, RepairDrop> {
    header.extend_from_slice(rest.get(ICMP_BYTES..MLD_BYTES).ok_or(RepairDrop::Short)?);
    let group = address(&header, ICMP_BYTES);
    let general_query = header[0] == 130 && group.is_unspecified();
    if !group.is_multicast() && !general_query {
        return Err(RepairDrop::Message);
    }
    fixes.put(RepairKind::IcmpFields, &mut header, 6, &[0, 0]);
    if let (130, Some(extra)) = (header[0], rest.get(MLD_BYTES..MLD_QUERY_V2_BYTES))
        && around.declared >= MLD_QUERY_V2_BYTES
    {
        header.extend_from_slice(extra);
        fixes.put(RepairKind::MessageBody, &mut header, MLD_BYTES + 2, &[0, 0]);
    }
    Ok(Part::whole(header))
}

fn listener_report(mut header: Vec<u8>, rest: &[u8], fixes: &mut Fixes) -> Result<Part, RepairDrop> {
    fixes.put(RepairKind::IcmpFields, &mut header, 4, &[0, 0]);
    let promised = be16(&header, 6).unwrap_or_default();
    let mut kept = 0_u16;
    for record in rest[ICMP_BYTES..].chunks_exact(RECORD_BYTES).take(usize::from(promised)) {
        if !(1..=6).contains(&record[0]) || !address(record, 4).is_multicast() {
            break;
        }
        let at = header.len();
        header.extend_from_slice(record);
        fixes.put(RepairKind::MessageBody, &mut header, at + 1, &[0, 0, 0]);
        kept += 1;
    }
    if kept == 0 {
        return Err(RepairDrop::Message);
    }
    fixes.put(RepairKind::MessageBody, &mut header, 6, &kept.to_be_bytes());
    Ok(Part::whole(header))
}
