//! Gaps between packets: integer microseconds, exact below 16, then quarter octaves with an optional sixteenth.
//!
//! ```text
//! time := TIME_EXACT | TIME_COARSE [TIME_FINE] | TIME_SIDE
//! ```
//! The remainder of a gap goes into the side table. Tokens give a gap to 0.6 % with fine tokens and to 9 % without. A
//! negative gap, or one beyond the last bin (18 minutes), goes into the side table as a whole.

use super::{
    io::{Coded, Io, Stop},
    mask::Mask,
    side_channel::{SideClass, Spread},
    vocab::{TIME_COARSE, TIME_EXACT, TIME_FINE, TIME_SIDE},
};

const BINS: usize = TIME_COARSE.len as usize;
const EXACT_US: i64 = TIME_EXACT.len as i64;
const FINE: u64 = TIME_FINE.len as u64;

/// 2^(k/4) in units of 2^-40.
const ROOTS: [u64; 4] = [1_099_511_627_776, 1_307_549_945_182, 1_554_944_255_988, 1_849_147_865_929];

/// Lower edges of the coarse bins in microseconds: 16 * 2^(i/4), rounded.
pub(super) const EDGES: [u64; BINS + 1] = {
    let mut edges = [0; BINS + 1];
    let mut i = 0;
    while i <= BINS {
        let scaled = (ROOTS[i % 4] as u128) << (4 + i / 4);
        edges[i] = ((scaled + (1 << 39)) >> 40) as u64;
        i += 1;
    }
    edges
};

/// The longest gap that tokens tell.
pub(super) const LONGEST_US: i64 = EDGES[BINS] as i64 - 1;

/// The clock of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    last_us: Option<i64>,
}

/// Where a gap lies within the bins.
struct Cell {
    bin: usize,
    fine: Option<u64>,
    base: u64,
    width: u64,
}

impl Cell {
    fn of_bin(bin: usize) -> Self {
        Self { bin, fine: None, base: EDGES[bin], width: EDGES[bin + 1] - EDGES[bin] }
    }

    /// Number of sub-bins of a bin. It never exceeds the microseconds of the bin, so none is empty.
    fn fines(&self) -> u64 {
        FINE.min(EDGES[self.bin + 1] - EDGES[self.bin])
    }

    fn narrowed(self, fine: u64) -> Self {
        let (low, width, fines) = (EDGES[self.bin], EDGES[self.bin + 1] - EDGES[self.bin], self.fines());
        let base = low + (fine * width).div_ceil(fines);
        let end = low + ((fine + 1) * width).div_ceil(fines);
        Self { fine: Some(fine), base, width: end - base, ..self }
    }

    fn of_gap(gap: u64, fine: bool) -> Option<Self> {
        if !(EDGES[0]..EDGES[BINS]).contains(&gap) {
            return None;
        }
        // Every fourth edge is a power of two.
        let octave = 4 * (gap.ilog2() - EDGES[0].ilog2()) as usize;
        let bin = octave + (1..4).filter(|quarter| EDGES[octave + quarter] <= gap).count();
        let cell = Self::of_bin(bin);
        if !fine {
            return Some(cell);
        }
        let place = (gap - cell.base) * cell.fines() / cell.width;
        Some(cell.narrowed(place))
    }
}

impl Clock {
    /// The clock after a packet at `time_us`.
    pub(super) fn set(&mut self, time_us: i64) {
        self.last_us = Some(time_us);
    }

    /// From `time_us` to the last packet; 0 before the first one.
    pub(super) fn since(&self, time_us: i64) -> i64 {
        self.last_us.map_or(0, |last| last.saturating_sub(time_us))
    }

    /// Adds the tokens that may begin any packet but the first.
    pub(super) fn collect_next(&self, strict: bool, mask: &mut Mask) {
        mask.add_class(TIME_EXACT);
        mask.add_class(TIME_COARSE);
        if !strict {
            mask.add_class(TIME_SIDE);
        }
    }

