//! UDP, ICMP, IGMP and other protocols: the length and the bytes that follow.
//!
//! ```text
//! udp   := LENGTH [length] [UDP_LENGTH byte byte] [SNAP byte] payload
//! icmp  := [ICMP_TYPE byte byte] LENGTH [length] [ICMP_WORD byte byte] [ICMP_SEQUENCE byte byte] [IP_OPTIONS]
//! igmp  := the same, then [SNAP byte] template
//! other := LENGTH [length] [SNAP byte] template
//! ```
//! `IP_OPTIONS` in ICMPv6 says that the router alert is not what the type of the message predicts.

use netssm_wire::frame::protocol;

use super::{
    endpoints::has_message,
    hosts::HostClass,
    io::{Coded, Io, Presence, Stop},
    lengths::Limit,
    number::{Range, number},
    payload::{self, Ask, Payload},
    record::IpFrame,
    state::{Flow, FlowKey, FlowKind, State},
    strict,
    transport::{Icmp, OTHER_PROTOCOL, Transport, Udp, Window, is_echo, window_len},
    vocab::{ICMP_SEQUENCE, ICMP_TYPE, IP_OPTIONS, SNAP, UDP_LENGTH},
};

/// The context of a packet: its flow, its direction and the predicted length.
pub(super) struct Where<'a> {
    pub(super) state: &'a State,
    pub(super) flow: &'a Flow,
    pub(super) back: bool,
    pub(super) next_length: Option<u16>,
    /// Bytes before the transport header, as expected.
    pub(super) before: usize,
}

impl Where<'_> {
    fn dir(&self) -> &super::state::Dir {
        &self.flow.dirs[usize::from(self.back)]
    }

    fn ends(&self) -> (HostClass, HostClass) {
        let (src, dst) = (HostClass::of(self.flow.key.src), HostClass::of(self.flow.key.dst));
        if self.back { (dst, src) } else { (src, dst) }
    }

    /// A payload length.
    fn length<I: Io>(&self, io: &mut I, want: Option<u32>, limit: Limit) -> Coded<u32> {
        self.dir().lengths.code_with_class(io, self.next_length, want, limit)
    }

    /// Bytes that the capture length cut from a window of `window` bytes that ends at byte `end` of the frame.
    fn missing<I: Io>(&self, io: &mut I, want: Option<u8>, end: usize, window: usize) -> Coded<u8> {
        snap(self.state, io, want, end, window)
    }
}

/// Bytes missing at the end of a record of `end` bytes, `most` at most.
pub(super) fn snap<I: Io>(state: &State, io: &mut I, want: Option<u8>, end: usize, most: usize) -> Coded<u8> {
    let kept = state.snap_len.map_or(usize::MAX, usize::from);
    let expected = end.saturating_sub(kept).min(most);
    if !io.flag(SNAP, || want.is_some_and(|want| usize::from(want) != expected), || false)? {
        return Ok(expected as u8);
    }
    let range = || Range::new(0, most as u64).except([expected as u64]);
    let missing = number(io, 1, || want.unwrap_or_default().into(), range)?;
    if missing > most as u64 { Err(Stop::Illegal) } else { Ok(missing as u8) }
}

/// What was coded of a datagram.
#[derive(Clone, Debug)]
pub(super) struct DatagramCoded {
    pub(super) payload_len: u32,
    pub(super) missing: u8,
    pub(super) alert: bool,
    pub(super) payload: Option<Payload>,
}

pub(super) fn code<I: Io>(
    at: &Where<'_>,
    io: &mut I,
    want: Option<&IpFrame>,
) -> Coded<(Transport, DatagramCoded)> {
    match at.flow.key.kind {
        FlowKind::Udp => udp(at, io, want),
        FlowKind::Icmp | FlowKind::Igmp => icmp(at, io, want),
        _ => other(at, io, want),
    }
}

fn udp<I: Io>(at: &Where<'_>, io: &mut I, want: Option<&IpFrame>) -> Coded<(Transport, DatagramCoded)> {
    let header =
        want.and_then(|frame| if let Transport::Udp(udp) = &frame.transport { Some(udp) } else { None });
    let key = &at.flow.key;
    let ports = if at.back { (key.ports.1, key.ports.0) } else { key.ports };
    let limit = if io.strict() { strict::udp_lengths(key.src.is_ipv6(), ports).into() } else { Limit::ANY };
    let payload_len = at.length(io, want.map(|frame| frame.payload_len), limit)?;
    let right = u16::try_from(payload_len + 8).unwrap_or_default();
    let strict = io.strict();
    let len = if io.flag(UDP_LENGTH, || header.is_some_and(|udp| udp.len != right), || !strict)? {
        number(io, 2, || header.map_or(0, |udp| udp.len.into()), || Range::bytes(2).except([right.into()]))?
            as u16
    } else {
        right
    };
    let window = window_len(protocol::UDP, payload_len);
    let missing = at.missing(io, want.map(|frame| frame.missing), at.before + 8 + window, window)?;
    let mut coded = None;
    if window > usize::from(missing) {
        let ask = Ask {
            state: &at.flow.payload,
            back: at.back,
            ports: key.ports,
            expected: at.state.profile(key.service()),
            payload_len,
            len: window - usize::from(missing),
        };
        coded = Some(payload::code(&ask, io, header.map(|udp| &udp.window))?);
    }
    let window = coded.as_ref().map_or_else(Window::new, |payload| payload.window.clone());
    let transport = Transport::Udp(Udp { ports, len, checksum: 0, window });
    Ok((transport, DatagramCoded { payload_len, missing, alert: false, payload: coded }))
}

