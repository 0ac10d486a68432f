//! The fields that follow the transport header in the grammar: IP fields, length on the wire, checksums.
//!
//! ```text
//! tail := [TTL byte] [TOS byte] [FRAGMENT byte [byte]] [IP_OPTIONS n byte{n}] [id]      IPv4
//!       | [TTL byte] [TOS byte] [FLOW_LABEL]                                            IPv6
//!         [PADDING | WIRE_LEN varint] [IP_CHECKSUM [byte byte]] [CHECKSUM [byte byte]]
//! ```

use arrayvec::ArrayVec;

use super::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Presence, Stop},
    ip_id::IdCoded,
    network::{full_checksum, partial_checksum, v4_checksum},
    number::{Range, number, varint},
    record::IpFrame,
    side_channel::{SideClass, Spread},
    state::{ChecksumMode, Dir, FlowKind, HostDefaults},
    strict,
    transport::{Transport, known_protocol},
    vocab::{CHECKSUM, Class, FLOW_LABEL, FRAGMENT, IP_CHECKSUM, IP_OPTIONS, PADDING, TOS, TTL, WIRE_LEN},
};

/// Least Ethernet frame without check sequence.
const LEAST_FRAME: u32 = 60;
const OFFSET_BITS: u16 = 0x1fff;

/// The coded values of these fields.
#[derive(Clone, Debug, Default)]
pub(super) struct TailCoded {
    id: Option<IdCoded>,
    padded: bool,
    ip_zero: bool,
    checksum: ChecksumMode,
}

/// A field of one byte. It is predicted to be as in the last packet of the direction.
fn changed<I: Io>(
    io: &mut I,
    class: Class,
    want: Option<u8>,
    last: u8,
    range: impl Fn() -> Range,
) -> Coded<u8> {
    let token = class.at(0);
    let there = io.maybe(
        class,
        || want.filter(|&want| want != last).map(|_| token),
        |mask| {
            let range = range();
            if !range.clone().except([last.into()]).is_empty() {
                mask.add(token);
            }
            Presence::needed(!range.has(last.into()))
        },
    )?;
    match there {
        None => Ok(last),
        Some(_) => {
            Ok(number(io, 1, || want.unwrap_or_default().into(), || range().except([last.into()]))? as u8)
        }
    }
}

/// Codes the tail and fills it into `ip`, which has everything before it.
pub(super) fn code<I: Io>(
    io: &mut I,
    dir: &Dir,
    host: Option<&HostDefaults>,
    kind: FlowKind,
    ip: &mut IpFrame,
    want: Option<(&IpFrame, u32)>,
) -> Coded<(u32, TailCoded)> {
    let strict = io.strict();
    let wanted = want.map(|(frame, _)| frame);
    let mut coded = TailCoded::default();
    let message = if let Transport::Icmp(icmp) = &ip.transport { icmp.kind } else { 0 };
    let (least, most) = if strict { strict::ttls(ip.protocol, message) } else { (0, 255) };
    let ttls = || Range::new(least.into(), most.into());
    ip.ttl = changed(io, TTL, wanted.map(|frame| frame.ttl), dir.ttl, ttls)?;
    ip.tos = changed(io, TOS, wanted.map(|frame| frame.tos), dir.tos, || Range::bytes(1))?;
    if ip.is_v4() {
        ip.fragment = fragment(io, dir.fragment, kind, ip.protocol, wanted.map(|frame| frame.fragment))?;
        ip.options = options(io, &dir.options, ip.protocol, wanted.map(|frame| &frame.options))?;
        let id =
            dir.id.code(io, wanted.map(|frame| frame.id), host.and_then(|defaults| defaults.id.last()))?;
        ip.id = id.value;
        coded.id = Some(id);
    } else {
        ip.label = label(io, dir.label, wanted.map(|frame| frame.label))?;
    }
    let (wire_len, padded) = wire_len(io, dir.padded, ip.told_len(), want.map(|(_, len)| len))?;
    coded.padded = padded;
    if ip.is_v4() {
        (ip.checksum, coded.ip_zero) = ip_checksum(io, dir.ip_zero, ip, wanted.map(|frame| frame.checksum))?;
    }
    let known = |frame: &IpFrame| match &frame.transport {
        Transport::Tcp(tcp) => Some(tcp.checksum),
        Transport::Udp(udp) => Some(udp.checksum),
        Transport::Icmp(icmp) => Some(icmp.checksum),
        Transport::Other(_) => None,
    };
    coded.checksum = dir.checksum;
    if known(ip).is_some() {
        let (value, mode) = checksum(io, dir.checksum, ip, wanted.and_then(known))?;
        coded.checksum = mode;
        match &mut ip.transport {
            Transport::Tcp(tcp) => tcp.checksum = value,
            Transport::Udp(udp) => udp.checksum = value,
            Transport::Icmp(icmp) => icmp.checksum = value,
            Transport::Other(_) => {}
        }
    }
    Ok((wire_len, coded))
}

