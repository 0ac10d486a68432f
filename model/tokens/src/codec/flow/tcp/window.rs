//! Windows. A window stays as it was, keeps its right edge, repeats a recent value, or moves by a step.

use arrayvec::ArrayVec;

use netssm_wire::tcp::Flags;

use super::distance;
use crate::codec::flow::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Stop},
    number::{Range, number},
    vocab::WIN,
};

const EDGE: u16 = WIN.at(0);
const RECENT: usize = 1;
const STEP: usize = 5;
const RECENT_STEP: usize = 21;
const DOWN: u16 = WIN.at(25);
const UP: u16 = WIN.at(26);
const LITERAL: u16 = WIN.at(27);
/// Steps up to this size have a token each.
const SMALL: i32 = 8;
/// Largest step written as a byte.
const BYTE_STEP: u64 = 255;

/// State of the windows of one direction.
#[derive(Clone, Debug, Default)]
pub(in crate::codec::flow) struct WindowState {
    last: u16,
    recent: ArrayVec<u16, 4>,
    steps: ArrayVec<i32, 4>,
    /// Right edge of the last window, in sequence space.
    edge: Option<u32>,
    /// Window scale.
    shift: u8,
}

impl WindowState {
    pub(super) fn new(last: u16) -> Self {
        Self { last, ..Self::default() }
    }

    pub(super) fn last(&self) -> u16 {
        self.last
    }

    pub(super) fn set_shift(&mut self, shift: u8) {
        self.shift = shift.min(14);
    }

    fn edge_window(&self, flags: Flags, ack: u32) -> Option<u32> {
        if !flags.contains(Flags::ACK) || flags.contains(Flags::SYN) {
            return None;
        }
        let room = u64::try_from(distance(self.edge?, ack)).ok()?;
        u16::try_from(room.div_ceil(1 << self.shift)).ok().map(u32::from)
    }

    fn candidates(&self, flags: Flags, ack: u32, list: &mut Candidates) {
        list.extend(self.edge_window(flags, ack).map(|window| (EDGE, window)));
        for (k, &window) in self.recent.iter().enumerate() {
            list.push((WIN.at(RECENT + k), window.into()));
        }
        let mut step = |token: u16, by: i32| {
            if let Ok(window) = u16::try_from(i32::from(self.last) + by)
                && !list.is_full()
            {
                list.push((token, window.into()));
            }
        };
        for k in 0..2 * SMALL {
            step(WIN.at(STEP + k as usize), if k < SMALL { k - SMALL } else { k - SMALL + 1 });
        }
        for (k, &by) in self.steps.iter().enumerate() {
            step(WIN.at(RECENT_STEP + k), by);
        }
    }

    pub(super) fn apply(&mut self, window: u16, flags: Flags, ack: u32) {
        if window != self.last {
            let step = i32::from(window) - i32::from(self.last);
            remember(&mut self.steps, step, step);
            remember(&mut self.recent, window, self.last);
            self.last = window;
        }
        if flags.contains(Flags::ACK) {
            let shift = if flags.contains(Flags::SYN) { 0 } else { self.shift };
            self.edge = Some(ack.wrapping_add(u32::from(window) << shift));
        }
    }
}

/// Puts `new` in front of a list of distinct values and removes `gone` from it.
fn remember<T: PartialEq + Copy, const N: usize>(list: &mut ArrayVec<T, N>, gone: T, new: T) {
    list.retain(|known| *known != gone && *known != new);
    if list.is_full() {
        list.pop();
    }
    list.insert(0, new);
}

pub(super) fn code<I: Io>(
    state: &WindowState,
    io: &mut I,
    want: Option<u16>,
    flags: Flags,
    ack: u32,
) -> Coded<u16> {
    let last = u64::from(state.last);
    let candidates = |list: &mut Candidates| state.candidates(flags, ack, list);
    let literal = |want: u32| match i64::from(want) - i64::from(state.last) {
        -255..=-1 => DOWN,
        1..=255 => UP,
        _ => LITERAL,
    };
    // Magnitudes of steps in one direction that have no shorter form.
    let steps = |up: bool| {
        let mut list = Candidates::new();
        candidates(&mut list);
        let side = list.iter().map(|&(_, value)| i64::from(value) - i64::from(state.last));
        let most = if up { u64::from(u16::MAX) - last } else { last };
        Range::new(1, BYTE_STEP.min(most))
            .except(side.filter(|&by| (by > 0) == up && by != 0).map(i64::unsigned_abs))
    };
    let values = || {
        let mut list = Candidates::new();
        candidates(&mut list);
        Range::bytes(2)
            .gap(last.saturating_sub(BYTE_STEP), last + BYTE_STEP)
            .except(list.iter().map(|&(_, value)| value.into()))
    };
    let rules = || {
        let mut literals = ArrayVec::<u16, 4>::new();
        literals.extend((!steps(false).is_empty()).then_some(DOWN));
        literals.extend((!steps(true).is_empty()).then_some(UP));
        literals.push(LITERAL);
        Rules { literals, default: true }
    };
    let by = || want.map_or(0, |want| u64::from(want.abs_diff(state.last)));
    let chosen =
        choose(io, WIN, want.map(u32::from), Some(state.last.into()), candidates, literal, rules, |_, _| {
            true
        })?;
    let value = match chosen {
        Chosen::Predicted(value) | Chosen::Candidate(_, value) => value,
        Chosen::Literal(DOWN) => (last.saturating_sub(number(io, 1, by, || steps(false))?)) as u32,
        Chosen::Literal(UP) => (last + number(io, 1, by, || steps(true))?) as u32,
        Chosen::Literal(LITERAL) => number(io, 2, || want.unwrap_or_default().into(), values)? as u32,
        Chosen::Literal(_) => return Err(Stop::Illegal),
    };
    Ok(value.min(u16::MAX.into()) as u16)
}
