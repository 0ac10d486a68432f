//! Side information: what the codec's decoder knows where a token stands, as embeddings added to the model's input.
//!
//! A recurrent state has to carry everything that a session was so far, and it forgets. While it is trained, a model
//! reads real packets, and the last ones tell enough. While it generates, it reads its own packets, whose small errors
//! add up: it drifts from one kind of traffic to another. But whoever writes tokens has a decoder, which knows exactly
//! what was written: the label, the age of the session, the service of the open packet's flow, how much that flow sent.
//!
//! So a codec may name some *fields* of that. For every token it gives one row of a table for each field. The model
//! reads the token's embedding plus the sum of these rows over the root of their number, so that many fields do not
//! drown the token. The rows depend on nothing but the tokens so far, so training, likelihood and generation see the
//! same. A model without fields is a plain Mamba-2.
//!
//! Source: WaveNet conditions on local and global features in the same way (arXiv 1609.03499, section 2.5); here the
//! projection is a table.

/// In place of a row: the field is hidden. Training hides fields by chance.
pub const HIDDEN: u32 = u32::MAX;

/// The factor of each row that is not hidden in the sum of a token's rows, `ids (fields)`: one over the root of their
/// number, and more where some are hidden, so that the sum keeps its size (dropout: Srivastava et al., JMLR 15, 2014).
#[inline(always)]
pub(crate) fn scale(ids: &[u32]) -> f32 {
    let shown = ids.iter().filter(|&&id| id != HIDDEN).count();
    (ids.len() as f32).sqrt() / shown.max(1) as f32
}
