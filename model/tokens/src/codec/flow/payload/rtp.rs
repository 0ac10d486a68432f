//! RTP (RFC 3550): sequence number and timestamp by source; RTCP on the same flow.

use arrayvec::ArrayVec;

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        number::{Range, number},
        record::{be16, be32},
        side_channel::{SideClass, Spread},
        vocab::{BYTE, Class, PACKET_NUMBER, RTP},
    },
    Bytes, part,
};

/// A control packet; its count and type follow.
const CONTROL: Class = part(RTP, 0, 1);
/// Version, padding, extension, contributors.
const FLAGS: Class = part(RTP, 1, 1);
/// Another source: fresh, or one of the last.
const SOURCE: Class = part(RTP, 2, SOURCES as u16);
/// Payload type: a literal with the marker bit, or the last type with the other marker bit.
const TYPE: Class = part(RTP, 2 + SOURCES as u16, 2);
/// Step of the timestamp: the one before, literal.
const STEP: Class = part(RTP, 4 + SOURCES as u16, 2);
/// A control packet's length, and its source.
const LENGTH: Class = part(RTP, 6 + SOURCES as u16, 1);
const REPORTER: Class = part(RTP, 7 + SOURCES as u16, 1);
const _: () = assert!(8 + SOURCES as u16 == RTP.len);

/// Sources that a sender is known to mix, the one at hand included.
const SOURCES: usize = 3;
const MARKER: u8 = 0x80;
/// Types 64 to 95 with the marker bit would be read as RTCP (RFC 5761).
const CONTROL_TYPES: std::ops::Range<u8> = 192..224;
const AHEAD: usize = 10;
const BEHIND: usize = 6;

/// Whether a first byte has version 2.
pub(super) fn fits(first: u8) -> bool {
    first & 0xc0 == 0x80
}

