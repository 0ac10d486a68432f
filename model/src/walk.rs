//! Reads a token stream with a codec's decoder, for the side information of every token.

use netssm_tokens::codec::{Codec, Decoder};
use netssm_tokens::context::ContextShape;

/// A decoder that reads a token stream and gives the side information after each token.
pub(crate) struct Walk {
    decoder: Option<Box<dyn Decoder>>,
    fields: usize,
}

impl Walk {
    /// A walk that stands at the beginning of a session of `codec`, for a model that reads `shape`. Without a shape it
    /// does nothing.
    pub(crate) fn new(codec: &dyn Codec, shape: Option<ContextShape>) -> Self {
        // A decoder's side information does not depend on what it draws, so any seed will do.
        Self { decoder: shape.map(|_| codec.decoder(0)), fields: shape.map_or(0, |shape| shape.fields) }
    }

    /// Reads a token and appends the side information after it to `out`, one row for each field.
    pub(crate) fn push(&mut self, token: u16, out: &mut Vec<u32>) {
        let Some(decoder) = &mut self.decoder else { return };
        let _ = decoder.push(u32::from(token));
        let before = out.len();
        decoder.context(out);
        debug_assert_eq!(out.len() - before, self.fields, "as many as the codec says");
    }
}
