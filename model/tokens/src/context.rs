//! The shape of side information: what a decoder knows besides each token.
//!
//! A decoder runs alongside the model and knows what the tokens so far say: the label, the age of the session, the
//! service of the open packet's flow, how much the flow sent. A codec may offer some *fields* of this
//! (`Codec::context`). Its decoder then gives, for every token, one row number of a table for each field
//! (`Decoder::context`). Side information depends on the tokens so far and on nothing else, so it is the same in
//! training, likelihood and generation.

use serde::{Deserialize, Serialize};

/// The side information that a model reads, or that a codec gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextShape {
    /// Version of the meaning of the rows.
    pub version: u32,
    /// Number of fields: rows that each token gets.
    pub fields: usize,
    /// Rows of the table. Labels come last, so that the table can grow with them.
    pub rows: usize,
}
