//! The allowlist: which addresses the bytes of a frame may carry.
//!
//! It does not trust the rewriter: it walks the finished bytes again and checks every address that decides where a
//! frame goes or that could reveal a host of a training capture: Ethernet, ARP, IPv4, IPv6, the packets that ICMP
//! and ICMPv6 errors quote, targets and link-layer options of neighbour discovery. What it cannot read, it
//! refuses. So it has its own readers of addresses, quotes and routes instead of those of `netssm-wire`: a mistake
//! there must not hide itself here. Only the offsets come from [`Layout`]; the rules in the kernel look again. It is
//! [`AddressPlan::link_scope`](crate::rewrite::AddressPlan::link_scope) that says what groups
//! and link-local traffic add.
//!
//! Ethernet addresses must be locally administered, so no vendor's and no training capture's, or one of those
//! that the profile fixes; groups must be ones that IP uses, so that no bridge or switch protocol is spoken
//! to.

mod icmp;
mod routes;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netssm_wire::MacAddr;
use netssm_wire::frame::protocol::{ICMP, ICMPV6};
use netssm_wire::frame::{Ipv4Layout, Ipv6Layout, Layout, Net, Transport, ethertype};

use crate::rewrite::{AddressPlan, GroupPolicy, MacPolicy, Side};
use routes::{has_routing_header, lists_addresses};

/// Where in a frame something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The header at the front.
    Ethernet,
    /// ARP.
    Arp,
    /// IPv4 header.
    Ipv4,
    /// IPv6 header.
    Ipv6,
    /// Body of an ICMP message, the packet that it quotes included.
    Icmp,
    /// Body of an ICMPv6 message, the packet that it quotes included.
    Icmpv6,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Ethernet => "ethernet",
            Place::Arp => "arp",
            Place::Ipv4 => "ipv4",
            Place::Ipv6 => "ipv6",
            Place::Icmp => "icmp",
            Place::Icmpv6 => "icmpv6",
        })
    }
}

/// What is wrong with a frame, or with where it is to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An IP address in none of the allowed prefixes.
    #[error("{place} {role} {ip} is in no allowed prefix")]
    Ip {
        /// Where it stands.
        place: Place,
        /// What it is there.
        role: &'static str,
        /// The address.
        ip: IpAddr,
    },
    /// An Ethernet address that is neither locally administered nor fixed by the profile, or a group that IP
    /// does not use or the profile does not send to.
    #[error("{place} {role} {mac} is not an address of the testbed")]
    Mac {
        /// Where it stands.
        place: Place,
        /// What it is there.
        role: &'static str,
        /// The address.
        mac: MacAddr,
    },
    /// Neither IPv4, IPv6 nor ARP: where it would go cannot be told.
    #[error("ethertype {0:#06x} is neither ip nor arp")]
    NotIp(u16),
    /// Headers that cannot be read as far as their addresses go.
    #[error("{0} header is cut or malformed")]
    Unreadable(Place),
    /// A header or option that lists further addresses to go by.
    #[error("{0} header carries a route")]
    Route(Place),
    /// An interface that the profile does not name.
    #[error("interface {0:?} is not among the allowed ones")]
    Interface(String),
}

/// A plan whose addresses the allowlist would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{side} prefix {prefix} is not covered by the allowed prefixes")]
pub struct NotCovered {
    /// The side that lists it.
    pub side: Side,
    /// The prefix.
    pub prefix: IpNet,
}

/// The addresses and interfaces that a profile allows. Immutable; a reload makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowlist {
    prefixes: Vec<IpNet>,
    /// Inclusive address ranges of `prefixes`: two comparisons each on the hot path.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    groups: GroupPolicy,
    macs: Vec<MacAddr>,
    interfaces: Vec<String>,
}

impl Allowlist {
    /// Allows hosts in `prefixes` and, with [`GroupPolicy::Keep`], groups and link-local traffic; no
    /// interface yet.
    pub fn new(prefixes: &[IpNet], groups: GroupPolicy) -> Allowlist {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for prefix in prefixes {
            match prefix {
                IpNet::V4(p) => v4.push((p.network().to_bits(), p.broadcast().to_bits())),
                IpNet::V6(p) => v6.push((p.network().to_bits(), p.broadcast().to_bits())),
            }
        }
        Allowlist { prefixes: prefixes.to_vec(), v4, v6, groups, macs: Vec::new(), interfaces: Vec::new() }
    }

