//! netssm-model: network sessions as tokens, and the Mamba-2 model that writes them.
//!
//! # What it does
//! ```text
//! capture -> codec -> corpus -> train -> checkpoint -> generate -> codec -> repair -> Session
//! ```
//! A *codec* turns a session's packets into tokens and back. `prepare` encodes captures into a
//! *corpus*; `train` fits a Mamba-2 language model to it and writes *checkpoints*; a *generator*
//! samples tokens from a checkpoint, many sessions at a time, lets the codec make packets of them,
//! *repairs* what the model got wrong and hands over [`netssm_wire::session::Session`] values. What
//! happens to a session then (addresses, payload, time on a wire) is the business of
//! `netssm-replay`, which this crate does not know.
//!
//! # Reading order
//! 1. [`codec`]: the alphabet and the grammar; [`canonical`], [`prepare`], [`corpus`]: captures to tokens.
//! 2. [`config`], [`ssd`], `conv`, `norm`, `block`, [`lm`], [`state`]: the model, from the scan up.
//! 3. [`optim`], [`train`], [`checkpoint`]: fitting it and keeping it.
//! 4. [`sample`], [`generate`], [`repair`], [`timing`]: tokens to sessions.
//! 5. [`ops`]: the CPU's engine. [`decode`] and [`pass`]: a decoded token and a training pass as lists of kernels, which
//!    `cuda` (feature `cuda`) launches on a GPU and the tests on the host; `kernels/README.md`.
//!
//! # Letters
//! Tensor code names its axes with the letters of the papers; each such line ends with its shape.
//!
//! | letter | is | in `config.json` |
//! |---|---|---|
//! | b | sequences in a batch | |
//! | l | tokens of a sequence | |
//! | h | heads | `expand * d_model / headdim` |
//! | p | channels of a head | `headdim` |
//! | n | state size of a channel | `d_state` |
//! | g | groups of heads that share B and C | `ngroups` |
//! | c | chunks of a sequence | l / q, rounded up |
//! | q | tokens of a chunk | `chunk_size` |
//!
//! # Contracts
//! - Nothing here panics on any input: bad files are errors that name file, field, expected and got;
//!   bad model output is a value that is counted.
//! - Randomness has an explicit seed everywhere. The same build, checkpoint, options and seed give
//!   the same packets on the CPU, whatever the batch.
//! - One definition of correct for the scan: `ssd::reference`, a plain loop.
//!
//! # Sources
//! NetSSM (Chu et al., arXiv 2503.22663) for the method; Mamba-2 (Dao and Gu, arXiv 2405.21060) for
//! the model; the reference implementation state-spaces/mamba for names and defaults.

mod block;
pub mod canonical;
pub mod checkpoint;
pub mod codec;
pub mod config;
pub mod context;
mod conv;
pub mod corpus;
#[cfg(feature = "cuda")]
#[allow(unsafe_code, reason = "launching kernels is unsafe; the only folder where it is")]
pub mod cuda;
pub mod decode;
pub mod error;
pub mod fidelity;
pub mod generate;
pub mod init;
pub mod likelihood;
pub mod lm;
mod norm;
pub mod ops;
pub mod optim;
pub mod pass;
pub mod precision;
pub mod prepare;
pub mod repair;
pub mod sample;
pub mod ssd;
pub mod state;
pub mod timing;
pub mod train;
pub mod weights;
pub(crate) mod windows;
