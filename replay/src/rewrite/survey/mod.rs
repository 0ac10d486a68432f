//! The first pass over a session: which hosts, MAC endpoints and flows it has.
//!
//! Rewriting streams, but where a host goes depends on all its flows, and its addresses must be leased before the
//! first frame leaves. So the headers are read once, and of each packet only [`PacketFacts`] are kept. Everything
//! here is in original addresses, which are not used for anything but to tell hosts apart and to know their
//! scope.

pub(crate) mod admit;
pub(crate) mod flows;
pub(crate) mod fragments;
pub(crate) mod ids;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netssm_wire::MacAddr;
use netssm_wire::address_class::{Scope, low24, solicited_by, solicited_by_mac};
use netssm_wire::flow::{FiveTuple, FlowKey};
use netssm_wire::frame::{Fragment, Transport, protocol};
use netssm_wire::quote::{self, Quoted};
use netssm_wire::session::{Packet, Session};

use crate::rewrite::dropped::Dropped;
use crate::rewrite::plan::GroupPolicy;
use crate::rewrite::protocol::addresses::Addresses;
use crate::rewrite::protocol::quote::visit_quote;
use crate::rewrite::protocol::{arp, icmp, igmp};
use admit::{Admitted, admit, from_mac, to_mac};
use flows::{Flow, Segments};
use fragments::Datagrams;
use ids::{FlowId, HostId, MacEndpointId};

/// What the second pass needs to know of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketFacts {
    /// Its flow.
    pub(crate) flow: Option<FlowId>,
    /// Whether it goes the way that the flow's first packet went.
    pub(crate) forward: bool,
    /// Hosts that it is from and to, in its IP or ARP header.
    pub(crate) src: Option<HostId>,
    pub(crate) dst: Option<HostId>,
    /// MAC endpoints of its Ethernet header; a group is none.
    pub(crate) from: Option<MacEndpointId>,
    pub(crate) to: Option<MacEndpointId>,
}

impl PacketFacts {
    const NOTHING: PacketFacts =
        PacketFacts { flow: None, forward: true, src: None, dst: None, from: None, to: None };
}

/// A host, by its original address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) ip: IpAddr,
    pub(crate) scope: Scope,
    /// It was the source of an IP packet.
    sent: bool,
    /// It was the destination of a broadcast frame.
    got_broadcast: bool,
}

impl Host {
    /// Whether this "host" is the broadcast address of a subnet: a destination of broadcast frames that never sends.
    pub(crate) fn is_broadcast(&self) -> bool {
        self.got_broadcast && !self.sent && self.ip.is_ipv4()
    }
}

/// Everything that a session has, each in order of first appearance.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) hosts: Vec<Host>,
    pub(crate) host_index: HashMap<IpAddr, HostId>,
    pub(crate) mac_endpoints: Vec<MacAddr>,
    pub(crate) mac_endpoint_index: HashMap<MacAddr, MacEndpointId>,
    /// Which hosts were seen behind which MAC endpoints, without repetition.
    pub(crate) bindings: Vec<(MacEndpointId, HostId)>,
    bound: HashSet<(MacEndpointId, HostId)>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) flow_index: HashMap<FlowKey, FlowId>,
    /// Low 24 bits of IPv6 hosts and solicited-node groups.
    pub(crate) lows: Vec<u32>,
    low_seen: HashSet<u32>,
    sent: Segments,
    pub(crate) packets: Vec<PacketFacts>,
    pub(crate) datagrams: Datagrams,
    scratch: Vec<u8>,
    /// What was found for the last packets, by a hash of their ports: most packets are of a flow that was just seen.
    recent: Vec<Option<Recent>>,
}

/// A packet without addresses inside, and what was found for it.
#[derive(Clone, Copy, Debug)]
struct Recent {
    tuple: FiveTuple,
    link: (MacAddr, MacAddr),
    facts: PacketFacts,
}

/// Entries of the cache of recent packets: as many flows as are busy at once.
const RECENT: usize = 64;

impl Survey {
    /// Reads the headers of every packet that will be sent.
    pub(crate) fn of(session: &Session, groups: GroupPolicy) -> Survey {
        let mut survey = Survey {
            packets: Vec::with_capacity(session.packets.len()),
            recent: vec![None; RECENT],
            ..Survey::default()
        };
        for (i, packet) in session.packets.iter().enumerate() {
            let facts = match admit(packet, groups) {
                Ok(admitted) => survey.observe(i, packet, &admitted),
                Err(_) => PacketFacts::NOTHING,
            };
            survey.packets.push(facts);
        }
        survey.datagrams.finish();
        survey.sent = Segments::new();
        survey
    }