    /// The allowlist for a plan: `allowed` prefixes, its group policy, its fixed Ethernet addresses.
    ///
    /// # Errors
    /// [`NotCovered`] if the plan would use addresses outside `allowed`; better said at start than by a
    /// stopped run.
    pub fn for_plan(plan: &AddressPlan, allowed: &[IpNet]) -> Result<Allowlist, NotCovered> {
        let mut list = Allowlist::new(allowed, plan.multicast);
        for side in [Side::Client, Side::Server] {
            for &prefix in plan.prefixes(side) {
                if !list.covers(&prefix) {
                    return Err(NotCovered { side, prefix });
                }
            }
            if let MacPolicy::Fixed(mac) = plan.mac_policy(side) {
                list.macs.push(mac);
            }
        }
        Ok(list)
    }

    /// Allows these interfaces too.
    #[must_use]
    pub fn with_interfaces<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Allowlist {
        self.interfaces.extend(names.into_iter().map(Into::into));
        self
    }

    /// Allows these Ethernet addresses too, also if they are not locally administered.
    #[must_use]
    pub fn with_macs(mut self, macs: impl IntoIterator<Item = MacAddr>) -> Allowlist {
        self.macs.extend(macs);
        self
    }

    /// Whether every address of `prefix` is allowed by a single prefix.
    pub fn covers(&self, prefix: &IpNet) -> bool {
        self.prefixes.iter().any(|p| p.contains(prefix))
    }

    /// The allowed prefixes.
    pub fn prefixes(&self) -> &[IpNet] {
        &self.prefixes
    }

    /// Whether group and link-local traffic is allowed.
    pub fn groups(&self) -> GroupPolicy {
        self.groups
    }

    /// The allowed interfaces.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// Whether frames may leave by the interface called `name`.
    ///
    /// # Errors
    /// [`Violation::Interface`].
    pub fn check_interface(&self, name: &str) -> Result<(), Violation> {
        if self.interfaces.iter().any(|n| n == name) {
            Ok(())
        } else {
            Err(Violation::Interface(name.to_owned()))
        }
    }

