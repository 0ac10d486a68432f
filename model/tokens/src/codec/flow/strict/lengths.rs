//! Sets of payload lengths.

/// The payload lengths `low`, `low + step` ... up to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Lengths {
    /// Shortest length.
    pub(in super::super) low: u16,
    /// Upper limit.
    pub(in super::super) high: u16,
    /// Distance between neighbouring lengths, at least 1.
    pub(in super::super) step: u16,
}

impl Lengths {
    pub(super) const fn new(low: u16, high: u16, step: u16) -> Self {
        Self { low, high, step }
    }

    /// Just one length.
    pub(super) const fn only(len: u16) -> Self {
        Self::new(len, len, 1)
    }

    /// Whether a length is among them.
    #[cfg(test)]
    pub(in super::super) fn has(self, len: u32) -> bool {
        self.meets(len, len)
    }

    /// Whether any length from `first` to `last`, both included, is among them: the lengths that one token of a longer
    /// literal leaves possible.
    #[cfg(test)]
    pub(in super::super) fn meets(self, first: u32, last: u32) -> bool {
        let (low, step) = (u32::from(self.low), u32::from(self.step.max(1)));
        let next = low + first.saturating_sub(low).div_ceil(step) * step;
        next <= last.min(u32::from(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_meets_what_one_of_its_members_is() {
        for lengths in
            [Lengths::new(0, 1472, 1), Lengths::new(20, 160, 20), Lengths::only(16), Lengths::new(8, 67, 8)]
        {
            let members: Vec<u32> = (0..2_000).filter(|&len| lengths.has(len)).collect();
            let listed: Vec<u32> = (u32::from(lengths.low)..=u32::from(lengths.high))
                .step_by(usize::from(lengths.step))
                .collect();
            assert_eq!(members, listed);
            for first in 0..200 {
                for last in first..first + 40 {
                    let any = members.iter().any(|len| (first..=last).contains(len));
                    assert_eq!(lengths.meets(first, last), any, "{lengths:?} {first}..={last}");
                }
            }
        }
        assert!(!Lengths::only(0).has(u32::MAX));
    }
}
