//! A packet: time, flow, fields; and the change of the state.
//!
//! ```text
//! packet := time ( who body | ARP arp | ESC escape | NEW(link) mac mac [VLAN ..] byte byte link )
//! body   := [VLAN byte{n}] [macs] ( tcp [SNAP byte] | udp | icmp | igmp | other ) tail
//! ```
//! No token ends a packet. The time of the next packet or the end of the session does.

mod apply;

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use netssm_wire::frame::protocol;

use super::{
    context,
    datagram::{self, DatagramCoded, Where, snap},
    endpoints::{NEAR, Slots, far_flow, new_flow},
    io::{Coded, Io, Stop},
    lengths::Before,
    link::{self, arp},
    network_tail::{self, TailCoded},
    number::{Range, number},
    record::{Ether, Frame, IpFrame, Record, Tags},
    state::{Flow, FlowKey, FlowKind, State},
    strict,
    tcp::{self, TcpCoded, TcpContext},
    transport::Transport,
    vocab::{ARP, ESC, FLOW_BACK, FLOW_FAR, FLOW_FORTH, NEW, VLAN},
};

pub(super) use self::apply::apply;

/// Parameters of the grammar. They hold for all packets of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Whether gaps have fine tokens. The model then sees gaps to 0.6 % instead of 9 %, for one more token per packet.
    pub fine: bool,
    /// How flows and hosts are numbered.
    pub slots: Slots,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { fine: true, slots: Slots::Recent }
    }
}

/// A coded packet with what `apply` needs to change the state.
#[derive(Clone, Debug)]
pub(super) struct PacketCoded {
    pub(super) record: Record,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Ip { place: Place, back: bool, coded: TransportCoded, tail: TailCoded, before: Before, snap: Snap },
    Link { place: Place, back: bool, padded: bool, snap: Snap },
    Arp,
    Escape,
}

/// The flow of a packet: its slot, or a new flow.
#[derive(Clone, Debug)]
enum Place {
    Known(u16),
    New(Box<Flow>),
}

#[derive(Clone, Debug)]
enum TransportCoded {
    Tcp(TcpCoded),
    Datagram(DatagramCoded),
}

/// What the capture length cut: the end of the whole record, its missing bytes, and how many were predicted.
#[derive(Clone, Copy, Debug)]
struct Snap {
    end: usize,
    missing: usize,
    expected: usize,
}

/// The flow that a packet belongs to, as its initiator would send it.
fn key_of(frame: &IpFrame) -> FlowKey {
    let kind = match (&frame.transport, frame.protocol) {
        (Transport::Tcp(_), _) => FlowKind::Tcp,
        (Transport::Udp(_), _) => FlowKind::Udp,
        (Transport::Icmp(_), protocol::IGMP) => FlowKind::Igmp,
        (Transport::Icmp(_), _) => FlowKind::Icmp,
        (Transport::Other(_), _) => FlowKind::Other,
    };
    // IGMP has types with the numbers of echoes, but no identifiers.
    let ports = if kind == FlowKind::Igmp { (0, 0) } else { frame.transport.ports(!frame.is_v4()) };
    let vlans = frame.ether.tags.iter().map(|tag| tag & 0xfff).collect();
    FlowKey { kind, protocol: frame.protocol, src: frame.src, dst: frame.dst, ports, vlans, macs: None }
}

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn link_key(dst: [u8; 6], src: [u8; 6], kind: u16, tags: &Tags) -> FlowKey {
    FlowKey {
        kind: FlowKind::Link,
        protocol: 0,
        src: NOWHERE,
        dst: NOWHERE,
        ports: (kind, kind),
        vlans: tags.iter().map(|tag| tag & 0xfff).collect(),
        macs: Some((dst, src)),
    }
}

