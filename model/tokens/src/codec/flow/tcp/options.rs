//! Options of all segments: none, timestamps, SACK blocks. Other options are literal bytes.
//!
//! ```text
//! options := syn [timestamps]                                     on a SYN
//!          | OPTIONS_LITERAL n byte{n}
//!          | [OPTIONS] [SACK block+] [timestamps]
//! ```
//! If the capture length cut the options, the encoder completes them as predicted, as long as the captured bytes agree.
//! So a model learns whole options from captures with a short capture length.

use arrayvec::ArrayVec;
use netssm_wire::options::NOP;
use netssm_wire::tcp::{Flags, kind};

use super::{
    TcpContext, TcpDir,
    sack::{self, Block},
    syn::{self, SynOptions, SynTemplate, TIMESTAMPS_BYTES},
    timestamps::{self, Seen, TimestampsCoded},
};
use crate::codec::flow::{
    io::{Coded, Io, Presence},
    transport::Tcp,
    vocab::{OPTIONS, OPTIONS_LITERAL, SACK},
};

/// Two NOPs, kind and length: the bytes before the timestamps.
const TIMESTAMPS_HEAD: [u8; 4] = [NOP, NOP, kind::TIMESTAMPS, TIMESTAMPS_BYTES as u8];
/// Timestamps with their padding, bytes.
pub(super) const TIMESTAMPS_LEN: usize = 12;

/// The bytes of a list, whole.
type Bytes = ArrayVec<u8, 40>;

/// How options were coded.
#[derive(Clone, Debug)]
pub(in crate::codec::flow) struct OptionsCoded {
    /// The template of a SYN.
    pub(in crate::codec::flow) template: Option<SynTemplate>,
    timestamps: Option<TimestampsCoded>,
    literal: bool,
    sack: ArrayVec<Block, 4>,
}

impl OptionsCoded {
    /// Literal bytes, which change no state.
    fn literal() -> Self {
        Self { template: None, timestamps: None, literal: true, sack: ArrayVec::new() }
    }
}

/// Whether the next segment is expected to carry timestamps.
pub(super) fn expects_timestamps(cx: &TcpContext<'_>) -> bool {
    cx.this.timestamped.or(cx.other.timestamped).unwrap_or(false)
}

/// The four bytes at `at`, of which the capture length may have cut some.
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
    flags: Flags,
    payload_len: u32,
    _seq: u32,
    ack: u32,
) -> Coded<(Bytes, OptionsCoded)> {
    if flags.contains(Flags::SYN) {
        on_syn(cx, io, want, flags)
    } else {
        on_others(cx, io, want, flags, payload_len, ack)
    }
}

fn on_syn<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<&Tcp>,
    flags: Flags,
) -> Coded<(Bytes, OptionsCoded)> {
    let wanted = want.map(|tcp| (tcp.options.as_slice(), usize::from(tcp.options_len)));
    // A SYN without ACK may use the ports of an old connection, whose offer does not count.
    let asked = cx.other.offered.filter(|_| flags.contains(Flags::ACK));
    let template = match syn::code(cx, io, wanted, asked)? {
        SynOptions::Literal(bytes) => {
            return Ok((bytes, OptionsCoded::literal()));
        }
        SynOptions::Template(template) => template,
    };
    let mut bytes = template.clone();
    let mut timestamps = None;
    if let Some(at) = syn::timestamps_at(&template) {
        let seen = want.map(|tcp| (seen_word(&tcp.options, at + 2), seen_word(&tcp.options, at + 6)));
        let coded = timestamps::code(cx, io, seen, flags)?;
        bytes[at + 2..at + 6].copy_from_slice(&coded.value.to_be_bytes());
        bytes[at + 6..at + 10].copy_from_slice(&coded.echo.to_be_bytes());
        timestamps = Some(coded);
    }
    Ok((bytes, OptionsCoded { template: Some(template), timestamps, literal: false, sack: ArrayVec::new() }))
}

/// How the encoder writes options that the grammar knows.
struct Plan<'a> {
    timestamps: bool,
    blocks: usize,
    bytes: &'a [u8],
}