/// Whether a window counts as RTP by its first byte: version 2, no padding, no contributors.
pub(super) fn begins(first: u8) -> bool {
    first & 0xef == 0x80
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    id: u32,
    flags: u8,
    /// Payload type, with the marker bit.
    kind: u8,
    sequence: u16,
    timestamp: u32,
    /// Steps of the timestamp after packets without and with marker, and the step before the last.
    steps: [u32; 2],
    before: u32,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    /// The latest first.
    sources: ArrayVec<Source, SOURCES>,
    control: Option<(u8, u16, u32)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rtp([Sender; 2]);

fn is_control(bytes: &Bytes) -> bool {
    CONTROL_TYPES.contains(&bytes[1])
}

impl Rtp {
    pub(super) fn apply(&mut self, from: usize, bytes: &Bytes) {
        let sender = &mut self.0[from];
        let (timestamp, id) = (be32(bytes, 4), be32(bytes, 8));
        if is_control(bytes) {
            sender.control = Some((bytes[1], be16(bytes, 2), timestamp));
            return;
        }
        let place = sender.sources.iter().position(|source| source.id == id);
        let old = place.and_then(|place| sender.sources.pop_at(place));
        let mut now = Source {
            id,
            flags: bytes[0],
            kind: bytes[1],
            sequence: be16(bytes, 2),
            timestamp,
            steps: old.map_or([160, 160], |old| old.steps),
            before: old.map_or(0, |old| old.before),
        };
        if let Some(old) = old {
            let step = &mut now.steps[usize::from(old.kind & MARKER != 0)];
            let told = timestamp.wrapping_sub(old.timestamp);
            if *step != told {
                now.before = *step;
                *step = told;
            }
        }
        sender.sources.truncate(SOURCES - 1);
        sender.sources.insert(0, now);
    }
}

/// Codes a window. `begin`: the first byte must be one that [`begins`] accepts.
pub(super) fn code<I: Io>(state: &Rtp, from: usize, begin: bool, io: &mut I, bytes: &mut Bytes) -> Coded<()> {
    let wanted = *bytes;
    let sender = &state.0[from];
    if io.flag(CONTROL, || is_control(&wanted), || true)? {
        return control(sender, begin, io, bytes);
    }
    let last = sender.sources.first();
    let usual = last.map_or(0x80, |last| last.flags);
    let legal = |flags: u8| if begin { begins(flags) } else { fits(flags) };
    bytes[0] = differing(FLAGS, usual, legal, wanted[0], io)?;
    let source = source(sender, io, bytes)?;
    let kind = source.map_or(last.map_or(0, |last| last.kind), |source| source.kind);
    bytes[1] = code_type(kind, wanted[1], io)?;
    let Some(source) = source else {
        for at in 2..8 {
            bytes[at] = io.side(SideClass::Identifier, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
        }
        return Ok(());
    };
    let sequence = code_sequence(source.sequence.wrapping_add(1), be16(&wanted, 2), io)?;
    bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
    let step = source.steps[usize::from(source.kind & MARKER != 0)];
    let step = code_step(step, source.before, be32(&wanted, 4).wrapping_sub(source.timestamp), io)?;
    bytes[4..8].copy_from_slice(&source.timestamp.wrapping_add(step).to_be_bytes());
    Ok(())
}

/// Codes a byte whose prediction is `usual`.
fn differing<I: Io>(class: Class, usual: u8, legal: impl Fn(u8) -> bool, want: u8, io: &mut I) -> Coded<u8> {
    let needed = !legal(usual);
    let told = io.maybe(
        class,
        || (want != usual).then(|| class.at(0)),
        |mask| {
            mask.add(class.at(0));
            Presence::needed(needed)
        },
    )?;
    if told.is_none() {
        return if needed { Err(io.lack()) } else { Ok(usual) };
    }
    literal(|byte| byte != usual && legal(byte), want, io)
}

fn literal<I: Io>(legal: impl Fn(u8) -> bool, want: u8, io: &mut I) -> Coded<u8> {
    let add = |mask: &mut super::super::mask::Mask| {
        (0..=255).filter(|&byte| legal(byte)).for_each(|byte| mask.add(BYTE.at(usize::from(byte))));
    };
    let token = io.pick(|| BYTE.at(usize::from(want)), add)?;
    BYTE.index(token).map(|byte| byte as u8).filter(|&byte| legal(byte)).ok_or(Stop::Illegal)
}

/// Codes the source; `None` if it is new.
fn source<'a, I: Io>(sender: &'a Sender, io: &mut I, bytes: &mut Bytes) -> Coded<Option<&'a Source>> {
    let wanted = *bytes;
    let place = || sender.sources.iter().position(|source| source.id == be32(&wanted, 8));
    let mut fresh = sender.sources.is_empty();
    let mut known = sender.sources.first();
    if !fresh {
        let token = io.maybe(
            SOURCE,
            || match place() {
                Some(0) => None,
                place => Some(SOURCE.at(place.unwrap_or(0))),
            },
            |mask| {
                mask.add_members(SOURCE, 0, sender.sources.len());
                Presence::Optional
            },
        )?;
        match token.and_then(|token| SOURCE.index(token)) {
            None => {}
            Some(0) => fresh = true,
            Some(place) => known = Some(sender.sources.get(place).ok_or(Stop::Illegal)?),
        }
    }
    if fresh {
        for at in 8..12 {
            bytes[at] = io.side(SideClass::Identifier, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
        }
        // A drawn source is new.
        while !I::EMITS && sender.sources.iter().any(|source| source.id == be32(bytes, 8)) {
            bytes[11] = bytes[11].wrapping_add(1);
        }
        return Ok(None);
    }
    if let Some(source) = known {
        bytes[8..12].copy_from_slice(&source.id.to_be_bytes());
    }
    Ok(known)
}

fn code_type<I: Io>(usual: u8, want: u8, io: &mut I) -> Coded<u8> {
    let legal = |kind: u8| !CONTROL_TYPES.contains(&kind);
    let other = usual ^ MARKER;
    let token = io.maybe(
        TYPE,
        || match want {
            _ if want == usual => None,
            _ if want == other => Some(TYPE.at(1)),
            _ => Some(TYPE.at(0)),
        },
        |mask| {
            mask.add(TYPE.at(0));
            if legal(other) {
                mask.add(TYPE.at(1));
            }
            Presence::Optional
        },
    )?;
    match token.and_then(|token| TYPE.index(token)) {
        None => Ok(usual),
        Some(0) => literal(|kind| legal(kind) && kind != usual && kind != other, want, io),
        Some(_) if legal(other) => Ok(other),
        Some(_) => Err(Stop::Illegal),
    }
}

fn code_sequence<I: Io>(expected: u16, want: u16, io: &mut I) -> Coded<u16> {
    let step = |token: usize| match token {
        _ if token < AHEAD => expected.wrapping_add(token as u16 + 1),
        _ => expected.wrapping_sub((token - AHEAD) as u16 + 1),
    };
    let token = io.maybe(
        PACKET_NUMBER,
        || {
            let near = || (0..AHEAD + BEHIND).find(|&token| step(token) == want).unwrap_or(AHEAD + BEHIND);
            (want != expected).then(|| PACKET_NUMBER.at(near()))
        },
        |mask| {
            mask.add_class(PACKET_NUMBER);
            Presence::Optional
        },
    )?;
    match token.and_then(|token| PACKET_NUMBER.index(token)) {
        None => Ok(expected),
        Some(token) if token < AHEAD + BEHIND => Ok(step(token)),
        Some(_) => {
            let near = (0..AHEAD + BEHIND).map(step).chain([expected]).map(u64::from);
            Ok(number(io, 2, || u64::from(want), || Range::bytes(2).except(near))? as u16)
        }
    }
}

/// Codes the step of the timestamp.
fn code_step<I: Io>(usual: u32, before: u32, want: u32, io: &mut I) -> Coded<u32> {
    let token = io.maybe(
        STEP,
        || match want {
            _ if want == usual => None,
            _ if want == before => Some(STEP.at(0)),
            _ => Some(STEP.at(1)),
        },
        |mask| {
            mask.add_members(STEP, usize::from(before == usual), 2);
            Presence::Optional
        },
    )?;
    match token.and_then(|token| STEP.index(token)) {
        None => Ok(usual),
        Some(0) => Ok(before),
        Some(_) => code_literal_step([usual, before], want, io),
    }
}

/// Codes a step as the number of its bytes and the bytes.
fn code_literal_step<I: Io>(taken: [u32; 2], want: u32, io: &mut I) -> Coded<u32> {
    let zero_taken = taken.contains(&0);
    let token = io.pick(
        || BYTE.at((32 - want.leading_zeros()).div_ceil(8) as usize),
        |mask| mask.add_members(BYTE, usize::from(zero_taken), 5),
    )?;
    let bytes = BYTE.index(token).filter(|&bytes| bytes <= 4).ok_or(Stop::Illegal)? as u32;
    let range = || {
        let low = if bytes == 0 { 0 } else { 1 << (8 * (bytes - 1)) };
        Range::new(low, (1 << (8 * bytes)) - 1).except(taken.map(u64::from))
    };
    Ok(number(io, bytes, || u64::from(want), range)? as u32)
}

/// Codes a control packet: reception count, type, length, reporter, then bytes without meaning.
fn control<I: Io>(sender: &Sender, begin: bool, io: &mut I, bytes: &mut Bytes) -> Coded<()> {
    let wanted = *bytes;
    let legal = |first: u8| if begin { begins(first) } else { fits(first) };
    bytes[0] = literal(legal, wanted[0], io)?;
    bytes[1] = literal(|kind| CONTROL_TYPES.contains(&kind), wanted[1], io)?;
    let blocks = 6 * u16::from(bytes[0] & 0x1f);
    // Sender reports carry six words more than receiver reports.
    let length = match bytes[1] {
        200 => 6 + blocks,
        201 => 1 + blocks,
        kind => sender.control.filter(|control| control.0 == kind).map_or(2, |control| control.1),
    };
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    if io.flag(LENGTH, || be16(&wanted, 2) != length, || true)? {
        let range = || Range::bytes(2).except([u64::from(length)]);
        let length = number(io, 2, || u64::from(be16(&wanted, 2)), range)? as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
    let reporter = sender.control.map(|control| control.2).or(sender.sources.first().map(|source| source.id));
    let fresh = match reporter {
        Some(id) => io.flag(REPORTER, || be32(&wanted, 4) != id, || true)?,
        None => true,
    };
    bytes[4..8].copy_from_slice(&reporter.unwrap_or(0).to_be_bytes());
    for at in if fresh { 4 } else { 8 }..12 {
        let class = if at < 8 { SideClass::Identifier } else { SideClass::Opaque };
        bytes[at] = io.side(class, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
    }
    if !I::EMITS && fresh && reporter == Some(be32(bytes, 4)) {
        bytes[7] = bytes[7].wrapping_add(1);
    }
    Ok(())
}
