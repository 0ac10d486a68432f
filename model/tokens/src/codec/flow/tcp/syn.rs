//! Options of SYN segments. Hosts repeat them, except for the timestamps.
//!
//! ```text
//! syn := [ SYN_OPTIONS(recent) | SYN_OPTIONS(layout) value*
//!        | SYN_OPTIONS(template) n byte{n} | SYN_OPTIONS(literal) n byte{n} ]
//! ```

use arrayvec::ArrayVec;
use netssm_wire::options::{END, NOP};
use netssm_wire::tcp::kind::{MSS, SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE};
use netssm_wire::tcp::{Flags, MAX_WINDOW_SHIFT};

use super::TcpContext;
use crate::codec::flow::{
    io::{Coded, Io, Presence, Stop},
    mask::Mask,
    number::{Range, number},
    strict::options_ok,
    vocab::{BYTE, SYN_OPTIONS},
};

/// Option bytes of a SYN with the timestamps as zeros.
pub(in crate::codec::flow) type SynTemplate = ArrayVec<u8, 40>;

const RECENT: usize = 0;
const LAYOUT: usize = 4;
const TEMPLATE: u16 = SYN_OPTIONS.at(20);
const LITERAL: u16 = SYN_OPTIONS.at(21);

pub(super) const TIMESTAMPS_BYTES: usize = 10;

/// Layouts: sequences of option kinds that TCP stacks send, in the order of the alphabet.
pub(in crate::codec::flow) const LAYOUTS: [&[u8]; 16] = [
    &[2, 4, 8, 1, 3],
    &[2, 1, 3, 1, 1, 4],
    &[2, 1, 3, 1, 1, 8, 4, 0, 0],
    &[2, 1, 1, 4],
    &[2],
    &[2, 1, 1, 4, 1, 3],
    &[2, 1, 3, 1, 1, 8],
    &[2, 1, 1, 4, 1, 3, 1, 1, 8],
    &[2, 4, 8],
    &[2, 1, 3],
    &[2, 1, 1, 8],
    &[2, 1, 3, 4, 0, 0],
    &[2, 1, 3, 4, 8],
    &[],
    &[2, 1, 1, 8, 4, 0, 0],
    &[2, 1, 3, 1, 1, 8, 1, 1, 4],
];

/// Bytes of an option.
const fn size(kind: u8) -> usize {
    match kind {
        END | NOP => 1,
        SACK_PERMITTED => 2,
        WINDOW_SCALE => 3,
        MSS => 4,
        _ => TIMESTAMPS_BYTES,
    }
}

const fn layout_size(layout: &[u8]) -> usize {
    let (mut at, mut sum) = (0, 0);
    while at < layout.len() {
        sum += size(layout[at]);
        at += 1;
    }
    sum
}

/// A data offset counts words of four bytes, so each layout must fill whole words.
const _: () = {
    let mut at = 0;
    while at < LAYOUTS.len() {
        assert!(layout_size(LAYOUTS[at]).is_multiple_of(4) && layout_size(LAYOUTS[at]) <= 40);
        at += 1;
    }
};

/// Segment sizes with a byte of their own.
pub(super) const SIZES: [u16; 16] =
    [1460, 1440, 1400, 1380, 1360, 1350, 1300, 1452, 1414, 1430, 1410, 1370, 8961, 536, 1220, 1240];
const OTHER_SIZE: usize = 255;
/// Value of a window scale that the capture length cut: the most common one.
const USUAL_SCALE: u8 = 7;
/// Smallest segment size that a generator announces.
const LEAST_SIZE: u64 = 536;

/// Options of a SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::codec::flow) enum SynOptions {
    /// A template; timestamps are filled in afterwards.
    Template(SynTemplate),
    /// Bytes that are no well-formed list of options.
    Literal(SynTemplate),
}

/// The window scale of a template.
pub(super) fn scale(template: &[u8]) -> Option<u8> {
    walk(template)?.find(|&(kind, _)| kind == WINDOW_SCALE).and_then(|(_, at)| template.get(at + 2).copied())
}

/// The options of a SYN that count only if its answer has them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) timestamps: bool,
    scale: bool,
}

