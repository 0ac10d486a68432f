//! IPv4 headers with options and fragment fields.

mod options;

use std::net::Ipv4Addr;

use etherparse::Ipv4Header;
use etherparse::err::ipv4::{HeaderError, HeaderSliceError};

pub use options::{Ipv4Option, Options};

use crate::frame::Layer;
use crate::header::{Header, Wire};
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

/// An IPv4 header with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    /// All fields but one; lengths and checksum as they stand in the header.
    pub header: Ipv4Header,
    /// The reserved flag (RFC 3514 has an opinion), which etherparse's header has no field for.
    pub reserved: bool,
}

impl Repr {
    /// The options.
    pub fn options(&self) -> Options<'_> {
        Options::new(self.header.options.as_slice())
    }
}

impl Wire for Repr {
    const LAYER: Layer = Layer::Ipv4;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        match Ipv4Header::from_slice(bytes) {
            Ok((header, _)) => Header::Whole(Repr { header, reserved: bytes[6] & 0x80 != 0 }),
            Err(HeaderSliceError::Len(error)) => Header::cut(bytes, error.required_len),
            Err(HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. })) => {
                Header::invalid(bytes, "version is not 4")
            }
            Err(HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. })) => {
                Header::invalid(bytes, "header length below 20 bytes")
            }
        }
    }

    fn emit_len(&self) -> usize {
        self.header.header_len()
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let mut bytes = self.header.to_bytes();
        if let (true, Some(flags)) = (self.reserved, bytes.get_mut(6)) {
            *flags |= 0x80;
        }
        out.extend_from_slice(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpFragOffset, IpNumber};

    /// Reserved bit and more fragments set, offset 8 x 3, a router alert option.
    #[rustfmt::skip]
    const BYTES: [u8; 24] = [
        0x46, 0xb9, 0x00, 0x54, 0xbe, 0xef, 0xa0, 0x03, 64, 17, 0x12, 0x34,
        10, 0, 0, 1, 10, 0, 0, 2, 0x94, 0x04, 0x00, 0x00,
    ];

    fn built() -> Repr {
        let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        header.dscp = 46.try_into().unwrap();
        header.ecn = 1.try_into().unwrap();
        header.total_len = 84;
        header.identification = 0xbeef;
        header.dont_fragment = false;
        header.more_fragments = true;
        header.fragment_offset = IpFragOffset::try_new(3).unwrap();
        header.header_checksum = 0x1234;
        header.options = [0x94, 4, 0, 0].into();
        Repr { header, reserved: true }
    }

    #[test]
    fn reads_and_builds_every_bit() {
        assert_eq!(Repr::parse(&BYTES), Header::Whole(built()));
        let mut out = vec![0xee];
        built().emit(&mut out);
        assert_eq!(out[1..], BYTES);
        assert_eq!(built().options().collect::<Vec<_>>(), [Ipv4Option::Other { kind: 0x94, data: &[0, 0] }]);
    }

    #[test]
    fn cut_and_invalid_headers_keep_their_bytes() {
        assert_eq!(Repr::parse(&BYTES[..23]), Header::Cut { bytes: BYTES[..23].to_vec(), need: 24 });
        assert_eq!(Repr::parse(&BYTES[..3]), Header::Cut { bytes: BYTES[..3].to_vec(), need: 20 });
        let mut short = BYTES;
        short[0] = 0x44;
        let why = "header length below 20 bytes";
        assert_eq!(Repr::parse(&short), Header::Invalid { bytes: short.to_vec(), why });
        short[0] = 0x66;
        assert!(matches!(Repr::parse(&short), Header::Invalid { why: "version is not 4", .. }));
    }

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
