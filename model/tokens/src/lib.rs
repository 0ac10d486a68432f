//! netssm-tokens: network sessions as tokens, and tokens as packets.
//!
//! # What it does
//! ```text
//! capture -> prepare -> codec -> corpus            what a model is trained on
//! tokens  -> codec -> repair -> Packet             what a model wrote
//! ```
//! A *codec* turns a session's packets into tokens and back. `prepare` finds captures, labels them, cuts them into
//! sessions and encodes these into a *corpus* on disk. `repair` makes a legal header of what a decoder gives, or drops
//! it with a reason. The model that learns and writes tokens is in `netssm-model`; this crate has no tensors.
//!
//! # Floors
//! ```text
//! packet (facts about headers), error, context (a shape) <- canonical, repair <- codec <- corpus, timing <- prepare
//! ```
//! Imports go from right to left only.
//!
//! # Reading order
//! 1. [`codec`]: the alphabet and the grammar; [`context`]: the side information that a decoder gives with each token;
//!    [`canonical`]: the form of headers that the bytes codec writes.
//! 2. [`prepare`], [`corpus`], [`timing`]: captures to tokens on disk.
//! 3. [`repair`]: decoded headers to packets.
//!
//! # Contract
//! - Nothing here panics on any input. A bad file is an error that names the file, the field, what was expected and
//!   what was found. What a codec cannot carry and what a model got wrong are values, and callers count them.
//! - The same codec id, vocabulary and packets always give the same tokens. A changed grammar is a new version.
//!   Randomness has an explicit seed.
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
