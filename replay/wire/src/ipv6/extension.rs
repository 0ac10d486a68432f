//! IPv6 extension headers, kept byte for byte.
//!
//! etherparse's `Ipv6Extensions` holds one header of each kind in a fixed order and drops reserved bits; a
//! chain on the wire may repeat and reorder them. So an extension is its number and its bytes here, and
//! etherparse's types read them.

use etherparse::{IpAuthHeader, Ipv6FragmentHeader};

use crate::frame::{extension_len, is_extension, protocol};

/// One extension header: its number, and all its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    number: u8,
    bytes: Vec<u8>,
}

impl Extension {
    /// From a number that names an extension header and exactly its bytes, the length field agreeing.
    pub fn new(number: u8, bytes: &[u8]) -> Option<Extension> {
        let whole = is_extension(number) && Self::claimed_len(number, bytes) == Some(bytes.len());
        whole.then(|| Extension { number, bytes: bytes.to_vec() })
    }

    /// The length that the header at the start of `bytes` claims; `None` when 8 bytes are not there.
    pub(super) fn claimed_len(number: u8, bytes: &[u8]) -> Option<usize> {
        bytes.get(..8).map(|head| extension_len(number, head[1]))
    }

    /// Takes the header off the front; `None` when it is not all there.
    pub(super) fn split(number: u8, bytes: &[u8]) -> Option<(Extension, &[u8])> {
        let (head, rest) = bytes.split_at_checked(Self::claimed_len(number, bytes)?)?;
        Some((Extension { number, bytes: head.to_vec() }, rest))
    }

    /// The number by which the header before it names this one.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// All bytes, the next-header field first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows.
    pub fn next_header(&self) -> u8 {
        self.bytes[0] // a header has 8 bytes or more by construction
    }

    pub(super) fn set_next_header(&mut self, number: u8) {
        self.bytes[0] = number;
    }

    /// As a fragment header.
    pub fn fragment(&self) -> Option<Ipv6FragmentHeader> {
        if self.number != protocol::FRAGMENT {
            return None;
        }
        Ipv6FragmentHeader::from_slice(&self.bytes).ok().map(|(header, _)| header)
    }

    /// As an authentication header; `None` also when its length leaves no room for the fields of one.
    pub fn authentication(&self) -> Option<IpAuthHeader> {
        if self.number != protocol::AUTHENTICATION {
            return None;
        }
        IpAuthHeader::from_slice(&self.bytes).ok().map(|(header, _)| header)
    }

    /// Routing type, segments left, and the type's data after the first 4 bytes.
    pub fn routing(&self) -> Option<(u8, u8, &[u8])> {
        (self.number == protocol::ROUTING).then(|| (self.bytes[2], self.bytes[3], &self.bytes[4..]))
    }

    /// The options of a hop-by-hop or destination options header; none for other kinds.
    pub fn options(&self) -> ExtensionOptions<'_> {
        let has = matches!(self.number, protocol::HOP_BY_HOP | protocol::DESTINATION);
        ExtensionOptions { rest: if has { &self.bytes[2..] } else { &[] } }
    }
}

/// One option of a hop-by-hop or destination options header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionOption<'a> {
    /// One byte of padding.
    Pad1,
    /// Any other, PadN (1) too; data without type and length.
    Other {
        /// Type.
        kind: u8,
        /// Data.
        data: &'a [u8],
    },
    /// A length that does not fit; nothing after it can be told apart.
    Malformed(&'a [u8]),
}

/// Walks the options (RFC 8200 section 4.2).
#[derive(Clone, Debug)]
pub struct ExtensionOptions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ExtensionOptions<'a> {
    type Item = ExtensionOption<'a>;

    fn next(&mut self) -> Option<ExtensionOption<'a>> {
        let (&kind, after) = self.rest.split_first()?;
        if kind == 0 {
            self.rest = after;
            return Some(ExtensionOption::Pad1);
        }
        let data = after.split_first().and_then(|(&len, data)| data.split_at_checked(usize::from(len)));
        let Some((data, rest)) = data else {
            return Some(ExtensionOption::Malformed(std::mem::take(&mut self.rest)));
        };
        self.rest = rest;
        Some(ExtensionOption::Other { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_agree() {
        assert!(Extension::new(protocol::ROUTING, &[6, 0, 0, 0, 0, 0, 0, 0]).is_some());
        assert!(Extension::new(protocol::ROUTING, &[6, 1, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(Extension::new(protocol::ROUTING, &[6, 0, 0, 0]).is_none());
        assert!(Extension::new(protocol::TCP, &[6, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }

    #[test]
    fn authentication_counts_in_words_of_four() {
        let bytes = [6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 0xaa, 0xbb, 0xcc, 0xdd];
        let header = Extension::new(protocol::AUTHENTICATION, &bytes).unwrap().authentication().unwrap();
        let read = (header.spi, header.sequence_number, header.raw_icv().to_vec());
        assert_eq!(read, (256, 9, vec![0xaa, 0xbb, 0xcc, 0xdd]));
        let empty = Extension::new(protocol::AUTHENTICATION, &[6, 0, 0, 0, 0, 0, 1, 0]).unwrap();
        assert_eq!(empty.authentication(), None);
    }

    #[test]
    fn options_and_routing_are_read() {
        let bytes = [58, 0, 5, 2, 0, 0, 0, 9];
        let options = Extension::new(protocol::HOP_BY_HOP, &bytes).unwrap();
        let want = [
            ExtensionOption::Other { kind: 5, data: &[0, 0] },
            ExtensionOption::Pad1,
            ExtensionOption::Malformed(&[9]),
        ];
        assert_eq!(options.options().collect::<Vec<_>>(), want);
        let routing = Extension::new(protocol::ROUTING, &[6, 0, 4, 1, 7, 7, 7, 7]).unwrap();
        assert_eq!(routing.routing(), Some((4, 1, &[7, 7, 7, 7][..])));
        assert_eq!((routing.options().next(), routing.fragment()), (None, None));
    }
}
