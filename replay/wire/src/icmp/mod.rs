//! ICMP and ICMPv6: the common 8 bytes, what the types mean, and where a packet is quoted.
//!
//! The Repr is own code because etherparse's `Icmpv4Header` and `Icmpv6Header` drop the fields that a type
//! leaves unused, which are not always zero on the wire. What a message means is still etherparse's to say:
//! [`Repr::message_v4`], [`Repr::message_v6`].

mod neighbour;

use std::ops::Range;

use etherparse::{Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type};

pub use neighbour::{NeighbourOption, neighbour_options};

use crate::frame::Layer;
use crate::header::{Header, Wire};
use crate::view::views;

views! {
    8;
    /// Type.
    kind, set_kind: u8 = 0..1;
    /// Code.
    code, set_code: u8 = 1..2;
    /// Checksum.
    checksum, set_checksum: u16 = 2..4;
    /// Bytes 4 to 7 as a number; for an echo, identifier and sequence number.
    word, set_word: u32 = 4..8;
    /// Identifier of an echo.
    echo_id, set_echo_id: u16 = 4..6;
    /// Sequence number of an echo.
    echo_seq, set_echo_seq: u16 = 6..8;
}

/// Which ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// ICMP (RFC 792).
    V4,
    /// ICMPv6 (RFC 4443).
    V6,
}

/// The first 8 bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum, as it stands there.
    pub checksum: u16,
    /// What bytes 4 to 7 hold depends on the type.
    pub word: [u8; 4],
}

impl Repr {
    fn bytes(&self) -> [u8; 8] {
        let [a, b] = self.checksum.to_be_bytes();
        let [c, d, e, f] = self.word;
        [self.kind, self.code, a, b, c, d, e, f]
    }

    /// What the header says as ICMP. Timestamp messages, whose fields lie beyond the 8 bytes, are `Unknown`
    /// here.
    pub fn message_v4(&self) -> Icmpv4Type {
        match Icmpv4Header::from_slice(&self.bytes()) {
            Ok((header, _)) => header.icmp_type,
            Err(_) => Icmpv4Type::Unknown { type_u8: self.kind, code_u8: self.code, bytes5to8: self.word },
        }
    }

    /// What the header says as ICMPv6.
    pub fn message_v6(&self) -> Icmpv6Type {
        match Icmpv6Header::from_slice(&self.bytes()) {
            Ok((header, _)) => header.icmp_type,
            Err(_) => Icmpv6Type::Unknown { type_u8: self.kind, code_u8: self.code, bytes5to8: self.word },
        }
    }
}

/// A message header of either version; the layer named in messages is that of ICMP.
impl Wire for Repr {
    const LAYER: Layer = Layer::Icmp;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        match View::new(bytes) {
            Some(view) => Header::Whole(Repr {
                kind: view.kind(),
                code: view.code(),
                checksum: view.checksum(),
                word: view.word().to_be_bytes(),
            }),
            None => Header::cut(bytes, View::LEN),
        }
    }

    fn emit_len(&self) -> usize {
        View::LEN
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }
}

/// Where in `message` (from the ICMP header on) the packet stands that an error quotes.
///
/// It goes to the end of the message, or to where the length of RFC 4884 says that extensions begin. `None`
/// for messages that are not errors, and for an error cut before the first byte of the quote.
pub fn quoted(version: Version, message: &[u8]) -> Option<Range<usize>> {
    let view = View::new(message)?;
    let [first, second, ..] = view.word().to_be_bytes();
    let quotes = match version {
        Version::V4 => matches!(view.kind(), 3 | 4 | 5 | 11 | 12),
        // Redirect (137) quotes inside an option: see `neighbour_options`.
        Version::V6 => matches!(view.kind(), 1..=4),
    };
    if !quotes || view.rest().is_empty() {
        return None;
    }
    let len = match (version, view.kind()) {
        (Version::V4, 3 | 11 | 12) => usize::from(second) * 4,
        (Version::V6, 1 | 3) => usize::from(first) * 8,
        _ => 0,
    };
    let end = if len == 0 { message.len() } else { (View::LEN + len).min(message.len()) };
    Some(View::LEN..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::icmpv4::DestUnreachableHeader;

    const UNREACHABLE: [u8; 8] = [3, 4, 0x12, 0x34, 0xab, 0xcd, 5, 0xdc];

    #[test]
    fn reads_builds_and_means() {
        let built = Repr { kind: 3, code: 4, checksum: 0x1234, word: [0xab, 0xcd, 5, 0xdc] };
        assert_eq!(Repr::parse(&UNREACHABLE), Header::Whole(built));
        let mut out = vec![0xee];
        built.emit(&mut out);
        assert_eq!(out[1..], UNREACHABLE);
        let meant = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1500 };
        assert_eq!(built.message_v4(), Icmpv4Type::DestinationUnreachable(meant));
        assert_eq!(Repr::parse(&UNREACHABLE[..7]), Header::Cut { bytes: UNREACHABLE[..7].to_vec(), need: 8 });
        let timestamp = Repr { kind: 13, code: 0, ..built };
        assert!(matches!(timestamp.message_v4(), Icmpv4Type::Unknown { type_u8: 13, .. }));
        let too_big = Repr { kind: 2, code: 0, checksum: 0, word: [0, 0, 5, 0] };
        assert_eq!(too_big.message_v6(), Icmpv6Type::PacketTooBig { mtu: 1280 });
    }

    #[test]
    fn quotes_end_where_extensions_begin() {
        let mut message = UNREACHABLE.to_vec();
        assert_eq!(quoted(Version::V4, &message), None);
        message.extend([0; 200]);
        message[5] = 32;
        assert_eq!(quoted(Version::V4, &message), Some(8..136));
        message[5] = 0;
        assert_eq!(quoted(Version::V4, &message), Some(8..208));
        message[5] = 255;
        assert_eq!(quoted(Version::V4, &message), Some(8..208));
        message[0] = 8;
        assert_eq!(quoted(Version::V4, &message), None);
        (message[0], message[4]) = (1, 3);
        assert_eq!(quoted(Version::V6, &message), Some(8..32));
    }

    #[test]
    fn views_set_in_place() {
        let mut bytes = [8, 0, 0, 0, 0, 1, 0, 2, 9];
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_echo_id(0x0a0b);
        view.set_kind(0);
        let view = View::new(&bytes).unwrap();
        assert_eq!(
            (view.echo_id(), view.echo_seq(), view.word(), view.rest()),
            (0xa0b, 2, 0xa0b0002, &[9][..])
        );
    }
}
