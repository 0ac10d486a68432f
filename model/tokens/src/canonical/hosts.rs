//! Addresses by order of first use.
//!
//! MAC addresses become `02:00:00:kk:kk:kk`. IPv4 and IPv6 addresses become hosts of a documentation or private prefix
//! of the same scope. Group addresses and the unspecified address stay. Addresses derived from a host's own address
//! (solicited-node groups and their MACs, the subnet broadcast) follow the mapped host.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netssm_wire::{
    MacAddr,
    address_class::{Block, SOLICITED_NODE},
};

use crate::packet::Skip;

/// 198.18.0.0/15 (RFC 2544) is the smallest target prefix and holds this many hosts. Only a scan has more in one
/// session.
const MAX_HOSTS: u32 = 100_000;
const PRIVATE: u32 = u32::from_be_bytes([10, 0, 0, 0]);
const GLOBAL: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const LINK_LOCAL: u32 = u32::from_be_bytes([169, 254, 0, 0]);
const SUBNET_BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);
/// The address maps of one session.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    macs: HashMap<[u8; 6], u32>,
    v4: HashMap<Ipv4Addr, Ipv4Addr>,
    v4_counts: [u32; 3],
    v6: HashMap<Ipv6Addr, Ipv6Addr>,
    v6_taken: HashSet<Ipv6Addr>,
    /// Number of the host whose IPv6 addresses end in these three bytes: they tie an address to its solicited-node
    /// group, and the addresses that one interface builds from its MAC to each other.
    v6_tails: HashMap<[u8; 3], u32>,
    v6_count: u32,
}

/// The `k`-th host number, from 1. It never ends in .0 or .255, so no host looks like a network or a broadcast address.
fn host_number(k: u32) -> u32 {
    let (row, column) = ((k - 1) / 254, (k - 1) % 254);
    row * 256 + column + 1
}

impl Hosts {
    /// Maps the address of a MAC endpoint, by order of first use. The null address (an unknown target in ARP) stays.
    pub(super) fn mac(&mut self, mac: [u8; 6]) -> Result<[u8; 6], Skip> {
        if mac == [0; 6] {
            return Ok(mac);
        }
        let next = self.macs.len() as u32 + 1;
        if next > MAX_HOSTS && !self.macs.contains_key(&mac) {
            return Err(Skip::Hosts);
        }
        let [_, b, c, d] = self.macs.entry(mac).or_insert(next).to_be_bytes();
        Ok([0x02, 0, 0, b, c, d])
    }

    /// Maps the destination of a frame. The broadcast address stays, and so does the group address that belongs to the
    /// IP destination `group` (for a solicited-node group it follows the host). Any other address is mapped: it is that
    /// of a MAC endpoint or of a private group.
    pub(super) fn destination_mac(&mut self, mac: [u8; 6], group: Option<IpAddr>) -> Result<[u8; 6], Skip> {
        if mac == [0xff; 6] {
            return Ok(mac);
        }
        let is_groups = |ip| MacAddr::of_group(ip) == Some(MacAddr(mac));
        match group {
            Some(IpAddr::V6(ip)) if is_groups(ip.into()) => {
                // A group is mapped to a group.
                self.v6(ip).map(|mapped| MacAddr::of_group(mapped.into()).map_or(mac, |mac| mac.0))
            }
            Some(ip) if is_groups(ip) => Ok(mac),
            _ => self.mac(mac),
        }
    }

    /// Maps an IPv4 address. `to_broadcast`: the frame goes to ff:ff:ff:ff:ff:ff, so a destination that looks like
    /// unicast is the broadcast address of its subnet.
    pub(super) fn v4(&mut self, address: Ipv4Addr, to_broadcast: bool) -> Result<Ipv4Addr, Skip> {
        let block = Block::of_v4(address);
        if matches!(block, Block::Unspecified | Block::Loopback | Block::Multicast | Block::Broadcast) {
            return Ok(address);
        }
        if let Some(&known) = self.v4.get(&address) {
            return Ok(known);
        }
        if to_broadcast {
            self.v4.insert(address, SUBNET_BROADCAST);
            return Ok(SUBNET_BROADCAST);
        }
        let (class, base) = match block {
            Block::LinkLocal => (0, LINK_LOCAL),
            Block::Private | Block::Shared => (1, PRIVATE),
            _ => (2, GLOBAL),
        };
        let count = &mut self.v4_counts[class];
        // 169.254.255.0/24 is reserved (RFC 3927), which bounds the smallest class.
        if *count >= if class == 0 { 64_000 } else { MAX_HOSTS } {
            return Err(Skip::Hosts);
        }
        *count += 1;
        let mapped = Ipv4Addr::from(base + host_number(*count));
        self.v4.insert(address, mapped);
        Ok(mapped)
    }

