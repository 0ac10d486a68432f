//! TCP timestamps (RFC 7323). A model of the sender's clock predicts the value; a history of values predicts the echo.
//!
//! The clock has integers only: a rate in ticks per microsecond times 2^32, and a phase in ticks times 2^16. It starts
//! with the last known rate of the host and snaps to a common rate. After a second it uses the measured rate.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use netssm_wire::tcp::Flags;

use super::{TcpContext, distance};
use crate::codec::flow::{
    choose::{Candidates, Chosen, Rules, choose},
    io::{Coded, Io, Stop},
    number::{EXCEPTIONS, Range, number, offset},
    side_channel::{SideClass, Spread},
    vocab::{TS_ECHO, TS_VALUE},
};

const VALUE_LITERAL: u16 = TS_VALUE.at(24);
/// Residuals up to this size have a token each.
const SMALL: i64 = 12;
const ECHO_SAME: u16 = TS_ECHO.at(0);
const ECHO_LAST: u16 = TS_ECHO.at(1);
const ECHO_NEXT: usize = 2;
const ECHO_NEXTS: usize = 8;
const ECHO_LITERAL: u16 = TS_ECHO.at(10);
/// Values that are remembered for echoes. The echoes of a download lag by a round trip.
const HISTORY: usize = 256;

/// Ticks a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec::flow) struct Rate(u32);

impl Default for Rate {
    fn default() -> Self {
        Self(1_000)
    }
}

/// Rates that operating systems use.
const COMMON: [u32; 8] = [10, 100, 200, 250, 500, 1_000, 10_000, 1_000_000];

impl Rate {
    /// Ticks per microsecond times 2^32.
    fn per_us(self) -> i128 {
        (i128::from(self.0) << 32) / 1_000_000
    }

    /// Ticks in a time, times 2^16.
    fn ticks(self, us: i64) -> i64 {
        ((i128::from(us) * self.per_us()) >> 16).clamp(-(1 << 62), 1 << 62) as i64
    }

    /// A quarter of a tick in microseconds.
    fn quarter_us(self) -> i64 {
        250_000 / i64::from(self.0.max(1))
    }
}

/// Clock and echoes of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Timestamps {
    rate: Rate,
    /// First value and its time.
    origin: Option<(u32, i64)>,
    /// Last value and its time.
    last: (u32, i64),
    /// Ticks from the first value to the last; does not wrap.
    elapsed: i64,
    /// How far the clock is ahead of `rate` times time, in ticks times 2^16.
    phase: i64,
    /// Distinct values sent, oldest first, from the last one echoed on.
    history: VecDeque<u32>,
    echo: Option<u32>,
    echo_repeats: bool,
}

/// A coded timestamp option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimestampsCoded {
    pub(super) value: u32,
    pub(super) echo: u32,
    echo_repeats: Option<bool>,
}

