//! Payload lengths. Most repeat, or follow from what was sent before.
//!
//! ```text
//! length := class [LEN_HIGH byte | LEN_LONG byte byte]
//! ```

use arrayvec::ArrayVec;
use netssm_wire::splitmix::mix;

use super::{
    io::{Coded, Io, Stop},
    number::{Range, number},
    vocab::{BYTE, LEN_HIGH, LEN_LONG, LENGTH},
};

/// No payload.
pub(super) const NONE: usize = 0;
/// The last length. It is the first of the recent ones.
pub(super) const LAST: usize = 1;
/// The largest length.
pub(super) const MAX: usize = 5;
/// The length that followed the same pair of lengths before, on any flow of the service.
pub(super) const NEXT: usize = 6;
/// Written as a literal.
pub(super) const LITERAL: usize = 7;
/// Number of classes.
pub(super) const CLASSES: usize = 8;

/// Lengths of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    recent: ArrayVec<u16, 6>,
    max: u16,
}

impl Lengths {
    /// The last one; zero before the first.
    pub(super) fn last(&self) -> u16 {
        self.recent.first().copied().unwrap_or_default()
    }

    /// The largest.
    pub(super) fn max(&self) -> u16 {
        self.max
    }

    /// What a class stands for.
    pub(super) fn value(&self, class: usize, next: Option<u16>) -> Option<u16> {
        match class {
            NONE => Some(0),
            LAST..MAX => self.recent.get(class - LAST).copied(),
            MAX => Some(self.max).filter(|&max| max > 0),
            NEXT => next.filter(|&next| next > 0),
            _ => None,
        }
    }

    /// The preferred class of a length.
    pub(super) fn class(&self, length: u32, next: Option<u16>) -> usize {
        let named = |&class: &usize| self.value(class, next).map(u32::from) == Some(length);
        [NONE, LAST, LAST + 1, LAST + 2, LAST + 3, MAX, NEXT].iter().copied().find(named).unwrap_or(LITERAL)
    }

    /// Remembers a length. Zero changes nothing.
    pub(super) fn apply(&mut self, length: u32) {
        let Ok(length) = u16::try_from(length) else { return };
        if length == 0 {
            return;
        }
        match self.recent.iter().position(|&known| known == length) {
            Some(at) => self.recent[..=at].rotate_right(1),
            None => {
                if self.recent.is_full() {
                    self.recent.pop();
                }
                self.recent.insert(0, length);
            }
        }
        self.max = self.max.max(length);
    }

    fn taken(&self, next: Option<u16>) -> impl Iterator<Item = u64> + '_ {
        (NONE..LITERAL).filter_map(move |class| self.value(class, next)).map(u64::from)
    }

    /// Codes a length where a token of its own names the class.
    pub(super) fn code_with_class<I: Io>(
        &self,
        io: &mut I,
        next: Option<u16>,
        want: Option<u32>,
        limit: Limit,
    ) -> Coded<u32> {
        let token = io.pick(
            || LENGTH.at(self.class(want.unwrap_or_default(), next)),
            |mask| limit.classes(self, next).iter().for_each(|&class| mask.add(LENGTH.at(class))),
        )?;
        self.code(io, LENGTH.index(token).ok_or(Stop::Illegal)?, next, want, limit)
    }

    /// Codes the length of a class, with its literal if it has one. `limit` has the legal lengths: `least` plus a
    /// multiple of `step`, up to `most`.
    pub(super) fn code<I: Io>(
        &self,
        io: &mut I,
        class: usize,
        next: Option<u16>,
        want: Option<u32>,
        limit: Limit,
    ) -> Coded<u32> {
        if class != LITERAL {
            return self.value(class, next).map(u32::from).ok_or(Stop::Illegal);
        }
        let want = want.unwrap_or_default();
        let range = || limit.range().except(self.taken(next));
        const SHORT: u64 = LEN_HIGH.len as u64 * 32;
        let token = io.pick(
            || if u64::from(want) < SHORT { LEN_HIGH.at(want as usize >> 5) } else { LEN_LONG.at(0) },
            |mask| {
                let range = range();
                for high in 0..SHORT / 32 {
                    if (high * 32..high * 32 + 32).any(|length| range.has(length) && limit.has(length)) {
                        mask.add(LEN_HIGH.at(high as usize));
                    }
                }
                if range.count(SHORT, u64::from(u16::MAX)) > 0 {
                    mask.add_class(LEN_LONG);
                }
            },
        )?;
        if LEN_LONG.has(token) {
            let long = || {
                let mut range = range();
                range.low = range.low.max(SHORT);
                range
            };
            return Ok(number(io, 2, || want.into(), long)? as u32);
        }
        let high = LEN_HIGH.index(token).ok_or(Stop::Illegal)? as u64 * 32;
        let low = io.pick(
            || BYTE.at(want as usize & 31),
            |mask| {
                let range = range();
                for low in (0..32).filter(|low| range.has(high + low) && limit.has(high + low)) {
                    mask.add(BYTE.at(low as usize));
                }
            },
        )?;
        let low = BYTE.index(low).filter(|&low| low < 32).ok_or(Stop::Illegal)?;
        Ok(high as u32 + low as u32)
    }
}

