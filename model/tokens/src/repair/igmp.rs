//! IGMP (RFC 1112, 2236, 3376): whole messages about groups.

use netssm_wire::bytes::{be16, be32};
use std::net::Ipv4Addr;

use super::{Part, RepairDrop, RepairKind, clear_checksum, counts::Fixes};
use crate::packet::shape::ICMP_BYTES;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;
const QUERY_V3_BYTES: usize = 12;
const RECORD_BYTES: usize = 8;

/// Repairs a message. Its length follows from its type, so the declared one does not matter.
pub(super) fn repair(rest: &[u8], fixes: &mut Fixes) -> Result<Part, RepairDrop> {
    let mut out = rest.get(..ICMP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    clear_checksum(&mut out, 2);
    let group = |bytes: &[u8], at: usize| Ipv4Addr::from(be32(bytes, at).unwrap_or_default());
    match out[0] {
        QUERY => {
            // A general query names no group.
            let asked = group(&out, 4);
            if !asked.is_multicast() && !asked.is_unspecified() {
                return Err(RepairDrop::Message);
            }
            // Version 3 adds robustness, interval and sources; of the latter we send none.
            if let Some(extra) = rest.get(ICMP_BYTES..QUERY_V3_BYTES)
                && rest.len() == QUERY_V3_BYTES
            {
                out.extend_from_slice(extra);
                fixes.put(RepairKind::MessageBody, &mut out, ICMP_BYTES + 2, &[0, 0]);
            }
        }
        REPORT_V1 | REPORT_V2 | LEAVE => {
            if !group(&out, 4).is_multicast() {
                return Err(RepairDrop::Message);
            }
        }
        REPORT_V3 => {
            fixes.put(RepairKind::MessageBody, &mut out, 1, &[0]);
            fixes.put(RepairKind::MessageBody, &mut out, 4, &[0, 0]);
            let promised = be16(&out, 6).unwrap_or_default();
            let mut kept = 0_u16;
            for record in rest[ICMP_BYTES..].chunks_exact(RECORD_BYTES).take(usize::from(promised)) {
                if !(1..=6).contains(&record[0]) || !group(record, 4).is_multicast() {
                    break;
                }
                let at = out.len();
                out.extend_from_slice(record);
                fixes.put(RepairKind::MessageBody, &mut out, at + 1, &[0, 0, 0]);
                kept += 1;
            }
            if kept == 0 {
                return Err(RepairDrop::Message);
            }
            fixes.put(RepairKind::MessageBody, &mut out, 6, &kept.to_be_bytes());
        }
        _ => return Err(RepairDrop::Protocol),
    }
    Ok(Part::whole(out))
}
