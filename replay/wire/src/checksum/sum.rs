//! Ones' complement arithmetic: the running sum and the value stored in a header, as two types.
//!
//! The trap of this checksum is that the sum and the field are complements of each other, and that both are
//! just 16 bits. So [`Sum`] is what one adds to, [`Stored`] what stands in a header, and each turns into the
//! other only by name. The byte order of the machine cancels out (RFC 1071 section 2 (B)), which is why the
//! sum below is kept in native order by `etherparse`'s word adder and swapped once at the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::u64_16bit_word as word;

/// A running ones' complement sum of 16-bit words (RFC 1071), not yet complemented.
///
/// ```
/// use netssm_wire::checksum::Sum;
/// // the worked example of RFC 1071 section 3
/// let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
/// assert_eq!(sum.folded(), 0xddf2);
/// assert_eq!(sum.stored().0, !0xddf2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last one is padded with zero, so only the last call may have an odd length.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Sum(word::add_slice(self.0, bytes))
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        Sum(word::add_2bytes(self.0, value.to_be_bytes()))
    }

    /// Adds a 32-bit value as two words.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        Sum(word::add_4bytes(self.0, value.to_be_bytes()))
    }

    /// Adds the pseudo-header of TCP and UDP over IPv4 (RFC 9293 section 3.1). `len` is that of the transport
    /// header and its data in bytes.
    #[must_use]
    pub fn pseudo_v4(self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Self {
        self.bytes(&src.octets()).bytes(&dst.octets()).u16(u16::from(protocol)).u16(len)
    }

    /// Adds the pseudo-header of upper layers over IPv6 (RFC 8200 section 8.1). `len` is that of the
    /// upper-layer header and its data in bytes.
    #[must_use]
    pub fn pseudo_v6(self, src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, len: u32) -> Self {
        self.bytes(&src.octets()).bytes(&dst.octets()).u32(u32::from(protocol)).u32(len)
    }

    /// Adds the pseudo-header of the addresses' IP version; `None` where their versions differ. `len` is that of the
    /// transport header and its data in bytes; over IPv4 it is below 65,536.
    pub fn pseudo(self, src: IpAddr, dst: IpAddr, protocol: u8, len: u32) -> Option<Self> {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Some(self.pseudo_v4(src, dst, protocol, len as u16)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Some(self.pseudo_v6(src, dst, protocol, len)),
            _ => None,
        }
    }

    /// The sum in 16 bits, carries added back. A sum over data with its right checksum in place is 0xffff.
    pub fn folded(self) -> u16 {
        !self.stored().0
    }

    /// What belongs in the header: the complement.
    pub fn stored(self) -> Stored {
        Stored(u16::from_be(word::ones_complement(self.0)))
    }
}

/// A checksum as it stands in a header, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored(pub u16);

impl Stored {
    /// The checksum after the covered bytes `old` became `new`, without looking at the rest (RFC 1624
    /// equation 3). Both start at an even offset of the covered data; an odd last byte is padded with zero.
    /// They may differ in length where that is accounted for in the covered data as well.
    ///
    /// Not for a UDP checksum of 0, which means that there is none. Equation 3 may give 0 where the full sum
    /// gives 0xffff, so UDP takes [`Stored::udp`] of the result.
    #[must_use]
    pub fn replace(self, old: &[u8], new: &[u8]) -> Stored {
        // HC' = ~(~HC + ~m + m'). The complement of a sum of words is the sum of their complements.
        let without = Sum::default().u16(!self.0).u16(!Sum::default().bytes(old).folded());
        without.bytes(new).stored()
    }

    /// As UDP transmits it: 0 would mean "no checksum", so it becomes 0xffff (RFC 768).
    #[must_use]
    pub fn udp(self) -> Stored {
        if self.0 == 0 { Stored(0xffff) } else { self }
    }
}
