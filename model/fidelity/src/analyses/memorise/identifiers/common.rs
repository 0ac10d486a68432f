//! Identifiers that do not count: those with the same meaning everywhere, and those that a user allows.
//!
//! These are always left out, because they identify no host:
//! * MAC: groups and broadcast, zero, the virtual routers of VRRP (RFC 9568) and the addresses for documentation (RFC
//!   9542);
//! * IPv4 (RFC 6890 and the registry of special-purpose addresses): 0.0.0.0/8, 127.0.0.0/8, 192.0.0.0/24, the
//!   documentation prefixes 192.0.2.0/24, 198.51.100.0/24 and 203.0.113.0/24, the benchmarking prefix 198.18.0.0/15,
//!   and all from 224.0.0.0 on (groups, reserved, broadcast), and the broadcast address of 169.254.0.0/16. That of any
//!   other subnet is known by the frame that goes to a group;
//! * IPv6: unspecified, loopback, groups, the documentation prefixes 2001:db8::/32 and 3fff::/20, and link-local
//!   addresses with an interface identifier below 256, which are given by hand on every network (fe80::1);
//! * names: those under reserved domains (RFC 2606, RFC 6761), DNS-SD service types (all labels begin with an
//!   underscore, or are the browsing labels of RFC 6763), the names that every client asks for (`wpad`, `isatap`,
//!   `localhost`), the workgroups that systems come with, and the reverse names of such addresses.
//!
//! Private addresses (RFC 1918, ULA) and public resolvers are not among them: they were in the capture.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;
use netssm_wire::address_class::Block;

use super::Identifier;

/// Whether an identifier has the same meaning everywhere.
pub(super) fn is_common(identifier: &Identifier) -> bool {
    match identifier {
        Identifier::Mac(mac) => is_common_mac(*mac),
        Identifier::Ipv4(ip) => is_common_v4(*ip),
        Identifier::Ipv6(ip) => is_common_v6(*ip),
        Identifier::Name(name) => is_common_name(name),
    }
}

fn is_common_mac(mac: MacAddr) -> bool {
    let iana = matches!(mac.0, [0, 0, 0x5e, 0, 1 | 2 | 0x53, _]);
    mac.is_group() || mac == MacAddr::ZERO || iana
}

fn is_common_v4(ip: Ipv4Addr) -> bool {
    match Block::of_v4(ip) {
        Block::Global | Block::Private | Block::Shared => false,
        Block::LinkLocal => ip.octets() == [169, 254, 255, 255],
        _ => true,
    }
}

fn is_common_v6(ip: Ipv6Addr) -> bool {
    let by_hand = matches!(ip.segments(), [0xfe80, 0, 0, 0, 0, 0, 0, 0..=0xff]);
    by_hand
        || matches!(
            Block::of_v6(ip),
            Block::Unspecified | Block::Loopback | Block::Multicast | Block::Documentation
        )
}

/// Names of one label that clients ask for or have before anybody names them.
const EVERYWHERE: [&str; 10] = [
    "wpad",
    "isatap",
    "localhost",
    "localdomain",
    "local",
    "workgroup",
    "mshome",
    "__msbrowse__",
    "arpa",
    "teredo",
];

fn is_common_name(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let reserved = matches!(
        labels.as_slice(),
        [.., "test" | "example" | "invalid" | "localhost"] | [.., "example", "com" | "net" | "org"]
    );
    let of_service =
        |label: &&str| label.starts_with('_') || matches!(*label, "b" | "db" | "r" | "dr" | "lb");
    let service = labels.len() > 1 && labels[..labels.len() - 1].iter().all(of_service);
    let nothing = !name.chars().any(char::is_alphanumeric);
    nothing || EVERYWHERE.contains(&name) || reserved || service || reverse(name).is_some_and(is_common_v4)
}

