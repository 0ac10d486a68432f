//! What an IP address is for: the block of the registries that it lies in, and the coarser classes made of blocks.
//!
//! [`Block`] follows IANA's special-purpose registries (RFC 6890, RFC 4291). Coarser classes are groups of blocks.
//! [`Scope`] is the one for rewriting. The flow codec's alphabet and the canonical form of training sessions group
//! blocks in their own ways. Those are formats, which models were trained on, so they cannot change.
//!
//! Two tables of prefixes stay elsewhere on purpose. The prefixes that a testbed may not have are compared with
//! prefixes, not with addresses. The allowlist has its own checks, because it must not share a mistake with the
//! rewriter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::MacAddr;

/// A block of addresses with one use. An address is in the first that holds it, in the order below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// 0.0.0.0 and `::`: no address yet.
    Unspecified,
    /// 255.255.255.255 (RFC 919): every host of the link.
    Broadcast,
    /// 224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291).
    Multicast,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// The rest of 0.0.0.0/8 (RFC 791): hosts of "this network".
    ThisNetwork,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918).
    Private,
    /// fc00::/7 (RFC 4193).
    UniqueLocal,
    /// 100.64.0.0/10 (RFC 6598): a carrier's own side of an address translator.
    Shared,
    /// 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291).
    LinkLocal,
    /// fec0::/10, deprecated by RFC 3879: private too.
    SiteLocal,
    /// ::ffff:0:0/96 (RFC 4291): an IPv4 address in an IPv6 field.
    V4Mapped,
    /// 192.0.0.0/24 (RFC 6890): protocol assignments of the IETF.
    Ietf,
    /// 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737), 2001:db8::/32 (RFC 3849), 3fff::/20 (RFC 9637).
    Documentation,
    /// 198.18.0.0/15 (RFC 2544).
    Benchmarking,
    /// 240.0.0.0/4 but for the broadcast address (RFC 1112), and IPv6 outside 2000::/3 that is none of the above.
    Reserved,
    /// Any other: a host of the Internet.
    Global,
}

impl Block {
    /// The block of an address.
    #[inline]
    pub fn of(ip: IpAddr) -> Block {
        match ip {
            IpAddr::V4(ip) => Block::of_v4(ip),
            IpAddr::V6(ip) => Block::of_v6(ip),
        }
    }

    /// The block of an IPv4 address.
    #[inline]
    pub fn of_v4(ip: Ipv4Addr) -> Block {
        match ip.octets() {
            [0, 0, 0, 0] => Block::Unspecified,
            [255, 255, 255, 255] => Block::Broadcast,
            [224..=239, ..] => Block::Multicast,
            [127, ..] => Block::Loopback,
            [0, ..] => Block::ThisNetwork,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Block::Private,
            [100, 64..=127, ..] => Block::Shared,
            [169, 254, ..] => Block::LinkLocal,
            [192, 0, 0, _] => Block::Ietf,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Block::Documentation,
            [198, 18 | 19, ..] => Block::Benchmarking,
            [240..=255, ..] => Block::Reserved,
            _ => Block::Global,
        }
    }

    /// The block of an IPv6 address.
    #[inline]
    pub fn of_v6(ip: Ipv6Addr) -> Block {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Block::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Block::Loopback,
            [0, 0, 0, 0, 0, 0xffff, ..] => Block::V4Mapped,
            [0xff00..=0xffff, ..] => Block::Multicast,
            [0xfec0..=0xfeff, ..] => Block::SiteLocal,
            [0xfe80..=0xfebf, ..] => Block::LinkLocal,
            [0xfc00..=0xfdff, ..] => Block::UniqueLocal,
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Block::Documentation,
            [0x2000..=0x3fff, ..] => Block::Global,
            _ => Block::Reserved,
        }
    }
}

/// Whether an address names a group of hosts: multicast, or the limited broadcast address. A subnet's broadcast address
/// cannot be told without its prefix.
#[inline]
pub fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// The part that an IP address plays in a session that is rewritten: which name a host and so are mapped, and which
/// stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// 0.0.0.0 or `::`: a host that has no address yet (DHCP, address probes).
    Unspecified,
    /// 127.0.0.0/8 or `::1`.
    Loopback,
    /// Multicast, or 255.255.255.255.
    Group,
    /// A host of a private, shared, unique-local, site-local or IPv4 link-local range.
    Local,
    /// A link-local IPv6 host.
    LinkLocal,
    /// Any other host. 240.0.0.0/4 is reserved, but anonymised captures have hosts there.
    Global,
    /// No host can have it: 0.0.0.0/8 but for its first, IPv4-mapped IPv6.
    Invalid,
}

impl Scope {
    /// The scope of an address.
    #[inline]
    pub fn of(ip: IpAddr) -> Scope {
        match Block::of(ip) {
            Block::Unspecified => Scope::Unspecified,
            Block::Loopback => Scope::Loopback,
            Block::Multicast | Block::Broadcast => Scope::Group,
            Block::LinkLocal if ip.is_ipv6() => Scope::LinkLocal,
            Block::Private | Block::Shared | Block::UniqueLocal | Block::SiteLocal | Block::LinkLocal => {
                Scope::Local
            }
            Block::ThisNetwork | Block::V4Mapped => Scope::Invalid,
            Block::Ietf | Block::Documentation | Block::Benchmarking | Block::Reserved | Block::Global => {
                Scope::Global
            }
        }
    }

    /// Whether this is a host's address, which is mapped.
    #[inline]
    pub fn is_host(self) -> bool {
        matches!(self, Scope::Local | Scope::LinkLocal | Scope::Global)
    }

