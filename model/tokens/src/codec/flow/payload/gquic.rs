//! QUIC before its standard: public flags, connection id, version, packet number.

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        number::{Range, number},
        side_channel::{SideClass, Spread},
        vocab::{BYTE, Class, PACKET_NUMBER, QUIC},
    },
    Bytes, part,
};

const FLAGS: Class = part(QUIC, 0, 1);
const VERSION: Class = part(QUIC, 1, 1);
const SOURCE: Class = part(QUIC, 3, 1);
const ORDER: Class = part(QUIC, 4, 1);
/// Flags: a version follows; a nonce follows (from the server); there is a connection id.
const HAS_VERSION: u8 = 1;
const HAS_NONCE: u8 = 4;
const HAS_ID: u8 = 8;
/// Flags of a client's packet with connection id and a one-byte packet number.
const USUAL: u8 = 0x0c;
/// Steps ahead of and behind the expected packet number that have a token.
const AHEAD: u64 = 10;
const BEHIND: u64 = 6;

#[derive(Clone, Debug, Default)]
pub(super) struct Gquic {
    flags: [Option<u8>; 2],
    /// Highest packet number, by sender.
    highest: [u64; 2],
    id: Option<[u8; 8]>,
    version: Option<[u8; 4]>,
    /// Packet numbers have the high byte first, as from version 39 on.
    big: bool,
}

/// Where the fields of a packet lie.
struct Layout {
    id: bool,
    version: usize,
    number: usize,
}

impl Layout {
    fn of(flags: u8, from: usize, len: usize) -> Self {
        let mut at = 1;
        let id = flags & HAS_ID != 0 && len >= 9;
        at += if id { 8 } else { 0 };
        let version = if flags & HAS_VERSION != 0 && from == 0 { (len - at).min(4) } else { 0 };
        at += version;
        let number = match flags & HAS_NONCE != 0 && from == 1 {
            true => 0,
            false => [1, 2, 4, 6][usize::from(flags >> 4 & 3)].min(len - at),
        };
        Self { id, version, number }
    }
}

/// A packet number field: its prediction, and its byte order.
#[derive(Clone, Copy)]
struct Field {
    expected: u64,
    bytes: usize,
    big: bool,
}

impl Field {
    fn mask(self) -> u64 {
        (1 << (8 * self.bytes)) - 1
    }

    fn get(self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    fn swap(self, value: u64) -> u64 {
        value.swap_bytes() >> (64 - 8 * self.bytes)
    }

    fn ahead(self, value: u64) -> u64 {
        value.wrapping_sub(self.expected) & self.mask()
    }

    /// Whether the bytes of `value` are plausible in the other byte order only.
    fn is_swapped(self, value: u64) -> bool {
        self.bytes > 1 && self.ahead(value) > 16 && self.ahead(self.swap(value)) <= 1
    }

    fn step(self, token: u64) -> u64 {
        let step = if token < AHEAD { token + 1 } else { AHEAD.wrapping_sub(token + 1) };
        self.expected.wrapping_add(step) & self.mask()
    }

    /// The member of [`PACKET_NUMBER`] that gives `value`.
    fn token(self, value: u64) -> Option<u64> {
        (0..AHEAD + BEHIND).find(|&token| self.step(token) == value)
    }
}

impl Gquic {
    fn field(&self, from: usize, bytes: usize) -> Field {
        let mask = (1_u64 << (8 * bytes)) - 1;
        Field { expected: (self.highest[from] + 1) & mask, bytes, big: self.big }
    }

    pub(super) fn inherit(&self) -> Self {
        Self { version: self.version, big: self.big, flags: [None, None], highest: [0; 2], id: None }
    }

