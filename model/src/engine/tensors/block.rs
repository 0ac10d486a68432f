//! One Mamba-2 block with its residual: `x + out_proj(gated_norm(scan(conv(in_proj(norm(x))))))`.
//!
//! Two forms: candle tensor operations (any device and dtype), and the fused operation of [`crate::engine::cpu::block`] for f32
//! on the CPU. Source: Dao and Gu 2024, figure 6 (right), and the reference's `modules/mamba2.py`.

use candle_core::{DType, Tensor};

use crate::engine::cpu::block::{BlockOp, Carried};
use crate::engine::cpu::buffers::Buffers;
use crate::engine::cpu::gradient::BlockTensors;
use crate::engine::cpu::mixer::Dims;
use crate::engine::cpu::packed::Product;
use crate::engine::cpu::step::{self, StepLayer};
use crate::engine::scan::{Form, ScanInput, scan_as};
use crate::engine::tensors::conv::causal_conv;
use crate::engine::tensors::norm::{gated_rms_norm, plain};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::state::TensorState;
use crate::network::weights::{Weights, layer_name};
use crate::precision::Precision;

/// The sizes of a call.
pub(crate) fn dims(cfg: &ModelConfig, b: usize, l: usize, lengths: &[usize]) -> Dims {
    Dims {
        b,
        l,
        e: cfg.d_inner(),
        h: cfg.nheads(),
        p: cfg.headdim,
        g: cfg.ngroups,
        n: cfg.d_state,
        k: cfg.d_conv,
        lengths: lengths.to_vec(),
        eps: cfg.norm_eps as f32,
    }
}

/// The parameters of one block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    norm: Tensor,           // (d)
    in_proj: Tensor,        // (J, d)
    conv_w: Tensor,         // (C, 1, K)
    conv_b: Option<Tensor>, // (C)
    dt_bias: Tensor,        // (H)
    a_log: Tensor,          // (H)
    d: Tensor,              // (H)
    gated_norm: Tensor,     // (E)
    out_proj: Tensor,       // (d, E)
    flat: Option<Tensor>,   // all of them in one, if they never change and are f32 on the CPU
}

impl Block {
    /// Takes block `i` out of checked weights.
    pub(crate) fn new(weights: &Weights, i: usize, conv_bias: bool) -> Result<Self> {
        let get = |part: &str| weights[&layer_name(i, part)].clone();
        let mut block = Self {
            norm: get("norm.weight"),
            in_proj: get("mixer.in_proj.weight"),
            conv_w: get("mixer.conv1d.weight"),
            conv_b: conv_bias.then(|| get("mixer.conv1d.bias")),
            dt_bias: get("mixer.dt_bias"),
            a_log: get("mixer.A_log"),
            d: get("mixer.D"),
            gated_norm: get("mixer.norm.weight"),
            out_proj: get("mixer.out_proj.weight"),
            flat: None,
        };
        if block.in_proj.device().is_cpu() && block.in_proj.dtype() == DType::F32 && !block.in_proj.track_op()
        {
            block.flat = Some(block.pack()?);
        }
        Ok(block)
    }