/// Codes one packet.
pub(super) fn code<I: Io>(
    state: &State,
    io: &mut I,
    rules: Parameters,
    want: Option<&Record>,
) -> Coded<PacketCoded> {
    let time_us = state.clock.code(io, want.map(|record| record.time_us), rules.fine)?;
    let frame = want.map(|record| &record.frame);
    let wire_len = want.map(|record| record.wire_len);
    let key = match frame {
        Some(Frame::Ip(ip)) => Some(key_of(ip)),
        Some(Frame::Link(link)) => {
            Some(link_key(link.ether.dst, link.ether.src, link.kind, &link.ether.tags))
        }
        _ => None,
    };
    let found = key.as_ref().and_then(|key| state.find(key));
    let strict = io.strict();
    let token = io.pick(
        || match (frame, found, &key) {
            (Some(Frame::Arp(arp)), ..) => ARP.at(arp::arp_form(arp, state)),
            (_, Some((slot, back)), _) => match state.number_of(slot, rules.slots) {
                number if number < NEAR => if back { FLOW_BACK } else { FLOW_FORTH }.at(number),
                _ => FLOW_FAR.at(back.into()),
            },
            (_, None, Some(key)) => NEW.at(key.kind as usize),
            _ => ESC.at(0),
        },
        |mask| {
            state.collect_flows(rules.slots, mask, |slot, back| may_go(state, strict, slot, back));
            // The other forms have many ways to write one packet.
            mask.add_members(NEW, 0, FlowKind::Other as usize);
            mask.add_members(ARP, 0, arp::ARP_ODD);
        },
    )?;
    let record = |wire_len: u32, frame: Frame| Record { time_us, wire_len, frame };
    if ESC.has(token) {
        let raw = if let Some(Frame::Raw(raw)) = frame { Some(raw) } else { None };
        let (bytes, wire_len) = link::escape(io, raw.zip(wire_len))?;
        return Ok(PacketCoded { record: record(wire_len, Frame::Raw(bytes)), change: Change::Escape });
    }
    if let Some(form) = ARP.index(token) {
        let arp = if let Some(Frame::Arp(arp)) = frame { Some(arp) } else { None };
        let (arp, wire_len) = arp::arp(state, io, (form, rules.slots), arp.zip(wire_len))?;
        return Ok(PacketCoded { record: record(wire_len, Frame::Arp(arp)), change: Change::Arp });
    }
    let (place, back) = if let Some(kind) = NEW.index(token) {
        let kind = *FlowKind::ALL.get(kind).ok_or(Stop::Illegal)?;
        (Place::New(Box::new(open(state, io, (kind, rules.slots), frame, key.as_ref())?)), false)
    } else {
        let (slot, back) = known(state, io, rules.slots, token, found, strict)?;
        (Place::Known(slot), back)
    };
    let flow = match &place {
        Place::Known(slot) => state.flow(*slot).ok_or(Stop::Illegal)?,
        Place::New(flow) => flow,
    };
    let is_new = matches!(place, Place::New(_));
    io.note(|| context::note(flow, back, is_new, time_us));
    if flow.key.kind == FlowKind::Link {
        let wanted = if let Some(Frame::Link(link)) = frame { Some(link) } else { None };
        let tags = tags(io, flow, is_new, wanted.map(|link| &link.ether.tags))?;
        let (link, wire_len, missing, padded) =
            link::link(state, io, flow, back, tags, wanted.zip(wire_len))?;
        let end = link.ether.header_len() + link.body.len() + usize::from(missing);
        let change = Change::Link {
            place,
            back,
            padded,
            snap: Snap::of(state, end, missing.into(), link.body.len() + usize::from(missing)),
        };
        return Ok(PacketCoded { record: record(wire_len, Frame::Link(link)), change });
    }
    let wanted = if let Some(Frame::Ip(ip)) = frame { Some(ip) } else { None };
    let body = body(state, io, flow, is_new, back, time_us, wanted.zip(wire_len))?;
    let change =
        Change::Ip { place, back, coded: body.coded, tail: body.tail, before: body.before, snap: body.snap };
    Ok(PacketCoded { record: record(body.wire_len, Frame::Ip(body.frame)), change })
}

/// Whether the mask allows a packet of a flow.
fn may_go(state: &State, strict: bool, slot: u16, back: bool) -> bool {
    state.flow(slot).is_some_and(|flow| match flow.key.kind {
        FlowKind::Other | FlowKind::Link => false,
        _ => !strict || flow.may_go[usize::from(back)],
    })
}

/// The flow that a token names.
fn known<I: Io>(
    state: &State,
    io: &mut I,
    slots: Slots,
    token: u16,
    found: Option<(u16, bool)>,
    strict: bool,
) -> Coded<(u16, bool)> {
    if let Some(far) = FLOW_FAR.index(token) {
        let back = far == 1;
        let want = found.map(|(slot, _)| state.number_of(slot, slots));
        let may_go = |slot: u16| may_go(state, strict, slot, back);
        return Ok((far_flow(state, io, slots, want, may_go)?, back));
    }
    let (number, back) = match (FLOW_FORTH.index(token), FLOW_BACK.index(token)) {
        (Some(number), _) => (number, false),
        (_, Some(number)) => (number, true),
        _ => return Err(Stop::Illegal),
    };
    Ok((state.numbered(number, slots).ok_or(Stop::Illegal)?, back))
}

/// A new flow behind its token.
fn open<I: Io>(
    state: &State,
    io: &mut I,
    (kind, slots): (FlowKind, Slots),
    frame: Option<&Frame>,
    key: Option<&FlowKey>,
) -> Coded<Flow> {
    if kind == FlowKind::Link {
        let wanted = if let Some(Frame::Link(link)) = frame { Some(link) } else { None };
        let (dst, src, kind, tags) = link::new_link(state, io, wanted)?;
        return Ok(state.open(link_key(dst, src, kind, &tags), tags));
    }
    let tags = if let Some(Frame::Ip(ip)) = frame { Some(&ip.ether.tags) } else { None };
    let (key, tags) = new_flow(state, io, (kind, slots), key.zip(tags))?;
    Ok(state.open(key, tags))
}

struct Body {
    frame: IpFrame,
    wire_len: u32,
    coded: TransportCoded,
    tail: TailCoded,
    before: Before,
    snap: Snap,
}

