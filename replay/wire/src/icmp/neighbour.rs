//! Options of neighbour discovery (RFC 4861), found by offset so that addresses in them can be rewritten in
//! place.
//!
//! Own code because etherparse's iterator gives typed copies without their place.

/// One option of a neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourOption<'a> {
    /// Offset from the start of the ICMPv6 message.
    pub at: usize,
    /// Type: 1 and 2 are link-layer addresses, 3 a prefix, 4 the redirected packet, 5 the MTU.
    pub kind: u8,
    /// Everything after type and length, as much of it as is there.
    pub data: &'a [u8],
}

/// Bytes of a neighbour discovery message before its options, by its type; `None` for other types.
pub fn neighbour_fixed_len(kind: u8) -> Option<usize> {
    match kind {
        133 => Some(8),        // router solicitation
        134 => Some(16),       // router advertisement
        135 | 136 => Some(24), // neighbour solicitation, advertisement
        137 => Some(40),       // redirect
        _ => None,
    }
}

/// The options of a neighbour discovery message, from the ICMPv6 header on; none for other messages. A length
/// of zero ends the walk; the last option may be cut.
pub fn neighbour_options(message: &[u8]) -> impl Iterator<Item = NeighbourOption<'_>> {
    let mut at = message.first().and_then(|kind| neighbour_fixed_len(*kind)).unwrap_or(message.len());
    std::iter::from_fn(move || {
        let (&kind, &words) = (message.get(at)?, message.get(at + 1)?);
        if words == 0 {
            return None;
        }
        let end = at + usize::from(words) * 8;
        let option = NeighbourOption { at, kind, data: &message[at + 2..end.min(message.len())] };
        at = end;
        Some(option)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_by_place() {
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend([0xfe; 16]);
        message.extend([1, 1, 2, 0, 0, 0, 0, 1]);
        message.extend([9, 2, 7]);
        let found: Vec<_> = neighbour_options(&message).collect();
        assert_eq!(found[0], NeighbourOption { at: 24, kind: 1, data: &[2, 0, 0, 0, 0, 1] });
        assert_eq!(found[1], NeighbourOption { at: 32, kind: 9, data: &[7] });
        assert_eq!(found.len(), 2);
        message[0] = 128;
        assert_eq!(neighbour_options(&message).count(), 0);
        assert_eq!(neighbour_options(&[133, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]).count(), 0);
        assert_eq!(neighbour_options(&[133, 0, 0, 0, 0, 0, 0, 0, 1]).count(), 0);
    }
}