    /// All parameters in one flat tensor, in the order of [`crate::engine::cpu::block::Pack`].
    fn pack(&self) -> Result<Tensor> {
        let no_bias;
        let conv_b = match &self.conv_b {
            Some(b) => b,
            None => {
                no_bias = Tensor::zeros(self.conv_w.dim(0)?, self.conv_w.dtype(), self.conv_w.device())?;
                &no_bias
            }
        };
        let parts = [
            &self.norm,
            &self.in_proj,
            &self.conv_w,
            conv_b,
            &self.dt_bias,
            &self.a_log,
            &self.d,
            &self.gated_norm,
            &self.out_proj,
        ];
        let parts = parts.iter().map(|t| t.flatten_all()).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// The block in one fused operation. Returns the output `(b, l, d)` and the state after the sequences.
    pub(crate) fn fused(
        &self,
        cfg: &ModelConfig,
        x: &Tensor,
        lengths: &[usize],
        carried: Carried,
        buffers: &Buffers,
    ) -> Result<(Tensor, Carried)> {
        let (b, l, d) = x.dims3()?;
        let flat = match &self.flat {
            Some(flat) => flat.clone(),
            None => self.pack()?,
        };
        let dims = dims(cfg, b, l, lengths);
        let keep = x.track_op() || flat.track_op();
        let op = BlockOp::new(dims, d, carried, keep, buffers.clone());
        let after = op.after.clone();
        let out = x.contiguous()?.apply_op2(&flat, op)?;
        let after = after.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Ok((out, after.expect("the forward pass of a block leaves its state")))
    }

    /// The block in tensor operations.
    pub(crate) fn tensors(
        &self,
        cfg: &ModelConfig,
        x: &Tensor,
        lengths: Option<&[usize]>,
        state: &TensorState,
    ) -> Result<(Tensor, TensorState)> {
        let (b, l, d) = x.dims3()?;
        let (e, c, h) = (cfg.d_inner(), cfg.conv_dim(), cfg.nheads());
        let normed = plain(x, &self.norm, cfg.norm_eps)?;
        let zx = normed.reshape((b * l, d))?.matmul(&self.in_proj.t()?)?.reshape((b, l, ()))?; // (b, l, J)
        let z = zx.narrow(2, 0, e)?;
        let xbc = zx.narrow(2, e, c)?;
        let dt = zx.narrow(2, e + c, h)?;
        let (xbc, conv) = causal_conv(&xbc, &state.conv, &self.conv_w, self.conv_b.as_ref(), lengths)?;
        let (y, ssm) = scan_as(
            Form::Chunked,
            &ScanInput {
                xbc: &xbc,
                dt: &dt,
                a_log: &self.a_log,
                d: &self.d,
                dt_bias: &self.dt_bias,
                groups: cfg.ngroups,
                d_state: cfg.d_state,
                chunk_size: cfg.chunk_size,
                lengths,
                initial: Some(&state.ssm),
            },
        )?;
        let gated = gated_rms_norm(&y, &z, &self.gated_norm, cfg.ngroups, cfg.norm_eps)?; // (b, l, E)
        let out = gated.reshape((b * l, e))?.matmul(&self.out_proj.t()?)?.reshape((b, l, d))?;
        Ok(((x + out)?, TensorState { conv, ssm }))
    }

    /// The parameters by their reference names, as those of block `i`.
    pub(crate) fn named(&self, i: usize) -> Vec<(String, &Tensor)> {
        let mut all = vec![
            (layer_name(i, "norm.weight"), &self.norm),
            (layer_name(i, "mixer.in_proj.weight"), &self.in_proj),
            (layer_name(i, "mixer.conv1d.weight"), &self.conv_w),
            (layer_name(i, "mixer.dt_bias"), &self.dt_bias),
            (layer_name(i, "mixer.A_log"), &self.a_log),
            (layer_name(i, "mixer.D"), &self.d),
            (layer_name(i, "mixer.norm.weight"), &self.gated_norm),
            (layer_name(i, "mixer.out_proj.weight"), &self.out_proj),
        ];
        all.extend(self.conv_b.as_ref().map(|b| (layer_name(i, "mixer.conv1d.bias"), b)));
        all
    }

    /// The parameters' tensors. `no_bias` stands for the convolution's bias where there is none.
    pub(crate) fn borrow<'a>(&'a self, no_bias: &'a Tensor) -> BlockTensors<'a> {
        BlockTensors {
            norm: &self.norm,
            in_proj: &self.in_proj,
            conv_w: &self.conv_w,
            conv_b: self.conv_b.as_ref().unwrap_or(no_bias),
            dt_bias: &self.dt_bias,
            a_log: &self.a_log,
            d: &self.d,
            gated_norm: &self.gated_norm,
            out_proj: &self.out_proj,
        }
    }

    /// The parameters packed for single steps.
    pub(crate) fn pack_step(&self, cfg: &ModelConfig, precision: Precision) -> Result<StepLayer> {
        let values = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_vec1::<f32>()?) };
        let conv_b = match &self.conv_b {
            Some(b) => values(b)?,
            None => vec![0.0; cfg.conv_dim()],
        };
        Ok(StepLayer {
            norm: values(&self.norm)?,
            in_proj: Product::new(precision, &values(&self.in_proj)?, cfg.d_in_proj(), cfg.d_model)?,
            taps: step::taps(cfg, &values(&self.conv_w)?),
            conv_b,
            dt_bias: values(&self.dt_bias)?,
            a: values(&self.a_log)?.iter().map(|a| -a.exp()).collect(),
            d: values(&self.d)?,
            gated_norm: values(&self.gated_norm)?,
            out_proj: Product::new(precision, &values(&self.out_proj)?, cfg.d_model, cfg.d_inner())?,
        })
    }
}
