//! UDP headers (RFC 768): the length is the IP packet's, and long enough for what the port carries.

use super::{Dropped, Part, RepairKind, counts::Fixes, ip::Around};
use crate::{
    canonical::is_dns_header,
    codec::shape::{UDP_BYTES, UDP_PREFIX_BYTES, be16, is_dns, put},
};

/// The shortest payload that dissectors take for a message of the service on a port. Below it every tool reports the
/// packet as malformed, whatever its bytes are.
const SHORTEST: [(u16, usize); 7] = [
    // A DNS header with a question for the root: RFC 1035 section 4.1.
    (53, UDP_PREFIX_BYTES + 5),
    (5353, UDP_PREFIX_BYTES + 5),
    (5355, UDP_PREFIX_BYTES + 5),
    // BOOTP's fixed part, the magic cookie, a message type and the end: RFC 2131 section 2.
    (67, 236 + 4 + 3 + 1),
    (68, 236 + 4 + 3 + 1),
    // RFC 5905 section 7.3.
    (123, 48),
    // A name query with its 34-byte encoded name: RFC 1002 section 4.2.12.
    (137, UDP_PREFIX_BYTES + 34 + 4),
];

pub(super) fn repair(rest: &[u8], around: &Around, fixes: &mut Fixes) -> Result<Part, Dropped> {
    let mut header = rest.get(..UDP_BYTES).ok_or(Dropped::Short)?.to_vec();
    let (source, destination) = (be16(&header, 0).unwrap_or_default(), be16(&header, 2).unwrap_or_default());
    if source == 0 || destination == 0 {
        return Err(Dropped::Port);
    }
    let least = SHORTEST
        .iter()
        .filter(|(port, _)| *port == source || *port == destination)
        .map(|&(_, len)| len)
        .max();
    let least = least.unwrap_or(0) + UDP_BYTES;
    let len = around.length(least);
    if around.declared >= UDP_BYTES && around.declared < least {
        fixes.note(RepairKind::UdpPayload);
    }
    fixes.put(RepairKind::UdpLength, &mut header, 4, &(len as u16).to_be_bytes());
    put(&mut header, 6, &[0, 0]);
    // The only payload bytes that are the model's: a DNS header, if it is one.
    if is_dns(source, destination)
        && let Some(prefix) = rest.get(UDP_BYTES..UDP_BYTES + UDP_PREFIX_BYTES)
        && is_dns_header(prefix)
    {
        header.extend_from_slice(prefix);
    }
    Ok(Part { header, len })
}
