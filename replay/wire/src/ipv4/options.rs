//! IPv4 options (RFC 791 section 3.1), walked in place.
//!
//! Own code because etherparse keeps them as bytes only.

use std::net::Ipv4Addr;

use crate::options::{END, Item, NOP, item_at};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Option<'a> {
    /// End of the list, with whatever follows it.
    End {
        /// Bytes after the end mark, normally zeros.
        padding: &'a [u8],
    },
    /// No operation.
    Nop,
    /// Loose (131) or strict (137) source route, or record route (7).
    Route {
        /// Type.
        kind: u8,
        /// Place of the next address from the option's start, counted from 1.
        pointer: u8,
        /// Addresses of 4 bytes each; a rest is not one.
        route: &'a [u8],
    },
    /// Any other, data without type and length.
    Other {
        /// Type.
        kind: u8,
        /// Data.
        data: &'a [u8],
    },
    /// A length that does not fit; nothing after it can be told apart.
    Malformed(&'a [u8]),
}

/// Router alert (RFC 2113), 4 bytes: what IGMP needs.
pub const ROUTER_ALERT: u8 = 148;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;
const RECORD_ROUTE: u8 = 7;

impl Ipv4Option<'_> {
    /// The last address of a source route with hops left: where the packet is bound for in the end.
    pub fn final_destination(&self) -> Option<Ipv4Addr> {
        match *self {
            Ipv4Option::Route { kind: LOOSE_ROUTE | STRICT_ROUTE, pointer, route } => {
                // The pointer stands past the end when the route is used up.
                let left = usize::from(pointer) < route.len() + 3;
                let last = route.chunks_exact(4).next_back()?;
                left.then(|| Ipv4Addr::new(last[0], last[1], last[2], last[3]))
            }
            _ => None,
        }
    }

    /// Appends the option's bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match *self {
            Ipv4Option::End { padding } => {
                out.push(END);
                out.extend_from_slice(padding);
            }
            Ipv4Option::Nop => out.push(NOP),
            Ipv4Option::Route { kind, pointer, route } => {
                // A header has room for 40 bytes of options, so the casts here and below lose nothing legal.
                out.extend_from_slice(&[kind, (route.len() + 3) as u8, pointer]);
                out.extend_from_slice(route);
            }
            Ipv4Option::Other { kind, data } => {
                out.extend_from_slice(&[kind, (data.len() + 2) as u8]);
                out.extend_from_slice(data);
            }
            Ipv4Option::Malformed(rest) => out.extend_from_slice(rest),
        }
    }
}

/// Walks option bytes. Emitting every item in turn gives the bytes back.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// Over the bytes between the fixed header and the payload, perhaps cut.
    pub fn new(bytes: &'a [u8]) -> Self {
        Options { rest: bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Ipv4Option<'a>;

    fn next(&mut self) -> Option<Ipv4Option<'a>> {
        let (kind, len) = match item_at(self.rest, 0)? {
            Item::End => {
                let padding = &self.rest[1..];
                self.rest = &[];
                return Some(Ipv4Option::End { padding });
            }
            Item::Nop => {
                self.rest = &self.rest[1..];
                return Some(Ipv4Option::Nop);
            }
            Item::Broken => return Some(Ipv4Option::Malformed(std::mem::take(&mut self.rest))),
            Item::Option { kind, len } => (kind, len),
        };
        let (option, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(match (kind, option) {
            (RECORD_ROUTE | LOOSE_ROUTE | STRICT_ROUTE, &[_, _, pointer, ref route @ ..]) => {
                Ipv4Option::Route { kind, pointer, route }
            }
            _ => Ipv4Option::Other { kind, data: &option[2..] },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_routes_tell_the_final_destination_until_used_up() {
        let bytes = [1, 131, 11, 4, 10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 9];
        let options: Vec<_> = Options::new(&bytes).collect();
        assert_eq!(options[0], Ipv4Option::Nop);
        assert_eq!(options[1].final_destination(), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(options[2], Ipv4Option::End { padding: &[9, 9] });
        assert_eq!(options.len(), 3);
        let mut used = bytes;
        used[3] = 12;
        assert_eq!(Options::new(&used).nth(1).unwrap().final_destination(), None);
    }

    #[test]
    fn bad_lengths_end_the_walk_with_the_rest() {
        for bad in [&[7u8][..], &[7, 0], &[7, 1, 4], &[7, 9, 4]] {
            assert_eq!(Options::new(bad).collect::<Vec<_>>(), [Ipv4Option::Malformed(bad)]);
        }
        assert_eq!(
            Options::new(&[7, 2, 7, 3, 4]).collect::<Vec<_>>(),
            [Ipv4Option::Other { kind: 7, data: &[] }, Ipv4Option::Route { kind: 7, pointer: 4, route: &[] }]
        );
    }

    proptest::proptest! {
        #[test]
        fn walk_and_emit_are_inverses(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..41)) {
            let mut out = Vec::new();
            Options::new(&bytes).for_each(|option| option.emit(&mut out));
            proptest::prop_assert_eq!(out, bytes);
        }
    }
}