/// The fragment field: flags alone if the packet has a transport header, else with the offset.
fn fragment<I: Io>(io: &mut I, last: u16, kind: FlowKind, protocol: u8, want: Option<u16>) -> Coded<u16> {
    let strict = io.strict();
    // A fragment of a protocol that the grammar knows has an offset. Without one it would be of another kind of flow.
    let needs_offset = kind == FlowKind::Other && known_protocol(false, protocol);
    let there = io.maybe(
        FRAGMENT,
        || want.filter(|&want| want != last).map(|_| FRAGMENT.at(0)),
        |mask| {
            mask.add(FRAGMENT.at(0));
            let bad = strict && !strict::fragment_ok(last);
            Presence::needed(bad || needs_offset && last & OFFSET_BITS == 0)
        },
    )?;
    if there.is_none() {
        return Ok(last);
    }
    let want = u64::from(want.unwrap_or_default());
    if kind == FlowKind::Other {
        let range = || {
            let flags = (0..8).filter(|_| needs_offset).map(|flags| flags << 13);
            Range::bytes(2).except(flags).except([last.into()])
        };
        return Ok(number(io, 2, || want, range)? as u16);
    }
    let range = || {
        let strictly = (0..8).filter(|&flags| strict && !strict::fragment_ok((flags as u16) << 13));
        Range::new(0, 7).except(strictly).except([u64::from(last >> 13)])
    };
    Ok((number(io, 1, || want >> 13, range)? as u16) << 13)
}

fn options<I: Io>(
    io: &mut I,
    last: &[u8],
    protocol: u8,
    want: Option<&ArrayVec<u8, 40>>,
) -> Coded<ArrayVec<u8, 40>> {
    let strict = io.strict();
    let there = io.maybe(
        IP_OPTIONS,
        || want.filter(|&want| **want != *last).map(|_| IP_OPTIONS.at(0)),
        |mask| {
            // A sampler may only remove options.
            let bad = strict && !strict::ip_options_ok(protocol, last);
            if bad || !strict && !last.is_empty() {
                mask.add(IP_OPTIONS.at(0));
            }
            Presence::needed(bad)
        },
    )?;
    if there.is_none() {
        return Ok(last.iter().copied().collect());
    }
    super::tcp::raw_options(io, want.map(ArrayVec::as_slice), 0)
}

fn label<I: Io>(io: &mut I, last: Option<u32>, want: Option<u32>) -> Coded<u32> {
    let draw =
        |io: &mut I| io.side(SideClass::FlowLabel, || want.unwrap_or_default().into(), Spread::Bits(20));
    let Some(last) = last else { return Ok(draw(io)? as u32) };
    if !io.flag(FLOW_LABEL, || want != Some(last), || true)? {
        return Ok(last);
    }
    let label = draw(io)? as u32;
    // A drawn label may be the old one by chance. A recorded one never is.
    Ok(if label == last { label ^ 1 } else { label })
}

fn wire_len<I: Io>(io: &mut I, padded: bool, told: u32, want: Option<u32>) -> Coded<(u32, bool)> {
    let lens = [told, told.max(LEAST_FRAME)];
    let (expected, other) = (lens[usize::from(padded)], lens[usize::from(!padded)]);
    if io.flag(PADDING, || want != Some(expected) && want == Some(other), || expected != other)? {
        return Ok((other, !padded));
    }
    if !io.flag(WIRE_LEN, || want.is_some_and(|want| want != expected), || false)? {
        return Ok((expected, padded));
    }
    let taken = || lens.iter().map(|&len| i64::from(len) - i64::from(told)).collect();
    let by = varint(io, || want.map_or(0, |want| i64::from(want) - i64::from(told)), taken)?;
    Ok(((i64::from(told) + by).clamp(0, u32::MAX.into()) as u32, padded))
}

fn ip_checksum<I: Io>(io: &mut I, zero: bool, ip: &IpFrame, want: Option<u16>) -> Coded<(u16, bool)> {
    let right = v4_checksum(ip);
    let (expected, other) = if zero { (0, right) } else { (right, 0) };
    let strict = io.strict();
    let token = io.maybe(
        IP_CHECKSUM,
        || want.filter(|&want| want != expected).map(|want| IP_CHECKSUM.at(usize::from(want != other))),
        |mask| {
            if !strict {
                mask.add_members(IP_CHECKSUM, usize::from(expected == other), 2);
            }
            Presence::Optional
        },
    )?;
    match token.and_then(|token| IP_CHECKSUM.index(token)) {
        None => Ok((expected, zero)),
        Some(0) => Ok((other, !zero)),
        Some(_) => {
            let range = || Range::bytes(2).except([expected.into(), other.into()]);
            Ok((number(io, 2, || want.unwrap_or_default().into(), range)? as u16, zero))
        }
    }
}