    pub(super) fn v6(&mut self, address: Ipv6Addr) -> Result<Ipv6Addr, Skip> {
        let octets = address.octets();
        let last = [octets[13], octets[14], octets[15]];
        if octets.starts_with(&SOLICITED_NODE) {
            let [_, b, c, d] = self.tail(last)?.to_be_bytes();
            let mut group = octets;
            group[13..].copy_from_slice(&[b, c, d]);
            return Ok(group.into());
        }
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Ok(address);
        }
        if let Some(&known) = self.v6.get(&address) {
            return Ok(known);
        }
        let base = if address.is_unicast_link_local() {
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)
        } else if address.is_unique_local() {
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)
        };
        let mut mapped = join(base, self.tail(last)?);
        // Two hosts may share a tail (`::1` in two networks): the second gets a number of its own.
        while !self.v6_taken.insert(mapped) {
            mapped = join(base, self.number()?);
        }
        self.v6.insert(address, mapped);
        Ok(mapped)
    }

    fn tail(&mut self, tail: [u8; 3]) -> Result<u32, Skip> {
        if let Some(&k) = self.v6_tails.get(&tail) {
            return Ok(k);
        }
        let k = self.number()?;
        self.v6_tails.insert(tail, k);
        Ok(k)
    }

    fn number(&mut self) -> Result<u32, Skip> {
        if self.v6_count >= MAX_HOSTS {
            return Err(Skip::Hosts);
        }
        self.v6_count += 1;
        Ok(self.v6_count)
    }
}

fn join(base: Ipv6Addr, k: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(base) | u128::from(k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_scope_and_lose_their_value() {
        let mut hosts = Hosts::default();
        let mut v4 =
            |text: &str| hosts.v4(text.parse().expect("an address"), false).expect("room").to_string();
        assert_eq!(v4("192.168.7.9"), "10.0.0.1");
        assert_eq!(v4("8.8.8.8"), "198.18.0.1");
        assert_eq!(v4("172.16.0.1"), "10.0.0.2");
        assert_eq!(v4("169.254.9.9"), "169.254.0.1");
        assert_eq!(v4("8.8.8.8"), "198.18.0.1");
        for kept in ["224.0.0.251", "255.255.255.255", "0.0.0.0", "127.0.0.1", "239.255.255.250"] {
            assert_eq!(v4(kept), kept);
        }
        assert_eq!(hosts.v4([192, 168, 7, 255].into(), true), Ok(SUBNET_BROADCAST));
    }

    #[test]
    fn solicited_node_groups_follow_their_host() {
        let mut hosts = Hosts::default();
        let mut v6 = |text: &str| hosts.v6(text.parse().expect("an address")).expect("room").to_string();
        assert_eq!(v6("ff02::1:ff12:3456"), "ff02::1:ff00:1");
        assert_eq!(v6("fe80::aabb:ccff:fe12:3456"), "fe80::1");
        assert_eq!(v6("2a00:1::aabb:ccff:fe12:3456"), "2001:db8::1");
        assert_eq!(v6("2a00:2::1"), "2001:db8::2");
        assert_eq!(v6("2a00:3::1"), "2001:db8::3");
        assert_eq!(v6("ff02::fb"), "ff02::fb");
        let group = "ff02::1:ff12:3456".parse().ok();
        assert_eq!(
            hosts.destination_mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56], group),
            Ok([0x33, 0x33, 0xff, 0, 0, 1])
        );
    }

    #[test]
    fn only_the_group_addresses_of_the_standards_stay() {
        let mut hosts = Hosts::default();
        let mut mac = |mac: [u8; 6], ip: &str| hosts.destination_mac(mac, ip.parse().ok()).expect("room");
        assert_eq!(mac([0xff; 6], "192.168.1.255"), [0xff; 6]);
        assert_eq!(mac([1, 0, 0x5e, 0, 0, 251], "224.0.0.251"), [1, 0, 0x5e, 0, 0, 251]);
        assert_eq!(mac([0x33, 0x33, 0, 0, 0, 0xfb], "ff02::fb"), [0x33, 0x33, 0, 0, 0, 0xfb]);
        assert_eq!(mac([1, 2, 3, 4, 5, 6], "192.168.1.9"), [2, 0, 0, 0, 0, 1], "somebody's own group");
        assert_eq!(mac([1, 0, 0x5e, 7, 7, 7], "224.0.0.251"), [2, 0, 0, 0, 0, 2], "another group's");
        assert_eq!(mac([3, 0, 0, 0, 0, 1], ""), [2, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn host_numbers_avoid_network_and_broadcast() {
        for k in 1..2000 {
            assert!(!matches!(host_number(k) & 0xff, 0 | 255), "{k}");
        }
        assert_eq!((host_number(254), host_number(255)), (254, 257));
    }

    #[test]
    fn a_scan_runs_out_of_hosts_instead_of_wrapping() {
        let mut hosts = Hosts::default();
        let mapped: HashSet<_> =
            (0..MAX_HOSTS).map(|k| hosts.v4(Ipv4Addr::from(0x0800_0000 + k), false).expect("room")).collect();
        assert_eq!(mapped.len(), MAX_HOSTS as usize);
        assert!(mapped.iter().all(|a| matches!(a.octets(), [198, 18 | 19, ..])));
        assert_eq!(hosts.v4([9, 9, 9, 9].into(), false), Err(Skip::Hosts));
    }
}
