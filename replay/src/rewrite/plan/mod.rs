//! Where a session is mapped to: the prefixes, Ethernet addresses, VLAN and policies of a testbed.
//!
//! [`AddressPlan`] is what a profile says; [`AddressPlan::validate`] checks it once, without opening anything, and
//! [`Rewriter::new`](super::Rewriter::new) takes only plans that pass.

pub(crate) mod allocator;

pub use allocator::Allocator;

use std::fmt;

use ipnet::IpNet;
use netssm_wire::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::rewrite::PlanError;

/// Shortest IPv4 host part that is of use: a /30 has two addresses.
const LONGEST_V4: u8 = 30;
/// IPv6 hosts get 24 low bits that follow the session (see [`Allocator`](super::Allocator)) and at least 8 drawn
/// bits before them, which keep such hosts of concurrent sessions apart.
const LONGEST_V6: u8 = 96;

/// Which of the two sides of the testbed a host is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// In the client prefixes.
    Client,
    /// In the server prefixes.
    Server,
}

impl Side {
    /// The side across.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

/// Ethernet addresses of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacPolicy {
    /// Every MAC endpoint of that side has this address, as if all its hosts sat behind one router.
    Fixed(MacAddr),
    /// Each MAC endpoint of the session gets a locally administered address of its own, drawn per replay. It is not
    /// leased as IP addresses are: that two replays draw the same of 2^46 is left to chance.
    PerHost,
}

/// An IEEE 802.1Q VLAN identifier, 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// Checks the range.
    ///
    /// # Errors
    /// [`PlanError::Vlan`] for 0 and above 4094, which IEEE 802.1Q reserves.
    pub fn new(id: u16) -> Result<VlanId, PlanError> {
        if (1..=4094).contains(&id) { Ok(VlanId(id)) } else { Err(PlanError::Vlan { id }) }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// What happens to ports that an operating system picked. Service ports are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortPolicy {
    /// As in the session.
    Keep,
    /// Drawn anew for each replay, one to one per host and protocol.
    #[default]
    Fresh,
}

/// What happens to traffic that no router forwards: frames to multicast and broadcast addresses, ARP, neighbour
/// discovery, and link-local hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupPolicy {
    /// It is rewritten and sent. Group addresses stay what they are, except that a subnet's broadcast address
    /// becomes the client prefix's, and a solicited-node address follows its host. Link-local IPv6 hosts stay in
    /// `fe80::/64` with an interface identifier of the replay. An allowlist must therefore accept, beside the
    /// plan's prefixes, 224.0.0.0/4, 255.255.255.255, `ff00::/8` and `fe80::/64` as destinations, and 0.0.0.0, `::`
    /// and `fe80::/64` as sources ([`AddressPlan::link_scope`] lists them).
    #[default]
    Keep,
    /// It is dropped and counted: only unicast IP between hosts in the plan's prefixes is sent.
    Drop,
}

/// Where the hosts of a session go. See the fields; [`AddressPlan::validate`] has the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPlan {
    /// Prefixes of the client side, IPv4 and IPv6. A family without a prefix on a side is not sent for hosts of that
    /// side ([`Dropped::NoPrefix`](super::Dropped)).
    pub clients: Vec<IpNet>,
    /// Prefixes of the server side.
    pub servers: Vec<IpNet>,
    /// Ethernet addresses of the client side.
    pub client_mac: MacPolicy,
    /// Ethernet addresses of the server side.
    pub server_mac: MacPolicy,
    /// `Some`: every frame has exactly this 802.1Q tag. `None`: frames have no tag. Tags of the session never pass.
    pub vlan: Option<VlanId>,
    /// Ephemeral ports.
    pub ports: PortPolicy,
    /// Groups and link-scope traffic.
    pub multicast: GroupPolicy,
}

impl AddressPlan {
    /// Prefixes of one side.
    pub fn prefixes(&self, side: Side) -> &[IpNet] {
        match side {
            Side::Client => &self.clients,
            Side::Server => &self.servers,
        }
    }

    /// Ethernet addresses of one side.
    pub fn mac_policy(&self, side: Side) -> MacPolicy {
        match side {
            Side::Client => self.client_mac,
            Side::Server => self.server_mac,
        }
    }

    /// Prefixes outside `clients` and `servers` that frames of this plan may carry as well: groups, the unspecified
    /// addresses and link-local IPv6 hosts with [`GroupPolicy::Keep`], nothing with [`GroupPolicy::Drop`].
    pub fn link_scope(&self) -> Vec<IpNet> {
        const KEPT: [&str; 6] =
            ["224.0.0.0/4", "255.255.255.255/32", "0.0.0.0/32", "ff00::/8", "::/128", "fe80::/64"];
        match self.multicast {
            GroupPolicy::Keep => KEPT.iter().filter_map(|p| p.parse().ok()).collect(),
            GroupPolicy::Drop => Vec::new(),
        }
    }

    /// Checks the plan; opens nothing.
    ///
    /// # Errors
    /// A side without prefixes, a prefix that is too small, has host bits set or is reserved for something else, two
    /// prefixes that overlap, or a fixed Ethernet address that is no unicast one.
    pub fn validate(&self) -> Result<(), PlanError> {
        for side in [Side::Client, Side::Server] {
            if self.prefixes(side).is_empty() {
                return Err(PlanError::NoPrefix { side });
            }
            for prefix in self.prefixes(side) {
                check_prefix(side, prefix)?;
            }
            if let MacPolicy::Fixed(mac) = self.mac_policy(side)
                && (mac.is_group() || mac == MacAddr::ZERO)
            {
                return Err(PlanError::Mac { side, mac });
            }
        }
        let all: Vec<(Side, &IpNet)> = [Side::Client, Side::Server]
            .into_iter()
            .flat_map(|side| self.prefixes(side).iter().map(move |p| (side, p)))
            .collect();
        for (i, (side, prefix)) in all.iter().enumerate() {
            for (other_side, other) in &all[..i] {
                if prefix.contains(*other) || other.contains(*prefix) {
                    return Err(PlanError::Overlap {
                        side: *side,
                        prefix: **prefix,
                        other_side: *other_side,
                        other: **other,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The rules for one prefix.
fn check_prefix(side: Side, prefix: &IpNet) -> Result<(), PlanError> {
    let longest = match prefix {
        IpNet::V4(_) => LONGEST_V4,
        IpNet::V6(_) => LONGEST_V6,
    };
    if prefix.prefix_len() > longest {
        return Err(PlanError::TooSmall { side, prefix: *prefix, longest });
    }
    if prefix.addr() != prefix.network() {
        return Err(PlanError::HostBits { side, prefix: *prefix, network: prefix.trunc() });
    }
    const RESERVED: [(&str, &str); 8] = [
        ("0.0.0.0/8", "this network"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/3", "multicast and reserved"),
        ("::/96", "loopback and unspecified"),
        ("::ffff:0:0/96", "ipv4-mapped"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    ];
    for (text, what) in RESERVED {
        let reserved: Option<IpNet> = text.parse().ok();
        if reserved.is_some_and(|r| r.contains(prefix) || prefix.contains(&r)) {
            return Err(PlanError::Reserved { side, prefix: *prefix, what });
        }
    }
    Ok(())
}

/// Whether a prefix list has the family of `ip`.
pub(crate) fn has_family(prefixes: &[IpNet], ip: IpAddr) -> bool {
    prefixes.iter().any(|p| p.addr().is_ipv4() == ip.is_ipv4())
}
