//! The half-batch that a device steps while the host works on another one.

use super::{Choice, StepProgram};
use crate::error::Result;

/// Where the host writes what the device reads of each row.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// Row inputs, `(rows, StepProgram::row_input_words)`.
    pub(crate) row_inputs: &'a mut [u32],
    /// Random numbers and masks, `(rows, StepProgram::draw_words)`.
    pub(crate) draws: &'a mut [u64],
}

/// A half-batch of one model: buffers that stay where they are, and at most one step in flight.
pub(crate) trait StepStream {
    /// The program of its steps.
    fn program(&self) -> &StepProgram;

    /// Number of its slots, which is also the largest number of rows.
    fn slots(&self) -> usize;

    /// The inputs of at least `rows` rows, to be written while no step is in flight. The caller also fills the rows
    /// beyond, as silent ones in slots that are free.
    ///
    /// # Errors
    /// [`crate::error::Error::Input`] for more rows than slots.
    fn inputs(&mut self, rows: usize) -> Result<Inputs<'_>>;

    /// Starts the step of the rows that [`Self::inputs`] gave, and does not wait for it.
    ///
    /// # Errors
    /// If the device refuses.
    fn start(&mut self) -> Result<()>;

    /// Waits for the step in flight and writes the choice of each row.
    ///
    /// # Errors
    /// If the device failed.
    fn finish(&mut self, choices: &mut Vec<Choice>) -> Result<()>;
}