/// The lengths that are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Shortest.
    pub(super) least: u32,
    /// Longest.
    pub(super) most: u32,
    /// Distance of legal lengths from each other.
    pub(super) step: u32,
}

impl From<super::strict::Lengths> for Limit {
    fn from(lengths: super::strict::Lengths) -> Self {
        Self { least: lengths.low.into(), most: lengths.high.into(), step: lengths.step.into() }
    }
}

impl Limit {
    /// What an IP packet can carry behind its longest headers.
    pub(super) const ANY: Self = Self { least: 0, most: u16::MAX as u32 - 60 - 60, step: 1 };

    /// 0 to `most`.
    pub(super) fn up_to(most: u32) -> Self {
        Self { least: 0, most, step: 1 }
    }

    /// Whether a length is legal.
    pub(super) fn has(self, length: u64) -> bool {
        let (least, most) = (u64::from(self.least), u64::from(self.most));
        (least..=most).contains(&length) && (length - least).is_multiple_of(u64::from(self.step.max(1)))
    }

    /// The classes that name a legal length which no preferred class names.
    pub(super) fn classes(self, lengths: &Lengths, next: Option<u16>) -> ArrayVec<usize, CLASSES> {
        let (mut taken, mut classes) = (ArrayVec::<u64, CLASSES>::new(), ArrayVec::new());
        for class in NONE..LITERAL {
            let Some(length) = lengths.value(class, next).map(u64::from) else { continue };
            if !taken.contains(&length) {
                taken.push(length);
                if self.has(length) {
                    classes.push(class);
                }
            }
        }
        if self.has_other(&taken) {
            classes.push(LITERAL);
        }
        classes
    }

    /// Whether some legal length is not among `taken`.
    fn has_other(self, taken: &[u64]) -> bool {
        let step = u64::from(self.step.max(1));
        let mut length = u64::from(self.least);
        while length <= u64::from(self.most) {
            if !taken.contains(&length) {
                return true;
            }
            length += step;
        }
        false
    }

    fn range(self) -> Range {
        Range::new(u64::from(self.least), u64::from(self.most.min(u16::MAX.into())))
    }
}

/// A table of the length that followed a pair of lengths. The flows of a session share it, because devices repeat
/// themselves.
///
/// It is direct-mapped. A collision costs a wrong prediction and nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Follows(Vec<(u16, u16)>);

/// Entries of a [`Follows`] table.
const FOLLOWS: usize = 512;

/// What comes before a length: the key of [`Follows`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// The flow's service port and its protocol.
    pub(super) service: (u16, u8),
    /// Whether the responder sends.
    pub(super) back: bool,
    /// Last length in the same direction.
    pub(super) same: u16,
    /// Last length in the other direction.
    pub(super) other: u16,
}

impl Before {
    fn hash(self) -> u64 {
        let head = u64::from(self.service.0) << 16 | u64::from(self.service.1) << 8 | u64::from(self.back);
        mix(head << 32 | u64::from(self.same) << 16 | u64::from(self.other))
    }
}

impl Follows {
    /// The length that followed.
    pub(super) fn get(&self, before: Before) -> Option<u16> {
        let hash = before.hash();
        let (check, length) = *self.0.get(hash as usize % FOLLOWS)?;
        (check == (hash >> 48) as u16 && length > 0).then_some(length)
    }

    /// Remembers what followed.
    pub(super) fn apply(&mut self, before: Before, length: u32) {
        let Ok(length) = u16::try_from(length) else { return };
        if length == 0 {
            return;
        }
        if self.0.is_empty() {
            self.0.resize(FOLLOWS, (0, 0));
        }
        let hash = before.hash();
        self.0[hash as usize % FOLLOWS] = ((hash >> 48) as u16, length);
    }
}
