//! The errors of an evaluation. A capture that cannot be read is not an error: [`Found`](crate::Found) names it.

use netssm_wire::capture::InputError;

/// Why captures cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FidelityError {
    /// Captures that cannot be found, or a list of labels that cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Nothing usable was found; the message names the first files and their reasons.
    #[error("no session left from {files} capture file(s): {reasons}")]
    NothingLeft {
        /// How many files were looked at.
        files: usize,
        /// The first few reasons.
        reasons: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the end")]
    Stopped,
}
