//! The map of one replay: every host, MAC endpoint, port and flow of the session to its place in the testbed.
//!
//! Within a session the map is a bijection: two hosts never share a new address, two MAC endpoints with
//! [`MacPolicy::PerHost`] never a new Ethernet address, two ports of a host never a new port. Groups are not
//! hosts: they stay, and all subnet broadcast addresses become the clients' one.

pub(crate) mod ports;
pub(crate) mod roles;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use netssm_wire::MacAddr;
use netssm_wire::address_class::{Scope, low24, solicited_by, solicited_by_mac, with_low24};
use netssm_wire::flow::{FiveTuple, FlowKey};
use netssm_wire::frame::protocol;

use crate::draw::{Draw, draw};
use crate::payload::{FlowShape, PayloadModel};
use crate::rewrite::RewriteError;
use crate::rewrite::dropped::Dropped;
use crate::rewrite::plan::allocator::{AddressRequest, Allocator, Lease};
use crate::rewrite::plan::{AddressPlan, MacPolicy, Side, has_family};
use crate::rewrite::protocol::addresses::Addresses;
use crate::rewrite::survey::flows::Flow;
use crate::rewrite::survey::fragments::Datagrams;
use crate::rewrite::survey::ids::{FlowId, HostId, MacEndpointId, draw_key};
use crate::rewrite::survey::{Host, PacketFacts, Survey};
use ports::Ports;
use roles::Roles;

/// A host's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedHost {
    /// `None`: the plan has no prefix for it.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) side: Side,
}

/// A flow's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedFlow {
    /// As the initiator sends it, in new addresses; `None` when an end has no place.
    pub(crate) initiator: Option<FiveTuple>,
    /// Whether the flow's first packet is the initiator's.
    pub(crate) initiator_is_first: bool,
    /// What content has to cope with.
    pub(crate) shape: FlowShape,
    /// What moves for a packet that goes against the flow's first packet, and for one that goes its way.
    pub(crate) ways: [Moves; 2],
}

/// What moves in the packets of one direction of a flow, kept so that no packet has to draw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moves {
    /// New source and destination port.
    pub(crate) ports: (u16, u16),
    /// Offset of the sender's sequence numbers.
    pub(crate) isn: u32,
    /// Offset of the sender's TCP timestamps.
    pub(crate) clock: u32,
}

/// The map of one replay.
#[derive(Debug)]
pub(crate) struct SessionMap {
    pub(crate) hosts: Vec<MappedHost>,
    host_index: HashMap<IpAddr, HostId>,
    pub(crate) mac_endpoints: Vec<(MacAddr, Side)>,
    mac_endpoint_index: HashMap<MacAddr, MacEndpointId>,
    pub(crate) flows: Vec<MappedFlow>,
    flow_index: HashMap<FlowKey, FlowId>,
    lows: HashMap<u32, u32>,
    pub(crate) ports: Ports,
    pub(crate) packets: Vec<PacketFacts>,
    pub(crate) datagrams: Datagrams,
    /// Address and length of the clients' first IPv6 prefix, for router advertisements.
    pub(crate) prefix: ([u8; 16], u8),
}

