//! ICMP (RFC 792) and ICMPv6 (RFC 4443): the common 8 bytes, and where a packet is quoted.

mod neighbour;

use std::ops::Range;

pub use neighbour::{NeighbourOption, neighbour_options};

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

    const UNREACHABLE: [u8; 8] = [3, 4, 0x12, 0x34, 0xab, 0xcd, 5, 0xdc];

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
