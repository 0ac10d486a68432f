//! What a session remembers: hosts, flows, and the defaults of both.
//!
//! Everything is bounded: 1,024 hosts and MAC addresses (a new one replaces the oldest), 288 flows (a new one replaces
//! the one idle longest), and per direction 64 segments, 16 holes and 256 timestamps. A host or flow that was replaced
//! and sends again is declared again.

mod book;
mod flows;
mod key;

use std::net::IpAddr;

use arrayvec::ArrayVec;

pub(super) use self::key::FlowKey;
use super::{
    hash::Table,
    hosts::{COMMON_HOSTS, HostClass},
    ip_id::IdState,
    lengths::{Follows, Lengths},
    payload::{FlowPayload, PayloadTemplate, Profile},
    record::{Mac, Tags},
    tcp::{Rate, SynTemplate, TcpDir},
    time::Clock,
};

/// Most hosts and most MAC addresses at a time.
pub(super) const MAX_HOSTS: usize = 1_024;
/// Most flows at a time: 32 ranks with a token of their own and 256 with a byte.
pub(super) const MAX_FLOWS: usize = 32 + 256;

/// Kinds of flow, in the order of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum FlowKind {
    Tcp,
    Udp,
    Icmp,
    Igmp,
    Other,
    Link,
}

impl FlowKind {
    pub(super) const ALL: [FlowKind; 6] =
        [FlowKind::Tcp, FlowKind::Udp, FlowKind::Icmp, FlowKind::Igmp, FlowKind::Other, FlowKind::Link];
}

/// The part that a host takes in a new flow. Each role has an order of its own. The client of a session opens one flow
/// after the other, so it keeps the same number, however many servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It opens the flow, or takes part in ARP.
    Initiator,
    /// The flow is opened to it.
    Responder,
}

/// How the transport checksum stands in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ChecksumMode {
    /// Right, as far as the record shows.
    #[default]
    Right,
    /// Pseudo-header only: left to the network card.
    Partial,
    /// Zero.
    Zero,
}

/// Host defaults: the fields that a host uses in one kind of flow. They are the predictions for its next new flow.
#[derive(Clone, Debug)]
pub(super) struct HostDefaults {
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) fragment: u16,
    pub(super) id: IdState,
    pub(super) padded: bool,
    pub(super) checksum: ChecksumMode,
    pub(super) ip_zero: bool,
    pub(super) window: u16,
    pub(super) rate: Rate,
    pub(super) template: Option<SynTemplate>,
}

impl HostDefaults {
    fn new(kind: FlowKind, v6: bool) -> Self {
        Self {
            // Neighbour discovery must have 255; the most common of the others is Linux' 64.
            ttl: match kind {
                FlowKind::Icmp if v6 => 255,
                FlowKind::Igmp => 1,
                _ => 64,
            },
            tos: 0,
            fragment: if matches!(kind, FlowKind::Icmp | FlowKind::Igmp) { 0 } else { 0x4000 },
            id: IdState::default(),
            padded: false,
            checksum: ChecksumMode::Right,
            ip_zero: false,
            window: u16::MAX,
            rate: Default::default(),
            template: None,
        }
    }

    /// Defaults of a new host of the same class: what depends on the network, without the counters of the host itself.
    fn like(&self) -> Self {
        Self {
            id: self.id.inherited(),
            template: None,
            window: u16::MAX,
            rate: Default::default(),
            ..self.clone()
        }
    }
}

/// The service of a flow: its kind, and its ports as the initiator sends them.
pub(super) type Service = (FlowKind, (u16, u16));

/// A host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) address: IpAddr,
    pub(super) mac: Option<Mac>,
    /// Service of the last flow that it opened, and of the last flow that was opened to it.
    pub(super) last: [Option<Service>; 2],
    defaults: [Option<Box<HostDefaults>>; FlowKind::ALL.len()],
}

/// State of one direction of a flow.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) seen: bool,
    /// Packets, and bytes of payload, so far.
    pub(super) packets: u32,
    pub(super) bytes: u32,
    /// Destination and source address of its last packet.
    pub(super) macs: Option<(Mac, Mac)>,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) fragment: u16,
    pub(super) options: Box<[u8]>,
    pub(super) id: IdState,
    pub(super) padded: bool,
    pub(super) checksum: ChecksumMode,
    pub(super) ip_zero: bool,
    pub(super) label: Option<u32>,
    pub(super) lengths: Lengths,
    pub(super) tcp: Option<Box<TcpDir>>,
    pub(super) icmp: IcmpDir,
}

/// Last ICMP message of a direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IcmpDir {
    pub(super) kind: Option<u16>,
    pub(super) words: Option<(u16, u16)>,
}

impl Dir {
    fn new(defaults: &HostDefaults, kind: FlowKind) -> Self {
        Self {
            seen: false,
            packets: 0,
            bytes: 0,
            macs: None,
            ttl: defaults.ttl,
            tos: defaults.tos,
            fragment: defaults.fragment,
            // A host that joins a group alerts the routers (RFC 2236 section 2).
            options: if kind == FlowKind::Igmp { Box::new([0x94, 4, 0, 0]) } else { Box::default() },
            id: defaults.id.for_flow(),
            padded: defaults.padded,
            checksum: defaults.checksum,
            ip_zero: defaults.ip_zero,
            label: None,
            lengths: Lengths::default(),
            tcp: (kind == FlowKind::Tcp).then(|| Box::new(TcpDir::new(defaults.window, defaults.rate))),
            icmp: IcmpDir::default(),
        }
    }
}