impl SessionMap {
    /// Leases addresses for what the survey found, and draws the rest.
    pub(crate) fn new(
        survey: Survey,
        plan: &AddressPlan,
        allocator: &Arc<Allocator>,
        payload: Option<&dyn PayloadModel>,
        replay_seed: u64,
    ) -> Result<(SessionMap, Lease), RewriteError> {
        let roles = Roles::of(&survey);
        let broadcast = plan.clients.iter().find_map(|p| match p {
            IpNet::V4(net) => Some(IpAddr::V4(net.broadcast())),
            IpNet::V6(_) => None,
        });
        let requests: Vec<AddressRequest> =
            survey.hosts.iter().zip(&roles.hosts).map(|(host, side)| request(host, *side, plan)).collect();
        let lease = allocator.lease(plan, &requests, &survey.host_index, replay_seed)?;
        let hosts: Vec<MappedHost> = survey
            .hosts
            .iter()
            .zip(&roles.hosts)
            .zip(lease.addresses())
            .map(|((host, side), leased)| MappedHost {
                ip: if host.is_broadcast() { broadcast } else { *leased },
                side: *side,
            })
            .collect();
        let lows = map_lows(&survey, &hosts, replay_seed);
        let mac_endpoints = map_mac_endpoints(&survey, &roles, plan, replay_seed);
        let new_address = |ip: IpAddr| {
            let host = survey.host_index.get(&ip).and_then(|i| hosts.get(i.index()));
            host.and_then(|h| h.ip).unwrap_or(ip)
        };
        let ports = Ports::of(&survey, plan.ports, payload, replay_seed, &new_address)?;
        let prefix = plan.clients.iter().find_map(|p| match p {
            IpNet::V6(net) => Some((net.network().octets(), net.prefix_len())),
            IpNet::V4(_) => None,
        });
        let mut map = SessionMap {
            hosts,
            host_index: survey.host_index,
            mac_endpoints,
            mac_endpoint_index: survey.mac_endpoint_index,
            flows: Vec::new(),
            flow_index: survey.flow_index,
            lows,
            ports,
            packets: survey.packets,
            datagrams: survey.datagrams,
            // 2001:db8::/64 (RFC 3849) where the plan has no IPv6 for clients.
            prefix: prefix.unwrap_or((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets(), 64)),
        };
        map.flows = survey
            .flows
            .iter()
            .enumerate()
            .map(|(number, flow)| map.flow(number, flow, replay_seed))
            .collect();
        Ok((map, lease))
    }

    fn flow(&self, number: usize, flow: &Flow, replay_seed: u64) -> MappedFlow {
        let initiator = self.tuple(&flow.initiator());
        let way = |forward: bool| {
            let tuple = initiator.map(|o| if forward == flow.initiator_is_first { o } else { o.reversed() });
            let sender = if forward { flow.ends.0 } else { flow.ends.1 };
            Moves {
                ports: tuple.map_or((0, 0), |t| (t.src_port, t.dst_port)),
                isn: draw(replay_seed, Draw::Isn, number as u64, u64::from(forward)) as u32,
                clock: draw(replay_seed, Draw::Timestamp, draw_key(sender.map(HostId::index)), 0) as u32,
            }
        };
        MappedFlow {
            initiator,
            initiator_is_first: flow.initiator_is_first,
            shape: flow.shape,
            ways: [way(false), way(true)],
        }
    }

    /// A five-tuple in its new place.
    pub(crate) fn tuple(&self, t: &FiveTuple) -> Option<FiveTuple> {
        let port = |ip, port| match protocol::has_ports(t.protocol) {
            true => self.ports.get((ip, t.protocol, port)),
            false => port,
        };
        Some(FiveTuple {
            src: self.ip(t.src).ok()?,
            dst: self.ip(t.dst).ok()?,
            src_port: port(t.src, t.src_port),
            dst_port: port(t.dst, t.dst_port),
            protocol: t.protocol,
        })
    }

    /// The flow with this five-tuple, whichever way it goes.
    pub(crate) fn find_flow(&self, tuple: &FiveTuple) -> Option<FlowId> {
        self.flow_index.get(&tuple.key()).copied()
    }

    /// The new address for any address that the survey saw.
    pub(crate) fn ip(&self, ip: IpAddr) -> Result<IpAddr, Dropped> {
        match Scope::of(ip) {
            Scope::Unspecified => Ok(ip),
            Scope::Group => Ok(match ip {
                IpAddr::V6(group) => match solicited_by(group).and_then(|low| self.lows.get(&low)) {
                    Some(low) => with_low24(group, *low).into(),
                    None => ip,
                },
                IpAddr::V4(_) => ip,
            }),
            Scope::Loopback => Err(Dropped::Loopback),
            Scope::Invalid => Err(Dropped::Address),
            Scope::Local | Scope::LinkLocal | Scope::Global => {
                let host = self.host_index.get(&ip).and_then(|i| self.hosts.get(i.index()));
                host.ok_or(Dropped::Address)?.ip.ok_or(Dropped::NoPrefix)
            }
        }
    }

    /// A host by its original address.
    pub(crate) fn host(&self, ip: IpAddr) -> Option<HostId> {
        self.host_index.get(&ip).copied()
    }

