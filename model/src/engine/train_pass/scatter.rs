//! Lists for `sum_rows`: lookups, and their gradient without atomics.
//!
//! The gradient of a table is, for each of its rows, the sum over the positions that looked it up, in their order. One
//! token may be half of all positions, so the positions of a row are cut into pieces of [`PIECE`], summed by a block
//! each, and then the pieces are summed.

use super::Backend;
use super::calls::sum_rows;
use crate::engine::launch::Float;
use crate::error::Result;
use crate::network::context::{self, HIDDEN};

/// Positions of a row that one block sums.
const PIECE: usize = 256;

/// Entries by output row: entries `begin[i] .. begin[i + 1]` name the rows that are added.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lists {
    pub(super) begin: Vec<u32>,
    pub(super) index: Vec<u32>,
    /// Empty for ones.
    pub(super) weights: Vec<f32>,
}

impl Lists {
    pub(super) fn rows(&self) -> usize {
        self.begin.len().saturating_sub(1)
    }

    /// One row a position: that of its token.
    pub(super) fn tokens(tokens: &[u32]) -> Self {
        let len = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        Self { begin: (0..=len).collect(), index: tokens.to_vec(), weights: vec![] }
    }

    /// The rows of a position's side information that are not hidden, see
    /// [`crate::engine::cpu::context::add`].
    pub(super) fn context(ids: &[u32], fields: usize) -> Self {
        let mut out = Self { begin: vec![0], ..Self::default() };
        for ids in ids.chunks_exact(fields) {
            let scale = context::scale(ids);
            for &id in ids.iter().filter(|&&id| id != HIDDEN) {
                out.index.push(id);
                out.weights.push(scale);
            }
            out.begin.push(u32::try_from(out.index.len()).unwrap_or(u32::MAX));
        }
        out
    }

    /// The other way round, for a table of `rows` rows: by row, the positions that read it; in pieces, and the pieces
    /// of each row.
    fn reversed(&self, rows: usize) -> (Self, Self) {
        let mut start = vec![0usize; rows + 1];
        for &row in &self.index {
            start[row as usize + 1] += 1;
        }
        for row in 0..rows {
            start[row + 1] += start[row];
        }
        let mut index = vec![0u32; self.index.len()];
        let mut weights = vec![0f32; self.weights.len()];
        let mut next = start.clone();
        for (position, span) in self.begin.windows(2).enumerate() {
            for entry in span[0] as usize..span[1] as usize {
                let to = &mut next[self.index[entry] as usize];
                index[*to] = u32::try_from(position).unwrap_or(u32::MAX);
                if let Some(&weight) = self.weights.get(entry) {
                    weights[*to] = weight;
                }
                *to += 1;
            }
        }
        let (mut pieces, mut begin) = (vec![0u32], vec![0u32]);
        for span in start.windows(2) {
            for from in (span[0]..span[1]).step_by(PIECE) {
                pieces.push(u32::try_from(span[1].min(from + PIECE)).unwrap_or(u32::MAX));
            }
            begin.push(u32::try_from(pieces.len() - 1).unwrap_or(u32::MAX));
        }
        let all = u32::try_from(pieces.len() - 1).unwrap_or(u32::MAX);
        (Self { begin: pieces, index, weights }, Self { begin, index: (0..all).collect(), weights: vec![] })
    }
}

/// Adds the gradient of a table of `rows` rows to `to (rows, d)`, from `grad (positions, d)` and what the positions
/// read.
pub(super) fn add_gradient<K: Backend>(
    k: &K,
    lists: &Lists,
    grad: &K::Buffer,
    to: &K::Buffer,
    (rows, d): (usize, usize),
) -> Result<()> {
    let (pieces, by_row) = lists.reversed(rows);
    let parts = k.alloc("gradient of a table, in pieces", Float::F32, pieces.rows() * d)?;
    sum_rows(k, &pieces, grad, &parts, d, false)?;
    sum_rows(k, &by_row, &parts, to, d, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lookup_comes_back_once_in_order() {
        let mut tokens = vec![3u32; 600];
        tokens[10] = 0;
        tokens[20] = 5;
        let (pieces, rows) = Lists::tokens(&tokens).reversed(6);
        assert_eq!(rows.begin, [0, 1, 1, 1, 4, 4, 5]);
        assert_eq!(pieces.begin, [0, 1, 257, 513, 599, 600]);
        assert_eq!(pieces.index[0], 10);
        assert_eq!(pieces.index[599], 20);
        assert!(pieces.index[1..599].windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn hidden_fields_are_left_out() {
        let lists = Lists::context(&[1, HIDDEN, 2, 2, HIDDEN, HIDDEN], 2);
        assert_eq!(lists.begin, [0, 1, 3, 3]);
        assert_eq!(lists.index, [1, 2, 2]);
        assert_eq!(lists.weights[0], 2f32.sqrt());
        let (pieces, rows) = lists.reversed(3);
        assert_eq!((&pieces.index[..], &rows.begin[..]), (&[0, 1, 1][..], &[0, 0, 1, 2][..]));
        assert_eq!(pieces.weights[0], 2f32.sqrt());
    }
}
