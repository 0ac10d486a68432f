//! What a model reads: tokens, their side information, and the targets of a loss.

use candle_core::Tensor;

/// The target of a position that does not count, such as the padding after the end of a ragged row.
pub const IGNORE: u32 = u32::MAX;

/// The tokens of a batch with their side information.
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

/// The tokens of one prompt with their side information.
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