impl Offered {
    pub(super) fn of(template: &[u8]) -> Self {
        Self { timestamps: timestamps_at(template).is_some(), scale: scale(template).is_some() }
    }

    /// Whether it may answer a SYN. An answer offers only what the SYN offered (RFC 7323 sections 2.2 and 3.2).
    fn answers(self, asked: Option<Self>) -> bool {
        asked.is_none_or(|asked| self.timestamps <= asked.timestamps && self.scale <= asked.scale)
    }
}

/// Where the timestamps of a template stand.
pub(super) fn timestamps_at(template: &[u8]) -> Option<usize> {
    walk(template)?.find(|&(kind, _)| kind == TIMESTAMPS).map(|(_, at)| at)
}

/// Kinds and places of a whole list of options; `None` when it is not one. Unlike [`netssm_wire::options::item_at`]
/// this walks on behind an end mark: a template is every byte of the list, and layouts have two end marks as padding.
fn walk(bytes: &[u8]) -> Option<impl Iterator<Item = (u8, usize)> + '_> {
    let mut at = 0;
    let mut options = ArrayVec::<(u8, usize), 40>::new();
    while let Some(&kind) = bytes.get(at) {
        options.push((kind, at));
        at += if kind <= NOP { 1 } else { usize::from(*bytes.get(at + 1)?).max(2) };
    }
    (at == bytes.len()).then(|| options.into_iter())
}

/// The template of whole option bytes: well formed, with at most one timestamp option of the right length.
fn to_template(options: &[u8]) -> Option<SynTemplate> {
    let mut template: SynTemplate = options.iter().copied().collect();
    let mut timestamps = 0;
    for (kind, at) in walk(options)? {
        if kind > NOP && options[at + 1] < 2 {
            return None;
        }
        if kind == TIMESTAMPS {
            timestamps += 1;
            if usize::from(options[at + 1]) != TIMESTAMPS_BYTES {
                return None;
            }
            template[at + 2..at + TIMESTAMPS_BYTES].fill(0);
        }
    }
    (timestamps <= 1).then_some(template)
}

/// Whether the captured bytes of an option list of `len` bytes agree with this template, timestamps aside.
fn fits(template: &[u8], seen: &[u8], len: usize) -> bool {
    let timestamps = timestamps_at(template).map_or(0..0, |at| at + 2..at + TIMESTAMPS_BYTES);
    template.len() == len
        && seen.iter().zip(template).enumerate().all(|(at, (a, b))| a == b || timestamps.contains(&at))
}

/// The template of a layout with the captured values, and with usual ones where the capture length cut them.
fn fill(layout: &[u8], seen: &[u8]) -> SynTemplate {
    let mut out = SynTemplate::new();
    for &kind in layout {
        let at = out.len();
        out.push(kind);
        if kind > NOP {
            out.push(size(kind) as u8);
        }
        let usual = |k: usize| match kind {
            MSS => SIZES[0].to_be_bytes()[k],
            WINDOW_SCALE => USUAL_SCALE,
            _ => 0,
        };
        for k in 0..size(kind).saturating_sub(2) {
            let known = seen.get(at + 2 + k).copied().filter(|_| kind != TIMESTAMPS);
            out.push(known.unwrap_or_else(|| usual(k)));
        }
    }
    out
}

/// The layout that agrees with the captured bytes, values aside, and its template, if the grammar can write it.
fn layout_of(seen: &[u8], len: usize) -> Option<(usize, SynTemplate)> {
    LAYOUTS.iter().enumerate().find_map(|(index, layout)| {
        let filled = fill(layout, seen);
        let writable = scale(&filled).is_none_or(|scale| scale <= MAX_WINDOW_SHIFT);
        (fits(&filled, seen, len) && writable).then_some((index, filled))
    })
}

