//! Classes of host addresses. The model sees the class of an address and nothing else of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netssm_wire::address_class::Block;
use netssm_wire::splitmix;

/// A kind of address. The order is that of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HostClass {
    /// RFC 1918.
    Private,
    /// Any other unicast.
    Public,
    /// 224.0.0.0/4.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// 169.254.0.0/16.
    LinkLocal,
    /// 127.0.0.0/8.
    Loopback,
    /// 0.0.0.0.
    Zero,
    /// 2000::/3.
    GlobalV6,
    /// fe80::/10.
    LinkLocalV6,
    /// ff00::/8.
    MulticastV6,
    /// fc00::/7.
    UniqueLocalV6,
    /// Any other, the unspecified address among them.
    OtherV6,
}

/// Addresses with the same meaning in every network: groups, broadcast, unspecified. They are the first entries of
/// every address book, so a model can tell multicast DNS from service discovery (RFC 5771, RFC 6762, RFC 4795, UPnP,
/// RFC 3376; RFC 4291, RFC 3810, RFC 8415).
pub(super) const COMMON_HOSTS: [IpAddr; 14] = [
    v4(255, 255, 255, 255),
    v4(0, 0, 0, 0),
    v4(224, 0, 0, 251),
    v4(239, 255, 255, 250),
    v4(224, 0, 0, 252),
    v4(224, 0, 0, 22),
    v4(224, 0, 0, 1),
    v4(224, 0, 0, 2),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    group(0xfb),
    group(0x16),
    group(0x02),
    group(0x01),
    group(0x1_0002),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// A group of link-local scope.
const fn group(id: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, (id >> 16) as u16, id as u16))
}

impl HostClass {
    /// All classes in the order of the alphabet.
    pub const ALL: [HostClass; 12] = [
        Self::Private,
        Self::Public,
        Self::Multicast,
        Self::Broadcast,
        Self::LinkLocal,
        Self::Loopback,
        Self::Zero,
        Self::GlobalV6,
        Self::LinkLocalV6,
        Self::MulticastV6,
        Self::UniqueLocalV6,
        Self::OtherV6,
    ];

    /// The class of an address.
    pub fn of(address: IpAddr) -> Self {
        match (Block::of(address), address.is_ipv4()) {
            (Block::Unspecified, true) => Self::Zero,
            (Block::Broadcast, _) => Self::Broadcast,
            (Block::Multicast, true) => Self::Multicast,
            (Block::Loopback, true) => Self::Loopback,
            (Block::LinkLocal, true) => Self::LinkLocal,
            (Block::Private, _) => Self::Private,
            // This includes shared, documentation and reserved addresses, for which the alphabet has no class.
            (_, true) => Self::Public,
            (Block::Multicast, false) => Self::MulticastV6,
            (Block::LinkLocal, false) => Self::LinkLocalV6,
            (Block::UniqueLocal, _) => Self::UniqueLocalV6,
            (Block::Global | Block::Documentation, false) => Self::GlobalV6,
            (_, false) => Self::OtherV6,
        }
    }

    /// Whether addresses of the class are IPv4.
    pub fn is_v4(self) -> bool {
        (self as u8) < Self::GlobalV6 as u8
    }

    /// Whether such an address names a group and can only be a destination.
    pub fn is_group(self) -> bool {
        matches!(self, Self::Multicast | Self::Broadcast | Self::MulticastV6)
    }

    /// Whether such hosts are behind the gateway.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::Public | Self::GlobalV6)
    }

    /// Whether a generated packet may come from such a host.
    pub fn may_send(self) -> bool {
        matches!(
            self,
            Self::Private
                | Self::Public
                | Self::LinkLocal
                | Self::GlobalV6
                | Self::LinkLocalV6
                | Self::UniqueLocalV6
        )
    }

    /// Draws the `index`-th value of a class: an IPv4 address in the low 32 bits, or the high or the low half of an
    /// IPv6 address. Unicast addresses of one session never repeat in the first 65,536.
    ///
    /// They are placeholders, from blocks reserved for tests (RFC 2544, RFC 3849) where the class allows. The rewriter
    /// replaces them.
    pub(super) fn draw(self, seed: u64, index: u32, random: u64) -> u64 {
        let low = u64::from(index & 0xffff);
        let v4 =
            |a: u8, b: u8| u64::from(u32::from(Ipv4Addr::new(a, b, 0, 0))) | low.wrapping_add(1) & 0xffff;
        // A queue of IPv6 has two values per address: even places are high halves.
        let high_half = index & 1 == 0;
        let v6 = |prefix: u64| if high_half { prefix } else { splitmix::mix(seed) << 32 | low };
        match self {
            Self::Private => v4(10, 18),
            Self::Public => v4(198, 18) | (u64::from(index) & 0x1_0000),
            Self::LinkLocal => v4(169, 254),
            Self::Loopback => v4(127, 0),
            Self::Zero => 0,
            Self::Broadcast => u64::from(u32::MAX),
            // Administratively scoped (RFC 2365); a solicited node (RFC 4291 section 2.7.1).
            Self::Multicast => u64::from(u32::from(Ipv4Addr::new(239, 192, 0, 0))) | random >> 46 & 0x3_ffff,
            Self::MulticastV6 if high_half => 0xff02_0000_0000_0000,
            Self::MulticastV6 => 0x1_ff00_0000 | random >> 40,
            Self::GlobalV6 => v6(0x2001_0db8_0000_0000),
            Self::LinkLocalV6 => v6(0xfe80_0000_0000_0000),
            Self::UniqueLocalV6 => v6(0xfd00_0000_0000_0000),
            Self::OtherV6 => 0,
        }
    }
}

/// An address from the values of the side table.
pub(super) fn from_halves(class: HostClass, first: u64, second: u64) -> IpAddr {
    if class.is_v4() {
        IpAddr::V4(Ipv4Addr::from(first as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from(u128::from(first) << 64 | u128::from(second)))
    }
}

/// The side values of an address: one for IPv4, two for IPv6.
pub(super) fn to_halves(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(v4) => (u64::from(u32::from(v4)), 0),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            ((bits >> 64) as u64, bits as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_addresses_are_of_their_class() {
        for class in HostClass::ALL {
            for place in 0..3_000_u32 {
                let (first, second) = if class.is_v4() {
                    (class.draw(7, place, splitmix::mix(u64::from(place))), 0)
                } else {
                    (class.draw(7, 2 * place, 1), class.draw(7, 2 * place + 1, 2))
                };
                let address = from_halves(class, first, second);
                assert_eq!(HostClass::of(address), class, "{address}");
                assert_eq!(to_halves(address), (first, second));
            }
        }
    }
}