fn checksum<I: Io>(
    io: &mut I,
    mode: ChecksumMode,
    ip: &IpFrame,
    want: Option<u16>,
) -> Coded<(u16, ChecksumMode)> {
    const MODES: [ChecksumMode; 3] = [ChecksumMode::Right, ChecksumMode::Partial, ChecksumMode::Zero];
    const LITERAL: u16 = CHECKSUM.at(3);
    let strict = io.strict();
    let right = full_checksum(ip);
    let partial = partial_checksum(ip);
    let value = |mode: ChecksumMode| match mode {
        ChecksumMode::Right => right,
        ChecksumMode::Partial => Some(partial),
        ChecksumMode::Zero => Some(0),
    };
    let Some(right) = right else {
        // If the record lacks bytes, the checksum counts as right, and its value goes to the side table.
        let of = |want: u16| match want {
            // Without a pseudo-header its sum is zero too.
            want if mode != ChecksumMode::Right && value(mode) == Some(want) => mode,
            0 => ChecksumMode::Zero,
            want if want == partial => ChecksumMode::Partial,
            _ => ChecksumMode::Right,
        };
        let token = io.maybe(
            CHECKSUM,
            || want.map(of).filter(|&want| want != mode).map(|want| CHECKSUM.at(want as usize)),
            |mask| {
                let legal = |other: &&ChecksumMode| {
                    !strict
                        && **other != mode
                        && (**other == ChecksumMode::Right || value(**other) != value(mode))
                        && (**other != ChecksumMode::Partial || partial != 0)
                };
                MODES.iter().filter(legal).for_each(|&other| mask.add(CHECKSUM.at(other as usize)));
                Presence::Optional
            },
        )?;
        let mode = match token.and_then(|token| CHECKSUM.index(token)) {
            None => mode,
            Some(index) => *MODES.get(index).ok_or(Stop::Illegal)?,
        };
        if mode != ChecksumMode::Right {
            return Ok((value(mode).unwrap_or_default(), mode));
        }
        let mut drawn =
            io.side(SideClass::Checksum, || want.unwrap_or_default().into(), Spread::Bits(16))? as u16;
        // A drawn value may look like another mode. A recorded one never does.
        while drawn == 0 || drawn == partial {
            drawn = drawn.wrapping_add(1);
        }
        return Ok((drawn, mode));
    };
    let expected = value(mode).unwrap_or(right);
    let candidates = |list: &mut Candidates| {
        for (index, mode) in MODES.iter().enumerate() {
            list.push((CHECKSUM.at(index), value(*mode).unwrap_or(right).into()));
        }
    };
    let rules = || Rules::with((!strict).then_some(LITERAL));
    let allows = |_: u16, _: u32| !strict;
    match choose(
        io,
        CHECKSUM,
        want.map(u32::from),
        Some(expected.into()),
        candidates,
        |_| LITERAL,
        rules,
        allows,
    )? {
        Chosen::Predicted(value) => Ok((value as u16, mode)),
        Chosen::Candidate(token, value) => {
            let index = CHECKSUM.index(token).ok_or(Stop::Illegal)?;
            Ok((value as u16, *MODES.get(index).ok_or(Stop::Illegal)?))
        }
        Chosen::Literal(LITERAL) => {
            let taken = MODES.map(|mode| value(mode).unwrap_or(right).into());
            let range = || Range::bytes(2).except(taken);
            Ok((number(io, 2, || want.unwrap_or_default().into(), range)? as u16, mode))
        }
        Chosen::Literal(_) => Err(Stop::Illegal),
    }
}

/// Updates the direction and the defaults of its host.
pub(super) fn apply(dir: &mut Dir, defaults: &mut HostDefaults, ip: &IpFrame, coded: &TailCoded) {
    (dir.ttl, defaults.ttl) = (ip.ttl, ip.ttl);
    (dir.tos, defaults.tos) = (ip.tos, ip.tos);
    if let Some(id) = coded.id {
        (dir.fragment, defaults.fragment) = (ip.fragment, ip.fragment);
        if *dir.options != *ip.options {
            dir.options = ip.options.as_slice().into();
        }
        let last = defaults.id.last();
        dir.id.apply(&mut defaults.id, id, last);
    } else {
        dir.label = Some(ip.label);
    }
    (dir.padded, defaults.padded) = (coded.padded, coded.padded);
    (dir.ip_zero, defaults.ip_zero) = (coded.ip_zero, coded.ip_zero);
    (dir.checksum, defaults.checksum) = (coded.checksum, coded.checksum);
}
