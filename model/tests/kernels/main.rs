//! Every CUDA kernel against the CPU's code, on the host. [`emulated`] compiles and runs them; a kernel's test is in a module
//! of its own.

mod emulated;
mod emulated_model;
mod emulated_pass;
mod fragments;
mod products;
mod sampling;
mod steps;
mod train;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers between -1 and 1, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}