/// The address that a whole reverse name means (RFC 1035 section 3.5).
pub(super) fn reverse(name: &str) -> Option<Ipv4Addr> {
    let digits = name.strip_suffix(".in-addr.arpa")?;
    let ip: Ipv4Addr = digits.parse().ok()?;
    let [a, b, c, d] = ip.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

/// What a user allows.
#[derive(Debug, Default)]
pub(super) struct Allow {
    macs: Vec<MacAddr>,
    /// First address and length of a prefix, IPv4 as the last 32 of 128 bits.
    prefixes: Vec<(bool, u128, u32)>,
    names: Vec<String>,
}

impl Allow {
    /// What the entries mean, and those that mean nothing.
    pub(super) fn of(entries: &[String]) -> (Self, Vec<String>) {
        let mut allow = Self::default();
        let mut odd = Vec::new();
        for entry in entries {
            if !allow.add(entry.trim()) {
                odd.push(entry.clone());
            }
        }
        (allow, odd)
    }

    /// Takes an entry, unless it means nothing.
    pub(super) fn add(&mut self, entry: &str) -> bool {
        if let Ok(mac) = entry.parse() {
            self.macs.push(mac);
            return true;
        }
        let (address, length) = entry.split_once('/').map_or((entry, None), |(a, l)| (a, Some(l)));
        if let Ok(ip) = address.parse::<IpAddr>() {
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let Ok(length) = length.map_or(Ok(most), str::parse) else { return false };
            if length > most {
                return false;
            }
            self.prefixes.push((ip.is_ipv4(), bits(ip), 128 - most + length));
            return true;
        }
        // A text that looks like an address and is none would be a name that no host has (RFC 1123, section 2.1).
        let numeric = entry.contains('.') && entry.chars().all(|c| c.is_ascii_digit() || c == '.');
        let hexadecimal = entry.contains(':') && entry.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
        if length.is_some() || entry.is_empty() || numeric || hexadecimal {
            return false;
        }
        self.names.push(entry.to_lowercase());
        true
    }

    /// Whether an identifier is allowed.
    pub(super) fn has(&self, identifier: &Identifier) -> bool {
        match identifier {
            Identifier::Mac(mac) => self.macs.contains(mac),
            Identifier::Ipv4(ip) => self.has_ip((*ip).into()),
            Identifier::Ipv6(ip) => self.has_ip((*ip).into()),
            Identifier::Name(name) => self.names.iter().any(|allowed| {
                name == allowed || allowed.starts_with('.') && name.ends_with(allowed.as_str())
            }),
        }
    }

    fn has_ip(&self, ip: IpAddr) -> bool {
        self.prefixes.iter().any(|&(is_v4, first, length)| {
            let differ = bits(ip) ^ first;
            is_v4 == ip.is_ipv4() && differ.checked_shr(128 - length).unwrap_or(0) == 0
        })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_is_what_names_nobody() {
        let mac = |text: &str| is_common_mac(text.parse().unwrap());
        assert!(mac("ff:ff:ff:ff:ff:ff") && mac("01:00:5e:00:00:fb") && mac("33:33:00:00:00:01"));
        assert!(mac("00:00:00:00:00:00") && mac("00:00:5e:00:01:07"));
        assert!(!mac("00:00:5e:01:01:07") && !mac("00:0c:29:12:34:56") && !mac("02:00:00:00:00:01"));
        let ip = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(ip) => is_common_v4(ip),
            IpAddr::V6(ip) => is_common_v6(ip),
        };
        for common in [
            "0.0.0.0",
            "127.0.0.53",
            "224.0.0.251",
            "239.255.255.250",
            "255.255.255.255",
            "198.19.0.1",
            "192.0.2.9",
            "203.0.113.7",
            "192.0.0.8",
            "::",
            "::1",
            "ff02::fb",
            "2001:db8::7",
            "3fff:fff::1",
            "fe80::1",
        ] {
            assert!(ip(common), "{common}");
        }
        for own in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.3.4",
            "8.8.8.8",
            "192.0.3.1",
            "198.20.0.1",
            "223.1.2.3",
            "fe80::12:34ff:fe56:789a",
            "fd00::1",
            "2001:4860::8888",
            "3fff:1000::1",
        ] {
            assert!(!ip(own), "{own}");
        }
        for common in [
            "",
            "*",
            "wpad",
            "workgroup",
            "a.b.example",
            "www.example.com",
            "x.invalid",
            "_services._dns-sd._udp.local",
            "_googlecast._tcp.local",
            "lb._dns-sd._udp.local",
            "251.0.0.224.in-addr.arpa",
            "local",
            "_tcp.example.org",
        ] {
            assert!(is_common_name(common), "{common:?}");
        }
        for own in [
            "www.google.com",
            "martins-macbook.local",
            "tv-3f2a._googlecast._tcp.local",
            "5.1.168.192.in-addr.arpa",
            "fritz.box",
            "desktop-7f",
            "example.de",
            "b",
        ] {
            assert!(!is_common_name(own), "{own}");
        }
        assert_eq!(reverse("5.1.168.192.in-addr.arpa"), Some(Ipv4Addr::new(192, 168, 1, 5)));
        assert_eq!(reverse("168.192.in-addr.arpa"), None);
    }

    #[test]
    fn what_is_allowed_is_an_address_a_prefix_or_a_name() {
        let entries = [
            "10.0.0.0/8",
            "fd00::/8",
            "192.168.1.7",
            "00:0c:29:12:34:56",
            "Fritz.box",
            ".lan",
            "10.0.0.0/33",
            "",
            "a/b",
            "0.0.0.0/0x",
            "2001:db8::/129",
        ];
        let (allow, odd) = Allow::of(&entries.map(str::to_owned));
        assert_eq!(odd, ["10.0.0.0/33", "", "a/b", "0.0.0.0/0x", "2001:db8::/129"]);
        let v4 = |text: &str| allow.has(&Identifier::Ipv4(text.parse().unwrap()));
        assert!(v4("10.255.0.1") && v4("192.168.1.7") && !v4("11.0.0.1") && !v4("192.168.1.8"));
        let v6 = |text: &str| allow.has(&Identifier::Ipv6(text.parse().unwrap()));
        assert!(v6("fd12::1") && !v6("fe12::1") && !v6("::10.0.0.1"));
        let name = |text: &str| allow.has(&Identifier::Name(text.to_owned()));
        assert!(name("fritz.box") && name("tv.lan") && !name("lan") && !name("my.fritz.box"));
        assert!(allow.has(&Identifier::Mac("00:0c:29:12:34:56".parse().unwrap())));
        let (all, _) = Allow::of(&["0.0.0.0/0".to_owned()]);
        assert!(all.has(&Identifier::Ipv4(Ipv4Addr::new(9, 9, 9, 9))));
        assert!(!all.has(&Identifier::Ipv6(Ipv6Addr::LOCALHOST)));
    }
}
