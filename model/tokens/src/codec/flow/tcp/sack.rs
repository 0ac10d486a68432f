//! Selective acknowledgements (RFC 2018): blocks that repeat, grow, or are new.

use arrayvec::ArrayVec;

use super::{TcpContext, distance};
use crate::codec::flow::{
    io::{Coded, Io, Stop},
    number::offset,
    vocab::SACK_BLOCK,
};

/// Left and right edge.
pub(super) type Block = (u32, u32);

const EXTENDED: u16 = SACK_BLOCK.at(0);
const NEW: u16 = SACK_BLOCK.at(1);
const LITERAL: u16 = SACK_BLOCK.at(2);
const PREVIOUS: usize = 3;

type Known = ArrayVec<(u16, Block), 6>;

/// Blocks with a token, by preference, without repetitions.
fn known(cx: &TcpContext<'_>) -> Known {
    let mut list = Known::new();
    let mut add = |token: u16, block: Block| {
        if !list.iter().any(|&(_, known)| known == block) {
            list.push((token, block));
        }
    };
    for (k, &block) in cx.this.sack.iter().enumerate() {
        add(SACK_BLOCK.at(PREVIOUS + k), block);
    }
    if let Some(&newest) = cx.other.segments.back() {
        if let Some(&(left, _)) = cx.this.sack.first() {
            add(EXTENDED, (left, newest.1));
        }
        add(NEW, newest);
    }
    list
}

/// Whether the captured bytes of a block agree with it.
fn fits(block: Block, seen: &[u8]) -> bool {
    let bytes = (u64::from(block.0) << 32 | u64::from(block.1)).to_be_bytes();
    seen.iter().zip(bytes).all(|(a, b)| *a == b)
}

/// A block, as far as it was captured.
fn visible(seen: &[u8]) -> Block {
    let mut bytes = [0; 8];
    bytes[..seen.len().min(8)].copy_from_slice(&seen[..seen.len().min(8)]);
    let word = u64::from_be_bytes(bytes);
    ((word >> 32) as u32, word as u32)
}

/// Codes one block. `want` has its captured bytes.
pub(super) fn code<I: Io>(cx: &TcpContext<'_>, io: &mut I, want: Option<&[u8]>, ack: u32) -> Coded<Block> {
    let list = known(cx);
    let strict = io.strict();
    let token = io.pick(
        || {
            let seen = want.unwrap_or_default();
            list.iter().find(|&&(_, block)| fits(block, seen)).map_or(LITERAL, |&(token, _)| token)
        },
        |mask| {
            for &(token, (left, right)) in &list {
                // A generated block lies above what is acknowledged and has a length.
                if !strict || distance(left, ack) > 0 && distance(right, left) > 0 {
                    mask.add(token);
                }
            }
            if !strict {
                mask.add(LITERAL);
            }
        },
    )?;
    if token != LITERAL {
        return list.iter().find(|&&(known, _)| known == token).map(|&(_, block)| block).ok_or(Stop::Illegal);
    }
    let (left, right) = visible(want.unwrap_or_default());
    let left = ack.wrapping_add(offset(io, || distance(left, ack), ArrayVec::new)? as u32);
    let taken = || {
        list.iter().filter(|(_, block)| block.0 == left).map(|(_, block)| distance(block.1, left)).collect()
    };
    let right = left.wrapping_add(offset(io, || distance(right, left), taken)? as u32);
    Ok((left, right))
}

/// Whether a generated segment can carry a block at all.
pub(super) fn possible(cx: &TcpContext<'_>, ack: u32) -> bool {
    known(cx).iter().any(|&(_, (left, right))| distance(left, ack) > 0 && distance(right, left) > 0)
}
