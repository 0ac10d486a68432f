//! The fixed IPv6 header (RFC 8200 section 3). [`Layout`](crate::frame::Layout) follows the extension headers.

use std::net::Ipv6Addr;

use crate::view::views;

views! {
    40;
    /// Version (4 bits), traffic class (8) and flow label (20).
    first_word, set_first_word: u32 = 0..4;
    /// Length of all that follows the fixed header in bytes, as it stands there.
    payload_len, set_payload_len: u16 = 4..6;
    /// What follows the fixed header.
    next_header, set_next_header: u8 = 6..7;
    /// Hop limit.
    hop_limit, set_hop_limit: u8 = 7..8;
    /// Source address.
    src, set_src: Ipv6Addr = 8..24;
    /// Destination address.
    dst, set_dst: Ipv6Addr = 24..40;
}

impl View<'_> {
    /// Version, 6 where it is IPv6 at all.
    pub fn version(&self) -> u8 {
        self.head[0] >> 4
    }

    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (self.first_word() >> 20) as u8
    }

    /// Flow label, 20 bits.
    pub fn flow_label(&self) -> u32 {
        self.first_word() & 0x000f_ffff
    }
}

impl ViewMut<'_> {
    /// Flow label; bits above the lower 20 are ignored.
    pub fn set_flow_label(&mut self, value: u32) {
        let word = self.view().first_word() & 0xfff0_0000 | value & 0x000f_ffff;
        self.set_first_word(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hop-by-hop with a router alert, then a fragment header at offset 16 with more to come and reserved
    /// bits set, then UDP.
    #[rustfmt::skip]
    const BYTES: [u8; 56] = [
        0x6b, 0x81, 0x23, 0x45, 0, 16, 0, 64,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        44, 0, 5, 2, 0, 0, 1, 0,
        17, 0xaa, 0, 0x17, 0xde, 0xad, 0xbe, 0xef,
    ];

    #[test]
    fn views_set_in_place() {
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        assert_eq!((view.view().traffic_class(), view.view().flow_label()), (0xb8, 0x12345));
        view.set_flow_label(0xfff0_0001);
        view.set_src(Ipv6Addr::LOCALHOST);
        assert_eq!((view.view().version(), view.view().traffic_class()), (6, 0xb8));
        assert_eq!((view.view().flow_label(), view.view().src()), (1, Ipv6Addr::LOCALHOST));
        assert_eq!(bytes[24..], BYTES[24..]);
    }
}
