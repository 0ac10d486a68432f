//! What steps a half-batch while the host works on another: a GPU, or in tests the CPU.

use super::{Choice, Decoding};
use crate::error::Result;

/// Where the host writes what it says of each row, as the device will read it.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// `(rows, Decoding::ticket_words)`.
    pub(crate) tickets: &'a mut [u32],
    /// `(rows, Decoding::draw_words)`.
    pub(crate) draws: &'a mut [u64],
}

/// A half-batch of one model: buffers that stay where they are, and at most one step in flight.
pub(crate) trait Lane {
    /// What it steps.
    fn decoding(&self) -> &Decoding;

    /// Slots that it has, which is also the largest number of rows.
    fn slots(&self) -> usize;

    /// Room for at least `rows` rows; those beyond are the caller's to fill too, as silent ones in slots that are free.
    /// Nothing is in flight.
    fn inputs(&mut self, rows: usize) -> Result<Inputs<'_>>;

    /// Starts the step of the rows that [`Self::inputs`] made room for, and does not wait for it.
    fn start(&mut self) -> Result<()>;

    /// Waits for the step in flight and gives what each row came to.
    fn finish(&mut self, choices: &mut Vec<Choice>) -> Result<()>;
}