    fn observe(&mut self, index: usize, packet: &Packet, admitted: &Admitted) -> PacketFacts {
        let frame = packet.header.as_slice();
        let link = (from_mac(frame), to_mac(frame));
        let fragment = admitted.layout.fragment();
        let tuple = match admitted.protocol {
            0 => None,
            _ => admitted.layout.five_tuple(frame).filter(|_| fragment.is_none_or(|f| f.offset == 0)),
        };
        let plain = matches!(admitted.layout.transport, Transport::Tcp { .. } | Transport::Udp { .. });
        let slot = tuple
            .filter(|_| plain && fragment.is_none())
            .map(|t| usize::from(t.src_port ^ t.dst_port.rotate_left(3)) % RECENT);
        if let (Some(slot), Some(tuple)) = (slot, tuple)
            && let Some(recent) = self.recent[slot].filter(|r| r.tuple == tuple && r.link == link)
        {
            self.look_at_transport(frame, admitted, recent.facts);
            return recent.facts;
        }
        let mut facts = self.find(frame, admitted, link);
        if let Some(tuple) = tuple {
            let (flow, forward) = self.flow(&tuple, (facts.src, facts.dst));
            (facts.flow, facts.forward) = (Some(flow), forward);
            self.look_at_transport(frame, admitted, facts);
            if let Some(slot) = slot {
                self.recent[slot] = Some(Recent { tuple, link, facts });
            }
        }
        if let Some(fragment) = fragment {
            self.fragment(index, admitted, fragment, &mut facts);
        }
        facts
    }

    /// Hosts and MAC endpoints of a packet.
    fn find(&mut self, frame: &[u8], admitted: &Admitted, (from, to): (MacAddr, MacAddr)) -> PacketFacts {
        let facts = PacketFacts {
            src: self.host(admitted.src),
            dst: self.host(admitted.dst),
            from: Some(self.mac_endpoint(from)),
            to: (!to.is_group()).then(|| self.mac_endpoint(to)),
            ..PacketFacts::NOTHING
        };
        self.note_mac(to);
        self.bind(facts.from, facts.src);
        self.visit_inside(frame, admitted);
        if admitted.protocol == 0 {
            return facts;
        }
        self.bind(facts.to, facts.dst);
        if let Some(host) = facts.src.and_then(|id| self.hosts.get_mut(id.index())) {
            host.sent = true;
        }
        if let Some(host) = facts.dst.and_then(|id| self.hosts.get_mut(id.index())) {
            host.got_broadcast |= to == MacAddr::BROADCAST;
        }
        facts
    }

    /// Notes the addresses inside ARP, ICMP and IGMP bodies, and the flow that an error quotes.
    fn visit_inside(&mut self, frame: &[u8], admitted: &Admitted) {
        let at = match (admitted.protocol, admitted.layout.transport) {
            (0, _) => admitted.net_at,
            (_, Transport::Icmp { at } | Transport::Icmpv6 { at } | Transport::Igmp { at }) => at,
            _ => return,
        };
        let end = admitted.layout.l3_end().unwrap_or(frame.len()).min(frame.len());
        let Some(body) = frame.get(at..end) else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(body);
        // The survey's visitor never fails.
        let _ = match admitted.layout.transport {
            Transport::Icmp { .. } => icmp::visit_v4(&mut scratch, self),
            Transport::Icmpv6 { .. } => icmp::visit_v6(&mut scratch, self),
            Transport::Igmp { .. } => igmp::visit(&mut scratch, self),
            _ => arp::visit(&mut scratch, self),
        };
        if is_error(admitted, body[0])
            && let Some(quoted) = scratch.get_mut(quote::AT..)
        {
            let _ = visit_quote(quoted, self);
            if let Some(quote) = Quoted::read(quoted)
                && protocol::has_ports(quote.tuple.protocol)
            {
                let header = quote.tcp_header_len(quoted.get(quote.header_len + 12).copied());
                let ends = (self.host(quote.tuple.src), self.host(quote.tuple.dst));
                let (flow, _) = self.flow(&quote.tuple, ends);
                self.flows[flow.index()].look_at_quote(&quote, header);
            }
        }
        self.scratch = scratch;
    }

