//! TCP headers: fixed part, options, sequence arithmetic.
//!
//! The Repr is own code because etherparse's `TcpHeader` has no place for the reserved bits, which must
//! survive a round trip, and numbers its sequence space with bare integers.

mod options;
mod seq;

use std::fmt;
use std::ops::BitOr;

pub use options::{OptionWalk, Options, TcpOption, sack_blocks};
pub use seq::Seq;

use crate::frame::Layer;
use crate::header::{Header, Wire};
use crate::view::{Field, views};

impl Field for Seq {
    fn get(bytes: &[u8]) -> Self {
        Seq(u32::get(bytes))
    }
    fn put(self, bytes: &mut [u8]) {
        self.0.put(bytes);
    }
}

views! {
    20;
    /// Source port.
    src_port, set_src_port: u16 = 0..2;
    /// Destination port.
    dst_port, set_dst_port: u16 = 2..4;
    /// Sequence number.
    seq, set_seq: Seq = 4..8;
    /// Acknowledgement number.
    ack, set_ack: Seq = 8..12;
    /// Data offset (4 bits), reserved (3), flags (9).
    offset_flags, set_offset_flags: u16 = 12..14;
    /// Window, unscaled.
    window, set_window: u16 = 14..16;
    /// Checksum.
    checksum, set_checksum: u16 = 16..18;
    /// Urgent pointer.
    urgent, set_urgent: u16 = 18..20;
}

impl<'a> View<'a> {
    /// Length of the header with options in bytes, as the data offset says: 0 to 60.
    pub fn header_len(&self) -> usize {
        usize::from(self.head[12] >> 4) * 4
    }

    /// Flags with the reserved bits.
    pub fn flags(&self) -> Flags {
        Flags::from_bits(self.offset_flags())
    }

    /// Options, as many bytes of them as are there.
    pub fn options(&self) -> &'a [u8] {
        &self.rest[..self.header_len().saturating_sub(Self::LEN).min(self.rest.len())]
    }
}

impl ViewMut<'_> {
    /// Flags with the reserved bits.
    pub fn set_flags(&mut self, flags: Flags) {
        self.set_offset_flags(self.view().offset_flags() & 0xf000 | flags.bits());
    }

    /// Options, as many bytes of them as are there.
    pub fn options_mut(&mut self) -> &mut [u8] {
        let len = self.view().options().len();
        &mut self.rest[..len]
    }
}

/// The flags, and above them the three reserved bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u16);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Flags = Flags(0x002);
    /// Reset.
    pub const RST: Flags = Flags(0x004);
    /// Push.
    pub const PSH: Flags = Flags(0x008);
    /// The acknowledgement number counts.
    pub const ACK: Flags = Flags(0x010);
    /// The urgent pointer counts.
    pub const URG: Flags = Flags(0x020);
    /// ECN echo.
    pub const ECE: Flags = Flags(0x040);
    /// Congestion window reduced.
    pub const CWR: Flags = Flags(0x080);
    /// Nonce sum of RFC 3540; accurate ECN now.
    pub const NS: Flags = Flags(0x100);

    /// The lower 12 of the bits; others are ignored.
    pub fn from_bits(bits: u16) -> Flags {
        Flags(bits & 0x0fff)
    }

    /// As 12 bits.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// How much of the sequence space the flags take: one each for SYN and FIN.
    pub fn seq_len(self) -> u32 {
        u32::from(self.contains(Flags::SYN)) + u32::from(self.contains(Flags::FIN))
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"];
        let mut list = f.debug_list();
        for (bit, name) in NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1) {
            let _ = bit;
            list.entry(&format_args!("{name}"));
        }
        if self.0 >> 9 != 0 {
            list.entry(&format_args!("reserved {:03b}", self.0 >> 9));
        }
        list.finish()
    }
}

/// A TCP header with its options; the data offset follows from these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte, or of SYN.
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// Flags and reserved bits.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Checksum, as it stands there.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options.
    pub options: Options,
}

impl Wire for Repr {
    const LAYER: Layer = Layer::Tcp;

