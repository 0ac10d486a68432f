//! AdamW's kernels: the length of a gradient, and the update of one parameter.

use super::Backend;
use super::calls::launch;
use crate::engine::launch::{Argument, Float};
use crate::error::Result;

const THREADS: usize = 256;
/// Values that a thread of a block of squares adds up before there are more blocks, and the most blocks of an array.
const SQUARES: usize = 16;
const PIECES: usize = 256;

/// Scalars of one parameter's update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Of the gradient.
    pub scale: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// 1 - lr * weight decay, or 1.
    pub keep: f32,
    /// lr over the first moment's bias correction.
    pub rate: f32,
    /// One over the second moment's bias correction.
    pub correction: f32,
}

/// The length of a gradient that lies in several arrays, each with its number of values: in the order of the arrays,
/// whatever the device. Reads one number back. Not finite where a value is not.
///
/// # Errors
/// What the backend's calls fail with.
pub fn length<K: Backend>(k: &K, arrays: &[(&K::Buffer, usize)]) -> Result<f64> {
    let pieces = |len: usize| len.div_ceil(THREADS * SQUARES).clamp(1, PIECES);
    let count = arrays.iter().map(|&(_, len)| pieces(len)).sum();
    let sums = k.alloc("squares of gradients", Float::F32, 2 * count)?; // doubles
    let mut at = 0;
    for &(array, len) in arrays {
        let arguments =
            vec![Argument::Buffer(array), Argument::Buffer(&sums), Argument::Int(at), Argument::Size(len)];
        k.launch(&launch("adamw", "square_sums", (pieces(len), THREADS), 0, arguments))?;
        at += pieces(len);
    }
    let out = k.alloc("length of a gradient", Float::F32, 1)?;
    let arguments = vec![Argument::Buffer(&sums), Argument::Buffer(&out), Argument::Int(count)];
    k.launch(&launch("adamw", "length", (1, THREADS), 0, arguments))?;
    Ok(k.download(&out, 1)?.first().map_or(0.0, |&length| f64::from(length)))
}

/// Updates a parameter of `len` values and its two moments by its gradient, all f32.
///
/// # Errors
/// What the backend's calls fail with.
pub fn adamw<K: Backend>(
    k: &K,
    parameter: &K::Buffer,
    gradient: &K::Buffer,
    (first, second): (&K::Buffer, &K::Buffer),
    len: usize,
    factors: &Factors,
) -> Result<()> {
    let Factors { scale, beta1, beta2, eps, keep, rate, correction } = *factors;
    let mut arguments: Vec<_> = [parameter, gradient, first, second].map(Argument::Buffer).into();
    arguments.push(Argument::Size(len));
    arguments.extend([scale, beta1, beta2, eps, keep, rate, correction].map(Argument::Float));
    k.launch(&launch("adamw", "adamw", (len.div_ceil(THREADS), THREADS), 0, arguments))
}
