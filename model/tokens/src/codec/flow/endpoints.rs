//! The flow of a packet: a known one, or a new one with its hosts and ports.
//!
//! ```text
//! who  := FLOW_FORTH | FLOW_BACK | FLOW_FAR byte | NEW host host [VLAN n (byte byte){n}] ports
//! host := HOST | HOST_FAR byte byte | HOST_NEW
//!         numbers: first the common hosts, then the others by how recently they had the role (initiator, responder)
//! ports:= port port                (TCP, UDP: destination first)
//!       | [PORT_HIGH]              (ICMP: with an identifier)
//!       | byte                     (other: the protocol)
//! port := PORT | PORT_HIGH | PORT_MID | PORT_LOW byte byte
//! ```

use std::net::IpAddr;

use netssm_wire::frame::protocol;

use super::{
    hosts::{COMMON_HOSTS, HostClass, from_halves, to_halves},
    io::{Coded, Io, Presence, Stop},
    mask::Mask,
    number::{Range, number},
    ports::{PORTS, place},
    record::Tags,
    side_channel::{SideClass, Spread},
    state::{FlowKey, FlowKind, State},
    strict,
    transport::{OTHER_PROTOCOL, known_protocol},
    vocab::{
        BYTE, FLOW_BACK, FLOW_FAR, FLOW_FORTH, HOST, HOST_FAR, HOST_NEW, PORT, PORT_HIGH, PORT_LOW, PORT_MID,
        VLAN,
    },
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

/// The part that a host takes in a new flow. Each role has an order of its own. The client of a session opens one flow
/// after the other, so it keeps the same number, however many servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It opens the flow, or takes part in ARP.
    Initiator,
    /// The flow is opened to it.
    Responder,
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

/// Hosts met in a packet that the state does not know yet.
#[derive(Clone, Debug, Default)]
pub(super) struct NewHosts(arrayvec::ArrayVec<IpAddr, 2>);

impl NewHosts {
    /// Whether a host that is new in this packet will take this slot from its present owner.
    fn displaces(&self, state: &State, slot: u16) -> bool {
        (0..self.0.len()).any(|ahead| state.next_host(ahead) == slot)
    }

    fn knows(&self, state: &State, address: IpAddr) -> bool {
        self.0.contains(&address) || state.host_slot(address).is_some_and(|slot| !self.displaces(state, slot))
    }

    /// The number of an address.
    fn number(&self, state: &State, (slots, role): (Slots, Role), address: IpAddr) -> Option<usize> {
        if let Some(ahead) = self.0.iter().position(|&known| known == address) {
            return Some(match slots {
                Slots::Fixed => usize::from(state.next_host(ahead)),
                Slots::Recent => COMMON_HOSTS.len() + state.order_of(role).len() + ahead,
            });
        }
        let slot = state.host_slot(address).filter(|&slot| !self.displaces(state, slot))?;
        match slots {
            Slots::Recent if usize::from(slot) >= COMMON_HOSTS.len() => {
                Some(COMMON_HOSTS.len() + state.order_of(role).iter().position(|&other| other == slot)?)
            }
            _ => Some(usize::from(slot)),
        }
    }

    /// The address of a number.
    fn at(&self, state: &State, (slots, role): (Slots, Role), number: usize) -> Option<IpAddr> {
        let place = match slots {
            Slots::Recent => number.checked_sub(COMMON_HOSTS.len()),
            Slots::Fixed => None,
        };
        let Some(place) = place else {
            let ahead = (0..self.0.len()).find(|&ahead| usize::from(state.next_host(ahead)) == number);
            return ahead.map(|ahead| self.0[ahead]).or_else(|| state.host_at(number));
        };
        let order = state.order_of(role);
        match order.get(place) {
            Some(&slot) => state.host_at(slot.into()).filter(|_| !self.displaces(state, slot)),
            None => self.0.get(place - order.len()).copied(),
        }
    }
}

/// Codes a host. `legal` says which known addresses and which classes of new hosts are legal.
pub(super) fn host<I: Io>(
    state: &State,
    new: &mut NewHosts,
    io: &mut I,
    by: (Slots, Role),
    want: Option<IpAddr>,
    legal: impl Fn(HostClass, Option<IpAddr>) -> bool,
) -> Coded<IpAddr> {
    let slot = want.and_then(|want| new.number(state, by, want));
    let near = HOST.len as usize;
    let known = state.host_count() + new.0.len();
    let fits = |slot: usize| {
        new.at(state, by, slot).is_some_and(|address| legal(HostClass::of(address), Some(address)))
    };
    let token = io.pick(
        || match slot {
            Some(slot) if slot < near => HOST.at(slot),
            Some(_) => HOST_FAR.at(0),
            None => HOST_NEW.at(want.map_or(0, |want| HostClass::of(want) as usize)),
        },
        |mask| {
            (0..known.min(near)).filter(|&slot| fits(slot)).for_each(|slot| mask.add(HOST.at(slot)));
            if (near..known).any(fits) {
                mask.add_class(HOST_FAR);
            }
            for (index, &class) in HostClass::ALL.iter().enumerate() {
                if legal(class, None) {
                    mask.add(HOST_NEW.at(index));
                }
            }
        },
    )?;
    if let Some(slot) = HOST.index(token) {
        return new.at(state, by, slot).ok_or(Stop::Illegal);
    }
    if HOST_FAR.has(token) {
        let slot = slot.unwrap_or_default();
        let far = |slot: usize| (near..known).contains(&slot) && fits(slot);
        let high = io.pick(
            || BYTE.at(slot >> 8),
            |mask| (near..known).filter(|&slot| fits(slot)).for_each(|slot| mask.add(BYTE.at(slot >> 8))),
        )?;
        let high = BYTE.index(high).ok_or(Stop::Illegal)? << 8;
        let low = io.pick(
            || BYTE.at(slot & 255),
            |mask| (0..256).filter(|low| far(high | low)).for_each(|low| mask.add(BYTE.at(low))),
        )?;
        return new.at(state, by, high | BYTE.index(low).ok_or(Stop::Illegal)?).ok_or(Stop::Illegal);
    }
    let class = HostClass::ALL[HOST_NEW.index(token).ok_or(Stop::Illegal)?];
    let halves = want.map(to_halves).unwrap_or_default();
    let side = if class.is_v4() { SideClass::AddressV4 } else { SideClass::AddressV6 };
    let first = io.side(side, || halves.0, Spread::Host(class))?;
    let second = if class.is_v4() { 0 } else { io.side(side, || halves.1, Spread::Host(class))? };
    let mut address = from_halves(class, first, second);
    // A drawn address may be known by chance. A recorded new address never is.
    while new.knows(state, address) {
        let (first, second) = to_halves(address);
        address = if class.is_v4() {
            from_halves(class, first.wrapping_add(1), 0)
        } else {
            from_halves(class, first, second.wrapping_add(1))
        };
    }
    if !new.0.is_full() {
        new.0.push(address);
    }
    Ok(address)
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

/// Codes a port. `legal` is asked for each port that has a token and for one port of each range. `is_taken` says
/// whether a live flow has the port.
fn port<I: Io>(
    io: &mut I,
    want: Option<u16>,
    legal: impl Fn(u16) -> bool,
    is_taken: impl Fn(u16) -> bool,
) -> Coded<u16> {
    let is_low = |port: u16| (1..1_024).contains(&port) && place(port).is_none() && !is_taken(port);
    let token = io.pick(
        || {
            let want = want.unwrap_or_default();
            match place(want) {
                Some(place) => PORT.at(place),
                None if want < 1_024 => PORT_LOW.at(0),
                None if want < 32_768 => PORT_MID.at(0),
                None => PORT_HIGH.at(0),
            }
        },
        |mask| {
            let table = PORTS.iter().enumerate().filter(|&(_, &port)| legal(port) && !is_taken(port));
            table.for_each(|(k, _)| mask.add(PORT.at(k)));
            if legal(40_000) {
                mask.add_class(PORT_HIGH);
                mask.add_class(PORT_MID);
            }
            if legal(1_001) && (1..1_024).any(is_low) {
                mask.add_class(PORT_LOW);
            }
        },
    )?;
    if let Some(place) = PORT.index(token) {
        return Ok(PORTS[place]);
    }
    if PORT_LOW.has(token) {
        let want = want.unwrap_or_default();
        let high = io.pick(
            || BYTE.at(usize::from(want >> 8)),
            |mask| {
                let any = |high: &u16| (0..256).any(|low| is_low(high << 8 | low));
                (0..4).filter(any).for_each(|high| mask.add(BYTE.at(high.into())));
            },
        )?;
        let high = BYTE.index(high).ok_or(Stop::Illegal)? as u16;
        let low = io.pick(
            || BYTE.at(usize::from(want & 255)),
            |mask| {
                (0..256).filter(|low| is_low(high << 8 | low)).for_each(|low| mask.add(BYTE.at(low.into())))
            },
        )?;
        return Ok(high << 8 | BYTE.index(low).ok_or(Stop::Illegal)? as u16);
    }
    let (side, spread) = if PORT_HIGH.has(token) {
        (SideClass::PortHigh, Spread::PortHigh)
    } else if PORT_MID.has(token) {
        (SideClass::PortMid, Spread::PortMid)
    } else {
        return Err(Stop::Illegal);
    };
    let mut port = io.side(side, || want.unwrap_or_default().into(), spread)? as u16;
    // A drawn port may be in use by chance. A recorded port of a new flow never is. There are more ports than flows, so
    // the search ends.
    let range = if PORT_HIGH.has(token) { 32_768..=u16::MAX } else { 1_024..=32_767 };
    while !I::EMITS && (is_taken(port) || place(port).is_some()) {
        port = if port == *range.end() { *range.start() } else { port + 1 };
    }
    Ok(port)
}