    pub(super) fn apply(&mut self, from: usize, len: usize, bytes: &Bytes) {
        let flags = bytes[0];
        let layout = Layout::of(flags, from, len);
        self.flags[from] = Some(flags);
        let mut at = 1;
        if layout.id {
            self.id = bytes[1..9].try_into().ok();
            at = 9;
        }
        if layout.version > 0 {
            let mut version = self.version.unwrap_or(DEFAULT_VERSION);
            version[..layout.version].copy_from_slice(&bytes[at..at + layout.version]);
            self.version = Some(version);
            at += layout.version;
        }
        if layout.number > 0 {
            let mut field = self.field(from, layout.number);
            let bytes = &bytes[at..at + layout.number];
            if field.is_swapped(field.get(bytes)) {
                self.big = !self.big;
                field.big = self.big;
            }
            // The number nearest to the expected one with these low bytes.
            let ahead = field.ahead(field.get(bytes));
            if ahead <= field.mask() / 2 {
                self.highest[from] = self.highest[from].wrapping_add(1).wrapping_add(ahead);
            }
        }
    }
}

const DEFAULT_VERSION: [u8; 4] = *b"Q039";

pub(super) fn code<I: Io>(
    state: &Gquic,
    from: usize,
    len: usize,
    io: &mut I,
    bytes: &mut Bytes,
) -> Coded<()> {
    let wanted = *bytes;
    let usual = state.flags[from].unwrap_or(if from == 0 { USUAL } else { 0 });
    if io.flag(FLAGS, || wanted[0] != usual, || true)? {
        let token = io.pick(
            || BYTE.at(usize::from(wanted[0])),
            |mask| {
                mask.add_members(BYTE, 0, 0x40);
                mask.remove(BYTE.at(usize::from(usual)));
            },
        )?;
        bytes[0] = BYTE.index(token).filter(|&flags| flags < 0x40).ok_or(Stop::Illegal)? as u8;
    } else {
        bytes[0] = usual;
    }
    let layout = Layout::of(bytes[0], from, len);
    let mut at = 1;
    if layout.id {
        let known = state.id;
        let changed = |id: [u8; 8]| known != Some(id);
        if known.is_none()
            || io.flag(SOURCE, || changed(wanted[1..9].try_into().unwrap_or_default()), || true)?
        {
            for at in 1..9 {
                bytes[at] = io.side(SideClass::Identifier, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
            }
        } else {
            bytes[1..9].copy_from_slice(&known.unwrap_or_default());
        }
        at = 9;
    }
    if layout.version > 0 {
        let field = at..at + layout.version;
        let usual = &state.version.unwrap_or(DEFAULT_VERSION)[..layout.version];
        let value = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let strict = io.strict();
        if io.flag(VERSION, || wanted[field.clone()] != *usual, || !strict)? {
            let count = layout.version as u32;
            let range = || Range::bytes(count).except([value(usual)]);
            let version = number(io, count, || value(&wanted[field.clone()]), range)?;
            bytes[field].copy_from_slice(&version.to_be_bytes()[8 - layout.version..]);
        } else {
            bytes[field].copy_from_slice(usual);
        }
        at += layout.version;
    }
    if layout.number > 0 {
        let field = state.field(from, layout.number);
        let end = at + layout.number;
        let (value, big) = packet_number(field, &wanted[at..end], io)?;
        let ordered = value.to_be_bytes();
        bytes[at..end].copy_from_slice(&ordered[8 - layout.number..]);
        if !big {
            bytes[at..end].reverse();
        }
        at = end;
    }
    for at in at..len {
        bytes[at] = io.side(SideClass::Opaque, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
    }
    Ok(())
}

/// Codes a packet number. Returns it, and whether its high byte is first.
fn packet_number<I: Io>(mut field: Field, wanted: &[u8], io: &mut I) -> Coded<(u64, bool)> {
    let expected = field.expected;
    let next = expected.wrapping_add(1) & field.mask();
    // After a change of order the number must be the predicted one or the next, and implausible in the old order.
    let told = |value: u64| field.is_swapped(field.swap(value));
    let (same, further) = (told(expected), told(next));
    let swapped = io.flag(ORDER, || field.is_swapped(field.get(wanted)), || same || further)?;
    if swapped {
        if !same && !further {
            return Err(Stop::Illegal);
        }
        field.big = !field.big;
    }
    let want = || field.get(wanted);
    let token = io.maybe(
        PACKET_NUMBER,
        || {
            let value = want();
            let token = || field.token(value).unwrap_or(AHEAD + BEHIND);
            (value != expected).then(|| PACKET_NUMBER.at(token() as usize))
        },
        |mask| {
            if swapped {
                if further {
                    mask.add(PACKET_NUMBER.at(0));
                }
                return Presence::needed(!same);
            }
            mask.add_class(PACKET_NUMBER);
            Presence::Optional
        },
    )?;
    let value = match token.and_then(|token| PACKET_NUMBER.index(token)) {
        None => expected,
        Some(token) if (token as u64) < AHEAD + BEHIND => field.step(token as u64),
        Some(_) => {
            let range = || {
                let near = (0..AHEAD + BEHIND).map(|token| field.step(token));
                let swapped = [expected, next].map(|value| field.swap(value)).into_iter();
                Range::bytes(field.bytes as u32)
                    .except(near.chain([expected]).chain(swapped.filter(|&value| field.is_swapped(value))))
            };
            number(io, field.bytes as u32, want, range)?
        }
    };
    Ok((value, field.big))
}
