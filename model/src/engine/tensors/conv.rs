//! The causal depthwise convolution over x, B and C with a carried tail, as tensor operations on any device.
//!
//! The tail is the last `K - 1` inputs before the sequence, so that a sequence cut anywhere gives the same result. The
//! f32 CPU path does the same inside [`crate::engine::cpu`].

use candle_core::Tensor;

use crate::error::Result;

/// Convolution, bias and SiLU, and the tail after the sequences.
///
/// `x (b, l, C)`, `tail (b, K-1, C)`, `weight (C, 1, K)`, `bias (C)`; `lengths` are the steps of each row that count.
///
/// # Errors
/// A failed tensor operation.
pub(crate) fn causal_conv(
    x: &Tensor,
    tail: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    lengths: Option<&[usize]>,
) -> Result<(Tensor, Tensor)> {
    let (_, l, c) = x.dims3()?;
    let taps = weight.dim(2)?;
    let keep = taps - 1;
    let padded = Tensor::cat(&[tail, x], 1)?; // (b, K-1+l, C)
    let mut out: Option<Tensor> = None;
    for k in 0..taps {
        let w = weight.narrow(2, k, 1)?.reshape((1, 1, c))?;
        let term = padded.narrow(1, k, l)?.broadcast_mul(&w)?; // (b, l, C)
        out = Some(match out {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    let mut out = out.expect("a convolution has at least two taps: ModelConfig::validate");
    if let Some(bias) = bias {
        out = out.broadcast_add(&bias.reshape((1, 1, c))?)?;
    }
    let after = match lengths {
        None => padded.narrow(1, l, keep)?,
        Some(lengths) => {
            let rows = lengths
                .iter()
                .enumerate()
                .map(|(b, &len)| padded.narrow(0, b, 1)?.narrow(1, len, keep))
                .collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&rows, 0)?
        }
    };
    Ok((out.silu()?, after.detach()))
}
