//! Options of all segments: none, timestamps, SACK blocks; what else there is as literal bytes.
//!
//! ```text
//! options := syn [stamps]                                     on a SYN
//!          | OPTIONS_LITERAL n byte{n}
//!          | [OPTIONS] [SACK block+] [stamps]
//! ```
//! Where a capture cut the options, the encoder completes them with what it expects, as long as the bytes that can be seen
//! agree. So a model learns whole options from captures with short snapshots.

use arrayvec::ArrayVec;
use netssm_wire::options::NOP;
use netssm_wire::tcp::kind;

use super::{
    SYN, TcpContext, TcpDir,
    sack::{self, Block},
    stamps::{self, Seen, StampsCoded},
    syn::{self, STAMPS_BYTES, SynOptions, Template},
};
use crate::codec::flow::{
    io::{Coded, Io, Presence},
    upper::Tcp,
    vocab::{OPTIONS, OPTIONS_LITERAL, SACK},
};

/// Two NOPs, kind, length: what stands before the timestamps.
const STAMPS_HEAD: [u8; 4] = [NOP, NOP, kind::TIMESTAMPS, STAMPS_BYTES as u8];
const STAMPS_LEN: usize = 12;

/// The bytes of a list, whole.
type Bytes = ArrayVec<u8, 40>;

/// How options were coded.
#[derive(Clone, Debug)]
pub(in crate::codec::flow) struct OptionsCoded {
    /// The template of a SYN.
    pub(in crate::codec::flow) template: Option<Template>,
    stamps: Option<StampsCoded>,
    literal: bool,
    sack: ArrayVec<Block, 4>,
}

impl OptionsCoded {
    /// Bytes that teach nothing.
    fn literal() -> Self {
        Self { template: None, stamps: None, literal: true, sack: ArrayVec::new() }
    }
}

/// Whether the next segment is expected to carry timestamps.
pub(super) fn expected_stamps(cx: &TcpContext<'_>) -> bool {
    cx.this.stamped.or(cx.other.stamped).unwrap_or(false)
}

/// Four bytes of which some may be cut off.
fn seen_word(bytes: &[u8], at: usize) -> Seen {
    let mut seen = Seen { value: 0, mask: 0 };
    for k in 0..4 {
        if let Some(&byte) = bytes.get(at + k) {
            seen.value |= u32::from(byte) << (24 - 8 * k);
            seen.mask |= 0xff << (24 - 8 * k);
        }
    }
    seen
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<&Tcp>,
    flags: u16,
    payload_len: u32,
    _seq: u32,
    ack: u32,
) -> Coded<(Bytes, OptionsCoded)> {
    if flags & SYN != 0 {
        on_syn(cx, io, want, flags)
    } else {
        on_others(cx, io, want, flags, payload_len, ack)
    }
}

fn on_syn<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<&Tcp>,
    flags: u16,
) -> Coded<(Bytes, OptionsCoded)> {
    let wanted = want.map(|tcp| (tcp.options.as_slice(), usize::from(tcp.options_len)));
    // An opener's SYN may come to the ports of an old connection.
    let asked = cx.other.offered.filter(|_| flags & super::ACK != 0);
    let template = match syn::code(cx, io, wanted, asked)? {
        SynOptions::Literal(bytes) => {
            return Ok((bytes, OptionsCoded::literal()));
        }
        SynOptions::Template(template) => template,
    };
    let mut bytes = template.clone();
    let mut stamps = None;
    if let Some(at) = syn::stamps_at(&template) {
        let seen = want.map(|tcp| (seen_word(&tcp.options, at + 2), seen_word(&tcp.options, at + 6)));
        let coded = stamps::code(cx, io, seen, flags)?;
        bytes[at + 2..at + 6].copy_from_slice(&coded.value.to_be_bytes());
        bytes[at + 6..at + 10].copy_from_slice(&coded.echo.to_be_bytes());
        stamps = Some(coded);
    }
    Ok((bytes, OptionsCoded { template: Some(template), stamps, literal: false, sack: ArrayVec::new() }))
}

/// What the encoder means by options that the grammar knows.
struct Plan<'a> {
    stamps: bool,
    blocks: usize,
    bytes: &'a [u8],
}

/// Recognises visible option bytes of a list of `len`.
fn plan(options: &[u8], len: usize) -> Option<Plan<'_>> {
    let begins = |at: usize, head: &[u8]| {
        let seen = options.get(at..).unwrap_or_default();
        seen.iter().zip(head).all(|(a, b)| a == b)
    };
    // Bytes that cannot be seen are taken for what is usual at that length.
    let stamps = len >= STAMPS_LEN && begins(0, &STAMPS_HEAD);
    for stamps in [stamps, false] {
        let rest = len - if stamps { STAMPS_LEN } else { 0 };
        let at = len - rest;
        if rest == 0 {
            return Some(Plan { stamps, blocks: 0, bytes: options });
        }
        let blocks = rest.saturating_sub(4) / 8;
        if rest == 4 + 8 * blocks
            && (1..=4).contains(&blocks)
            && begins(at, &[NOP, NOP, kind::SACK, rest as u8 - 2])
        {
            return Some(Plan { stamps, blocks, bytes: options });
        }
    }
    None
}

