//! netssm-tokens: network sessions as tokens, and tokens as packets.
//!
//! # What it does
//! ```text
//! capture -> prepare -> codec -> corpus            what a model is trained on
//! tokens  -> codec -> repair -> Packet             what a model wrote
//! ```
//! A *codec* turns a session's packets into tokens and back. `prepare` finds captures, labels them, cuts them into sessions
//! and encodes these into a *corpus* on disk. `repair` makes a legal header of what a decoder gives, or drops it with a
//! reason. The model between both ways is `netssm-model`'s; this crate computes with no tensor.
//!
//! # Floors
//! ```text
//! packet (facts about headers), error, context (a shape) <- canonical, repair <- codec <- corpus, timing <- prepare
//! ```
//! Imports go from right to left only.
//!
//! # Reading order
//! 1. [`codec`]: the alphabet and the grammar; [`context`]: what a decoder knows beside its tokens; [`canonical`]: the form
//!    of headers that the bytes codec writes.
//! 2. [`prepare`], [`corpus`], [`timing`]: captures to tokens on disk.
//! 3. [`repair`]: decoded headers to packets.
//!
//! # Contract
//! - Nothing here panics on any input: bad files are errors that name file, field, expected and got; what a codec cannot
//!   carry and what a model got wrong are values that are counted.
//! - Same codec id, vocabulary and packets give the same tokens, for ever; a changed grammar is a new version. Randomness
//!   has an explicit seed.
//!
//! # Sources
//! NetSSM (Chu et al., arXiv 2503.22663) for the bytes codec, its canonical form and the split of captures.

pub mod canonical;
pub mod codec;
pub mod context;
pub mod corpus;
mod error;
mod packet;
pub mod prepare;
pub mod repair;
pub mod timing;

pub use self::error::DataError;