/// The template of the layout with the same options in any order. It replaces a list that no layout has. Options that
/// no layout has are left out.
fn nearest(seen: &[u8], len: usize) -> SynTemplate {
    let mut whole: SynTemplate = seen.iter().copied().collect();
    while whole.len() < len {
        whole.push(NOP);
    }
    let places: ArrayVec<(u8, usize), 40> = walk(&whole).into_iter().flatten().collect();
    let place = |wanted: u8| {
        let of = places.iter().find(|&&(kind, at)| kind == wanted && at + size(kind) <= whole.len());
        of.map(|&(_, at)| at)
    };
    let kinds = [MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMPS];
    let differing = |layout: &&&[u8]| {
        kinds.iter().filter(|kind| layout.contains(kind) != place(**kind).is_some()).count()
    };
    let layout = LAYOUTS.iter().min_by_key(differing).copied().unwrap_or_default();
    let mut out = fill(layout, &[]);
    for (kind, at) in walk(&out.clone()).into_iter().flatten() {
        let bytes = |from: usize| whole[from + 2..from + size(kind)].iter().copied();
        match (kind, place(kind)) {
            (MSS, Some(from)) => {
                out[at + 2..at + 4].iter_mut().zip(bytes(from)).for_each(|(to, byte)| *to = byte)
            }
            (WINDOW_SCALE, Some(from)) => out[at + 2] = whole[from + 2].min(MAX_WINDOW_SHIFT),
            _ => {}
        }
    }
    out
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<(&[u8], usize)>,
    asked: Option<Offered>,
) -> Coded<SynOptions> {
    let known = |template: &[u8]| {
        cx.host_template.is_some_and(|host| host.as_slice() == template)
            || cx.templates.iter().any(|recent| recent.as_slice() == template)
    };
    // The template that the encoder writes, completed where the capture length cut the options.
    let mut meant: Option<(u16, Option<SynTemplate>)> = None;
    let mut predicted = false;
    let instead = want
        .filter(|&(seen, len)| {
            let known = |template: &SynTemplate| {
                fits(template, seen, len) && options_ok(template, Flags::SYN | Flags::ACK)
            };
            io.strict()
                && layout_of(seen, len).is_none()
                && !cx.host_template.is_some_and(known)
                && !cx.templates.iter().any(known)
        })
        .map(|(seen, len)| nearest(seen, len));
    let want = instead.as_ref().map(|template| (template.as_slice(), template.len())).or(want);
    if let Some((seen, len)) = want {
        let recent = cx.templates.iter().position(|template| fits(template, seen, len));
        if cx.host_template.is_some_and(|host| fits(host, seen, len)) {
            predicted = true;
        } else if let Some(k) = recent {
            meant = Some((SYN_OPTIONS.at(RECENT + k), None));
        } else if let Some((index, template)) = layout_of(seen, len) {
            meant = Some((SYN_OPTIONS.at(LAYOUT + index), Some(template)));
        } else {
            let mut whole: SynTemplate = seen.iter().copied().collect();
            while whole.len() < len {
                whole.push(NOP);
            }
            let template = to_template(&whole);
            let token = if template.is_some() { TEMPLATE } else { LITERAL };
            meant = Some((token, Some(template.unwrap_or(whole))));
        }
    }
    // The state may hold a list from a prompt that the strict rules forbid.
    let strict = io.strict();
    let sound = |template: &SynTemplate| {
        !strict || options_ok(template, Flags::SYN | Flags::ACK) && Offered::of(template).answers(asked)
    };
    let token = io.maybe(
        SYN_OPTIONS,
        || meant.as_ref().map(|(token, _)| *token).filter(|_| !predicted),
        |mask| collect(cx, sound, mask),
    )?;
    let written = meant.and_then(|(_, template)| template);
    let Some(token) = token else {
        return cx.host_template.cloned().map(SynOptions::Template).ok_or(io.lack());
    };
    match SYN_OPTIONS.index(token).ok_or(Stop::Illegal)? {
        k @ RECENT..LAYOUT => {
            cx.templates.get(k - RECENT).cloned().map(SynOptions::Template).ok_or(Stop::Illegal)
        }
        k if token < TEMPLATE => {
            values(io, LAYOUTS[k - LAYOUT], written.as_deref(), &known).map(SynOptions::Template)
        }
        _ => {
            let bytes = raw(io, written.as_deref(), 40)?;
            if token == LITERAL {
                return Ok(SynOptions::Literal(bytes));
            }
            to_template(&bytes).map(SynOptions::Template).ok_or(Stop::Illegal)
        }
    }
}

