//! What kind of address an address is: which ones name a host and so are mapped, and which ones stay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;

/// The part an IP address plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// 0.0.0.0 or `::`: a host that has no address yet (DHCP, address probes). Stays.
    Unspecified,
    /// 127.0.0.0/8 or `::1`.
    Loopback,
    /// Multicast, or 255.255.255.255. Stays, but for solicited-node groups.
    Group,
    /// A host of a private, shared, unique-local or IPv4 link-local range.
    Local,
    /// A link-local IPv6 host.
    LinkLocal,
    /// Any other host.
    Global,
    /// No host can have it: 0.0.0.0/8 but for its first, IPv4-mapped IPv6.
    Invalid,
}

impl Scope {
    pub(super) fn of(ip: IpAddr) -> Scope {
        match ip {
            IpAddr::V4(ip) => Scope::of_v4(ip),
            IpAddr::V6(ip) => Scope::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Scope {
        let [a, b, ..] = ip.octets();
        // 100.64.0.0/10 (RFC 6598) is a carrier's private range.
        let shared = a == 100 && b & 0xc0 == 64;
        match ip {
            _ if ip.is_unspecified() => Scope::Unspecified,
            _ if ip.is_broadcast() || ip.is_multicast() => Scope::Group,
            _ if ip.is_loopback() => Scope::Loopback,
            _ if a == 0 => Scope::Invalid,
            // 240.0.0.0/4 is reserved, but anonymised captures have hosts there.
            _ if ip.is_private() || ip.is_link_local() || shared => Scope::Local,
            _ => Scope::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Scope {
        // fec0::/10, deprecated by RFC 3879, was private too.
        let site_local = ip.segments()[0] & 0xffc0 == 0xfec0;
        match ip {
            _ if ip.is_unspecified() => Scope::Unspecified,
            _ if ip.is_loopback() => Scope::Loopback,
            _ if ip.is_multicast() => Scope::Group,
            _ if ip.to_ipv4_mapped().is_some() => Scope::Invalid,
            _ if ip.is_unicast_link_local() => Scope::LinkLocal,
            _ if ip.is_unique_local() || site_local => Scope::Local,
            _ => Scope::Global,
        }
    }

    /// Whether this is a host's address, which is mapped.
    pub(super) fn is_host(self) -> bool {
        matches!(self, Scope::Local | Scope::LinkLocal | Scope::Global)
    }

    /// Whether the host is on the near side of a provider's link.
    pub(super) fn is_near(self) -> bool {
        matches!(self, Scope::Local | Scope::LinkLocal)
    }
}

/// The first 13 bytes of a solicited-node group, `ff02::1:ff00:0/104` (RFC 4291 section 2.7.1), and of the
/// node information group that is made alike (`ff02::2:ff00:0/104`, RFC 4620).
const SOLICITED: [[u8; 13]; 2] =
    [[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff], [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xff]];

/// The low 24 bits of the host that a solicited-node group is for; `None` for other groups.
pub(super) fn solicited(group: Ipv6Addr) -> Option<u32> {
    let o = group.octets();
    SOLICITED.iter().any(|prefix| o.starts_with(prefix)).then(|| super::allocator::low24(group))
}

/// The same group for a host with other low bits.
pub(super) fn with_low24(ip: Ipv6Addr, low: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ip) & !0xff_ffff | u128::from(low & 0xff_ffff))
}

/// The low 24 bits that a solicited-node group's Ethernet address (RFC 2464 section 7) is for.
pub(super) fn solicited_mac(mac: MacAddr) -> Option<u32> {
    match mac.0 {
        [0x33, 0x33, 0xff, a, b, c] => Some(u32::from_be_bytes([0, a, b, c])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_scope_of_their_registry() {
        let cases = [
            ("0.0.0.0", Scope::Unspecified),
            ("0.1.2.3", Scope::Invalid),
            ("10.0.0.1", Scope::Local),
            ("100.64.0.1", Scope::Local),
            ("100.128.0.1", Scope::Global),
            ("127.1.2.3", Scope::Loopback),
            ("169.254.3.4", Scope::Local),
            ("172.31.0.1", Scope::Local),
            ("172.32.0.1", Scope::Global),
            ("198.18.0.1", Scope::Global),
            ("224.0.0.251", Scope::Group),
            ("255.255.255.255", Scope::Group),
            ("240.0.0.1", Scope::Global),
            ("::", Scope::Unspecified),
            ("::1", Scope::Loopback),
            ("::ffff:1.2.3.4", Scope::Invalid),
            ("fe80::1", Scope::LinkLocal),
            ("fd00::1", Scope::Local),
            ("fec0::1", Scope::Local),
            ("2001:db8::1", Scope::Global),
            ("ff02::1", Scope::Group),
        ];
        for (ip, scope) in cases {
            assert_eq!(Scope::of(ip.parse().unwrap()), scope, "{ip}");
        }
    }

    #[test]
    fn solicited_groups_name_their_host() {
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(solicited(group), Some(0x12_3456));
        assert_eq!(with_low24(group, 0x01_0203).to_string(), "ff02::1:ff01:203");
        assert_eq!(solicited("ff02::fb".parse().unwrap()), None);
        assert_eq!(solicited_mac(MacAddr([0x33, 0x33, 0xff, 1, 2, 3])), Some(0x01_0203));
        assert_eq!(solicited_mac(MacAddr([0x33, 0x33, 0, 0, 0, 0xfb])), None);
    }
}
