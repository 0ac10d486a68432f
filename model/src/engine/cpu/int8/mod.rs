//! Matrix products of a few rows with weights in eight bits, for steps on the CPU.
//!
//! Each output's weights are whole numbers from -127 to 127 times the output's scale, each row's activations the same
//! times the row's scale; products and sums of whole numbers are exact. So `out = sum * row scale * output scale` has
//! the same bits whatever the kernel, its blocking and the other rows, and what int8 costs is what rounding to whole
//! numbers costs, no more. `quantise` rounds, `pack` lays out weights and holds the entry, `kernel` multiplies.

mod kernel;
mod pack;
mod quantise;

pub(crate) use kernel::Kernel;
pub(crate) use pack::Packed;
pub(crate) use quantise::Rows;

#[cfg(test)]
mod tests;