    /// Whether the host is on the near side of a provider's link.
    #[inline]
    pub fn is_near(self) -> bool {
        matches!(self, Scope::Local | Scope::LinkLocal)
    }
}

/// The low 24 bits of an IPv6 address, of which its solicited-node group is made (RFC 4291 section 2.7.1).
#[inline]
pub fn low24(ip: Ipv6Addr) -> u32 {
    (u128::from(ip) & 0xff_ffff) as u32
}

/// The same address with other low 24 bits; higher bits of `low` are ignored.
pub fn with_low24(ip: Ipv6Addr, low: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ip) & !0xff_ffff | u128::from(low & 0xff_ffff))
}

/// The first 13 bytes of a solicited-node group, `ff02::1:ff00:0/104` (RFC 4291 section 2.7.1).
pub const SOLICITED_NODE: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
/// Those of the group for node information queries that is made alike, `ff02::2:ff00:0/104` (RFC 4620 section 5).
pub const NODE_INFORMATION: [u8; 13] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xff];

/// The low 24 bits of the host that a solicited-node group (or a node information group) is for; `None` for other
/// addresses.
pub fn solicited_by(group: Ipv6Addr) -> Option<u32> {
    let octets = group.octets();
    let is_for_host = [SOLICITED_NODE, NODE_INFORMATION].iter().any(|prefix| octets.starts_with(prefix));
    is_for_host.then(|| low24(group))
}

/// The low 24 bits of the host that a solicited-node group's Ethernet address (RFC 2464 section 7) is for.
pub fn solicited_by_mac(mac: MacAddr) -> Option<u32> {
    match mac.0 {
        [0x33, 0x33, 0xff, a, b, c] => Some(u32::from_be_bytes([0, a, b, c])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_block_and_scope_of_their_registry() {
        let cases = [
            ("0.0.0.0", Block::Unspecified, Scope::Unspecified),
            ("0.1.2.3", Block::ThisNetwork, Scope::Invalid),
            ("10.0.0.1", Block::Private, Scope::Local),
            ("100.64.0.1", Block::Shared, Scope::Local),
            ("100.128.0.1", Block::Global, Scope::Global),
            ("127.1.2.3", Block::Loopback, Scope::Loopback),
            ("169.254.3.4", Block::LinkLocal, Scope::Local),
            ("172.31.0.1", Block::Private, Scope::Local),
            ("172.32.0.1", Block::Global, Scope::Global),
            ("192.0.0.8", Block::Ietf, Scope::Global),
            ("192.0.1.8", Block::Global, Scope::Global),
            ("192.0.2.8", Block::Documentation, Scope::Global),
            ("198.18.0.1", Block::Benchmarking, Scope::Global),
            ("224.0.0.251", Block::Multicast, Scope::Group),
            ("255.255.255.255", Block::Broadcast, Scope::Group),
            ("240.0.0.1", Block::Reserved, Scope::Global),
            ("::", Block::Unspecified, Scope::Unspecified),
            ("::1", Block::Loopback, Scope::Loopback),
            ("::2", Block::Reserved, Scope::Global),
            ("::ffff:1.2.3.4", Block::V4Mapped, Scope::Invalid),
            ("fe80::1", Block::LinkLocal, Scope::LinkLocal),
            ("febf::1", Block::LinkLocal, Scope::LinkLocal),
            ("fd00::1", Block::UniqueLocal, Scope::Local),
            ("fec0::1", Block::SiteLocal, Scope::Local),
            ("2001:db8::1", Block::Documentation, Scope::Global),
            ("3fff:fff::1", Block::Documentation, Scope::Global),
            ("3fff:1000::1", Block::Global, Scope::Global),
            ("2a00::1", Block::Global, Scope::Global),
            ("4000::1", Block::Reserved, Scope::Global),
            ("ff02::1", Block::Multicast, Scope::Group),
        ];
        for (text, block, scope) in cases {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!((Block::of(ip), Scope::of(ip)), (block, scope), "{text}");
            assert_eq!(is_group(ip), scope == Scope::Group, "{text}");
        }
    }

    proptest::proptest! {
        /// The standard library reads the same registries.
        #[test]
        fn blocks_agree_with_the_standard_library(v4: u32, v6: u128, head: u16) {
            let ip = Ipv4Addr::from(v4);
            let block = Block::of_v4(ip);
            assert_eq!(block == Block::Private, ip.is_private());
            assert_eq!(block == Block::LinkLocal, ip.is_link_local());
            assert_eq!(block == Block::Multicast, ip.is_multicast());
            assert_eq!(block == Block::Loopback, ip.is_loopback());
            assert_eq!(block == Block::Documentation, ip.is_documentation());
            let ip = Ipv6Addr::from(v6 >> 16 | u128::from(head) << 112);
            let block = Block::of_v6(ip);
            assert_eq!(block == Block::LinkLocal, ip.is_unicast_link_local());
            assert_eq!(block == Block::UniqueLocal, ip.is_unique_local());
            assert_eq!(block == Block::Multicast, ip.is_multicast());
        }
    }

    #[test]
    fn solicited_groups_name_their_host() {
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(solicited_by(group), Some(0x12_3456));
        assert_eq!(with_low24(group, 0x01_0203).to_string(), "ff02::1:ff01:203");
        assert_eq!(solicited_by("ff02::2:ff00:7".parse().unwrap()), Some(7));
        assert_eq!(solicited_by("ff02::fb".parse().unwrap()), None);
        assert_eq!(solicited_by_mac(MacAddr([0x33, 0x33, 0xff, 1, 2, 3])), Some(0x01_0203));
        assert_eq!(solicited_by_mac(MacAddr([0x33, 0x33, 0, 0, 0, 0xfb])), None);
    }
}
