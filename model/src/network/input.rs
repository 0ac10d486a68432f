//! What a model reads: tokens, the side information beside them, and the targets of a loss.

use candle_core::Tensor;

/// A target that does not count: padding behind a ragged row's end.
pub const IGNORE: u32 = u32::MAX;

/// Tokens with the side information beside them.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `(b, l)`, u32.
    pub tokens: &'a Tensor,
    /// `(b, l, fields)`, rows of the model's table; empty for a model that reads none.
    pub context: &'a [u32],
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tokens: &'a Tensor) -> Self {
        Self { tokens, context: &[] }
    }
}

/// The same for one row of a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// `(l)`.
    pub tokens: &'a [u32],
    /// `(l, fields)`.
    pub context: &'a [u32],
}

impl<'a> From<&'a [u32]> for Prompt<'a> {
    fn from(tokens: &'a [u32]) -> Self {
        Self { tokens, context: &[] }
    }
}