    /// The new address for any Ethernet address that the survey saw; groups stay but for solicited-node ones.
    ///
    /// # Errors
    /// [`Dropped::Address`]: one that the survey did not see, or a group that IP does not use: it may be one
    /// that a device of the capture made up, and the allowlist lets none of these out.
    pub(crate) fn mac_endpoint(&self, mac: MacAddr) -> Result<MacAddr, Dropped> {
        if mac.is_group() {
            if !mac.is_ip_group() {
                return Err(Dropped::Address);
            }
            let low = solicited_by_mac(mac).and_then(|low| self.lows.get(&low));
            return Ok(low.map_or(mac, |low| {
                let [_, a, b, c] = low.to_be_bytes();
                MacAddr([0x33, 0x33, 0xff, a, b, c])
            }));
        }
        let id = self.mac_endpoint_index.get(&mac).ok_or(Dropped::Address)?;
        Ok(self.mac_endpoints[id.index()].0)
    }
}

/// What a host needs.
fn request(host: &Host, side: Side, plan: &AddressPlan) -> AddressRequest {
    if host.is_broadcast() || (host.scope != Scope::LinkLocal && !has_family(plan.prefixes(side), host.ip)) {
        return AddressRequest::None;
    }
    match host.ip {
        IpAddr::V4(_) => AddressRequest::V4(side),
        IpAddr::V6(ip) if host.scope == Scope::LinkLocal => AddressRequest::LinkLocal(low24(ip)),
        IpAddr::V6(ip) => AddressRequest::V6(side, low24(ip)),
    }
}

/// Low 24 bits: of hosts as their addresses were leased, of groups without a host drawn.
fn map_lows(survey: &Survey, hosts: &[MappedHost], replay_seed: u64) -> HashMap<u32, u32> {
    let mut lows = HashMap::new();
    for (host, mapped) in survey.hosts.iter().zip(hosts) {
        if let (IpAddr::V6(old), Some(IpAddr::V6(new))) = (host.ip, mapped.ip) {
            lows.entry(low24(old)).or_insert(low24(new));
        }
    }
    let mut used: HashSet<u32> = lows.values().copied().collect();
    for (number, low) in survey.lows.iter().enumerate() {
        if !lows.contains_key(low) {
            // A session has far fewer groups than 2^24 values, so a free one is near.
            let start = draw(replay_seed, Draw::InterfaceId, number as u64, u64::MAX) as u32;
            let free =
                (0..=0xff_ffff).map(|step| start.wrapping_add(step) & 0xff_ffff).find(|v| used.insert(*v));
            lows.insert(*low, free.unwrap_or_default());
        }
    }
    lows
}

fn map_mac_endpoints(
    survey: &Survey,
    roles: &Roles,
    plan: &AddressPlan,
    replay_seed: u64,
) -> Vec<(MacAddr, Side)> {
    let fixed = [plan.client_mac, plan.server_mac];
    let mut used: HashSet<MacAddr> = HashSet::new();
    let place = |(number, side): (usize, &Side)| {
        let mac = match plan.mac_policy(*side) {
            MacPolicy::Fixed(mac) => mac,
            // Of 46 random bits; the first try is free but in one replay of billions.
            MacPolicy::PerHost => (0u64..)
                .map(|attempt| local_mac(draw(replay_seed, Draw::Mac, number as u64, attempt)))
                .find(|mac| {
                    !survey.mac_endpoint_index.contains_key(mac)
                        && !fixed.contains(&MacPolicy::Fixed(*mac))
                        && used.insert(*mac)
                })
                .unwrap_or_default(),
        };
        (mac, *side)
    };
    roles.mac_endpoints.iter().enumerate().map(place).collect()
}

/// A unicast, locally administered address.
fn local_mac(random: u64) -> MacAddr {
    let [_, _, mut mac @ ..] = random.to_be_bytes();
    mac[0] = (mac[0] & 0xfc) | 0x02;
    MacAddr(mac)
}

/// The visitor that replaces.
impl Addresses for &SessionMap {
    fn v4(&mut self, ip: Ipv4Addr) -> Result<Ipv4Addr, Dropped> {
        match self.ip(ip.into())? {
            IpAddr::V4(new) => Ok(new),
            IpAddr::V6(_) => Err(Dropped::Address),
        }
    }

    fn v6(&mut self, ip: Ipv6Addr) -> Result<Ipv6Addr, Dropped> {
        match self.ip(ip.into())? {
            IpAddr::V6(new) => Ok(new),
            IpAddr::V4(_) => Err(Dropped::Address),
        }
    }

    fn mac(&mut self, mac: MacAddr) -> Result<MacAddr, Dropped> {
        self.mac_endpoint(mac)
    }
}
