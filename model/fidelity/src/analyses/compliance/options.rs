//! TCP options of a segment, and whether all of them were captured (RFC 9293 section 3.1).
//!
//! An option that is not seen is known to be absent only if the header was captured whole ([`Seen::whole`]). Captures
//! that are cut to a fixed length often lose the end of a SYN's options.

use netssm_wire::frame::{Layout, Transport};
use netssm_wire::tcp::{OptionWalk, TcpOption, View};
use serde::Serialize;

/// Occurrences of options (NetSSM Table 4, and what it leaves out).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OptionCounts {
    /// Maximum segment size, kind 2 (RFC 9293 section 3.7.1).
    pub mss: u64,
    /// Window scale, kind 3 (RFC 7323 section 2.2).
    pub wscale: u64,
    /// SACK permitted, kind 4 (RFC 2018 section 2).
    pub sack_ok: u64,
    /// Selective acknowledgement, kind 5 (RFC 2018 section 3); one a segment, however many blocks it has.
    pub sack: u64,
    /// Timestamps, kind 8 (RFC 7323 section 3.2).
    pub timestamps: u64,
    /// Any other kind, and known kinds with a length that they cannot have. Fillers (kinds 0 and 1) do not count.
    pub other: u64,
}

impl OptionCounts {
    /// Adds another's.
    pub(super) fn merge(&mut self, other: &Self) {
        self.mss += other.mss;
        self.wscale += other.wscale;
        self.sack_ok += other.sack_ok;
        self.sack += other.sack;
        self.timestamps += other.timestamps;
        self.other += other.other;
    }
}

/// The options of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How often each is there.
    pub(super) counts: OptionCounts,
    /// The header was captured to its end.
    pub(super) whole: bool,
    /// A length that leads beyond the header, or a data offset below the fixed header's.
    pub(super) broken: bool,
}

impl Seen {
    /// Of a frame. Nothing if there is no TCP header in it.
    pub(super) fn of(frame: &[u8]) -> Self {
        let Transport::Tcp { at, header_len } = Layout::parse(frame).transport else {
            return Self::default();
        };
        let Some(view) = frame.get(at..).and_then(View::new) else { return Self::default() };
        let options = view.options();
        let whole = options.len() + View::LEN == header_len;
        let mut seen = Self { whole, broken: view.header_len() < View::LEN, ..Self::default() };
        for (_, option) in OptionWalk::new(options) {
            let counts = &mut seen.counts;
            match option {
                TcpOption::End { .. } | TcpOption::Nop => {}
                TcpOption::MaxSegmentSize(_) => counts.mss += 1,
                TcpOption::WindowScale(_) => counts.wscale += 1,
                TcpOption::SackPermitted => counts.sack_ok += 1,
                TcpOption::Sack(_) => counts.sack += 1,
                TcpOption::Timestamps { .. } => counts.timestamps += 1,
                TcpOption::Other { .. } => counts.other += 1,
                TcpOption::Malformed(_) if whole => seen.broken = true,
                // The option that the cut went through; its kind and length are enough to count it.
                TcpOption::Malformed(rest) => match *rest {
                    [2, 4, ..] => counts.mss += 1,
                    [3, 3, ..] => counts.wscale += 1,
                    [5, 10 | 18 | 26 | 34, ..] => counts.sack += 1,
                    [8, 10, ..] => counts.timestamps += 1,
                    _ => {}
                },
            }
        }
        seen
    }

    /// Whether an option is there: `None` where it may be in what was not captured.
    pub(super) fn has(&self, count: fn(&OptionCounts) -> u64) -> Option<bool> {
        let there = count(&self.counts) > 0;
        (there || self.whole && !self.broken).then_some(there)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_options;
    use super::*;
    use crate::testing::Frames;

    /// A Linux SYN's options.
    const SYN: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

    fn frame(options: &[u8]) -> Vec<u8> {
        let mut frames = Frames::new();
        with_options(&mut frames, 0, (50001, 443), "S", (1, 0), options);
        frames.records.remove(0).frame
    }

    #[test]
    fn options_are_counted_and_absence_is_known_only_of_whole_headers() {
        let mut frame = frame(&SYN);
        let seen = Seen::of(&frame);
        let expected =
            OptionCounts { mss: 1, wscale: 1, sack_ok: 1, timestamps: 1, ..OptionCounts::default() };
        assert_eq!(seen, Seen { counts: expected, whole: true, broken: false });
        assert_eq!((seen.has(|c| c.mss), seen.has(|c| c.sack)), (Some(true), Some(false)));
        frame.truncate(72);
        let cut = Seen::of(&frame);
        assert!(!cut.whole && !cut.broken);
        assert_eq!((cut.has(|c| c.timestamps), cut.has(|c| c.wscale)), (Some(true), None));
        frame.truncate(62); // in the middle of the timestamps, whose length is still there
        assert_eq!(Seen::of(&frame).counts.timestamps, 1);
        frame.truncate(61);
        assert_eq!(Seen::of(&frame).counts.timestamps, 0);
    }

    #[test]
    fn broken_and_unknown_options_are_told() {
        let seen = Seen::of(&frame(&[30, 2, 5, 2, 8, 9, 1, 1]));
        assert_eq!((seen.counts.other, seen.broken, seen.has(|c| c.mss)), (2, true, None));
        assert_eq!(Seen::of(&[]), Seen::default());
    }
}
