//! STUN and TURN (RFC 8489, RFC 8656): a response repeats its request's transaction.

use arrayvec::ArrayVec;

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        number::{Range, number},
        record::{be16, be32},
        side_channel::{SideClass, Spread},
        vocab::{BYTE, Class, STUN},
    },
    Bytes, part,
};

/// Message type: a place in the table, or [`TYPES`]' length and two bytes.
const TYPE: Class = part(STUN, 0, 1);
const LENGTH: Class = part(STUN, 1, 1);
/// Transaction: fresh, the last one of this sender, another one that waits.
const TRANSACTION: Class = part(STUN, 2, STUN.len - 2);
const FRESH: usize = 0;
const AGAIN: usize = 1;
const WAITING: usize = 2;

const COOKIE: u32 = 0x2112_a442;
const HEADER_BYTES: u32 = 20;
/// Set in responses, success or error.
const RESPONSE: u16 = 0x0100;
/// Set in indications and error responses.
const INDICATION: u16 = 0x0010;
/// Binding, allocate, refresh, send, data, permission, channel; request, indication, success, error.
pub(super) const TYPES: [u16; 20] = [
    0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0103, 0x0113, 0x0004, 0x0104, 0x0114, 0x0016, 0x0017, 0x0008,
    0x0108, 0x0118, 0x0009, 0x0109, 0x0119, 0x0002, 0x0102,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transaction {
    id: u32,
    kind: u16,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    last: Option<Transaction>,
    /// Requests of this sender that have no answer, oldest first.
    waiting: ArrayVec<Transaction, 4>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Stun([Sender; 2]);

/// Whether a window begins a STUN message.
pub(super) fn fits(bytes: &Bytes) -> bool {
    bytes[0] & 0xc0 == 0 && be32(bytes, 4) == COOKIE
}

/// Whether a message can have this many bytes: a header and attributes, each padded to a word.
pub(super) fn is_length(bytes: u32) -> bool {
    bytes >= HEADER_BYTES && bytes.is_multiple_of(4)
}

fn is_request(kind: u16) -> bool {
    kind & (RESPONSE | INDICATION) == 0
}

impl Stun {
    pub(super) fn apply(&mut self, from: usize, bytes: &Bytes) {
        let now = Transaction { id: be32(bytes, 8), kind: be16(bytes, 0) };
        self.0[from].last = Some(now);
        if is_request(now.kind) {
            let waiting = &mut self.0[from].waiting;
            waiting.retain(|other| other.id != now.id);
            if waiting.is_full() {
                waiting.remove(0);
            }
            waiting.push(now);
        } else if now.kind & RESPONSE != 0 {
            self.0[1 - from].waiting.retain(|other| other.id != now.id);
        }
    }
}

/// Codes a window.
pub(super) fn code<I: Io>(
    state: &Stun,
    payload_len: u32,
    from: usize,
    io: &mut I,
    bytes: &mut Bytes,
) -> Coded<()> {
    let wanted = *bytes;
    let strict = io.strict();
    let (own, other) = (&state.0[from], &state.0[1 - from]);
    let asked = other.waiting.first();
    let usual = match (asked, own.last) {
        (Some(asked), _) => asked.kind | RESPONSE,
        (None, Some(last)) => last.kind,
        (None, None) => TYPES[0],
    };
    let kind = code_type(usual, asked.is_some(), be16(&wanted, 0), io)?;
    bytes[..2].copy_from_slice(&kind.to_be_bytes());
    let length = payload_len.saturating_sub(HEADER_BYTES) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    if io.flag(LENGTH, || be16(&wanted, 2) != length, || !strict)? {
        let range = || Range::bytes(2).except([u64::from(length)]);
        let length = number(io, 2, || u64::from(be16(&wanted, 2)), range)? as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
    bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    let id = code_transaction(kind, own, other, be32(&wanted, 8), io)?;
    bytes[8..12].copy_from_slice(&id.to_be_bytes());
    Ok(())
}

fn code_type<I: Io>(usual: u16, asked: bool, want: u16, io: &mut I) -> Coded<u16> {
    let strict = io.strict();
    // The strict rules allow responses to requests only.
    let sound = |kind: u16| !strict || asked || kind & RESPONSE == 0;
    let told = io.maybe(
        TYPE,
        || (want != usual).then(|| TYPE.at(0)),
        |mask| {
            mask.add(TYPE.at(0));
            Presence::needed(!sound(usual))
        },
    )?;
    if told.is_none() {
        return Ok(usual);
    }
    let place = || TYPES.iter().position(|&kind| kind == want).unwrap_or(TYPES.len());
    let token = io.pick(
        || BYTE.at(place()),
        |mask| {
            for (place, &kind) in TYPES.iter().enumerate() {
                if kind != usual && sound(kind) {
                    mask.add(BYTE.at(place));
                }
            }
            if !strict {
                mask.add(BYTE.at(TYPES.len()));
            }
        },
    )?;
    match BYTE.index(token) {
        Some(place) if place < TYPES.len() => Ok(TYPES[place]),
        Some(place) if place == TYPES.len() => {
            let range =
                || Range::new(0, 0x3fff).except(TYPES.iter().chain([&usual]).map(|&kind| u64::from(kind)));
            Ok(number(io, 2, || u64::from(want), range)? as u16 & 0x3fff)
        }
        _ => Err(Stop::Illegal),
    }
}

fn code_transaction<I: Io>(kind: u16, own: &Sender, other: &Sender, want: u32, io: &mut I) -> Coded<u32> {
    // The prediction: in a response the transaction of the oldest request, otherwise a new one.
    let waiting: &[Transaction] = if kind & RESPONSE != 0 { &other.waiting } else { &[] };
    let expected = waiting.first().map(|first| first.id);
    let again = own.last.map(|last| last.id).filter(|id| waiting.iter().all(|other| other.id != *id));
    let named = |member: usize| match member {
        FRESH => None,
        AGAIN => again,
        _ => waiting.get(member - WAITING + 1).map(|other| other.id),
    };
    let members = usize::from(TRANSACTION.len);
    let token = io.maybe(
        TRANSACTION,
        || match (1..members).find(|&member| named(member) == Some(want)) {
            _ if expected == Some(want) => None,
            Some(member) => Some(TRANSACTION.at(member)),
            None => expected.is_some().then(|| TRANSACTION.at(FRESH)),
        },
        |mask| {
            for member in (1..members).filter(|&member| named(member).is_some()) {
                mask.add(TRANSACTION.at(member));
            }
            if expected.is_some() {
                mask.add(TRANSACTION.at(FRESH));
            }
            Presence::Optional
        },
    )?;
    match (token.and_then(|token| TRANSACTION.index(token)), expected) {
        (None, Some(id)) => Ok(id),
        (None, None) | (Some(FRESH), _) => {
            let mut id = [0; 4];
            for (at, byte) in want.to_be_bytes().into_iter().enumerate() {
                id[at] = io.side(SideClass::Identifier, || u64::from(byte), Spread::Bits(8))? as u8;
            }
            let mut id = u32::from_be_bytes(id);
            // A drawn transaction is new.
            while !I::EMITS && (expected == Some(id) || (1..members).any(|member| named(member) == Some(id)))
            {
                id = id.wrapping_add(1);
            }
            Ok(id)
        }
        (Some(member), _) => named(member).ok_or(Stop::Illegal),
    }
}
