//! IPv4 headers with options and fragment fields.

mod options;

use std::net::Ipv4Addr;

pub use options::{Ipv4Option, Options, ROUTER_ALERT};

use crate::view::views;

views! {
    20;
    /// DSCP and ECN.
    tos, set_tos: u8 = 1..2;
    /// Length of header and payload in bytes, as it stands there.
    total_len, set_total_len: u16 = 2..4;
    /// Identification.
    id, set_id: u16 = 4..6;
    /// Flags (3 bits) and fragment offset (13 bits, units of 8 bytes).
    flags_offset, set_flags_offset: u16 = 6..8;
    /// Time to live.
    ttl, set_ttl: u8 = 8..9;
    /// Protocol number.
    protocol, set_protocol: u8 = 9..10;
    /// Header checksum.
    checksum, set_checksum: u16 = 10..12;
    /// Source address.
    src, set_src: Ipv4Addr = 12..16;
    /// Destination address.
    dst, set_dst: Ipv4Addr = 16..20;
}

impl<'a> View<'a> {
    /// Version, 4 where it is IPv4 at all.
    pub fn version(&self) -> u8 {
        self.head[0] >> 4
    }

    /// Length of the header with options in bytes, as it stands there: 0 to 60.
    pub fn header_len(&self) -> usize {
        usize::from(self.head[0] & 0x0f) * 4
    }

    /// Options, as many bytes of them as are there.
    pub fn options(&self) -> &'a [u8] {
        &self.rest[..self.header_len().saturating_sub(Self::LEN).min(self.rest.len())]
    }

    /// Do not fragment.
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset() & 0x4000 != 0
    }

    /// More fragments follow.
    pub fn more_fragments(&self) -> bool {
        self.flags_offset() & 0x2000 != 0
    }

    /// Place of this fragment's data in bytes.
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.flags_offset() & 0x1fff) * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reserved bit and more fragments set, offset 8 x 3, a router alert option.
    #[rustfmt::skip]
    const BYTES: [u8; 24] = [
        0x46, 0xb9, 0x00, 0x54, 0xbe, 0xef, 0xa0, 0x03, 64, 17, 0x12, 0x34,
        10, 0, 0, 1, 10, 0, 0, 2, 0x94, 0x04, 0x00, 0x00,
    ];

    #[test]
    fn views_read_cut_options_and_set_in_place() {
        let view = View::new(&BYTES[..22]).unwrap();
        assert_eq!((view.version(), view.header_len(), view.options()), (4, 24, &BYTES[20..22]));
        assert_eq!((view.fragment_offset(), view.more_fragments(), view.dont_fragment()), (24, true, false));
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_dst(Ipv4Addr::new(192, 0, 2, 7));
        view.set_id(1);
        view.set_ttl(3);
        assert_eq!(bytes[16..20], [192, 0, 2, 7]);
        assert_eq!((bytes[4..6].to_vec(), bytes[8]), (vec![0, 1], 3));
        bytes[0] = 0x4f;
        assert_eq!(View::new(&bytes).unwrap().options(), &bytes[20..]);
    }
}
