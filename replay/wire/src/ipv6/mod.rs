//! IPv6 headers with their chain of extension headers.

mod extension;

use std::net::Ipv6Addr;

use etherparse::Ipv6Header;
use etherparse::err::ipv6::HeaderSliceError;

pub use extension::{Extension, ExtensionOption, ExtensionOptions};

use crate::frame::{Layer, MAX_EXTENSIONS, is_extension};
use crate::header::{Header, Wire};
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

/// An IPv6 header and its extension headers in order.
///
/// `header.next_header` and each extension name what follows them; [`Repr::new`] makes them agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    header: Ipv6Header,
    extensions: Vec<Extension>,
}

impl Repr {
    /// A header followed by the given extensions, then by `upper`. `None` when `upper` names an extension
    /// header itself, or there are more of them than are followed.
    pub fn new(header: Ipv6Header, extensions: Vec<Extension>, upper: u8) -> Option<Repr> {
        let mut repr = Repr { header, extensions };
        (repr.extensions.len() <= MAX_EXTENSIONS && !is_extension(upper)).then(|| {
            repr.set_chain(upper);
            repr
        })
    }

    /// The fixed header.
    pub fn header(&self) -> &Ipv6Header {
        &self.header
    }

    /// The fixed header for changing. Its `next_header` is overwritten when it is emitted if it disagrees
    /// with the first extension.
    pub fn header_mut(&mut self) -> &mut Ipv6Header {
        &mut self.header
    }

    /// The extension headers.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The protocol number after the last extension header.
    pub fn upper(&self) -> u8 {
        self.extensions.last().map_or(self.header.next_header.0, Extension::next_header)
    }

    /// The last fragment header that fragments, if any.
    pub fn fragment(&self) -> Option<etherparse::Ipv6FragmentHeader> {
        self.extensions.iter().rev().filter_map(Extension::fragment).find(|f| f.is_fragmenting_payload())
    }

    fn set_chain(&mut self, upper: u8) {
        let mut next = upper;
        for extension in self.extensions.iter_mut().rev() {
            extension.set_next_header(next);
            next = extension.number();
        }
        self.header.next_header.0 = next;
    }
}

impl Wire for Repr {
    const LAYER: Layer = Layer::Ipv6;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        let (header, mut rest) = match Ipv6Header::from_slice(bytes) {
            Ok(read) => read,
            Err(HeaderSliceError::Len(error)) => return Header::cut(bytes, error.required_len),
            Err(HeaderSliceError::Content(_)) => return Header::invalid(bytes, "version is not 6"),
        };
        let end = View::LEN + usize::from(header.payload_length);
        let mut repr = Repr { header, extensions: Vec::new() };
        let mut at = View::LEN;
        loop {
            let number = repr.upper();
            // What follows in a later fragment is not a header.
            if !is_extension(number) || repr.fragment().is_some_and(|f| f.fragment_offset.value() > 0) {
                return Header::Whole(repr);
            }
            if repr.extensions.len() == MAX_EXTENSIONS {
                return Header::invalid(bytes, "more extension headers than are followed");
            }
            // The first 8 bytes tell the length; without them it is at least 8.
            let need = at + Extension::claimed_len(number, rest).unwrap_or(8);
            if need > end {
                return Header::invalid(bytes, "extension header beyond the payload length");
            }
            let Some((extension, after)) = Extension::split(number, rest) else {
                return Header::cut(bytes, need);
            };
            at = need;
            repr.extensions.push(extension);
            rest = after;
        }
    }

    fn emit_len(&self) -> usize {
        View::LEN + self.extensions.iter().map(|e| e.bytes().len()).sum::<usize>()
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let mut header = self.header.clone();
        if let Some(first) = self.extensions.first() {
            header.next_header.0 = first.number();
        }
        out.extend_from_slice(&header.to_bytes());
        for extension in &self.extensions {
            out.extend_from_slice(extension.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::protocol;
    use etherparse::{IpNumber, Ipv6FlowLabel};

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

    fn built() -> Repr {
        let header = Ipv6Header {
            traffic_class: 0xb8,
            flow_label: Ipv6FlowLabel::try_new(0x12345).unwrap(),
            payload_length: 16,
            next_header: IpNumber(0),
            hop_limit: 64,
            source: BYTES[8..24].try_into().unwrap(),
            destination: BYTES[24..40].try_into().unwrap(),
        };
        let extensions = vec![
            Extension::new(protocol::HOP_BY_HOP, &BYTES[40..48]).unwrap(),
            Extension::new(protocol::FRAGMENT, &BYTES[48..]).unwrap(),
        ];
        Repr::new(header, extensions, protocol::UDP).unwrap()
    }

    #[test]
    fn reads_and_builds_a_chain() {
        assert_eq!(Repr::parse(&BYTES), Header::Whole(built()));
        let mut out = vec![0xee];
        built().emit(&mut out);
        assert_eq!((&out[1..], built().emit_len()), (&BYTES[..], 56));
        let fragment = built().fragment().unwrap();
        assert_eq!((fragment.fragment_offset.value(), fragment.more_fragments), (2, true));
        assert_eq!((fragment.identification, built().upper()), (0xdead_beef, protocol::UDP));
    }

    #[test]
    fn a_chain_is_made_to_agree() {
        let mut extensions = built().extensions().to_vec();
        extensions.reverse();
        let repr = Repr::new(built().header().clone(), extensions, protocol::TCP).unwrap();
        let numbers: Vec<_> = repr.extensions().iter().map(Extension::next_header).collect();
        assert_eq!((repr.header().next_header.0, numbers), (protocol::FRAGMENT, vec![0, protocol::TCP]));
        assert_eq!(Repr::new(built().header().clone(), Vec::new(), protocol::ROUTING), None);
    }

    #[test]
    fn cut_and_invalid_chains_keep_their_bytes() {
        for (len, need) in [(0, 40), (39, 40), (40, 48), (47, 48), (48, 56), (55, 56)] {
            assert_eq!(Repr::parse(&BYTES[..len]), Header::Cut { bytes: BYTES[..len].to_vec(), need });
        }
        let mut short = BYTES;
        short[5] = 15;
        let why = "extension header beyond the payload length";
        assert_eq!(Repr::parse(&short), Header::Invalid { bytes: short.to_vec(), why });
        let mut endless = BYTES[..40].to_vec();
        endless[5] = 255;
        endless.extend([0, 0, 1, 4, 0, 0, 0, 0].repeat(30));
        let why = "more extension headers than are followed";
        assert_eq!(Repr::parse(&endless), Header::Invalid { bytes: endless.clone(), why });
    }

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