fn icmp<I: Io>(at: &Where<'_>, io: &mut I, want: Option<&IpFrame>) -> Coded<(Transport, DatagramCoded)> {
    let wanted =
        want.and_then(|frame| if let Transport::Icmp(icmp) = &frame.transport { Some(icmp) } else { None });
    let key = &at.flow.key;
    let v6 = key.src.is_ipv6();
    let echo = key.ports.0 != 0;
    let (src, dst) = at.ends();
    let protocol = key.protocol;
    let place = strict::Place { protocol, src, dst, echo, back: at.back, alert: None };
    let strict = io.strict();
    let kind = message_kind(at, io, wanted.map(|icmp| icmp.kind), &place)?;
    let limit = if strict { strict::message_lengths(&place, kind).into() } else { Limit::ANY };
    let payload_len = at.length(io, want.map(|frame| frame.payload_len), limit)?;
    let destination = if at.back { key.src } else { key.dst };
    let expected = strict::words(protocol, kind, destination, payload_len);
    let other = &at.flow.dirs[usize::from(!at.back)];
    // An echo repeats its identifier, and a reply repeats the number of its request. In other messages the rest of the
    // packet determines both words.
    let (first, second) = match (is_echo(kind, v6), expected) {
        (true, _) | (_, None) => {
            let reply = matches!((v6, kind >> 8), (false, 0) | (true, 129));
            let last = at.dir().icmp.words.map(|words| words.1.wrapping_add(1));
            let asked = other.icmp.words.map(|words| words.1);
            (key.ports.0, if reply { asked.or(last) } else { last }.unwrap_or(u16::from(!reply)))
        }
        (false, Some(words)) => {
            let again = words == (0, 0) && at.dir().icmp.kind == Some(kind);
            at.dir().icmp.words.filter(|_| again).unwrap_or(words)
        }
    };
    // A different identifier would be a different flow.
    let free = !strict && (protocol == protocol::IGMP || !is_echo(kind, v6));
    let first = word(io, super::vocab::ICMP_WORD, wanted.map(|icmp| icmp.words.0), first, free)?;
    let second = word(io, ICMP_SEQUENCE, wanted.map(|icmp| icmp.words.1), second, !strict)?;
    let usual = strict::needs_alert(protocol, kind);
    let odd = v6 && io.flag(IP_OPTIONS, || want.is_some_and(|frame| frame.alert != usual), || !strict)?;
    let window_bytes = window_len(protocol, payload_len);
    let (mut window, mut missing) = (Window::new(), 0);
    if window_bytes > 0 {
        let end = at.before + 8 + window_bytes;
        missing = at.missing(io, want.map(|frame| frame.missing), end, window_bytes)?;
        let none = Default::default();
        let template = at.flow.templates.as_deref().map_or(&none, |both| &both[usize::from(at.back)]);
        window = payload::code_generic(
            template,
            window_bytes - usize::from(missing),
            io,
            wanted.map(|icmp| &icmp.window),
        )?;
    }
    let transport = Transport::Icmp(Icmp { kind, checksum: 0, words: (first, second), window });
    Ok((transport, DatagramCoded { payload_len, missing, alert: usual != odd, payload: None }))
}

