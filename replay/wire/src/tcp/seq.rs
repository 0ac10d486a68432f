//! TCP sequence numbers: arithmetic modulo 2^32, as a type.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A sequence or acknowledgement number (RFC 9293 section 3.4).
///
/// There is no total order on a circle, so there is no `Ord`: [`Seq::precedes`] compares two numbers less
/// than half the circle apart.
///
/// ```
/// use netssm_wire::tcp::Seq;
/// let last = Seq(u32::MAX);
/// assert_eq!(last + 2, Seq(1));
/// assert!(last.precedes(Seq(1)));
/// assert_eq!(Seq(1) - last, 2);
/// assert_eq!(last.distance(Seq(1)), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u32);

impl Seq {
    /// Signed way from here to `other`: negative when `other` is earlier. At exactly half the circle it is
    /// `i32::MIN`.
    #[inline]
    pub fn distance(self, other: Seq) -> i32 {
        other.0.wrapping_sub(self.0) as i32
    }

    /// Whether this number is earlier than `other`.
    #[inline]
    pub fn precedes(self, other: Seq) -> bool {
        self.distance(other) > 0
    }

    /// The later of the two.
    #[must_use]
    #[inline]
    pub fn later(self, other: Seq) -> Seq {
        if self.precedes(other) { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn add(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_add(bytes))
    }
}

impl AddAssign<u32> for Seq {
    #[inline]
    fn add_assign(&mut self, bytes: u32) {
        *self = *self + bytes;
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn sub(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_sub(bytes))
    }
}

/// Bytes forward from the right-hand number to the left-hand one.
impl Sub<Seq> for Seq {
    type Output = u32;

    #[inline]
    fn sub(self, from: Seq) -> u32 {
        self.0.wrapping_sub(from.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_the_circle_precedes_neither_way() {
        let (a, b) = (Seq(5), Seq(5 + (1 << 31)));
        assert!(!a.precedes(b) && !b.precedes(a) && !a.precedes(a));
        assert_eq!(Seq(0) - 1, Seq(u32::MAX));
    }

    proptest! {
        #[test]
        fn shifting_both_changes_nothing(a: u32, step in 1u32..1 << 31, shift: u32) {
            let (a, b) = (Seq(a), Seq(a) + step);
            prop_assert!(a.precedes(b) && !b.precedes(a));
            prop_assert_eq!((a + shift).distance(b + shift), step as i32);
            prop_assert_eq!((b - a, b.later(a), a.later(b)), (step, b, b));
        }
    }
}
