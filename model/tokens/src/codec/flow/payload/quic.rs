//! QUIC (RFC 9000): form and type of the header, version, connection id. The rest is ciphertext.

use super::{
    super::{
        io::{Coded, Io, Presence, Stop},
        number::{Range, number},
        record::be32,
        side_channel::{SideClass, Spread},
        vocab::{BYTE, Class, QUIC},
    },
    Bytes, part,
};

const FLAGS: Class = part(QUIC, 0, 1);
const VERSION: Class = part(QUIC, 1, 1);
const ID_LEN: Class = part(QUIC, 2, 1);
const KEPT: Class = part(QUIC, 3, 1);
/// Where a long header's destination connection id begins.
const LONG_ID: usize = 6;
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
const VERSION_1: u32 = 1;
/// Longest connection id of version 1.
const LONGEST_ID: u16 = 20;

/// The predicted bytes behind the first fields of one form of header.
#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    /// The last bytes, and how many there were.
    bytes: Bytes,
    len: u8,
    /// How many of them stay; the others are noise.
    kept: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    /// Form, fixed bit, type; or form, fixed bit, spin.
    kind: Option<u8>,
    id_len: Option<u8>,
    long: Option<Tail>,
    short: Option<Tail>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Quic {
    senders: [Sender; 2],
    version: Option<u32>,
}

/// The bits of the first byte that are not encrypted.
fn clear_bits(first: u8) -> u8 {
    if first & LONG != 0 { 0xf0 } else { 0xe0 }
}

/// Whether a window is a long header of a version in use, whatever the port.
pub(super) fn is_known_long(bytes: &Bytes) -> bool {
    bytes[0] & (LONG | FIXED) == LONG | FIXED && is_known(be32(bytes, 1))
}