impl Timestamps {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, ..Self::default() }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// The predicted value at a time; `None` before the first one.
    fn predict(&self, time_us: i64) -> Option<u32> {
        let (_, start) = self.origin?;
        let ticks = (self.rate.ticks(time_us.saturating_sub(start)) + self.phase) >> 16;
        let step = (ticks - self.elapsed).max(0);
        let soon = time_us.saturating_sub(self.last.1) < self.rate.quarter_us();
        Some(self.last.0.wrapping_add(if soon { 0 } else { step as u32 }))
    }

    fn apply_value(&mut self, value: u32, time_us: i64) {
        let Some((_, start)) = self.origin else {
            self.origin = Some((value, time_us));
            self.last = (value, time_us);
            self.history.push_back(value);
            return;
        };
        let step = distance(value, self.last.0);
        self.elapsed += step;
        let at = time_us.saturating_sub(start);
        let clock = self.rate.ticks(at) + self.phase;
        let shown = self.elapsed << 16;
        if step < 0 || (clock - shown).abs() > 200 << 16 {
            self.phase = shown + (1 << 15) - self.rate.ticks(at);
        } else if clock < shown {
            self.phase += shown - clock;
        } else if clock >= shown + (1 << 16) {
            // The clock ran ahead of the value. It goes back half of the way; the network may have caused the other
            // half.
            self.phase -= (clock - shown - 65_470) / 2;
        }
        self.measure(at);
        self.last = (value, time_us);
        if self.history.back() != Some(&value) {
            if self.history.len() >= HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(value);
        }
    }

    /// Corrects the rate by the ticks and the time since the first value.
    fn measure(&mut self, at_us: i64) {
        if at_us <= 500_000 || self.elapsed <= 0 {
            return;
        }
        // Ticks per million seconds, so that slow clocks keep three digits.
        let measured = i128::from(self.elapsed) * 1_000_000_000_000 / i128::from(at_us);
        let off = |rate: u32| {
            let rate = i128::from(rate) * 1_000_000;
            (measured - rate).abs() * 1_000 / rate // per mille
        };
        let Some(common) = COMMON.into_iter().min_by_key(|&rate| off(rate)) else { return };
        if off(common) >= 200 {
            return;
        }
        let rate = if off(common) < 20 || at_us < 1_000_000 {
            common
        } else {
            u32::try_from((measured + 500_000) / 1_000_000).unwrap_or(common).max(1)
        };
        if rate != self.rate.0 {
            self.rate = Rate(rate);
            self.phase = (self.elapsed << 16) + (1 << 15) - self.rate.ticks(at_us);
        }
    }

    /// Forgets values that cannot be echoed any more.
    fn echoed(&mut self, echo: u32) {
        while self.history.len() > 1 && self.history.front().is_some_and(|&value| distance(value, echo) <= 0)
        {
            self.history.pop_front();
        }
        super::let_go(&mut self.history);
    }
}

/// A value of which the capture may have only the upper bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) value: u32,
    pub(super) mask: u32,
}

impl Seen {
    /// The captured bytes of the value, and those of the guess where they were cut.
    fn or(self, guess: Option<u32>) -> u32 {
        let guess = guess.unwrap_or_default();
        if guess & self.mask == self.value & self.mask { guess } else { self.value & self.mask }
    }
}

pub(super) fn code<I: Io>(
    cx: &TcpContext<'_>,
    io: &mut I,
    want: Option<(Seen, Seen)>,
    flags: Flags,
) -> Coded<TimestampsCoded> {
    let (this, other) = (&cx.this.timestamps, &cx.other.timestamps);
    let predicted = this.predict(cx.time_us);
    let wanted = want.map(|(value, _)| value.or(predicted));
    let value = match predicted {
        None => io.side(SideClass::Timestamp, || wanted.unwrap_or_default().into(), Spread::Bits(32))? as u32,
        Some(predicted) => value(this, io, wanted, predicted)?,
    };
    let (echo, echo_repeats) = echo(this, other, io, want.map(|(_, echo)| echo), flags)?;
    Ok(TimestampsCoded { value, echo, echo_repeats })
}

fn value<I: Io>(this: &Timestamps, io: &mut I, want: Option<u32>, predicted: u32) -> Coded<u32> {
    let token = |by: i64| TS_VALUE.at((if by < 0 { by + SMALL } else { by + SMALL - 1 }) as usize);
    let candidates = |list: &mut Candidates| {
        for by in (-SMALL..=SMALL).filter(|&by| by != 0) {
            list.push((token(by), predicted.wrapping_add(by as u32)));
        }
    };
    let strict = io.strict();
    let rules = || Rules::with((!strict).then_some(VALUE_LITERAL));
    // A generated clock never goes back.
    let allows = |_: u16, value: u32| !strict || distance(value, this.last.0) >= 0;
    match choose(io, TS_VALUE, want, Some(predicted), candidates, |_| VALUE_LITERAL, rules, allows)? {
        Chosen::Predicted(value) | Chosen::Candidate(_, value) => Ok(value),
        Chosen::Literal(VALUE_LITERAL) => {
            let taken = || (-SMALL..=SMALL).collect::<ArrayVec<i64, EXCEPTIONS>>();
            let delta = offset(io, || want.map_or(0, |want| distance(want, predicted)), taken)?;
            Ok(predicted.wrapping_add(delta as u32))
        }
        Chosen::Literal(_) => Err(Stop::Illegal),
    }
}