    /// Codes the time of a packet in microseconds. `fine`: gaps have fine tokens.
    pub(super) fn code<I: Io>(&self, io: &mut I, want: Option<i64>, fine: bool) -> Coded<i64> {
        let wanted_gap = || want.map_or(0, |time| time.wrapping_sub(self.last_us.unwrap_or(time)));
        let cell =
            want.and_then(|_| u64::try_from(wanted_gap()).ok()).and_then(|gap| Cell::of_gap(gap, fine));
        let strict = io.strict();
        let token = io.pick(
            || match wanted_gap() {
                gap @ 0..EXACT_US => TIME_EXACT.at(gap as usize),
                _ => cell.as_ref().map_or(TIME_SIDE.at(0), |cell| TIME_COARSE.at(cell.bin)),
            },
            |mask| match self.last_us {
                // The first packet's time is the start of the session.
                None => mask.add(TIME_EXACT.at(0)),
                Some(_) => self.collect_next(strict, mask),
            },
        )?;
        let Some(last) = self.last_us else {
            let start = io.side(SideClass::Start, || want.unwrap_or_default() as u64, Spread::Bits(64))?;
            return Ok(start as i64);
        };
        if let Some(gap) = TIME_EXACT.index(token) {
            return Ok(last.saturating_add(gap as i64));
        }
        if TIME_SIDE.has(token) {
            let gap = io.side(SideClass::GapFar, || wanted_gap() as u64, Spread::Bits(40))? as i64;
            // A drawn gap may be one that tokens can say. A recorded one never is.
            let has_tokens = (0..EDGES[BINS] as i64).contains(&gap);
            let gap = if has_tokens { gap + EDGES[BINS] as i64 } else { gap };
            return Ok(last.wrapping_add(gap));
        }
        let mut at = Cell::of_bin(TIME_COARSE.index(token).ok_or(Stop::Illegal)?);
        if fine {
            let count = at.fines();
            let token = io.pick(
                || TIME_FINE.at(cell.and_then(|cell| cell.fine).unwrap_or_default() as usize),
                |mask| mask.add_members(TIME_FINE, 0, count as usize),
            )?;
            let place =
                TIME_FINE.index(token).filter(|&place| (place as u64) < count).ok_or(Stop::Illegal)?;
            at = at.narrowed(place as u64);
        }
        let mut rest = 0;
        if at.width > 1 {
            let spread = if fine { Spread::Below(at.width) } else { Spread::LogBelow(at.width) };
            rest = io.side(SideClass::GapRest, || wanted_gap() as u64 - at.base, spread)?;
        }
        Ok(last.saturating_add_unsigned(at.base).saturating_add_unsigned(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::flow::{
        io::{Emit, Read},
        side_channel::SideTable,
    };

    #[test]
    fn edges_rise_by_quarter_octaves() {
        assert_eq!(EDGES[..6], [16, 19, 23, 27, 32, 38]);
        assert_eq!(EDGES[BINS], 1 << 30);
        assert!(EDGES.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn every_gap_comes_back_exactly() {
        let gaps: Vec<i64> = (0..5_000)
            .chain((0..31).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
            .chain([1 << 30, 1 << 40, -1, -5_000_000, i64::MIN, i64::MAX])
            .collect();
        for fine in [false, true] {
            for &gap in &gaps {
                let mut clock = Clock::default();
                clock.set(1_000);
                let want = 1_000_i64.wrapping_add(gap);
                let (mut tokens, mut side) = (Vec::new(), SideTable::default());
                clock.code(&mut Emit::new(&mut tokens, &mut side), Some(want), fine).expect("emits");
                let read = clock.code(&mut Read::new(&tokens, &side), None, fine);
                assert_eq!(read, Ok(want), "gap {gap}, fine {fine}, {tokens:?}");
                assert!(tokens.len() <= 1 + usize::from(fine));
            }
        }
    }

    #[test]
    fn no_fine_token_stands_for_an_empty_cell() {
        for bin in 0..BINS {
            let cell = Cell::of_bin(bin);
            let cells: Vec<_> = (0..cell.fines()).map(|fine| Cell::of_bin(bin).narrowed(fine)).collect();
            assert!(cells.iter().all(|cell| cell.width > 0), "bin {bin}");
            assert_eq!(cells.iter().map(|cell| cell.width).sum::<u64>(), cell.width);
        }
    }
}