    /// The host with this address; `None` for an address that is no host's.
    fn host(&mut self, ip: IpAddr) -> Option<HostId> {
        let scope = Scope::of(ip);
        if !scope.is_host() {
            if let IpAddr::V6(ip) = ip
                && let Some(low) = solicited_by(ip)
            {
                self.note_low(low);
            }
            return None;
        }
        let next = HostId::at(self.hosts.len());
        Some(match self.host_index.entry(ip) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => {
                slot.insert(next);
                self.hosts.push(Host { ip, scope, sent: false, got_broadcast: false });
                if let IpAddr::V6(ip) = ip {
                    self.note_low(low24(ip));
                }
                next
            }
        })
    }

    fn mac_endpoint(&mut self, mac: MacAddr) -> MacEndpointId {
        let next = MacEndpointId::at(self.mac_endpoints.len());
        *self.mac_endpoint_index.entry(mac).or_insert_with(|| {
            self.mac_endpoints.push(mac);
            next
        })
    }

    fn note_mac(&mut self, mac: MacAddr) {
        if let Some(low) = solicited_by_mac(mac) {
            self.note_low(low);
        }
    }

    fn note_low(&mut self, low: u32) {
        if self.low_seen.insert(low) {
            self.lows.push(low);
        }
    }

    fn bind(&mut self, mac_endpoint: Option<MacEndpointId>, host: Option<HostId>) {
        if let Some(pair) = mac_endpoint.zip(host)
            && self.bound.insert(pair)
        {
            self.bindings.push(pair);
        }
    }

    /// A packet's flow, and whether it goes the way of the flow's first packet.
    fn flow(&mut self, tuple: &FiveTuple, ends: (Option<HostId>, Option<HostId>)) -> (FlowId, bool) {
        let next = FlowId::at(self.flows.len());
        match self.flow_index.entry(tuple.key()) {
            Entry::Occupied(known) => {
                let number = *known.get();
                let first = self.flows[number.index()].first;
                (
                    number,
                    first.src == tuple.src
                        && (first.src_port, first.dst_port) == (tuple.src_port, tuple.dst_port),
                )
            }
            Entry::Vacant(slot) => {
                slot.insert(next);
                self.flows.push(Flow::new(tuple, ends));
                (next, true)
            }
        }
    }

    /// What the transport header adds to what is known of the flow.
    fn look_at_transport(&mut self, frame: &[u8], admitted: &Admitted, facts: PacketFacts) {
        if let Some(id) = facts.flow {
            self.flows[id.index()].look(frame, admitted, (id, facts.forward), &mut self.sent);
        }
    }

    fn fragment(&mut self, index: usize, admitted: &Admitted, fragment: Fragment, facts: &mut PacketFacts) {
        let Some(at) = admitted.layout.l4_at() else { return };
        let len = admitted.layout.l3_end().unwrap_or(at).saturating_sub(at);
        let key = (admitted.src, admitted.dst, admitted.protocol, fragment.id);
        let number = self.datagrams.observe(index, key, fragment, len, (facts.flow, facts.forward));
        (facts.flow, facts.forward) = self.datagrams.flow(number);
    }
}

/// Whether an admitted packet's ICMP type is an error, which quotes a packet.
pub(crate) fn is_error(admitted: &Admitted, kind: u8) -> bool {
    let kind = match admitted.layout.transport {
        Transport::Icmp { .. } => icmp::kind_v4(kind),
        Transport::Icmpv6 { .. } => icmp::kind_v6(kind),
        _ => None,
    };
    kind == Some(icmp::Kind::Error)
}

impl Addresses for Survey {
    fn v4(&mut self, ip: Ipv4Addr) -> Result<Ipv4Addr, Dropped> {
        self.host(ip.into());
        Ok(ip)
    }

    fn v6(&mut self, ip: Ipv6Addr) -> Result<Ipv6Addr, Dropped> {
        self.host(ip.into());
        Ok(ip)
    }

    fn mac(&mut self, mac: MacAddr) -> Result<MacAddr, Dropped> {
        if mac.is_group() {
            self.note_mac(mac)
        } else {
            let _ = self.mac_endpoint(mac);
        }
        Ok(mac)
    }
}
