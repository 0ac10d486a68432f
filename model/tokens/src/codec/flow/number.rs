//! Numbers written as big-endian bytes. Exactly the legal numbers can be written.

use arrayvec::ArrayVec;

use super::{
    io::{Coded, Io, Stop},
    mask::Mask,
    vocab::BYTE,
};

/// Most values that a range may leave out one by one.
pub const EXCEPTIONS: usize = 40;

/// The values that a number may have.
#[derive(Clone, Debug)]
pub struct Range {
    /// Lowest.
    pub low: u64,
    /// Highest.
    pub high: u64,
    /// A run of values within that is left out, ends included.
    pub gap: Option<(u64, u64)>,
    /// Other values that are left out.
    pub except: ArrayVec<u64, EXCEPTIONS>,
}

impl Range {
    /// All values of `bytes` bytes.
    pub fn bytes(bytes: u32) -> Self {
        Self::new(0, (1_u64 << (8 * bytes)) - 1)
    }

    /// `low` to `high`.
    pub fn new(low: u64, high: u64) -> Self {
        Self { low, high, gap: None, except: ArrayVec::new() }
    }

    /// Leaves values out. Beyond [`EXCEPTIONS`] of them values stay legal, so there is a second way to write these.
    #[must_use]
    pub fn except(mut self, values: impl IntoIterator<Item = u64>) -> Self {
        for value in values {
            if !self.except.contains(&value) && !self.except.is_full() {
                self.except.push(value);
            }
        }
        self
    }

    /// Leaves a run of values out.
    #[must_use]
    pub fn gap(mut self, from: u64, to: u64) -> Self {
        self.gap = Some((from, to));
        self
    }

    /// Whether `value` is legal.
    pub fn has(&self, value: u64) -> bool {
        (self.low..=self.high).contains(&value)
            && !self.gap.is_some_and(|(from, to)| (from..=to).contains(&value))
            && !self.except.contains(&value)
    }

    /// How many legal values lie between `from` and `to`, ends included.
    pub fn count(&self, from: u64, to: u64) -> u64 {
        let overlap = |a: u64, b: u64| {
            let (low, high) = (from.max(self.low).max(a), to.min(self.high).min(b));
            if low > high { 0 } else { high - low + 1 }
        };
        let all = overlap(0, u64::MAX);
        let in_gap = self.gap.map_or(0, |(a, b)| overlap(a, b));
        let inside = |value: &&u64| {
            **value >= from.max(self.low)
                && **value <= to.min(self.high)
                && !self.gap.is_some_and(|(a, b)| (a..=b).contains(value))
        };
        all - in_gap - self.except.iter().filter(inside).count() as u64
    }

    /// Whether there is no legal value.
    pub fn is_empty(&self) -> bool {
        self.count(self.low, self.high) == 0
    }
}

/// Codes a number of 1 to 4 bytes in `range`.
pub fn number<I: Io>(
    io: &mut I,
    bytes: u32,
    want: impl FnOnce() -> u64,
    range: impl FnOnce() -> Range,
) -> Coded<u64> {
    if I::EMITS {
        let value = want();
        if io.strict() && !range().has(value) {
            return Err(Stop::Illegal);
        }
        for k in (0..bytes).rev() {
            let token = BYTE.at((value >> (8 * k)) as usize & 255);
            io.pick(|| token, |mask| mask.add(token))?;
        }
        return Ok(value);
    }
    let mut range = Some(range);
    let mut value = 0;
    for k in (0..bytes).rev() {
        let token = io.pick(
            || 0,
            |mask| {
                if let Some(range) = range.take() {
                    collect(mask, &range(), value, 8 * k);
                }
            },
        )?;
        value = value << 8 | BYTE.index(token).ok_or(Stop::Illegal)? as u64;
    }
    Ok(value)
}

/// Adds the next bytes after `prefix`, with `rest` bits to come, that leave a legal value possible.
fn collect(mask: &mut Mask, range: &Range, prefix: u64, rest: u32) {
    let start = prefix << 8 << rest;
    // The byte that leads to a value, clamped to the values of this prefix.
    let byte = |value: u64| value.checked_sub(start).map(|above| above >> rest);
    let Some(last) = byte(range.high).filter(|_| range.low <= range.high) else { return };
    let (first, last) = (byte(range.low).unwrap_or(0), last.min(255));
    let mut bytes = Mask::default();
    bytes.add_members(BYTE, first.min(256) as usize, last as usize + 1);
    // Counting is needed only where values are left out.
    let mut look = |from: Option<u64>, to: Option<u64>| {
        let Some(to) = to else { return };
        for byte in from.unwrap_or(0).max(first)..=to.min(last) {
            let from = start + (byte << rest);
            if range.count(from, from + ((1 << rest) - 1)) == 0 {
                bytes.remove(BYTE.at(byte as usize));
            }
        }
    };
    range.except.iter().for_each(|&value| look(byte(value), byte(value)));
    if let Some((from, to)) = range.gap {
        look(byte(from), byte(to));
    }
    mask.add_all(&bytes);
}

