//! DNS and protocols with its header: mDNS, LLMNR, NetBIOS names. The window is the whole header.
//!
//! Flags and counts are the *shape* of a message. The prediction is the last shape of the sender. Then come the last
//! shapes of either end, the last counts with other flags, and other counts. The id of a response is that of a query
//! that waits.

use arrayvec::ArrayVec;
use netssm_wire::ports::{DNS, MDNS, NETBIOS_NAME};

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        mask::Mask,
        number::{Range, number},
        record::be16,
        side_channel::{SideClass, Spread},
        vocab::{BYTE, Class, DNS_COUNTS, DNS_FLAGS, DNS_ID},
    },
    Ask, Bytes, part,
};

/// Flags of the table.
const NAMED: Class = part(DNS_FLAGS, 0, FLAGS.len() as u16);
const LITERAL: Class = part(DNS_FLAGS, NAMED.len, 1);
const RECENT: Class = part(DNS_FLAGS, NAMED.len + 1, SHAPES as u16);
const _: () = assert!(NAMED.len + 1 + RECENT.len == DNS_FLAGS.len);

/// Flags that are common: query, answer, no such name, mDNS query and answer, authority, NetBIOS query, failure.
pub(super) const FLAGS: [u16; 8] = [0x0100, 0x8180, 0x8183, 0x0000, 0x8400, 0x8580, 0x0110, 0x8182];
const RESPONSE: u16 = 0x8000;
const SHAPES: usize = 6;
/// Queries that wait for an answer.
const WAITING: usize = 8;
/// A count from here on is written with two bytes more.
const LARGE: u16 = 255;
/// Counts that a strict sampler stays below.
const STRICT: u16 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    flags: u16,
    /// Questions, answers, authorities, additional records.
    counts: [u16; 4],
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dns {
    last: [Option<Shape>; 2],
    /// The latest first.
    shapes: ArrayVec<Shape, SHAPES>,
    waiting: ArrayVec<u16, WAITING>,
    answered: Option<u16>,
    /// Answers come in the flow of the query.
    direct: bool,
}

fn either(ports: (u16, u16), port: u16) -> bool {
    ports.0 == port || ports.1 == port
}

fn shape_of(bytes: &Bytes) -> Shape {
    Shape { flags: be16(bytes, 2), counts: [be16(bytes, 4), be16(bytes, 6), be16(bytes, 8), be16(bytes, 10)] }
}

/// The usual counts of messages with these flags.
fn usual_counts(flags: u16, ports: (u16, u16)) -> [u16; 4] {
    match flags & RESPONSE != 0 {
        true if either(ports, MDNS) || either(ports, NETBIOS_NAME) => [0, 1, 0, 0],
        true => [1, 1, 0, 0],
        false => [1, 0, 0, 0],
    }
}

impl Dns {
    pub(super) fn inherit(&self) -> Self {
        let mut heir = self.clone();
        if self.direct {
            heir.waiting.clear();
            heir.answered = None;
        }
        heir
    }

    fn expected(&self, ports: (u16, u16), from: usize) -> Shape {
        self.last[from].unwrap_or_else(|| {
            let flags = match from {
                _ if either(ports, MDNS) => 0,
                0 if either(ports, NETBIOS_NAME) => 0x0110,
                0 => FLAGS[0],
                _ => FLAGS[1],
            };
            Shape { flags, counts: usual_counts(flags, ports) }
        })
    }

    /// The counts that messages with `flags` had last.
    fn counts(&self, flags: u16, ports: (u16, u16)) -> [u16; 4] {
        let last = self.shapes.iter().find(|shape| shape.flags == flags);
        last.map_or_else(|| usual_counts(flags, ports), |shape| shape.counts)
    }

    pub(super) fn apply(&mut self, ports: (u16, u16), from: usize, bytes: &Bytes) {
        let (id, shape) = (be16(bytes, 0), shape_of(bytes));
        self.direct = either(ports, DNS);
        self.last[from] = Some(shape);
        self.shapes.retain(|other| *other != shape);
        self.shapes.truncate(SHAPES - 1);
        self.shapes.insert(0, shape);
        if either(ports, MDNS) {
            return;
        }
        let place = self.waiting.iter().position(|&waiting| waiting == id);
        if shape.flags & RESPONSE != 0 {
            self.answered = Some(id);
            if let Some(place) = place {
                // A query that was passed over is less likely to be answered than later ones.
                self.waiting.rotate_left(place);
                self.waiting.remove(0);
            }
        } else if place.is_none() {
            if self.waiting.is_full() {
                self.waiting.remove(0);
            }
            self.waiting.push(id);
        }
    }
}

/// Codes a header.
pub(super) fn code<I: Io>(
    state: &Dns,
    ask: &Ask<'_>,
    from: usize,
    io: &mut I,
    bytes: &mut Bytes,
) -> Coded<()> {
    let wanted = *bytes;
    let shape = code_shape(state, ask.ports, from, shape_of(&wanted), io)?;
    let id = code_id(state, either(ask.ports, MDNS), shape.flags & RESPONSE != 0, be16(&wanted, 0), io)?;
    let words = [id, shape.flags].into_iter().chain(shape.counts);
    bytes.iter_mut().zip(words.flat_map(u16::to_be_bytes)).for_each(|(to, from)| *to = from);
    Ok(())
}

