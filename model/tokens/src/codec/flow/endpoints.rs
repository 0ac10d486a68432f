//! The flow of a packet: a known one, or a new one with its hosts and ports.
//!
//! ```text
//! who  := FLOW_FORTH | FLOW_BACK | FLOW_FAR byte | NEW host host [VLAN n (byte byte){n}] ports
//! ports:= port port                (TCP, UDP: destination first)
//!       | [PORT_HIGH]              (ICMP: with an identifier)
//!       | byte                     (other: the protocol)
//! ```
//! `host` and `port` have grammars of their own, in the modules of these names.

mod host;
mod port;

use std::net::IpAddr;

use netssm_wire::frame::protocol;

pub(super) use self::host::{NewHosts, host};
use self::port::port;
use super::{
    hosts::HostClass,
    io::{Coded, Io, Presence, Stop},
    mask::Mask,
    number::{Range, number},
    record::Tags,
    side_channel::{SideClass, Spread},
    state::{FlowKey, FlowKind, Role, State},
    strict,
    transport::{OTHER_PROTOCOL, known_protocol},
    vocab::{BYTE, FLOW_BACK, FLOW_FAR, FLOW_FORTH, PORT_HIGH, VLAN},
};

/// Number of ranks with a token of their own.
pub(super) const NEAR: usize = FLOW_FORTH.len as usize;

/// How flows and hosts are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slots {
    /// By how recently they were used. The last flow is 0; hosts have an order for each `Role`.
    #[default]
    Recent,
    /// By a number that a flow or host keeps while it lives.
    Fixed,
}

impl State {
    /// The number of a flow.
    pub(super) fn number_of(&self, slot: u16, slots: Slots) -> usize {
        match slots {
            Slots::Recent => self.rank(slot).unwrap_or_default(),
            Slots::Fixed => usize::from(slot),
        }
    }

    /// The flow of a number.
    pub(super) fn numbered(&self, number: usize, slots: Slots) -> Option<u16> {
        match slots {
            Slots::Recent => self.at_rank(number),
            Slots::Fixed => u16::try_from(number).ok().filter(|_| self.is_live(number)),
        }
    }

    /// Adds the tokens of flows in which `may_go(flow, back)` allows a packet.
    pub(super) fn collect_flows(&self, slots: Slots, mask: &mut Mask, may_go: impl Fn(u16, bool) -> bool) {
        for number in 0..super::state::MAX_FLOWS {
            let Some(slot) = self.numbered(number, slots) else {
                if slots == Slots::Recent {
                    break;
                }
                continue;
            };
            for (back, class) in [(false, FLOW_FORTH), (true, FLOW_BACK)] {
                if may_go(slot, back) {
                    mask.add(if number < NEAR { class.at(number) } else { FLOW_FAR.at(back.into()) });
                }
            }
        }
    }
}

/// The number behind a [`FLOW_FAR`] token.
pub(super) fn far_flow<I: Io>(
    state: &State,
    io: &mut I,
    slots: Slots,
    want: Option<usize>,
    may_go: impl Fn(u16) -> bool,
) -> Coded<u16> {
    let token = io.pick(
        || BYTE.at(want.unwrap_or_default().saturating_sub(NEAR)),
        |mask| {
            for byte in 0..256 {
                if state.numbered(NEAR + byte, slots).is_some_and(&may_go) {
                    mask.add(BYTE.at(byte));
                }
            }
        },
    )?;
    let byte = BYTE.index(token).ok_or(Stop::Illegal)?;
    state.numbered(NEAR + byte, slots).ok_or(Stop::Illegal)
}

/// The protocol number of a kind of flow, where the kind determines it.
pub(super) fn protocol(kind: FlowKind, v6: bool) -> u8 {
    match kind {
        FlowKind::Tcp => protocol::TCP,
        FlowKind::Udp => protocol::UDP,
        FlowKind::Icmp if v6 => protocol::ICMPV6,
        FlowKind::Icmp => protocol::ICMP,
        FlowKind::Igmp => protocol::IGMP,
        FlowKind::Other | FlowKind::Link => OTHER_PROTOCOL,
    }
}

