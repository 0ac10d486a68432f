//! Acknowledgement numbers. Usually they acknowledge all data that came in order, or repeat the last one.

use arrayvec::ArrayVec;
use netssm_wire::tcp::Flags;

use super::{REPEATABLE, TcpContext, TcpDir, distance};
use crate::codec::flow::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Presence, Stop},
    number::{EXCEPTIONS, Range, number, offset},
    side_channel::{SideClass, Spread},
    vocab::ACK,
};

const SAME: u16 = ACK.at(0);
const ALL: u16 = ACK.at(1);
const BOUNDARY: usize = 2;
const BOUNDARIES: usize = 12;
const LITERAL: u16 = ACK.at(14);

/// A coded acknowledgement number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AckCoded {
    pub(super) value: u32,
    /// Set if the token named one of the two policies: `true` for repeat, `false` for acknowledge all.
    repeats: Option<bool>,
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<u32>,
    flags: Flags,
    payload_len: u32,
) -> Coded<AckCoded> {
    let (this, other) = (cx.this, cx.other);
    if !flags.contains(Flags::ACK) {
        let strict = io.strict();
        let there = io.maybe(
            ACK,
            || want.filter(|&want| want != 0).map(|_| LITERAL),
            |mask| {
                if !strict {
                    mask.add(LITERAL);
                }
                Presence::Optional
            },
        )?;
        let value = match there {
            Some(LITERAL) => {
                number(io, 4, || want.unwrap_or_default().into(), || Range::new(1, u32::MAX.into()))?
            }
            Some(_) => return Err(Stop::Illegal),
            None => 0,
        };
        return Ok(AckCoded { value: value as u32, repeats: None });
    }
    let Some(next) = other.next else {
        let first = io.side(SideClass::Isn, || want.unwrap_or_default().into(), Spread::Bits(32))?;
        return Ok(AckCoded { value: first as u32, repeats: None });
    };
    // The end of the data that came in order. The receiver still waits for the first hole below it.
    let open = |&&(start, _): &&(u32, u32)| this.acked.is_none_or(|acked| distance(start, acked) >= 0);
    let hole = other.holes.iter().filter(open).map(|hole| hole.0).min_by_key(|&start| distance(start, next));
    let all = hole.unwrap_or(next);
    let predicted = match this.acked {
        Some(acked) if this.ack_repeats[usize::from(payload_len > 0)] => acked,
        _ => all,
    };
    let candidates = |list: &mut Candidates| {
        list.push((ALL, all));
        list.extend(this.acked.map(|acked| (SAME, acked)));
        let waiting = |&&(_, end): &&(u32, u32)| this.acked.is_none_or(|acked| distance(end, acked) > 0);
        for (k, &(_, end)) in other.segments.iter().filter(waiting).take(BOUNDARIES).enumerate() {
            list.push((ACK.at(BOUNDARY + k), end));
        }
    };
    let strict = io.strict();
    let rules = || Rules::with((!strict).then_some(LITERAL));
    match choose(io, ACK, want, Some(predicted), candidates, |_| LITERAL, rules, |_, _| true)? {
        Chosen::Predicted(value) => Ok(AckCoded { value, repeats: None }),
        Chosen::Candidate(token, value) => {
            let repeats = match token {
                SAME => Some(true),
                ALL => Some(false),
                _ => None,
            };
            Ok(AckCoded { value, repeats })
        }
        Chosen::Literal(LITERAL) => {
            let taken = || {
                let mut list = Candidates::new();
                candidates(&mut list);
                let mut taken = ArrayVec::<i64, EXCEPTIONS>::new();
                taken.push(distance(predicted, all));
                taken.extend(list.iter().map(|&(_, value)| distance(value, all)));
                taken
            };
            let delta = offset(io, || want.map_or(0, |want| distance(want, all)), taken)?;
            Ok(AckCoded { value: all.wrapping_add(delta as u32), repeats: None })
        }
        Chosen::Literal(_) => Err(Stop::Illegal),
    }
}

pub(super) fn apply(this: &mut TcpDir, other: &mut TcpDir, coded: &AckCoded, flags: Flags, payload: bool) {
    if !flags.contains(Flags::ACK) {
        return;
    }
    if let Some(repeats) = coded.repeats {
        this.ack_repeats[usize::from(payload)] = repeats;
    }
    if other.next.is_none() {
        other.next = Some(coded.value);
    }
    if this.acked.is_none_or(|acked| distance(coded.value, acked) > 0) || flags.contains(Flags::SYN) {
        this.acked = Some(coded.value);
    }
    // Acknowledged segments can only be sent again, and only the newest of them have a token.
    while other.segments.len() > REPEATABLE
        && other.segments.front().is_some_and(|&(_, end)| distance(end, coded.value) <= 0)
    {
        other.segments.pop_front();
    }
    super::let_go(&mut other.segments);
}
