//! UDP headers (RFC 768). The length follows the IP length, and is at least that of the shortest message of the port's
//! service.

use super::{Part, RepairDrop, RepairKind, counts::Fixes, ip::Around};
use crate::packet::{
    shape::{UDP_BYTES, UDP_PREFIX_BYTES},
    udp::{fit_dns_counts, is_dns_header, shortest_payload},
};
use netssm_wire::bytes::{be16, put};
use netssm_wire::ports::is_dns;

pub(super) fn repair(rest: &[u8], around: &Around, fixes: &mut Fixes) -> Result<Part, RepairDrop> {
    let mut header = rest.get(..UDP_BYTES).ok_or(RepairDrop::Short)?.to_vec();
    let (source, destination) = (be16(&header, 0).unwrap_or_default(), be16(&header, 2).unwrap_or_default());
    if source == 0 || destination == 0 {
        return Err(RepairDrop::Port);
    }
    let least = shortest_payload((source, destination)) + UDP_BYTES;
    let len = around.length(least);
    if around.declared >= UDP_BYTES && around.declared < least {
        fixes.note(RepairKind::UdpPayload);
    }
    fixes.put(RepairKind::UdpLength, &mut header, 4, &(len as u16).to_be_bytes());
    put(&mut header, 6, &[0, 0]);
    // A DNS header is the only payload that is kept of what the model wrote.
    if is_dns(source, destination)
        && around.declared >= UDP_BYTES + UDP_PREFIX_BYTES
        && let Some(prefix) = rest.get(UDP_BYTES..UDP_BYTES + UDP_PREFIX_BYTES)
        && is_dns_header(prefix)
    {
        header.extend_from_slice(prefix);
        if fit_dns_counts(&mut header[UDP_BYTES..], len - UDP_BYTES - UDP_PREFIX_BYTES) {
            fixes.note(RepairKind::DnsCounts);
        }
    }
    Ok(Part { header, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(ports: (u16, u16), payload: &[u8], declared: usize) -> (Result<Part, RepairDrop>, Fixes) {
        let mut bytes = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), [0, 99], [7, 7]].concat();
        bytes.extend_from_slice(payload);
        let around =
            Around { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), declared, limit: 1480 };
        let mut fixes = Fixes::default();
        (repair(&bytes, &around, &mut fixes), fixes)
    }

    #[test]
    fn the_length_is_the_packets_and_other_payload_is_not_kept() {
        let (part, _) = udp((49_152, 443), &[9; 12], 508);
        let part = part.expect("legal");
        assert_eq!(
            (part.len, part.header),
            (508, [&49_152_u16.to_be_bytes()[..], &[1, 187, 1, 252, 0, 0]].concat())
        );
        assert_eq!(udp((0, 443), &[], 8).0.map(|part| part.len), Err(RepairDrop::Port));
    }

    #[test]
    fn dns_counts_fit_in_the_payload() {
        let prefix = [0, 1, 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 2];
        let (part, _) = udp((53, 49_152), &prefix, 8 + 12 + 5 + 25);
        assert_eq!(part.expect("legal").header[8..], [0, 1, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        let (part, _) = udp((53, 49_152), &prefix, 9);
        assert_eq!(
            part.map(|part| (part.len, part.header.len())),
            Ok((25, 8)),
            "zero padding is no DNS header"
        );
    }
}
