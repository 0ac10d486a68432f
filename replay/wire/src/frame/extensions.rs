//! IPv6 extension headers: which there are, how long they are, and a walk over those of a frame.

use super::{Ipv6Layout, protocol};
use crate::bytes::array;

/// One extension header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The number by which the header before it names this one.
    pub number: u8,
    /// Offset from the start of the frame.
    pub at: usize,
    /// Its length in bytes, 8 or more.
    pub len: usize,
}

impl Ipv6Layout {
    /// The extension headers between the fixed header and what [`Ipv6Layout::protocol`] names. `frame` must be the one
    /// that this was found in: then each of them is there to its end.
    pub fn extensions(self, frame: &[u8]) -> impl Iterator<Item = Extension> + '_ {
        let mut number = frame.get(self.at + 6).copied().unwrap_or(protocol::NO_NEXT);
        let mut at = self.at + 40;
        std::iter::from_fn(move || {
            if at >= self.transport_at {
                return None;
            }
            let [next, field] = array(frame, at)?;
            let extension = Extension { number, at, len: extension_len(number, field) };
            (number, at) = (next, at + extension.len);
            Some(extension)
        })
    }
}

/// Whether `number` names an IPv6 extension header with a length that can be skipped. ESP is not one: what it holds is
/// encrypted.
pub(super) fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}

/// Bytes of an extension header with the given length field: units of 8 beyond the first 8 (RFC 8200), of 4 beyond the
/// first 8 for authentication (RFC 4302), and always 8 for fragments.
pub(super) fn extension_len(number: u8, field: u8) -> usize {
    match number {
        protocol::FRAGMENT => 8,
        protocol::AUTHENTICATION => (usize::from(field) + 2) * 4,
        _ => (usize::from(field) + 1) * 8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, Net};

    #[test]
    fn a_chain_is_walked_to_its_end() {
        // Hop-by-hop, destination options of 16 bytes, authentication of 16, then UDP.
        let mut packet = vec![0x60, 0, 0, 0, 0, 48, 0, 64];
        packet.extend([0xfd; 32]);
        packet.extend([60, 0, 5, 2, 0, 0, 1, 0]);
        packet.extend([51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([17, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4]);
        packet.extend([0xc3, 0x50, 0, 53, 0, 8, 0, 0]);
        let Net::Ipv6(ip) = Layout::parse_ip(&packet).net else { panic!("no IPv6") };
        let found: Vec<_> = ip.extensions(&packet).map(|e| (e.number, e.at, e.len)).collect();
        assert_eq!(found, [(0, 40, 8), (60, 48, 16), (51, 64, 16)]);
        assert_eq!((ip.protocol, ip.transport_at), (17, 80));
    }
}