/// A flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// Whether the strict rules allow packets forward and backward. It depends on the key alone and is needed for every
    /// packet of the session.
    pub(super) may_go: [bool; 2],
    pub(super) tags: Tags,
    pub(super) dirs: [Dir; 2],
    pub(super) payload: FlowPayload,
    /// Bytes of the last packets of a protocol without ports, by direction. Few flows have one.
    pub(super) templates: Option<Box<[PayloadTemplate; 2]>>,
    /// Bytes of the last frame of a link flow.
    pub(super) body: Box<[u8]>,
    /// When its first packet was sent.
    pub(super) opened_us: i64,
    /// When its last packet was sent, and whether against its initiator.
    pub(super) last_us: i64,
    pub(super) last_back: bool,
    /// Packets since the direction changed.
    pub(super) run: u32,
}

impl Flow {
    /// Counts a packet.
    pub(super) fn sent(&mut self, back: bool, payload_len: u32, time_us: i64) {
        if self.packets() == 0 {
            self.opened_us = time_us;
        }
        let dir = &mut self.dirs[usize::from(back)];
        dir.packets = dir.packets.saturating_add(1);
        dir.bytes = dir.bytes.saturating_add(payload_len);
        self.run = if back == self.last_back { self.run.saturating_add(1) } else { 1 };
        (self.last_us, self.last_back) = (time_us, back);
    }

    /// Packets both ways.
    pub(super) fn packets(&self) -> u64 {
        self.dirs.iter().map(|dir| u64::from(dir.packets)).sum()
    }

    /// Bytes of payload both ways.
    pub(super) fn bytes(&self) -> u64 {
        self.dirs.iter().map(|dir| u64::from(dir.bytes)).sum()
    }

    pub(super) fn closed(&self) -> bool {
        match (&self.dirs[0].tcp, &self.dirs[1].tcp) {
            (Some(a), Some(b)) => super::tcp::is_closed(a, b),
            _ => false,
        }
    }
}

/// The state of a session.
#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: Clock,
    hosts: Vec<Host>,
    by_address: Table<IpAddr, u16>,
    /// Host slots given out so far; the table is a ring.
    hosts_made: usize,
    /// Host slots without those of the common hosts. The host that opened a flow last comes first.
    initiators: Vec<u16>,
    /// The same slots. The host to which a flow was opened last comes first.
    responders: Vec<u16>,
    macs: Vec<Mac>,
    by_mac: Table<Mac, u16>,
    macs_made: usize,
    pub(super) gateway: Option<Mac>,
    flows: Vec<Option<Box<Flow>>>,
    /// Slots by the hash of a key. The flow has the key itself. If two keys have the same hash, the later one is found.
    by_key: Table<u64, u16>,
    /// Flow slots. The flow used last comes first.
    order: Vec<u16>,
    packets: u64,
    /// The flow opened last, and the packets before it.
    newest: Option<(u16, u64)>,
    /// Packets in a row of the flow used last.
    pub(super) streak: u64,
    /// SYN options seen last.
    pub(super) templates: ArrayVec<SynTemplate, 4>,
    pub(super) follows: Follows,
    /// Last payload profile by service port. The port used last comes first.
    services: ArrayVec<(u16, Profile), 64>,
    /// Defaults of the last host of a class, by kind of flow.
    like: [[Option<Box<HostDefaults>>; HostClass::ALL.len()]; FlowKind::ALL.len()],
    /// Tags of the last new flow.
    pub(super) tags: Tags,
    /// Bytes that the capture keeps of a frame. Known after the first cut frame.
    pub(super) snap_len: Option<u16>,
    /// Length on the wire of the last ARP frame by its sender.
    pub(super) arp_len: Table<Mac, u32>,
    /// Last body of a link protocol.
    pub(super) bodies: ArrayVec<(u16, ArrayVec<u8, 50>), 8>,
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self {
            clock: Clock::default(),
            hosts: Vec::new(),
            by_address: Table::default(),
            hosts_made: 0,
            initiators: Vec::new(),
            responders: Vec::new(),
            macs: Vec::new(),
            by_mac: Table::default(),
            macs_made: 0,
            gateway: None,
            flows: Vec::new(),
            by_key: Table::default(),
            order: Vec::new(),
            packets: 0,
            newest: None,
            streak: 0,
            templates: ArrayVec::new(),
            follows: Follows::default(),
            services: ArrayVec::new(),
            like: Default::default(),
            tags: Tags::new(),
            snap_len: None,
            arp_len: Table::default(),
            bodies: ArrayVec::new(),
        };
        // The common hosts are in the address book from the start, at the same places in every session.
        for address in COMMON_HOSTS {
            state.host_mut(address);
        }
        state
    }
}

impl State {
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Microseconds and packets since a flow was opened.
    pub(super) fn since_opening(&self) -> Option<(u64, u64)> {
        let (slot, before) = self.newest?;
        let time_us = self.clock.since(self.flow(slot)?.opened_us);
        Some((u64::try_from(time_us).unwrap_or(0), self.packets.saturating_sub(before)))
    }

    /// The payload profile last seen on a port.
    pub(super) fn profile(&self, service: u16) -> Profile {
        self.services
            .iter()
            .find(|(port, _)| *port == service)
            .map_or(Profile::Generic, |&(_, profile)| profile)
    }

    pub(super) fn set_profile(&mut self, service: u16, profile: Profile) {
        self.services.retain(|(port, _)| *port != service);
        if self.services.is_full() {
            self.services.pop();
        }
        self.services.insert(0, (service, profile));
    }

    pub(super) fn add_template(&mut self, template: &SynTemplate) {
        self.templates.retain(|known| known != template);
        if self.templates.is_full() {
            self.templates.pop();
        }
        self.templates.insert(0, template.clone());
    }
}