    fn parse(bytes: &[u8]) -> Header<Repr> {
        let Some(view) = View::new(bytes) else {
            return Header::cut(bytes, View::LEN);
        };
        if view.header_len() < View::LEN {
            return Header::invalid(bytes, "data offset below 5 words");
        }
        if view.header_len() > bytes.len() {
            return Header::cut(bytes, view.header_len());
        }
        let options =
            Options::from_bytes(view.options()).expect("a data offset counts words, 10 past the fixed part");
        Header::Whole(Repr {
            src_port: view.src_port(),
            dst_port: view.dst_port(),
            seq: view.seq(),
            ack: view.ack(),
            flags: view.flags(),
            window: view.window(),
            checksum: view.checksum(),
            urgent: view.urgent(),
            options,
        })
    }

    fn emit_len(&self) -> usize {
        View::LEN + self.options.as_bytes().len()
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let words = (self.emit_len() / 4) as u16; // 5 to 15
        out.extend_from_slice(&self.src_port.to_be_bytes());
        out.extend_from_slice(&self.dst_port.to_be_bytes());
        out.extend_from_slice(&self.seq.0.to_be_bytes());
        out.extend_from_slice(&self.ack.0.to_be_bytes());
        out.extend_from_slice(&(words << 12 | self.flags.bits()).to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&self.checksum.to_be_bytes());
        out.extend_from_slice(&self.urgent.to_be_bytes());
        out.extend_from_slice(self.options.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SYN with one reserved bit and NS set, and an MSS option.
    #[rustfmt::skip]
    const BYTES: [u8; 24] = [
        0xc0, 0x00, 0x01, 0xbb, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x63, 0x02, 0xfa, 0xf0,
        0x12, 0x34, 0x00, 0x01, 2, 4, 5, 0xb4,
    ];

    fn built() -> Repr {
        Repr {
            src_port: 49152,
            dst_port: 443,
            seq: Seq(u32::MAX),
            ack: Seq(0),
            flags: Flags::from_bits(0x200) | Flags::NS | Flags::SYN,
            window: 64240,
            checksum: 0x1234,
            urgent: 1,
            options: Options::from_list(&[TcpOption::MaxSegmentSize(1460)]).unwrap(),
        }
    }

    #[test]
    fn reads_and_builds_every_bit() {
        assert_eq!(Repr::parse(&BYTES), Header::Whole(built()));
        let mut out = vec![0xee];
        built().emit(&mut out);
        assert_eq!(out[1..], BYTES);
        assert_eq!(format!("{:?}", built().flags), "[SYN, NS, reserved 001]");
        assert_eq!(built().flags.seq_len(), 1);
    }

    #[test]
    fn cut_and_invalid_headers_keep_their_bytes() {
        assert_eq!(Repr::parse(&BYTES[..22]), Header::Cut { bytes: BYTES[..22].to_vec(), need: 24 });
        assert_eq!(Repr::parse(&BYTES[..2]), Header::Cut { bytes: BYTES[..2].to_vec(), need: 20 });
        let mut bad = BYTES;
        bad[12] = 0x40;
        let why = "data offset below 5 words";
        assert_eq!(Repr::parse(&bad), Header::Invalid { bytes: bad.to_vec(), why });
    }

    #[test]
    fn views_read_cut_options_and_set_in_place() {
        let view = View::new(&BYTES[..22]).unwrap();
        assert_eq!((view.header_len(), view.options(), view.seq()), (24, &BYTES[20..22], Seq(u32::MAX)));
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_flags(Flags::SYN | Flags::ACK);
        view.set_ack(Seq(7));
        view.options_mut()[2..].copy_from_slice(&1400u16.to_be_bytes());
        let Header::Whole(read) = Repr::parse(&bytes) else { panic!("not whole") };
        assert_eq!((read.flags, read.ack), (Flags::SYN | Flags::ACK, Seq(7)));
        assert_eq!(read.options.iter().next(), Some((0, TcpOption::MaxSegmentSize(1400))));
    }
}