/// Sign bit of a [`varint`]'s head.
const NEGATIVE: u8 = 0x80;

/// Codes a signed number: a byte with the sign and the number of magnitude bytes, then these bytes. Zero has none.
/// Magnitudes are at most 2^32 - 1. `except` lists values that have another form.
pub fn varint<I: Io>(
    io: &mut I,
    want: impl FnOnce() -> i64,
    except: impl Fn() -> ArrayVec<i64, EXCEPTIONS>,
) -> Coded<i64> {
    signed(io, want, except, [u32::MAX, u32::MAX])
}

/// Codes a distance in a space of 32 bits, such as that of sequence numbers, like a [`varint`]. It is from -2^31 to
/// 2^31 - 1, because what is farther in one direction is nearer in the other.
pub fn offset<I: Io>(
    io: &mut I,
    want: impl FnOnce() -> i64,
    except: impl Fn() -> ArrayVec<i64, EXCEPTIONS>,
) -> Coded<i64> {
    signed(io, want, except, [i32::MAX.unsigned_abs(), i32::MIN.unsigned_abs()])
}

/// `most`: the largest magnitudes of positive and negative numbers.
fn signed<I: Io>(
    io: &mut I,
    want: impl FnOnce() -> i64,
    except: impl Fn() -> ArrayVec<i64, EXCEPTIONS>,
    most: [u32; 2],
) -> Coded<i64> {
    if I::EMITS {
        let value = want();
        let magnitude = value.unsigned_abs();
        let bytes = (64 - magnitude.leading_zeros()).div_ceil(8);
        let head = bytes as u8 | if value < 0 { NEGATIVE } else { 0 };
        io.byte(256, || head)?;
        number(io, bytes, || magnitude, || Range::bytes(bytes))?;
        return Ok(value);
    }
    let head = io.pick(
        || 0,
        |mask| {
            let zero_taken = except().contains(&0);
            mask.add_members(BYTE, usize::from(zero_taken), 5);
            mask.add_members(BYTE, usize::from(NEGATIVE) + 1, usize::from(NEGATIVE) + 5);
        },
    )?;
    let head = BYTE.index(head).ok_or(Stop::Illegal)? as u8;
    let (negative, bytes) = (head & NEGATIVE != 0, u32::from(head & !NEGATIVE));
    if bytes > 4 || bytes == 0 && negative {
        return Err(Stop::Illegal);
    }
    let sign = if negative { -1 } else { 1 };
    let range = || {
        let low = if bytes == 0 { 0 } else { 1 << (8 * (bytes - 1)) };
        let taken = except()
            .into_iter()
            .filter(|&value| value != 0 && (value < 0) == negative)
            .map(i64::unsigned_abs);
        let most = u64::from(most[usize::from(negative)]);
        Range::new(low, most.min((1_u64 << (8 * bytes)) - 1)).except(taken)
    };
    let magnitude = number(io, bytes, || 0, range)?;
    Ok(sign * magnitude as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_lead_on_exactly_where_a_legal_value_lies(
            (low, high) in (0..70_000_u64, 0..70_000_u64),
            gap in proptest::option::of((0..70_000_u64, 0..70_000_u64)),
            except in prop::collection::vec(0..600_u64, 0..30),
            prefix in 0..300_u64,
            rest in prop::sample::select(vec![0, 8, 16]),
        ) {
            let mut range = Range::new(low, high).except(except.into_iter().map(|value| prefix << 8 << rest | value));
            range.gap = gap;
            let mut fast = Mask::default();
            collect(&mut fast, &range, prefix, rest);
            let mut slow = Mask::default();
            for byte in 0..256 {
                let from = (prefix << 8 | byte) << rest;
                if range.count(from, from + ((1 << rest) - 1)) > 0 {
                    slow.add(BYTE.at(byte as usize));
                }
            }
            prop_assert_eq!(fast, slow);
        }
    }
}
