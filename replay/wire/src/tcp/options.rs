//! TCP options, every one kept byte for byte.
//!
//! Own code because etherparse's iterator ends at the first kind that it does not know, and its elements do
//! not say where they stand, which rewriting timestamps in place needs.

use crate::bytes::be32;
use crate::options::{END, Item, NOP, item_at};

/// Option kinds (IANA, TCP Option Kind Numbers) that this product knows. [`END`] and [`NOP`] are those of every list.
pub mod kind {
    /// Maximum segment size (RFC 9293 section 3.7.1), 4 bytes with kind and length.
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 section 2), 3 bytes.
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgements permitted (RFC 2018 section 2), 2 bytes.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgement (RFC 2018 section 3), 2 bytes and 8 for each block.
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 section 3), 10 bytes.
    pub const TIMESTAMPS: u8 = 8;
    /// User timeout (RFC 5482), 4 bytes.
    pub const USER_TIMEOUT: u8 = 28;
    /// Fast Open cookie (RFC 7413), 2 bytes or 6 to 18.
    pub const FAST_OPEN: u8 = 34;
}

/// Largest shift of a window scale option (RFC 7323 section 2.3).
pub const MAX_WINDOW_SHIFT: u8 = 14;

/// One option. Known kinds with a wrong length are [`TcpOption::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// End of the list, with whatever follows it.
    End {
        /// Bytes after the end mark, normally zeros.
        padding: &'a [u8],
    },
    /// No operation.
    Nop,
    /// Maximum segment size in bytes.
    MaxSegmentSize(u16),
    /// Window scale, a power of two.
    WindowScale(u8),
    /// Selective acknowledgements are understood.
    SackPermitted,
    /// Selective acknowledgement: pairs of sequence numbers, 8 bytes each; see [`sack_blocks`].
    Sack(&'a [u8]),
    /// Timestamps (RFC 7323).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The peer's clock, echoed.
        echo: u32,
    },
    /// Any other, data without kind and length.
    Other {
        /// Kind.
        kind: u8,
        /// Data.
        data: &'a [u8],
    },
    /// A length that does not fit; nothing after it can be told apart.
    Malformed(&'a [u8]),
}

/// The blocks of a SACK option: left and right edge.
pub fn sack_blocks(data: &[u8]) -> impl Iterator<Item = (super::Seq, super::Seq)> + '_ {
    data.chunks_exact(8).map(|block| {
        let edge = |at| super::Seq(be32(block, at).unwrap_or_default());
        (edge(0), edge(4))
    })
}

impl TcpOption<'_> {
    /// Appends the option's bytes. Data of [`TcpOption::Other`] beyond 253 bytes is left off, since no length
    /// says it.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let mut put = |number: u8, data: &[u8]| {
            let data = &data[..data.len().min(253)];
            out.extend_from_slice(&[number, data.len() as u8 + 2]);
            out.extend_from_slice(data);
        };
        match *self {
            TcpOption::End { padding } => {
                out.push(END);
                out.extend_from_slice(padding);
            }
            TcpOption::Nop => out.push(NOP),
            TcpOption::MaxSegmentSize(size) => put(kind::MSS, &size.to_be_bytes()),
            TcpOption::WindowScale(shift) => put(kind::WINDOW_SCALE, &[shift]),
            TcpOption::SackPermitted => put(kind::SACK_PERMITTED, &[]),
            TcpOption::Sack(blocks) => put(kind::SACK, blocks),
            TcpOption::Timestamps { value, echo } => {
                put(kind::TIMESTAMPS, &(u64::from(value) << 32 | u64::from(echo)).to_be_bytes());
            }
            TcpOption::Other { kind, data } => put(kind, data),
            TcpOption::Malformed(rest) => out.extend_from_slice(rest),
        }
    }
}