/// Whether a packet of this kind may go between hosts of two classes in a generated session.
fn may_talk(kind: FlowKind, src: HostClass, dst: HostClass) -> bool {
    if src.is_v4() != dst.is_v4() || kind == FlowKind::Igmp && !src.is_v4() {
        return false;
    }
    let protocol = protocol(kind, !src.is_v4());
    let message = |echo| has_message(protocol, src, dst, echo, false);
    strict::may_pair(src, dst, protocol)
        && (!matches!(kind, FlowKind::Icmp | FlowKind::Igmp) || message(false) || message(true))
}

/// Whether there is a message of ICMP or IGMP that a generator may send between two classes.
pub(super) fn has_message(protocol: u8, src: HostClass, dst: HostClass, echo: bool, back: bool) -> bool {
    let place = strict::Place { protocol, src, dst, echo, back, alert: None };
    !strict::kinds(&place).is_empty()
}

/// Classes of which the strict rules allow a new host: those with more addresses than the address book has from the
/// start.
fn may_be_new(class: HostClass) -> bool {
    !matches!(class, HostClass::Broadcast | HostClass::Zero | HostClass::OtherV6 | HostClass::Loopback)
}

/// A new flow: its key and tags.
pub(super) fn new_flow<I: Io>(
    state: &State,
    io: &mut I,
    (kind, slots): (FlowKind, Slots),
    want: Option<(&FlowKey, &Tags)>,
) -> Coded<(FlowKey, Tags)> {
    let strict = io.strict();
    let wanted = want.map(|(key, _)| key);
    let mut new = NewHosts::default();
    let usable =
        |class: HostClass, address: Option<IpAddr>| address.map_or_else(|| may_be_new(class), strict::usable);
    let igmp = kind == FlowKind::Igmp;
    let vlans = |tags: &Tags| tags.iter().map(|tag| tag & 0xfff).collect::<Tags>();
    let is_live = |key: &FlowKey| state.find(key).is_some();
    // A flow without ports is identified by its hosts.
    let is_live_between = |src: IpAddr, dst: IpAddr, ports: (u16, u16)| {
        let protocol = protocol(kind, src.is_ipv6());
        is_live(&FlowKey { kind, protocol, src, dst, ports, vlans: vlans(&state.tags), macs: None })
    };
    // A host without an address can only ask for one (DHCP), in one flow.
    let asks = |class: HostClass| {
        class == HostClass::Zero
            && kind == FlowKind::Udp
            && is_live_between(super::hosts::COMMON_HOSTS[1], super::hosts::COMMON_HOSTS[0], (68, 67))
    };
    let by = (slots, Role::Initiator);
    let src = host(state, &mut new, io, by, wanted.map(|key| key.src), |class, address| {
        if !strict {
            return (!igmp || class.is_v4())
                && (address.is_some() || may_be_new(class) || class == HostClass::Loopback);
        }
        let responder = HostClass::ALL.iter().any(|&dst| usable(dst, None) && may_talk(kind, class, dst));
        usable(class, address) && !asks(class) && (responder || common_responder(state, kind, class))
    })?;
    let src_class = HostClass::of(src);
    let by = (slots, Role::Responder);
    let dst = host(state, &mut new, io, by, wanted.map(|key| key.dst), |class, address| {
        let same = class.is_v4() == src_class.is_v4() && address != Some(src);
        let has_echo = kind == FlowKind::Icmp
            && (!strict || has_message(protocol(kind, !class.is_v4()), src_class, class, true, false));
        let taken = matches!(kind, FlowKind::Icmp | FlowKind::Igmp)
            && !has_echo
            && address.is_some_and(|dst| is_live_between(src, dst, (0, 0)));
        if taken {
            return false;
        }
        if !strict {
            return same && (address.is_some() || may_be_new(class) || class == HostClass::Loopback);
        }
        same && usable(class, address) && may_talk(kind, src_class, class)
    })?;
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(Stop::Illegal);
    }
    let mut tags = state.tags.clone();
    if io.flag(VLAN, || want.is_some_and(|(_, tags)| *tags != state.tags), || false)? {
        tags = vlan_tags(io, want.map(|(_, tags)| tags), &state.tags)?;
    }
    let protocol = protocol(kind, src.is_ipv6());
    let mut key = FlowKey { kind, protocol, src, dst, ports: (0, 0), vlans: vlans(&tags), macs: None };
    match kind {
        FlowKind::Tcp | FlowKind::Udp => {
            let ports = wanted.map(|key| key.ports);
            let fits = |port: (u16, u16)| !strict || strict::ports_ok(src_class, port);
            // The source port is not known yet. The port is legal if one of a client, of DHCP client or of DHCP server
            // fits it.
            let may_hear = |port| fits((40_000, port)) || fits((68, port)) || fits((67, port));
            key.ports.1 = port(io, ports.map(|ports| ports.1), may_hear, |_| false)?;
            let dst_port = key.ports.1;
            let probe = key.clone();
            let is_taken = |port| is_live(&FlowKey { ports: (port, dst_port), ..probe.clone() });
            key.ports.0 = port(io, ports.map(|ports| ports.0), |port| fits((port, dst_port)), is_taken)?;
        }
        FlowKind::Icmp => {
            let dst_class = HostClass::of(dst);
            let allowed = |echo| !strict || has_message(key.protocol, src_class, dst_class, echo, false);
            let there = io.maybe(
                PORT_HIGH,
                || wanted.filter(|key| key.ports.0 != 0).map(|_| PORT_HIGH.at(0)),
                |mask| {
                    if allowed(true) {
                        mask.add_class(PORT_HIGH);
                    }
                    Presence::needed(is_live(&key) || !allowed(false))
                },
            )?;
            if there.is_some() {
                let id = || wanted.map_or(0, |key| key.ports.0.into());
                let id = io.side(SideClass::PortHigh, id, Spread::PortHigh)? as u16;
                key.ports = (id, id);
            }
        }
        FlowKind::Igmp => {}
        FlowKind::Other | FlowKind::Link => {
            let v6 = src.is_ipv6();
            let known = |protocol: u8| known_protocol(v6, protocol);
            let probe = key.clone();
            let token = io.pick(
                || BYTE.at(wanted.map_or(0, |key| key.protocol.into())),
                |mask| {
                    for protocol in (0..=255).filter(|&protocol| !known(protocol)) {
                        if !is_live(&FlowKey { protocol, ..probe.clone() }) {
                            mask.add(BYTE.at(protocol.into()));
                        }
                    }
                },
            )?;
            key.protocol = BYTE.index(token).ok_or(Stop::Illegal)? as u8;
        }
    }
    Ok((key, tags))
}

/// Whether the strict rules allow packets from a class of hosts to one of the common hosts.
fn common_responder(state: &State, kind: FlowKind, src: HostClass) -> bool {
    let known = (0..super::hosts::COMMON_HOSTS.len()).filter_map(|slot| state.host_at(slot));
    known.map(HostClass::of).any(|dst| may_talk(kind, src, dst))
}

/// Codes VLAN tags other than the predicted ones.
pub(super) fn vlan_tags<I: Io>(io: &mut I, want: Option<&Tags>, not: &Tags) -> Coded<Tags> {
    let token = io.pick(
        || BYTE.at(want.map_or(0, |want| want.len())),
        |mask| {
            mask.add_members(BYTE, usize::from(not.is_empty()), 3);
        },
    )?;
    let count = BYTE.index(token).filter(|&count| count <= 2).ok_or(Stop::Illegal)?;
    let mut tags = Tags::new();
    for at in 0..count {
        let last = at + 1 == count && not.len() == count && not[..at] == tags[..];
        let range = || Range::bytes(2).except(last.then(|| u64::from(not[at])));
        tags.push(number(io, 2, || want.map_or(0, |want| want[at].into()), range)? as u16);
    }
    Ok(tags)
}
