//! The shape of side information: what a decoder knows where a token stands, beside the tokens.
//!
//! Whoever writes tokens has a decoder beside, which knows exactly what was written: the label, how old the session is, which
//! service the flow of the open packet belongs to, how much it sent. A codec may name some *fields* of that
//! (`Codec::context`); its decoder then gives one row of a table a field for every token
//! (`Decoder::context`). It depends on nothing but the tokens so far, so training,
//! likelihood and generation see the same.

use serde::{Deserialize, Serialize};

/// The side information that a model reads, or that a codec gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextShape {
    /// What the rows mean; another meaning is another version.
    pub version: u32,
    /// Rows a token.
    pub fields: usize,
    /// Rows of the table. Labels come last, so that the table can grow with them.
    pub rows: usize,
}