fn echo<I: Io>(
    this: &Timestamps,
    other: &Timestamps,
    io: &mut I,
    want: Option<Seen>,
    flags: Flags,
) -> Coded<(u32, Option<bool>)> {
    let ack = flags.contains(Flags::ACK);
    let Some(&newest) = other.history.back() else {
        // The peer never showed its clock.
        let predicted = if ack { this.echo } else { Some(0) };
        let wanted = want.map(|want| want.or(predicted));
        let Some(predicted) = predicted else {
            let first =
                io.side(SideClass::Timestamp, || wanted.unwrap_or_default().into(), Spread::Bits(32))?;
            return Ok((first as u32, None));
        };
        let strict = io.strict();
        let rules = || Rules::with((!strict).then_some(ECHO_LITERAL));
        let chosen =
            choose(io, TS_ECHO, wanted, Some(predicted), |_| (), |_| ECHO_LITERAL, rules, |_, _| true)?;
        return match chosen {
            Chosen::Predicted(value) => Ok((value, None)),
            Chosen::Literal(ECHO_LITERAL) => {
                let range = || Range::bytes(4).except([predicted.into()]);
                Ok((number(io, 4, || wanted.unwrap_or_default().into(), range)? as u32, None))
            }
            _ => Err(Stop::Illegal),
        };
    };
    if !ack {
        // Nothing is acknowledged, so nothing is echoed (RFC 7323 section 3.2).
        let wanted = want.map(|want| want.or(Some(0)));
        let strict = io.strict();
        let rules = || Rules::with((!strict).then_some(ECHO_LITERAL));
        return match choose(io, TS_ECHO, wanted, Some(0), |_| (), |_| ECHO_LITERAL, rules, |_, _| true)? {
            Chosen::Predicted(value) => Ok((value, None)),
            Chosen::Literal(ECHO_LITERAL) => Ok((
                number(io, 4, || wanted.unwrap_or_default().into(), || Range::new(1, u32::MAX.into()))?
                    as u32,
                None,
            )),
            _ => Err(Stop::Illegal),
        };
    }
    let predicted = this.echo.filter(|_| this.echo_repeats).unwrap_or(newest);
    let wanted = want.map(|want| want.or(Some(predicted)));
    let candidates = |list: &mut Candidates| {
        list.push((ECHO_LAST, newest));
        let Some(echo) = this.echo else { return };
        list.push((ECHO_SAME, echo));
        let after =
            other.history.iter().rposition(|&value| distance(value, echo) <= 0).map_or(0, |at| at + 1);
        for (k, &value) in other.history.iter().skip(after).take(ECHO_NEXTS).enumerate() {
            list.push((TS_ECHO.at(ECHO_NEXT + k), value));
        }
    };
    let strict = io.strict();
    let rules = || Rules::with((!strict).then_some(ECHO_LITERAL));
    match choose(io, TS_ECHO, wanted, Some(predicted), candidates, |_| ECHO_LITERAL, rules, |_, _| true)? {
        Chosen::Predicted(value) => Ok((value, None)),
        Chosen::Candidate(token, value) => Ok((value, Some(token != ECHO_LAST))),
        Chosen::Literal(ECHO_LITERAL) => {
            let range = || {
                let mut list = Candidates::new();
                candidates(&mut list);
                Range::bytes(4).except([predicted.into()]).except(list.iter().map(|&(_, value)| value.into()))
            };
            Ok((number(io, 4, || wanted.unwrap_or_default().into(), range)? as u32, None))
        }
        Chosen::Literal(_) => Err(Stop::Illegal),
    }
}

pub(super) fn apply(
    this: &mut Timestamps,
    other: &mut Timestamps,
    coded: &TimestampsCoded,
    flags: Flags,
    time_us: i64,
) {
    this.apply_value(coded.value, time_us);
    if let Some(repeats) = coded.echo_repeats {
        this.echo_repeats = repeats;
    }
    if flags.contains(Flags::ACK) {
        this.echo = Some(coded.echo);
        other.echoed(coded.echo);
    }
}