/// `sound`: whether a template may be repeated.
fn collect(cx: &TcpContext<'_>, sound: impl Fn(&SynTemplate) -> bool, mask: &mut Mask) -> Presence {
    for (k, template) in cx.templates.iter().enumerate() {
        if Some(template) != cx.host_template && sound(template) {
            mask.add(SYN_OPTIONS.at(RECENT + k));
        }
    }
    for (index, layout) in LAYOUTS.iter().enumerate() {
        // A layout without values has one template, which may be known. A layout with values always has an unknown one.
        let filled = fill(layout, &[]);
        if !sound(&filled) {
            continue;
        }
        let open = layout.iter().any(|kind| matches!(*kind, MSS | WINDOW_SCALE));
        let known = cx.host_template == Some(&filled) || cx.templates.contains(&filled);
        if open || !known {
            mask.add(SYN_OPTIONS.at(LAYOUT + index));
        }
    }
    Presence::needed(!cx.host_template.is_some_and(sound))
}

/// Codes the values of a layout. The last value must not complete a template that is known.
fn values<I: Io>(
    io: &mut I,
    layout: &[u8],
    want: Option<&[u8]>,
    known: &impl Fn(&[u8]) -> bool,
) -> Coded<SynTemplate> {
    let strict = io.strict();
    let mut out = fill(layout, &[]);
    let mut at = 0;
    let last = layout.iter().rposition(|kind| matches!(*kind, MSS | WINDOW_SCALE));
    for (index, &kind) in layout.iter().enumerate() {
        let would = |value: &[u8], out: &SynTemplate| {
            let mut template = out.clone();
            template[at + 2..at + 2 + value.len()].copy_from_slice(value);
            Some(index) != last || !known(&template)
        };
        match kind {
            MSS => {
                let size = want.map(|want| u16::from_be_bytes([want[at + 2], want[at + 3]]));
                let token = io.pick(
                    || BYTE.at(SIZES.iter().position(|&known| Some(known) == size).unwrap_or(OTHER_SIZE)),
                    |mask| {
                        for (k, size) in SIZES.iter().enumerate() {
                            if would(&size.to_be_bytes(), &out) {
                                mask.add(BYTE.at(k));
                            }
                        }
                        mask.add(BYTE.at(OTHER_SIZE));
                    },
                )?;
                let size = match BYTE.index(token).ok_or(Stop::Illegal)? {
                    OTHER_SIZE => {
                        let range = || {
                            let low = if strict { LEAST_SIZE } else { 0 };
                            Range::new(low, u16::MAX.into()).except(SIZES.iter().map(|&size| size.into()))
                        };
                        number(io, 2, || size.unwrap_or_default().into(), range)? as u16
                    }
                    k => *SIZES.get(k).ok_or(Stop::Illegal)?,
                };
                out[at + 2..at + 4].copy_from_slice(&size.to_be_bytes());
            }
            WINDOW_SCALE => {
                let token = io.pick(
                    || BYTE.at(want.map_or(0, |want| want[at + 2]).into()),
                    |mask| {
                        for scale in 0..=MAX_WINDOW_SHIFT {
                            if would(&[scale], &out) {
                                mask.add(BYTE.at(scale.into()));
                            }
                        }
                    },
                )?;
                out[at + 2] = BYTE
                    .index(token)
                    .filter(|&scale| scale <= MAX_WINDOW_SHIFT.into())
                    .ok_or(Stop::Illegal)? as u8;
            }
            _ => {}
        }
        at += size(kind);
    }
    Ok(out)
}

/// Length and bytes of an option list, a multiple of four up to `most`.
pub(in crate::codec::flow) fn raw<I: Io>(io: &mut I, want: Option<&[u8]>, most: usize) -> Coded<SynTemplate> {
    let token = io.pick(
        || BYTE.at(want.map_or(0, <[u8]>::len)),
        |mask| (0..=most).step_by(4).for_each(|len| mask.add(BYTE.at(len))),
    )?;
    let len = BYTE.index(token).filter(|len| *len <= 40 && len.is_multiple_of(4)).ok_or(Stop::Illegal)?;
    let mut out = SynTemplate::new();
    for at in 0..len {
        out.push(io.byte(256, || want.map_or(0, |want| want[at]))?);
    }
    Ok(out)
}