fn code_shape<I: Io>(state: &Dns, ports: (u16, u16), from: usize, want: Shape, io: &mut I) -> Coded<Shape> {
    let usual = state.expected(ports, from);
    let strict = io.strict();
    // A response needs a query that waits.
    let answers = either(ports, MDNS) || !state.waiting.is_empty() || state.answered.is_some();
    let sound = |flags: u16| !strict || answers || flags & RESPONSE == 0;
    let token = io.maybe(
        DNS_FLAGS,
        || {
            if want == usual {
                return None;
            }
            if let Some(place) = state.shapes.iter().position(|shape| *shape == want) {
                return Some(RECENT.at(place));
            }
            let named = FLAGS.iter().position(|&flags| flags == want.flags);
            (want.flags != usual.flags).then(|| named.map_or(LITERAL.at(0), |place| NAMED.at(place)))
        },
        |mask| {
            for (place, shape) in state.shapes.iter().enumerate() {
                if *shape != usual && sound(shape.flags) {
                    mask.add(RECENT.at(place));
                }
            }
            for (place, &flags) in FLAGS.iter().enumerate() {
                if flags != usual.flags && sound(flags) {
                    mask.add(NAMED.at(place));
                }
            }
            if !strict {
                mask.add(LITERAL.at(0));
            }
            Presence::needed(!sound(usual.flags))
        },
    )?;
    let mut shape = usual;
    if let Some(token) = token {
        if let Some(place) = RECENT.index(token) {
            return state.shapes.get(place).copied().ok_or(Stop::Illegal);
        }
        shape.flags = match NAMED.index(token) {
            Some(place) => FLAGS[place],
            None => {
                let taken = FLAGS.into_iter().chain([usual.flags]).map(u64::from);
                number(io, 2, || u64::from(want.flags), || Range::bytes(2).except(taken))? as u16
            }
        };
        if shape.flags == usual.flags {
            return Err(Stop::Illegal);
        }
        shape.counts = state.counts(shape.flags, ports);
    }
    let taken = |shape: &Shape| *shape == usual || state.shapes.contains(shape);
    let mut told = token.is_some();
    let mut next = 0;
    while next < 4 {
        let needed = told && taken(&shape);
        let first = || (next..4).find(|&place| want.counts[place] != shape.counts[place]);
        let token = io.maybe(
            DNS_COUNTS,
            || first().map(|place| DNS_COUNTS.at(place)),
            |mask| {
                mask.add_members(DNS_COUNTS, next, 4);
                Presence::needed(needed)
            },
        )?;
        let Some(place) = token.and_then(|token| DNS_COUNTS.index(token)) else {
            break;
        };
        if place < next {
            return Err(Stop::Illegal);
        }
        let legal = |count: u16| {
            let mut other = shape;
            other.counts[place] = count;
            count != shape.counts[place] && !(place == 3 && taken(&other))
        };
        let count = code_count(legal, want.counts[place], io)?;
        shape.counts[place] = count;
        told = true;
        next = place + 1;
    }
    Ok(shape)
}

fn code_count<I: Io>(legal: impl Fn(u16) -> bool, want: u16, io: &mut I) -> Coded<u16> {
    let strict = io.strict();
    let token = io.pick(
        || BYTE.at(usize::from(want.min(LARGE))),
        |mask: &mut Mask| {
            let end = if strict { STRICT } else { LARGE };
            (0..end).filter(|&count| legal(count)).for_each(|count| mask.add(BYTE.at(usize::from(count))));
            if !strict {
                mask.add(BYTE.at(usize::from(LARGE)));
            }
        },
    )?;
    let count = BYTE.index(token).ok_or(Stop::Illegal)? as u16;
    if count < LARGE {
        return if legal(count) { Ok(count) } else { Err(Stop::Illegal) };
    }
    let range = || {
        let low = u64::from(LARGE);
        // Each known shape excludes at most one value.
        let taken = (LARGE..=u16::MAX).filter(|&count| !legal(count)).map(u64::from);
        Range::new(low, 0xffff).except(taken)
    };
    Ok(number(io, 2, || u64::from(want), range)? as u16)
}

/// Codes the id. Member 0 of the class is a fresh id; the others are ids of queries that wait.
fn code_id<I: Io>(state: &Dns, multicast: bool, response: bool, want: u16, io: &mut I) -> Coded<u16> {
    let waiting: &[u16] = if response && !multicast { &state.waiting } else { &[] };
    let expected = match (multicast, response) {
        (true, _) => Some(0),
        (false, true) => waiting.first().copied().or(state.answered),
        (false, false) => None,
    };
    let Some(expected) = expected else {
        return Ok(io.side(SideClass::DnsId, || u64::from(want), Spread::Bits(16))? as u16);
    };
    let members = usize::from(DNS_ID.len).min(waiting.len());
    let strict = io.strict();
    let token = io.maybe(
        DNS_ID,
        || {
            let place = || (1..members).find(|&place| waiting[place] == want).unwrap_or(0);
            (want != expected).then(|| DNS_ID.at(place()))
        },
        |mask| {
            mask.add_members(DNS_ID, usize::from(strict), members.max(1));
            Presence::Optional
        },
    )?;
    match token.and_then(|token| DNS_ID.index(token)) {
        None => Ok(expected),
        Some(0) => {
            let mut id = io.side(SideClass::DnsId, || u64::from(want), Spread::Bits(16))? as u16;
            // A drawn id differs from those that wait.
            while !I::EMITS && (id == expected || waiting[..members].contains(&id)) {
                id = id.wrapping_add(1);
            }
            Ok(id)
        }
        Some(place) => waiting.get(place).copied().ok_or(Stop::Illegal),
    }
}
