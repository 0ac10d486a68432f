//! What a UDP datagram must be like so that dissectors accept it as a message of the service on its port.

use super::shape::UDP_PREFIX_BYTES;
use netssm_wire::bytes::{be16, put};
use netssm_wire::ports;

/// No section of a real message in one datagram has more entries.
const MAX_DNS_ENTRIES: u16 = 128;

/// The shortest payload that dissectors accept as a message of the service on a port, in bytes. They report a shorter
/// one as malformed, whatever its bytes.
const SHORTEST: [(u16, usize); 7] = [
    // A DNS header with a question for the root: RFC 1035 section 4.1.
    (ports::DNS, UDP_PREFIX_BYTES + 5),
    (ports::MDNS, UDP_PREFIX_BYTES + 5),
    (ports::LLMNR, UDP_PREFIX_BYTES + 5),
    // BOOTP's fixed part, the magic cookie, a message type and the end: RFC 2131 section 2.
    (ports::DHCP_SERVER, 236 + 4 + 3 + 1),
    (ports::DHCP_CLIENT, 236 + 4 + 3 + 1),
    // RFC 5905 section 7.3.
    (ports::NTP, 48),
    // A name query with its 34-byte encoded name: RFC 1002 section 4.2.12.
    (ports::NETBIOS_NAME, UDP_PREFIX_BYTES + 34 + 4),
];

/// The shortest payload of a datagram between two ports, in bytes.
pub(crate) fn shortest_payload((source, destination): (u16, u16)) -> usize {
    let ours = SHORTEST.iter().filter(|(port, _)| *port == source || *port == destination);
    ours.map(|&(_, len)| len).max().unwrap_or(0)
}

/// Whether twelve bytes on a DNS port are a plausible DNS header (RFC 1035 section 4.1.1). Tunnels use these ports too.
pub(crate) fn is_dns_header(prefix: &[u8]) -> bool {
    let opcode = prefix.get(2).map_or(15, |flags| flags >> 3 & 0x0f);
    prefix.len() == 12
        && matches!(opcode, 0 | 4 | 5)
        && [4, 6, 8, 10].iter().all(|&at| be16(prefix, at).is_some_and(|count| count <= MAX_DNS_ENTRIES))
}

/// Lowers the counts of a DNS header until they fit in `room` bytes behind it, and says whether that changed any. A
/// question takes at least 5 bytes (the root's name, type, class), a record 11 (the root's name and the fixed fields).
pub(crate) fn fit_dns_counts(dns: &mut [u8], mut room: usize) -> bool {
    let mut changed = false;
    for (section, least) in [5, 11, 11, 11].into_iter().enumerate() {
        let at = 4 + 2 * section;
        let told = be16(dns, at).unwrap_or_default();
        let count = usize::from(told).min(room / least);
        room -= count * least;
        changed |= count != usize::from(told);
        put(dns, at, &(count as u16).to_be_bytes());
    }
    changed
}
