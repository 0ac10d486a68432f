//! Side information: what a decoder knows where a token stands, as embeddings added to the model's input.
//!
//! A recurrent state has to carry everything that a session was so far, and forgets. Trained on real packets a model gets by
//! with what the last ones look like; reading its own, in which each small error tells a little less, it drifts from one kind
//! of traffic to another. But whoever writes tokens has a decoder beside, which knows exactly what was written: the label,
//! how old the session is, which service the flow of the open packet belongs to, how much it sent. So a codec may name some
//! *fields* of that; for every token it gives one row of a table a field, and the model reads the token's embedding plus the sum of these rows over the
//! root of their number, lest many fields drown the token. (WaveNet conditions on local and global features in the same way, arXiv 1609.03499, section 2.5; here
//! the projection is a table.) It depends on nothing but the tokens so far, so training, likelihood and generation see
//! the same. A model without fields is a plain Mamba-2.

use netssm_tokens::codec::{Codec, Decoder};
use netssm_tokens::context::ContextShape;

use crate::engine::cpu::simd::vectorized;

/// A decoder that walks along a token stream and says what it knows.
pub(crate) struct Walk {
    decoder: Option<Box<dyn Decoder>>,
    fields: usize,
}

impl Walk {
    /// At the beginning of a session of `codec`, for a model that reads `shape`; without one, it does nothing.
    pub(crate) fn new(codec: &dyn Codec, shape: Option<ContextShape>) -> Self {
        // Nothing that a decoder draws is in its context, so any seed will do.
        Self { decoder: shape.map(|_| codec.decoder(0)), fields: shape.map_or(0, |shape| shape.fields) }
    }

    /// Takes a token and appends what is known behind it to `out`, one row a field.
    pub(crate) fn push(&mut self, token: u16, out: &mut Vec<u32>) {
        let Some(decoder) = &mut self.decoder else { return };
        let _ = decoder.push(u32::from(token));
        let before = out.len();
        decoder.context(out);
        debug_assert_eq!(out.len() - before, self.fields, "as many as the codec says");
    }
}

/// In place of a row: the field is hidden, as training does by chance.
pub(crate) const HIDDEN: u32 = u32::MAX;

/// What each row that is not hidden counts in the sum of a token's rows: one over the root of their number, and more where
/// some are hidden, so that the sum is as large as ever (dropout: Srivastava et al., JMLR 15, 2014).
#[inline(always)]
pub(crate) fn scale(ids: &[u32]) -> f32 {
    let shown = ids.iter().filter(|&&id| id != HIDDEN).count();
    (ids.len() as f32).sqrt() / shown.max(1) as f32
}

/// Adds to each row of `x (n, d)` the rows of `table` that `ids (n, fields)` name, times [`scale`].
pub(crate) fn add(x: &mut [f32], table: &[f32], ids: &[u32], (fields, d): (usize, usize)) {
    if fields > 0 {
        add_rows(x, table, ids, fields, d);
    }
}

vectorized! {
    fn add_rows<'a>(x: &'a mut [f32], table: &'a [f32], ids: &'a [u32], fields: usize, d: usize) {
        for (x, ids) in x.chunks_exact_mut(d).zip(ids.chunks_exact(fields)) {
            let scale = scale(ids);
            for &id in ids.iter().filter(|&&id| id != HIDDEN) {
                crate::engine::cpu::math::add_scaled(x, &table[id as usize * d..(id as usize + 1) * d], scale);
            }
        }
    }
}

/// The gradient of [`add`] by the table, added to `out`.
pub(crate) fn add_gradient(grad: &[f32], out: &mut [f32], ids: &[u32], (fields, d): (usize, usize)) {
    if fields > 0 {
        add_rows_gradient(grad, out, ids, fields, d);
    }
}

vectorized! {
    fn add_rows_gradient<'a>(grad: &'a [f32], out: &'a mut [f32], ids: &'a [u32], fields: usize, d: usize) {
        for (grad, ids) in grad.chunks_exact(d).zip(ids.chunks_exact(fields)) {
            let scale = scale(ids);
            for &id in ids.iter().filter(|&&id| id != HIDDEN) {
                crate::engine::cpu::math::add_scaled(&mut out[id as usize * d..(id as usize + 1) * d], grad, scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_and_gradients_come_back() {
        let table = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        let mut x = [0.5; 4];
        let ids = [0, 2, 1, 1, 0, 2, 1, 1];
        add(&mut x, &table, &ids, (4, 2));
        assert_eq!(x, [61.0, 121.5, 61.0, 121.5]);
        add(&mut x, &[], &[], (0, 2));
        assert_eq!(x, [61.0, 121.5, 61.0, 121.5]);
        let mut out = [0.0; 6];
        add_gradient(&[1.0, 2.0, 3.0, 4.0], &mut out, &ids, (4, 2));
        assert_eq!(out, [2.0, 3.0, 4.0, 6.0, 2.0, 3.0]);
    }

    #[test]
    fn what_is_hidden_counts_as_the_mean_of_what_is_not() {
        let table = [1.0, 2.0, 3.0];
        let sum = |ids: &[u32]| {
            let mut x = [0.0];
            add(&mut x, &table, ids, (ids.len(), 1));
            x[0]
        };
        assert_eq!(sum(&[0, 1, 1, 2]), 4.0);
        assert_eq!(sum(&[0, HIDDEN, HIDDEN, 2]), 4.0);
        assert_eq!(sum(&[HIDDEN; 4]), 0.0);
        let mut out = [0.0; 3];
        add_gradient(&[1.0], &mut out, &[0, HIDDEN, HIDDEN, 2], (4, 1));
        assert_eq!(out, [1.0, 0.0, 1.0]);
    }
}
