//! Every CUDA kernel against the CPU's code, on the host. [`emulated`] compiles and runs them; a kernel's test is in a
//! module of its own.

mod conv;
mod emulated;
mod emulated_pass;
mod emulated_step;
mod fragments;
mod loss;
mod matmuls;
mod norms;
mod optimizer;
mod sampling;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod train;

use netssm_model::engine::launch::Float;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers between -1 and 1, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The same as values that the format has.
fn noise_in(float: Float, seed: u64, len: usize) -> Vec<f32> {
    let mut values = noise(seed, len);
    if float == Float::Bf16 {
        values.iter_mut().for_each(|x| *x = emulated::from_bf16(emulated::to_bf16(*x)));
    }
    values
}
