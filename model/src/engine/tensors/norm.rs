//! RMSNorm and the gated RMSNorm of Mamba-2, as tensor operations on any device; the f32 CPU path is in
//! [`crate::engine::cpu`].

use candle_core::{D, Tensor};

use crate::error::Result;

/// `x / sqrt(mean(x^2) + eps) * weight` over the last axis.
///
/// # Errors
/// A failed tensor operation.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    Ok(x.broadcast_div(&scale)?.broadcast_mul(weight)?)
}

/// The reference's gated norm with `norm_before_gate = false`: `y silu(z)`, normalised in each of `groups` groups of
/// channels, times the weight. `y`, `z` are `(b, l, E)`.
///
/// # Errors
/// A failed tensor operation.
pub(crate) fn gated_rms_norm(
    y: &Tensor,
    z: &Tensor,
    weight: &Tensor,
    groups: usize,
    eps: f64,
) -> Result<Tensor> {
    let (b, l, e) = y.dims3()?;
    let gated = (y * z.silu()?)?.reshape((b, l, groups, e / groups))?;
    let out = rms_norm(&gated, &weight.reshape((1, 1, groups, e / groups))?, eps)?;
    Ok(out.reshape((b, l, e))?)
}
