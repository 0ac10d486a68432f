//! One Mamba-2 block with its residual, `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`, in tensor operations.
//!
//! Source: Dao and Gu 2024, figure 6 (right), and the reference's `modules/mamba2.py`. The CPU's form of it is
//! [`crate::engine::cpu::block`].

use candle_core::Tensor;

use crate::engine::tensors::chunked;
use crate::engine::tensors::conv::causal_conv;
use crate::engine::tensors::norm::{gated_rms_norm, rms_norm};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::BlockParams;
use crate::network::scan::{ScanInput, ScanShape};
use crate::network::state::LayerState;

/// The block over `x (b, l, d)`, of which `lengths` count: its output `(b, l, d)` and the state after the sequences.
///
/// # Errors
/// A failed tensor operation.
pub(crate) fn forward(
    cfg: &ModelConfig,
    params: &BlockParams<Tensor>,
    x: &Tensor,
    lengths: Option<&[usize]>,
    state: &LayerState<Tensor>,
) -> Result<(Tensor, LayerState<Tensor>)> {
    let (b, l, d) = x.dims3()?;
    let (e, c, h) = (cfg.d_inner(), cfg.conv_dim(), cfg.nheads());
    let normed = rms_norm(x, &params.norm, cfg.norm_eps)?;
    let zx = normed.reshape((b * l, d))?.matmul(&params.in_proj.t()?)?.reshape((b, l, ()))?; // (b, l, J)
    let z = zx.narrow(2, 0, e)?;
    let xbc = zx.narrow(2, e, c)?;
    let dt = zx.narrow(2, e + c, h)?;
    let bias = params.conv_bias.as_ref();
    let (xbc, conv) = causal_conv(&xbc, &state.conv, &params.conv_weight, bias, lengths)?;
    let input = ScanInput {
        xbc: &xbc,
        dt: &dt,
        a_log: &params.a_log,
        d: &params.d,
        dt_bias: &params.dt_bias,
        groups: cfg.ngroups,
        d_state: cfg.d_state,
        chunk_size: cfg.chunk_size,
        lengths,
        initial: Some(&state.ssm),
    };
    let (y, ssm) = chunked::scan(&input, &ScanShape::of(&input)?)?;
    let gated = gated_rms_norm(&y, &z, &params.gated_norm, cfg.ngroups, cfg.norm_eps)?; // (b, l, E)
    let out = gated.reshape((b * l, e))?.matmul(&params.out_proj.t()?)?.reshape((b, l, d))?;
    Ok(((x + out)?, LayerState { conv, ssm }))
}