/// Walks option bytes, each option with its offset. Emitting every item in turn gives the bytes back.
#[derive(Clone, Debug)]
pub struct OptionWalk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> OptionWalk<'a> {
    /// Over the bytes between the fixed header and the payload, perhaps cut.
    pub fn new(bytes: &'a [u8]) -> Self {
        OptionWalk { bytes, at: 0 }
    }
}

impl<'a> Iterator for OptionWalk<'a> {
    type Item = (usize, TcpOption<'a>);

    fn next(&mut self) -> Option<(usize, TcpOption<'a>)> {
        let at = self.at;
        let rest = self.bytes.get(at..)?;
        let (kind, len) = match item_at(self.bytes, at)? {
            Item::End => {
                self.at = self.bytes.len();
                return Some((at, TcpOption::End { padding: &rest[1..] }));
            }
            Item::Nop => {
                self.at += 1;
                return Some((at, TcpOption::Nop));
            }
            Item::Broken => {
                self.at = self.bytes.len();
                return Some((at, TcpOption::Malformed(rest)));
            }
            Item::Option { kind, len } => (kind, len),
        };
        let data = &rest[2..len];
        self.at += len;
        let option = match (kind, data) {
            (kind::MSS, &[a, b]) => TcpOption::MaxSegmentSize(u16::from_be_bytes([a, b])),
            (kind::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
            (kind::SACK_PERMITTED, &[]) => TcpOption::SackPermitted,
            (kind::SACK, blocks) if !blocks.is_empty() && blocks.len().is_multiple_of(8) => {
                TcpOption::Sack(blocks)
            }
            (kind::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            },
            _ => TcpOption::Other { kind, data },
        };
        Some((at, option))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seq;
    use super::*;
    use proptest::prelude::*;

    /// A Linux SYN's options.
    const SYN: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

    #[test]
    fn reads_and_builds_a_syn() {
        let list = [
            TcpOption::MaxSegmentSize(1460),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: 9, echo: 0 },
            TcpOption::Nop,
            TcpOption::WindowScale(7),
        ];
        let walked: Vec<_> = OptionWalk::new(&SYN).collect();
        assert_eq!(walked.iter().map(|(_, option)| *option).collect::<Vec<_>>(), list);
        assert_eq!(walked.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 4, 6, 16, 17]);
        let mut built = Vec::new();
        list.iter().for_each(|option| option.emit(&mut built));
        assert_eq!(built, SYN);
    }

    #[test]
    fn sack_blocks_and_unknown_kinds_are_kept() {
        let bytes = [5, 10, 0, 0, 0, 1, 0, 0, 0, 3, 254, 4, 0xf9, 0x89, 5, 4, 1, 1, 0, 7];
        let options: Vec<_> = OptionWalk::new(&bytes).map(|(_, option)| option).collect();
        assert_eq!(options[0], TcpOption::Sack(&bytes[2..10]));
        assert_eq!(sack_blocks(&bytes[2..10]).collect::<Vec<_>>(), [(Seq(1), Seq(3))]);
        assert_eq!(options[1], TcpOption::Other { kind: 254, data: &[0xf9, 0x89] });
        assert_eq!(options[2], TcpOption::Other { kind: 5, data: &[1, 1] });
        assert_eq!(options[3], TcpOption::End { padding: &[7] });
    }

    #[test]
    fn bad_lengths_end_the_walk_with_the_rest() {
        for bad in [&[8u8][..], &[8, 0, 1], &[8, 1], &[8, 10, 0]] {
            assert_eq!(OptionWalk::new(bad).collect::<Vec<_>>(), [(0, TcpOption::Malformed(bad))]);
        }
    }

    proptest! {
        #[test]
        fn walk_and_emit_are_inverses(bytes in prop::collection::vec(any::<u8>(), 0..41)) {
            let mut out = Vec::new();
            OptionWalk::new(&bytes).for_each(|(at, option)| {
                assert_eq!(at, out.len());
                option.emit(&mut out);
            });
            prop_assert_eq!(out, bytes);
        }
    }
}