    /// Whether a frame may leave. Costs tens of nanoseconds with a few prefixes; allocates nothing unless it
    /// refuses.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check(&self, frame: &[u8]) -> Result<(), Violation> {
        let (Some(dst), Some(src)) = (mac_at(frame, 0), mac_at(frame, 6)) else {
            return Err(Violation::Unreadable(Place::Ethernet));
        };
        self.unicast_mac(Place::Ethernet, "source", src)?;
        self.any_mac(Place::Ethernet, "destination", dst)?;
        let layout = Layout::parse(frame);
        match layout.net {
            Net::Arp { at } => self.check_arp(frame, at),
            Net::Ipv4(ip) => self.check_ipv4(frame, &ip, &layout),
            Net::Ipv6(ip) => self.check_ipv6(frame, &ip, &layout),
            Net::None => Err(Violation::Unreadable(Place::Ethernet)),
            Net::Other { .. } => Err(match layout.ethertype {
                ethertype::IPV4 => Violation::Unreadable(Place::Ipv4),
                ethertype::IPV6 => Violation::Unreadable(Place::Ipv6),
                ethertype::ARP => Violation::Unreadable(Place::Arp),
                other => Violation::NotIp(other),
            }),
        }
    }

    fn check_arp(&self, frame: &[u8], at: usize) -> Result<(), Violation> {
        // Ethernet (1) and IPv4, address lengths 6 and 4: anything else has its addresses elsewhere.
        let arp = frame.get(at..at + 28).ok_or(Violation::Unreadable(Place::Arp))?;
        if arp[..6] != [0, 1, 8, 0, 6, 4] {
            return Err(Violation::Unreadable(Place::Arp));
        }
        let (Some(sha), Some(tha)) = (mac_at(arp, 8), mac_at(arp, 18)) else {
            return Err(Violation::Unreadable(Place::Arp));
        };
        // Nothing goes anywhere by what ARP says of hosts, so nobody's addresses may stand there: hosts that
        // boot ask for 0.0.0.0, a request asks for a hardware address with zeros, broken ones name groups.
        self.any_mac(Place::Arp, "sender hardware address", sha)?;
        if tha != MacAddr::ZERO {
            self.any_mac(Place::Arp, "target hardware address", tha)?;
        }
        self.mentioned(Place::Arp, "sender", v4_at(arp, 14))?;
        self.mentioned(Place::Arp, "target", v4_at(arp, 24))
    }

    fn check_ipv4(&self, frame: &[u8], ip: &Ipv4Layout, layout: &Layout) -> Result<(), Violation> {
        self.source(Place::Ipv4, "source", v4_at(frame, ip.at + 12))?;
        self.destination(Place::Ipv4, "destination", v4_at(frame, ip.at + 16))?;
        let options =
            frame.get(ip.at + 20..ip.at + ip.header_len).ok_or(Violation::Unreadable(Place::Ipv4))?;
        if lists_addresses(options) {
            return Err(Violation::Route(Place::Ipv4));
        }
        match (layout.transport, ip.fragment) {
            (Transport::Icmp { at }, _) => self.check_icmp(&frame[at..]),
            // A later fragment goes where its IP header says. What the message mentions stands in the first
            // one, save for fragments shorter than an IP header, and only reassembly could read those.
            (Transport::None, Some(_)) => Ok(()),
            (Transport::None | Transport::Other { .. }, _) if ip.protocol == ICMP => {
                Err(Violation::Unreadable(Place::Icmp))
            }
            _ => Ok(()),
        }
    }

    fn check_ipv6(&self, frame: &[u8], ip: &Ipv6Layout, layout: &Layout) -> Result<(), Violation> {
        self.source(Place::Ipv6, "source", v6_at(frame, ip.at + 8))?;
        self.destination(Place::Ipv6, "destination", v6_at(frame, ip.at + 24))?;
        if has_routing_header(&frame[ip.at..ip.transport_at.clamp(ip.at, frame.len())]) {
            return Err(Violation::Route(Place::Ipv6));
        }
        match (layout.transport, ip.fragment) {
            (Transport::Icmpv6 { at }, None) => self.check_icmpv6(&frame[at..]),
            (Transport::Icmpv6 { at }, Some(_)) => match frame[at] {
                // RFC 6980 forbids it: the options of the rest could say anything.
                133..=137 => Err(Violation::Unreadable(Place::Icmpv6)),
                _ => self.check_icmpv6(&frame[at..]),
            },
            (Transport::None, Some(_)) => Ok(()),
            (Transport::None | Transport::Other { .. }, _) if ip.protocol == ICMPV6 => {
                Err(Violation::Unreadable(Place::Icmpv6))
            }
            _ => Ok(()),
        }
    }

    /// A host, or what may stand for one that has no address yet or only a link-local one.
    fn source(&self, place: Place, role: &'static str, ip: Option<IpAddr>) -> Result<(), Violation> {
        self.judge(place, role, ip, |ip| ip.is_unspecified() || is_link_local(ip))
    }

    /// A host, a link-local one, or a group.
    fn destination(&self, place: Place, role: &'static str, ip: Option<IpAddr>) -> Result<(), Violation> {
        self.judge(place, role, ip, |ip| is_link_local(ip) || is_group(ip))
    }

    /// An address inside a message, which does not decide where the frame goes. It must be a host of the testbed or an
    /// address that means the same everywhere, whatever the policy on groups.
    fn mentioned(&self, place: Place, role: &'static str, ip: Option<IpAddr>) -> Result<(), Violation> {
        match ip {
            Some(ip) if ip.is_unspecified() || is_link_local(ip) || is_group(ip) => Ok(()),
            other => self.judge(place, role, other, |_| false),
        }
    }

    fn judge(
        &self,
        place: Place,
        role: &'static str,
        ip: Option<IpAddr>,
        also: impl Fn(IpAddr) -> bool,
    ) -> Result<(), Violation> {
        let ip = ip.ok_or(Violation::Unreadable(place))?;
        if self.is_host(ip) || (self.groups == GroupPolicy::Keep && also(ip)) {
            Ok(())
        } else {
            Err(Violation::Ip { place, role, ip })
        }
    }

    fn is_host(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => {
                let bits = ip.to_bits();
                self.v4.iter().any(|&(low, high)| low <= bits && bits <= high)
            }
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                self.v6.iter().any(|&(low, high)| low <= bits && bits <= high)
            }
        }
    }

    fn unicast_mac(&self, place: Place, role: &'static str, mac: MacAddr) -> Result<(), Violation> {
        let ours = !mac.is_group() && (mac.is_local() || self.macs.contains(&mac));
        if ours { Ok(()) } else { Err(Violation::Mac { place, role, mac }) }
    }

    fn any_mac(&self, place: Place, role: &'static str, mac: MacAddr) -> Result<(), Violation> {
        if !mac.is_group() {
            return self.unicast_mac(place, role, mac);
        }
        let of_ip = mac == MacAddr::BROADCAST
            || (mac.0[..3] == [0x01, 0x00, 0x5e] && mac.0[3] < 0x80) // RFC 1112
            || mac.0[..2] == [0x33, 0x33]; // RFC 2464
        if of_ip && self.groups == GroupPolicy::Keep {
            Ok(())
        } else {
            Err(Violation::Mac { place, role, mac })
        }
    }
}

/// Link-local hosts that a plan keeps: IPv6 only, and only the /64 that hosts use.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[..4] == [0xfe80, 0, 0, 0])
}

fn is_group(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn mac_at(bytes: &[u8], at: usize) -> Option<MacAddr> {
    Some(MacAddr(bytes.get(at..at + 6)?.try_into().ok()?))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

fn v6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)))
}

#[cfg(test)]
mod tests;