/// Type and code. The prediction is the last message of this direction, or the message that opens such a flow.
fn message_kind<I: Io>(at: &Where<'_>, io: &mut I, want: Option<u16>, place: &strict::Place) -> Coded<u16> {
    let v6 = at.flow.key.src.is_ipv6();
    let strict = io.strict();
    let expected = at.dir().icmp.kind.unwrap_or(match (place.echo, v6, at.back) {
        (true, false, false) => 0x0800,
        (true, false, true) => 0x0000,
        (true, true, false) => 0x8000,
        (true, true, true) => 0x8100,
        _ if place.protocol == protocol::IGMP => 0x1600,
        (false, false, _) => 0x0303,
        (false, true, _) => 0x8700,
    });
    let kinds = strict::kinds(place);
    let there = io.maybe(
        ICMP_TYPE,
        || want.filter(|&want| want != expected).map(|_| ICMP_TYPE.at(0)),
        |mask| {
            if !strict || kinds.iter().any(|&kind| kind != expected) {
                mask.add_class(ICMP_TYPE);
            }
            Presence::needed(strict && !kinds.contains(&expected))
        },
    )?;
    if there.is_none() {
        return Ok(expected);
    }
    let want = want.unwrap_or_default();
    if !strict {
        // A flow with an identifier has only echoes. A flow without one may have an echo whose identifier is zero.
        let high = |kind: u64| !place.echo || is_echo((kind as u16) << 8, v6);
        let token = io.pick(
            || super::vocab::BYTE.at(usize::from(want >> 8)),
            |mask| {
                for kind in (0..256).filter(|&kind| high(kind)) {
                    mask.add(super::vocab::BYTE.at(kind as usize));
                }
            },
        )?;
        let kind_high = super::vocab::BYTE.index(token).ok_or(Stop::Illegal)? as u16;
        if !high(kind_high.into()) {
            return Err(Stop::Illegal);
        }
        let not = (kind_high == expected >> 8).then_some(u64::from(expected & 0xff));
        let kind_low = number(io, 1, || u64::from(want & 0xff), || Range::bytes(1).except(not))? as u16;
        return Ok(kind_high << 8 | kind_low);
    }
    let kind_high = io.pick(
        || super::vocab::BYTE.at(usize::from(want >> 8)),
        |mask| {
            for &kind in kinds.iter().filter(|&&kind| kind != expected) {
                mask.add(super::vocab::BYTE.at(usize::from(kind >> 8)));
            }
        },
    )?;
    let kind_high = super::vocab::BYTE.index(kind_high).ok_or(Stop::Illegal)? as u16;
    let kind_low = io.pick(
        || super::vocab::BYTE.at(usize::from(want & 0xff)),
        |mask| {
            for &kind in kinds.iter().filter(|&&kind| kind != expected && kind >> 8 == kind_high) {
                mask.add(super::vocab::BYTE.at(usize::from(kind & 0xff)));
            }
        },
    )?;
    Ok(kind_high << 8 | super::vocab::BYTE.index(kind_low).ok_or(Stop::Illegal)? as u16)
}

fn word<I: Io>(
    io: &mut I,
    class: super::vocab::Class,
    want: Option<u16>,
    expected: u16,
    legal: bool,
) -> Coded<u16> {
    if !io.flag(class, || want.is_some_and(|want| want != expected), || legal)? {
        return Ok(expected);
    }
    let range = || Range::bytes(2).except([expected.into()]);
    Ok(number(io, 2, || want.unwrap_or_default().into(), range)? as u16)
}

fn other<I: Io>(at: &Where<'_>, io: &mut I, want: Option<&IpFrame>) -> Coded<(Transport, DatagramCoded)> {
    let wanted = want
        .and_then(|frame| if let Transport::Other(window) = &frame.transport { Some(window) } else { None });
    let payload_len = at.length(io, want.map(|frame| frame.payload_len), Limit::ANY)?;
    let bytes = window_len(OTHER_PROTOCOL, payload_len);
    let missing = at.missing(io, want.map(|frame| frame.missing), at.before + bytes, bytes)?;
    let none = Default::default();
    let template = at.flow.templates.as_deref().map_or(&none, |both| &both[usize::from(at.back)]);
    let mut window = Window::new();
    if bytes > usize::from(missing) {
        window = payload::code_generic(template, bytes - usize::from(missing), io, wanted)?;
    }
    Ok((Transport::Other(window), DatagramCoded { payload_len, missing, alert: false, payload: None }))
}

/// Updates the flow by a coded datagram.
pub(super) fn apply(flow: &mut Flow, back: bool, transport: &Transport, coded: &DatagramCoded) {
    if let Some(payload) = &coded.payload {
        flow.payload.apply(back, payload);
    }
    let at = usize::from(back);
    match transport {
        Transport::Icmp(icmp) => {
            flow.dirs[at].icmp = super::state::IcmpDir { kind: Some(icmp.kind), words: Some(icmp.words) };
            if !icmp.window.is_empty() {
                flow.templates.get_or_insert_default()[at].apply_generic(&icmp.window);
            }
        }
        Transport::Other(window) if !window.is_empty() => {
            flow.templates.get_or_insert_default()[at].apply_generic(window);
        }
        _ => {}
    }
}

/// Whether the strict rules allow a packet in a flow of this key.
pub(super) fn may_go(key: &FlowKey, back: bool) -> bool {
    let (src, dst) = if back { (key.dst, key.src) } else { (key.src, key.dst) };
    let (src_class, dst_class) = (HostClass::of(src), HostClass::of(dst));
    let ports = if back { (key.ports.1, key.ports.0) } else { key.ports };
    let hosts =
        strict::usable(src) && strict::usable(dst) && strict::may_pair(src_class, dst_class, key.protocol);
    hosts
        && match key.kind {
            FlowKind::Tcp => strict::ports_ok(src_class, ports),
            FlowKind::Udp => strict::ports_ok(src_class, ports),
            FlowKind::Icmp | FlowKind::Igmp => {
                has_message(key.protocol, src_class, dst_class, key.ports.0 != 0, back)
            }
            FlowKind::Other | FlowKind::Link => false,
        }
}