/// Versions 1 and 2, drafts, Facebook's and Google's.
fn is_known(version: u32) -> bool {
    match version {
        VERSION_1 | 0x6b33_43cf => true,
        _ if matches!(version >> 8, 0xff_0000 | 0xfa_ceb0) => true,
        _ => matches!(version.to_be_bytes(), [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9']),
    }
}

impl Quic {
    pub(super) fn inherit(&self) -> Self {
        let senders =
            self.senders.map(|sender| Sender { kind: None, id_len: sender.id_len, long: None, short: None });
        Self { senders, version: self.version }
    }

    /// Where the tail begins, and the prediction of it.
    fn tail(&self, from: usize, long: bool, len: usize) -> (usize, Option<Tail>) {
        let sender = &self.senders[from];
        let start = if long { LONG_ID.min(len) } else { 1 };
        let fits = |tail: &Tail| usize::from(tail.len) == len - start;
        if long {
            return (start, sender.long.filter(fits));
        }
        // The first short header begins with the connection id of the long ones.
        let first = sender.long.map(|long| {
            let kept = sender.id_len.unwrap_or(0).min(long.len).min((len - start) as u8);
            Tail { bytes: long.bytes, len: (len - start) as u8, kept }
        });
        (start, sender.short.or(first).filter(fits))
    }

    pub(super) fn apply(&mut self, from: usize, len: usize, bytes: &Bytes) {
        let long = bytes[0] & LONG != 0;
        let (start, tail) = self.tail(from, long, len);
        let sender = &mut self.senders[from];
        sender.kind = Some(bytes[0] & clear_bits(bytes[0]));
        if long && len >= LONG_ID {
            self.version = Some(be32(bytes, 1));
            sender.id_len = Some(bytes[5]);
        }
        let count = len - start;
        if count == 0 {
            return;
        }
        let mut now = Tail { len: count as u8, kept: count as u8, ..Tail::default() };
        now.bytes[..count].copy_from_slice(&bytes[start..len]);
        if let Some(tail) = tail {
            now.kept = tail.kept.min(common(&tail, &now.bytes) as u8);
        }
        *(if long { &mut sender.long } else { &mut sender.short }) = Some(now);
    }
}

/// Leading bytes that are as in `tail`.
fn common(tail: &Tail, bytes: &[u8]) -> usize {
    bytes.iter().zip(&tail.bytes).take(usize::from(tail.len)).take_while(|(one, two)| one == two).count()
}

/// Codes a window. `known` asks for a long header of a known version.
pub(super) fn code<I: Io>(
    state: &Quic,
    from: usize,
    len: usize,
    known: bool,
    io: &mut I,
    bytes: &mut Bytes,
) -> Coded<()> {
    let wanted = *bytes;
    let strict = io.strict();
    let sender = &state.senders[from];
    let kind = code_kind(sender.kind.unwrap_or(LONG | FIXED), known, wanted[0], io)?;
    let long = kind & LONG != 0;
    let hidden = if long { 4 } else { 5 };
    let low =
        io.side(SideClass::Opaque, || u64::from(wanted[0] & !clear_bits(wanted[0])), Spread::Bits(hidden))?;
    bytes[0] = kind | low as u8 & !clear_bits(kind);
    if long && len >= LONG_ID {
        let usual = state.version.unwrap_or(VERSION_1);
        let needed = known && !is_known(usual);
        let told = io.maybe(
            VERSION,
            || (be32(&wanted, 1) != usual).then(|| VERSION.at(0)),
            |mask| {
                // The strict rules keep the version of the flow, unless another one must come here.
                if !strict || needed {
                    mask.add(VERSION.at(0));
                }
                Presence::needed(needed)
            },
        )?;
        let version = match told {
            Some(_) if known => code_known(usual, be32(&wanted, 1), io)?,
            Some(_) => {
                let range = || Range::bytes(4).except([u64::from(usual)]);
                number(io, 4, || u64::from(be32(&wanted, 1)), range)? as u32
            }
            None if needed => return Err(io.lack()),
            None => usual,
        };
        bytes[1..5].copy_from_slice(&version.to_be_bytes());
        let usual = sender.id_len.unwrap_or(8);
        bytes[5] = usual;
        if io.flag(ID_LEN, || wanted[5] != usual, || true)? {
            let end = if strict { LONGEST_ID + 1 } else { 256 };
            let token = io.pick(
                || BYTE.at(usize::from(wanted[5])),
                |mask| {
                    mask.add_members(BYTE, 0, usize::from(end));
                    mask.remove(BYTE.at(usize::from(usual)));
                },
            )?;
            bytes[5] = BYTE.index(token).ok_or(Stop::Illegal)? as u8;
        }
    } else if long {
        for at in 1..len {
            bytes[at] = io.side(SideClass::Opaque, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
        }
    }
    let (start, tail) = state.tail(from, long, len);
    let Some(tail) = tail else {
        for at in start..len {
            bytes[at] = io.side(SideClass::Identifier, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
        }
        return Ok(());
    };
    let usual = usize::from(tail.kept);
    let mut kept = usual;
    let same = || common(&tail, &wanted[start..len]);
    let fewer = io.flag(KEPT, || same() < usual, || usual > 0)?;
    if fewer {
        kept = usize::from(io.byte(usual as u16, || same() as u8)?);
    }
    bytes[start..start + kept].copy_from_slice(&tail.bytes[..kept]);
    for at in start + kept..len {
        bytes[at] = io.side(SideClass::Opaque, || u64::from(wanted[at]), Spread::Bits(8))? as u8;
    }
    // A drawn byte must differ if the token says so.
    if !I::EMITS && fewer && bytes[start + kept] == tail.bytes[kept] {
        bytes[start + kept] ^= 1;
    }
    Ok(())
}

/// Codes the clear bits of the first byte.
fn code_kind<I: Io>(usual: u8, known: bool, wanted: u8, io: &mut I) -> Coded<u8> {
    let strict = io.strict();
    let legal = |kind: u8| {
        kind & clear_bits(kind) == kind
            && kind & (LONG | FIXED) != 0
            && (!known || kind & (LONG | FIXED) == LONG | FIXED)
            && (!strict || kind & FIXED != 0)
    };
    let needed = !legal(usual);
    let want = wanted & clear_bits(wanted);
    let told = io.maybe(
        FLAGS,
        || (want != usual).then(|| FLAGS.at(0)),
        |mask| {
            mask.add(FLAGS.at(0));
            Presence::needed(needed)
        },
    )?;
    if told.is_none() {
        // The strict rules limit the mask, not the reader. A token that the mask forbids is read all the same.
        return if known && usual & (LONG | FIXED) != LONG | FIXED { Err(io.lack()) } else { Ok(usual) };
    }
    let token = io.pick(
        || BYTE.at(usize::from(want)),
        |mask| {
            let kinds = (0..=255).filter(|&kind| kind != usual && legal(kind));
            kinds.for_each(|kind| mask.add(BYTE.at(usize::from(kind))));
        },
    )?;
    let kind = BYTE.index(token).ok_or(Stop::Illegal)? as u8;
    let sound = kind & clear_bits(kind) == kind && kind & (LONG | FIXED) != 0;
    if sound { Ok(kind) } else { Err(Stop::Illegal) }
}

/// Versions with a byte of their own.
pub(super) const TABLE: [u32; 4] = [VERSION_1, 0x6b33_43cf, 0xff00_001d, 0xface_b002];

/// Versions that a header may begin with on a port that is not QUIC's: a byte says which, or four bytes follow.
fn code_known<I: Io>(usual: u32, wanted: u32, io: &mut I) -> Coded<u32> {
    let place = TABLE.iter().position(|&version| version == wanted).unwrap_or(TABLE.len());
    let strict = io.strict();
    let token = io.pick(
        || BYTE.at(place),
        |mask| {
            let versions = TABLE.iter().enumerate().filter(|&(_, &version)| version != usual);
            versions.for_each(|(place, _)| mask.add(BYTE.at(place)));
            if !strict {
                mask.add(BYTE.at(TABLE.len()));
            }
        },
    )?;
    let index = BYTE.index(token).ok_or(Stop::Illegal)?;
    if let Some(&version) = TABLE.get(index) {
        return Ok(version);
    }
    if index > TABLE.len() {
        return Err(Stop::Illegal);
    }
    // Drafts and Facebook's differ in the last byte, Google's in the last two digits.
    const HEADS: [u32; 4] = [0xff00_0000, 0xface_b000, 0x5130_0000, 0x5430_0000];
    let head =
        || HEADS.iter().position(|&head| (version_of(head, tail_of(head, wanted))) == wanted).unwrap_or(0);
    let head = HEADS[usize::from(io.byte(4, || head() as u8)?)];
    let legal = |tail: u8| {
        let version = version_of(head, tail);
        version != usual && is_known(version) && !TABLE.contains(&version)
    };
    let token = io.pick(
        || BYTE.at(usize::from(tail_of(head, wanted))),
        |mask| (0..=255).filter(|&tail| legal(tail)).for_each(|tail| mask.add(BYTE.at(usize::from(tail)))),
    )?;
    let tail = BYTE.index(token).ok_or(Stop::Illegal)? as u8;
    if legal(tail) { Ok(version_of(head, tail)) } else { Err(Stop::Illegal) }
}

/// Google's versions end in two digits.
fn is_google(head: u32) -> bool {
    head >> 24 < 0x80
}

fn version_of(head: u32, tail: u8) -> u32 {
    let tail = u32::from(tail);
    head | if is_google(head) { ((tail / 10 + 0x30) << 8) | (tail % 10 + 0x30) } else { tail }
}

fn tail_of(head: u32, version: u32) -> u8 {
    let digit = |shift: u32| ((version >> shift) as u8).wrapping_sub(0x30);
    if is_google(head) { digit(8).wrapping_mul(10).wrapping_add(digit(0)) } else { version as u8 }
}