/// Recognises the captured bytes of an option list of `len` bytes.
fn plan(options: &[u8], len: usize) -> Option<Plan<'_>> {
    let begins = |at: usize, head: &[u8]| {
        let seen = options.get(at..).unwrap_or_default();
        seen.iter().zip(head).all(|(a, b)| a == b)
    };
    // Bytes that were cut count as what is usual at that length.
    let timestamps = len >= TIMESTAMPS_LEN && begins(0, &TIMESTAMPS_HEAD);
    for timestamps in [timestamps, false] {
        let rest = len - if timestamps { TIMESTAMPS_LEN } else { 0 };
        let at = len - rest;
        if rest == 0 {
            return Some(Plan { timestamps, blocks: 0, bytes: options });
        }
        let blocks = rest.saturating_sub(4) / 8;
        if rest == 4 + 8 * blocks
            && (1..=4).contains(&blocks)
            && begins(at, &[NOP, NOP, kind::SACK, rest as u8 - 2])
        {
            return Some(Plan { timestamps, blocks, bytes: options });
        }
    }
    None
}

fn on_others<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<&Tcp>,
    flags: Flags,
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
    let expected = expects_timestamps(cx);
    // A reset may lack timestamps.
    let agreed = cx.this.agreed_timestamps(cx.other).filter(|_| strict && !flags.contains(Flags::RST));
    // Room for options in a generated packet.
    let room = cx.room.saturating_sub(20 + payload_len);
    let token = io.maybe(
        OPTIONS,
        || {
            planned
                .as_ref()
                .filter(|plan| plan.timestamps != expected)
                .map(|plan| OPTIONS.at(plan.timestamps.into()))
        },
        |mask| {
            if let Some(agreed) = agreed {
                if agreed != expected {
                    mask.add(OPTIONS.at(agreed.into()));
                }
                return Presence::needed(agreed != expected);
            }
            if !strict || expected || room >= TIMESTAMPS_LEN as u32 {
                mask.add(OPTIONS.at((!expected).into()));
            }
            Presence::needed(strict && expected && room < TIMESTAMPS_LEN as u32)
        },
    )?;
    let timestamped = token.and_then(|token| OPTIONS.index(token)).map_or(expected, |index| index == 1);
    let blocks = blocks(cx, io, planned.as_ref(), flags, ack, timestamped, room)?;
    let mut bytes = Bytes::new();
    let mut coded = None;
    if timestamped {
        let seen = planned.as_ref().map(|plan| (seen_word(plan.bytes, 4), seen_word(plan.bytes, 8)));
        let timestamps = timestamps::code(cx, io, seen, flags)?;
        bytes.extend(TIMESTAMPS_HEAD);
        bytes.extend(timestamps.value.to_be_bytes());
        bytes.extend(timestamps.echo.to_be_bytes());
        coded = Some(timestamps);
    }
    if !blocks.is_empty() {
        bytes.extend([NOP, NOP, kind::SACK, 2 + 8 * blocks.len() as u8]);
        for (left, right) in &blocks {
            bytes.extend(left.to_be_bytes());
            bytes.extend(right.to_be_bytes());
        }
    }
    Ok((bytes, OptionsCoded { template: None, timestamps: coded, literal: false, sack: blocks }))
}

fn blocks<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    plan: Option<&Plan<'_>>,
    flags: Flags,
    ack: u32,
    timestamped: bool,
    room: u32,
) -> Coded<ArrayVec<Block, 4>> {
    let start = if timestamped { TIMESTAMPS_LEN } else { 0 };
    let strict = io.strict();
    let fits = |count: usize| start + 4 + 8 * count <= 40;
    let token = io.maybe(
        SACK,
        || plan.filter(|plan| plan.blocks > 0).map(|plan| SACK.at(plan.blocks - 1)),
        |mask| {
            for count in (1..=4).filter(|&count| fits(count)) {
                // One block at a time. A real receiver does not repeat blocks in a list.
                let legal = !strict
                    || count == 1
                        && flags.contains(Flags::ACK)
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

pub(super) fn apply(this: &mut TcpDir, other: &mut TcpDir, coded: &OptionsCoded, flags: Flags, time_us: i64) {
    if let Some(timestamps) = &coded.timestamps {
        timestamps::apply(&mut this.timestamps, &mut other.timestamps, timestamps, flags, time_us);
    }
    if coded.literal {
        return;
    }
    this.timestamped = Some(coded.timestamps.is_some());
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