fn body<I: Io>(
    state: &State,
    io: &mut I,
    flow: &Flow,
    is_new: bool,
    back: bool,
    time_us: i64,
    want: Option<(&IpFrame, u32)>,
) -> Coded<Body> {
    let wanted = want.map(|(frame, _)| frame);
    let tags = tags(io, flow, is_new, wanted.map(|frame| &frame.ether.tags))?;
    let (dst_mac, src_mac) = link::macs(state, io, flow, back, wanted.map(|frame| &frame.ether))?;
    let (this, other) = (&flow.dirs[usize::from(back)], &flow.dirs[usize::from(!back)]);
    let (src, dst) = if back { (flow.key.dst, flow.key.src) } else { (flow.key.src, flow.key.dst) };
    let defaults = state.own_defaults(src, flow.key.kind);
    let before = Before {
        service: (flow.key.service(), flow.key.kind as u8),
        back,
        same: this.lengths.last(),
        other: other.lengths.last(),
    };
    let next_length = state.follows.get(before);
    let v4 = src.is_ipv4();
    let ether = Ether { dst: dst_mac, src: src_mac, tags };
    let network_len = if v4 { 20 + this.options.len() } else { 40 };
    let ahead = ether.header_len() + network_len;
    let (transport, payload_len, missing, alert, coded) = if flow.key.kind == FlowKind::Tcp {
        let (this_tcp, other_tcp) = this.tcp.as_deref().zip(other.tcp.as_deref()).ok_or(Stop::Illegal)?;
        let cx = TcpContext {
            this: this_tcp,
            other: other_tcp,
            lengths: &this.lengths,
            next_length,
            time_us,
            host_template: defaults.and_then(|defaults| defaults.template.as_ref()),
            templates: &state.templates,
            back,
            closed: flow.closed(),
            room: strict::room(!v4),
        };
        let header = wanted.and_then(|frame| {
            if let Transport::Tcp(tcp) = &frame.transport { Some((tcp, frame.payload_len)) } else { None }
        });
        let (mut tcp, coded) = tcp::code(&cx, io, header)?;
        let options = tcp.options.len();
        let missing = snap(state, io, wanted.map(|frame| frame.missing), ahead + 20 + options, options)?;
        tcp.ports = if back { (flow.key.ports.1, flow.key.ports.0) } else { flow.key.ports };
        (Transport::Tcp(tcp), coded.payload_len, missing, false, TransportCoded::Tcp(coded))
    } else {
        let at = Where { state, flow, back, next_length, before: ahead };
        let (transport, coded) = datagram::code(&at, io, wanted)?;
        (transport, coded.payload_len, coded.missing, coded.alert, TransportCoded::Datagram(coded))
    };
    let window = match &transport {
        Transport::Tcp(tcp) => usize::from(tcp.options_len),
        Transport::Udp(udp) => udp.window.len() + usize::from(missing),
        Transport::Icmp(icmp) => icmp.window.len() + usize::from(missing),
        Transport::Other(window) => window.len() + usize::from(missing),
    };
    let fixed = match &transport {
        Transport::Tcp(_) => 20,
        Transport::Other(_) => 0,
        _ => 8,
    };
    let snap = Snap::of(state, ahead + fixed + window, missing.into(), window);
    let mut frame = IpFrame {
        ether,
        src,
        dst,
        protocol: flow.key.protocol,
        tos: 0,
        ttl: 0,
        id: 0,
        fragment: 0,
        checksum: 0,
        options: ArrayVec::new(),
        label: 0,
        alert,
        transport,
        payload_len,
        missing,
    };
    let (wire_len, tail) = network_tail::code(io, this, defaults, flow.key.kind, &mut frame, want)?;
    Ok(Body { frame, wire_len, coded, tail, before, snap })
}

/// The tags of a packet. They are predicted to be those of the flow; a token announces other priorities.
fn tags<I: Io>(io: &mut I, flow: &Flow, is_new: bool, want: Option<&Tags>) -> Coded<Tags> {
    // A new flow has just named its tags.
    if flow.tags.is_empty() || is_new {
        return Ok(flow.tags.clone());
    }
    if !io.flag(VLAN, || want.is_some_and(|want| *want != flow.tags), || false)? {
        return Ok(flow.tags.clone());
    }
    let mut tags = Tags::new();
    for (at, &tag) in flow.tags.iter().enumerate() {
        // The ids are those of the flow. If all earlier tags are unchanged, the last one must change.
        let same = at + 1 == flow.tags.len() && tags[..] == flow.tags[..at];
        let range = || Range::new(0, 15).except(same.then(|| u64::from(tag >> 12)));
        let high = number(io, 1, || want.map_or(0, |want| u64::from(want[at] >> 12)), range)? as u16;
        tags.push((high & 15) << 12 | tag & 0xfff);
    }
    Ok(tags)
}

impl Snap {
    fn of(state: &State, end: usize, missing: usize, most: usize) -> Self {
        let expected = state.snap_len.map_or(0, |kept| end.saturating_sub(kept.into()).min(most));
        Self { end, missing, expected }
    }

    fn apply(self, state: &mut State) {
        if self.missing != self.expected {
            state.snap_len = (self.missing > 0).then(|| (self.end - self.missing) as u16);
        }
    }
}
