//! ICMP (RFC 792) and ICMPv6 (RFC 4443): the common 8 bytes. What an error quotes is read
//! in [`quote`](crate::quote).

mod neighbour;

pub use neighbour::{NeighbourOption, neighbour_fixed_len, neighbour_options};

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

#[cfg(test)]
mod tests {
    use super::*;

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
