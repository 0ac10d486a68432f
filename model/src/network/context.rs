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

/// In place of a row: the field is hidden, as training does by chance.
pub(crate) const HIDDEN: u32 = u32::MAX;

/// What each row that is not hidden counts in the sum of a token's rows: one over the root of their number, and more where
/// some are hidden, so that the sum is as large as ever (dropout: Srivastava et al., JMLR 15, 2014).
#[inline(always)]
pub(crate) fn scale(ids: &[u32]) -> f32 {
    let shown = ids.iter().filter(|&&id| id != HIDDEN).count();
    (ids.len() as f32).sqrt() / shown.max(1) as f32
}
