//! Headers and options that list further addresses: routes that a packet shall take or has taken.

/// Whether IPv4 options hold a source route, a recorded route or timestamps of hosts, or cannot be read.
pub(super) fn lists_addresses(mut options: &[u8]) -> bool {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return false,
            1 => options = rest,
            // Record route, timestamp, loose and strict source route (RFC 791 section 3.1).
            7 | 68 | 131 | 137 => return true,
            _ => {
                let len = rest.first().map_or(0, |&l| usize::from(l));
                if len < 2 || len > options.len() {
                    return true;
                }
                options = &options[len..];
            }
        }
    }
    false
}

/// Whether the chain of extension headers of an IPv6 packet (given up to its upper layer) has a routing
/// header.
pub(super) fn has_routing_header(packet: &[u8]) -> bool {
    let Some(&first) = packet.get(6) else { return false };
    let (mut next, mut at) = (first, 40);
    loop {
        match next {
            43 => return true,
            0 | 60 | 135 | 139 | 140 => {
                let Some(&[n, len]) = packet.get(at..at + 2) else { return false };
                (next, at) = (n, at + 8 + 8 * usize::from(len));
            }
            44 => {
                let Some(&n) = packet.get(at) else { return false };
                (next, at) = (n, at + 8);
            }
            51 => {
                let Some(&[n, len]) = packet.get(at..at + 2) else { return false };
                (next, at) = (n, at + 4 * (usize::from(len) + 2));
            }
            _ => return false,
        }
    }
}
