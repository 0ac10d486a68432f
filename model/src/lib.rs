//! netssm-model: the Mamba-2 model that writes network sessions.
//!
//! # What it does
//! ```text
//! corpus -> train -> checkpoint -> generate -> codec -> repair -> Session
//!                              \-> likelihood
//! ```
//! `netssm-tokens` makes tokens of captures and packets of tokens. `train` fits a Mamba-2 language model to its
//! *corpora* and writes *checkpoints*. A *generator* samples tokens from a checkpoint, many sessions at a time, lets
//! the codec make packets of them, has them *repaired* and hands over [`netssm_wire::session::Session`] values.
//! `likelihood` says how well a checkpoint predicts sessions. What happens to a session then (addresses, payload, time
//! on a wire) is the business of `netssm-replay`, which this crate does not know.
//!
//! # Reading order
//! 1. [`network`]: what the model is: configuration, parameters, state.
//! 2. [`engine`]: how it is computed: on the CPU, as tensor operations, on a GPU (`kernels/README.md`).
//! 3. [`lm`]: the model that is called. [`optim`], [`train`], [`checkpoint`]: fitting it and keeping it.
//! 4. [`sample`], [`generate`]: tokens to sessions; [`likelihood`]: sessions to nats.
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
//! - One definition of correct for the scan: [`engine::tensors::reference`], a plain loop.
//!
//! # Sources
//! NetSSM (Chu et al., arXiv 2503.22663) for the method; Mamba-2 (Dao and Gu, arXiv 2405.21060) for
//! the model; the reference implementation state-spaces/mamba for names and defaults.

pub mod checkpoint;
pub mod engine;
pub mod error;
pub mod generate;
pub mod likelihood;
pub mod lm;
pub mod network;
pub mod optim;
pub mod precision;
pub mod sample;
pub mod train;
pub(crate) mod walk;
pub(crate) mod windows;

pub use checkpoint::Checkpoint;
pub use generate::Generator;
pub use lm::Mamba2;
pub use network::config::ModelConfig;
pub use precision::Precision;