fn on_others<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<&Tcp>,
    flags: u16,
    payload_len: u32,
    ack: u32,
) -> Coded<(Bytes, OptionsCoded)> {
    let planned = want.map(|tcp| plan(&tcp.options, usize::from(tcp.options_len)));
    let literal = || matches!(planned, Some(None));
    let strict = io.strict();
    if io.flag(OPTIONS_LITERAL, literal, || false)? {
        let whole = want.map(|tcp| {
            let mut whole = tcp.options.clone();
            while whole.len() < usize::from(tcp.options_len) {
                whole.push(NOP);
            }
            whole
        });
        let bytes = syn::raw(io, whole.as_deref(), 40)?;
        return Ok((bytes, OptionsCoded::literal()));
    }
    let planned = planned.flatten();
    let expected = expected_stamps(cx);
    // A reset may do without.
    let agreed = cx.this.agreed_stamps(cx.other).filter(|_| strict && flags & super::RST == 0);
    // Room for options in a generated packet.
    let room = cx.room.saturating_sub(20 + payload_len);
    let token = io.maybe(
        OPTIONS,
        || planned.as_ref().filter(|plan| plan.stamps != expected).map(|plan| OPTIONS.at(plan.stamps.into())),
        |mask| {
            if let Some(agreed) = agreed {
                if agreed != expected {
                    mask.add(OPTIONS.at(agreed.into()));
                }
                return Presence::needed(agreed != expected);
            }
            if !strict || expected || room >= STAMPS_LEN as u32 {
                mask.add(OPTIONS.at((!expected).into()));
            }
            Presence::needed(strict && expected && room < STAMPS_LEN as u32)
        },
    )?;
    let stamped = token.and_then(|token| OPTIONS.index(token)).map_or(expected, |index| index == 1);
    let blocks = blocks(cx, io, planned.as_ref(), flags, ack, stamped, room)?;
    let mut bytes = Bytes::new();
    let mut coded = None;
    if stamped {
        let seen = planned.as_ref().map(|plan| (seen_word(plan.bytes, 4), seen_word(plan.bytes, 8)));
        let stamps = stamps::code(cx, io, seen, flags)?;
        bytes.extend(STAMPS_HEAD);
        bytes.extend(stamps.value.to_be_bytes());
        bytes.extend(stamps.echo.to_be_bytes());
        coded = Some(stamps);
    }
    if !blocks.is_empty() {
        bytes.extend([NOP, NOP, kind::SACK, 2 + 8 * blocks.len() as u8]);
        for (left, right) in &blocks {
            bytes.extend(left.to_be_bytes());
            bytes.extend(right.to_be_bytes());
        }
    }
    Ok((bytes, OptionsCoded { template: None, stamps: coded, literal: false, sack: blocks }))
}

fn blocks<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    plan: Option<&Plan<'_>>,
    flags: u16,
    ack: u32,
    stamped: bool,
    room: u32,
) -> Coded<ArrayVec<Block, 4>> {
    let start = if stamped { STAMPS_LEN } else { 0 };
    let strict = io.strict();
    let fits = |count: usize| start + 4 + 8 * count <= 40;
    let token = io.maybe(
        SACK,
        || plan.filter(|plan| plan.blocks > 0).map(|plan| SACK.at(plan.blocks - 1)),
        |mask| {
            for count in (1..=4).filter(|&count| fits(count)) {
                // One block at a time: the list of a real receiver has no repetitions.
                let legal = !strict
                    || count == 1
                        && flags & super::ACK != 0
                        && sack::possible(cx, ack)
                        && (start + 4 + 8 * count) as u32 <= room;
                if legal {
                    mask.add(SACK.at(count - 1));
                }
            }
            Presence::Optional
        },
    )?;
    let count = token.and_then(|token| SACK.index(token)).map_or(0, |index| index + 1);
    let mut blocks = ArrayVec::<Block, 4>::new();
    for k in 0..count.min((36 - start) / 8) {
        let at = start + 4 + 8 * k;
        let seen = plan.map(|plan| {
            let end = plan.bytes.len().min(at + 8);
            plan.bytes.get(at..end).unwrap_or_default()
        });
        blocks.push(sack::code(cx, io, seen, ack)?);
    }
    Ok(blocks)
}

pub(super) fn apply(this: &mut TcpDir, other: &mut TcpDir, coded: &OptionsCoded, flags: u16, time_us: i64) {
    if let Some(stamps) = &coded.stamps {
        stamps::apply(&mut this.stamps, &mut other.stamps, stamps, flags, time_us);
    }
    if coded.literal {
        return;
    }
    this.stamped = Some(coded.stamps.is_some());
    if let Some(template) = &coded.template {
        this.offered = Some(syn::Offered::of(template));
        if let Some(scale) = syn::scale(template) {
            this.window.set_shift(scale);
        }
    } else if !coded.sack.is_empty() {
        this.sack.clear();
        this.sack.extend_from_slice(&coded.sack);
    }
}
