//! TCP headers: fixed part, options, sequence arithmetic.
//!
//! Own code because etherparse's `TcpHeader` has no place for the reserved bits, which must survive a round
//! trip, and numbers its sequence space with bare integers.

mod options;
mod seq;

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

pub use options::{MAX_WINDOW_SHIFT, OptionWalk, TcpOption, kind, sack_blocks};
pub use seq::Seq;

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

    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// The lower 12 of the bits; others are ignored.
    #[inline]
    pub const fn from_bits(bits: u16) -> Flags {
        Flags(bits & 0x0fff)
    }

    /// From the header's byte 13, which has all flags but NS and the reserved bits.
    #[inline]
    pub const fn from_byte(byte: u8) -> Flags {
        Flags(byte as u16)
    }

    /// As 12 bits.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// As the header's byte 13: without NS and the reserved bits.
    #[inline]
    pub const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// Whether all of `other` are set.
    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Flags) -> bool {
        self.0 & other.0 != 0
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

impl BitAnd for Flags {
    type Output = Flags;

    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

/// All the other flags and reserved bits.
impl Not for Flags {
    type Output = Flags;

    fn not(self) -> Flags {
        Flags::from_bits(!self.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// SYN with one reserved bit and NS set, and an MSS option.
    #[rustfmt::skip]
    const BYTES: [u8; 24] = [
        0xc0, 0x00, 0x01, 0xbb, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x63, 0x02, 0xfa, 0xf0,
        0x12, 0x34, 0x00, 0x01, 2, 4, 5, 0xb4,
    ];

    #[test]
    fn views_read_cut_options_and_set_in_place() {
        let view = View::new(&BYTES[..22]).unwrap();
        assert_eq!((view.header_len(), view.options(), view.seq()), (24, &BYTES[20..22], Seq(u32::MAX)));
        let mut bytes = BYTES;
        let mut view = ViewMut::new(&mut bytes).unwrap();
        view.set_flags(Flags::SYN | Flags::ACK);
        view.set_ack(Seq(7));
        view.options_mut()[2..].copy_from_slice(&1400u16.to_be_bytes());
        let read = View::new(&bytes).unwrap();
        assert_eq!((read.flags(), read.ack()), (Flags::SYN | Flags::ACK, Seq(7)));
        assert_eq!(OptionWalk::new(read.options()).next(), Some((0, TcpOption::MaxSegmentSize(1400))));
    }
}
