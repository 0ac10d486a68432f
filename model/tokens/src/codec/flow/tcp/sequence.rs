//! Sequence numbers. The prediction is the next one; other numbers follow losses, retransmissions and new connections.

use arrayvec::ArrayVec;

use netssm_wire::tcp::Flags;

use super::{HOLES, REPEATABLE, SEGMENTS, TcpContext, TcpDir, distance};
use crate::codec::flow::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Stop},
    number::{EXCEPTIONS, offset},
    side_channel::{SideClass, Spread},
    vocab::SEQ,
};

const REPEATS: usize = 0;
const GAPS: usize = 8;
const HOLE: usize = 12;
const KEEP_ALIVE: usize = 16;
const LITERAL: u16 = SEQ.at(17);
const FRESH: u16 = SEQ.at(18);
/// A step back by this much or more is another connection, not a retransmission.
const FAR_BACK: i64 = -(1 << 30);
/// A SYN further away than this begins a new connection.
const FAR: i64 = 1 << 20;

/// A coded sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeqCoded {
    pub(super) value: u32,
    fresh: bool,
}

impl SeqCoded {
    /// Whether the direction begins a new connection.
    pub(super) fn restarts(self) -> bool {
        self.fresh
    }
}

impl TcpDir {
    /// Starts of the last segments, newest first.
    fn repeats(&self) -> impl Iterator<Item = u32> + '_ {
        self.segments.iter().rev().take(REPEATABLE).map(|&(start, _)| start)
    }
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<u32>,
    flags: Flags,
    payload_len: u32,
) -> Coded<SeqCoded> {
    let this = cx.this;
    let Some(next) = this.next else {
        let isn = io.side(SideClass::Isn, || want.unwrap_or_default().into(), Spread::Bits(32))?;
        return Ok(SeqCoded { value: isn as u32, fresh: false });
    };
    let syn = flags.contains(Flags::SYN);
    let largest = u32::from(cx.lengths.max());
    let strict = io.strict();
    // A direction that is over or opens again has no next number.
    let sends_more = payload_len > 0 || flags.contains(Flags::FIN);
    let default = !(strict && (syn || this.fin && sends_more));
    let candidates = |list: &mut Candidates| {
        if syn {
            // A SYN with another number is a new connection, even if a candidate has that number by chance.
            list.extend(this.repeats().enumerate().map(|(k, start)| (SEQ.at(REPEATS + k), start)));
            return;
        }
        for (k, hole) in this.holes.iter().rev().take(KEEP_ALIVE - HOLE).enumerate() {
            list.push((SEQ.at(HOLE + k), hole.0));
        }
        for (k, start) in this.repeats().enumerate() {
            list.push((SEQ.at(REPEATS + k), start));
        }
        list.push((SEQ.at(KEEP_ALIVE), next.wrapping_sub(1)));
        if largest > 0 {
            for k in 1..=(HOLE - GAPS) as u32 {
                list.push((SEQ.at(GAPS + k as usize - 1), next.wrapping_add(k * largest)));
            }
        }
    };
    let literal =
        |value: u32| if syn && !this.repeats().any(|start| start == value) { FRESH } else { LITERAL };
    let rules = || {
        let mut literals = ArrayVec::new();
        if syn {
            literals.push(FRESH);
        }
        if !strict && !syn {
            literals.push(LITERAL);
        }
        Rules { literals, default }
    };
    let allows = |token: u16, value: u32| {
        if !strict {
            return true;
        }
        let ahead = distance(value, next);
        let room = distance(value, next) + i64::from(payload_len) + i64::from(flags.contains(Flags::FIN));
        match SEQ.index(token) {
            // A SYN only repeats a SYN that waits for its answer. Behind a finished connection it opens another one,
            // and what it seems to repeat is a FIN.
            _ if syn => {
                let repeats = |&(start, end): &(u32, u32)| start == value && end.wrapping_sub(start) == 1;
                !cx.closed && this.segments.iter().any(repeats)
            }
            // No new data follows a FIN.
            _ if this.fin => room <= 0,
            Some(KEEP_ALIVE) => payload_len <= 1 && !flags.contains(Flags::FIN),
            _ => ahead < FAR,
        }
    };
    let chosen = choose(io, SEQ, want, Some(next), candidates, literal, rules, allows)?;
    let (value, fresh) = match chosen {
        Chosen::Predicted(value) | Chosen::Candidate(_, value) => (value, false),
        Chosen::Literal(FRESH) => {
            let isn = io.side(SideClass::Isn, || want.unwrap_or_default().into(), Spread::Bits(32))?;
            (isn as u32, true)
        }
        Chosen::Literal(LITERAL) => {
            let taken = || {
                let mut list = Candidates::new();
                candidates(&mut list);
                let mut taken = ArrayVec::<i64, EXCEPTIONS>::new();
                taken.push(0);
                taken.extend(list.iter().map(|&(_, value)| distance(value, next)));
                taken
            };
            let delta = offset(io, || want.map_or(0, |want| distance(want, next)), taken)?;
            (next.wrapping_add(delta as u32), false)
        }
        Chosen::Literal(_) => return Err(Stop::Illegal),
    };
    Ok(SeqCoded { value, fresh })
}

pub(super) fn apply(this: &mut TcpDir, other: &mut TcpDir, coded: &SeqCoded, flags: Flags, payload_len: u32) {
    let start = coded.value;
    let length = payload_len + flags.seq_len();
    let end = start.wrapping_add(length);
    let mut next = this.next.unwrap_or(start);
    let ahead = distance(start, next);
    if coded.fresh || flags.contains(Flags::SYN) && ahead.abs() > FAR || ahead < FAR_BACK {
        next = start;
        this.segments.clear();
        this.holes.clear();
        if !flags.contains(Flags::ACK) {
            other.acked = None;
        }
    } else if ahead > 0 {
        if this.holes.len() >= HOLES {
            this.holes.remove(0);
        }
        this.holes.push((next, start));
    } else if let Some(at) = this.holes.iter().position(|hole| hole.0 == start).filter(|_| length > 0) {
        if distance(end, this.holes[at].1) >= 0 {
            this.holes.remove(at);
        } else {
            this.holes[at].0 = end;
        }
    }
    if length > 0 {
        if this.segments.len() >= SEGMENTS {
            this.segments.pop_front();
        }
        this.segments.push_back((start, end));
    }
    if distance(end, next) > 0 {
        next = end;
    }
    this.next = Some(next);
}
