//! Loss and gradient of the whole model in f32 on the CPU, without autograd.
//!
//! candle's backward pass fills a zero tensor and adds to it for every gradient of every operation, and the fused block
//! needs its parameters in one copied tensor. At our model sizes that is a fifth of a training step. Here each gradient
//! is computed once, into the buffer in which it is returned. The result is the same as through autograd, against which
//! it is tested.

use candle_core::{Storage, Tensor};

use super::block::{self, BlockGrads, BlockParams, Carried};
use super::buffers::Buffers;
use super::gemm::multiply;
use super::mixer::{Dims, Params};
use super::{loss, norm, slice};
use crate::engine::train_pass::Order;
use crate::network::context;

/// Tensors of one block whose storages are borrowed for a pass.
pub(crate) struct BlockTensors<'a> {
    pub(crate) norm: &'a Tensor,
    pub(crate) in_proj: &'a Tensor,
    pub(crate) conv_w: &'a Tensor,
    pub(crate) conv_b: &'a Tensor,
    pub(crate) dt_bias: &'a Tensor,
    pub(crate) a_log: &'a Tensor,
    pub(crate) d: &'a Tensor,
    pub(crate) gated_norm: &'a Tensor,
    pub(crate) out_proj: &'a Tensor,
}

/// The model's tensors, contiguous f32 on the CPU.
pub(crate) struct ModelTensors<'a> {
    pub(crate) embedding: &'a Tensor,       // (padded vocabulary, d)
    pub(crate) context: Option<&'a Tensor>, // (rows, d)
    pub(crate) blocks: Vec<BlockTensors<'a>>,
    pub(crate) norm: &'a Tensor,
    pub(crate) head: &'a Tensor, // (padded vocabulary, d)
    /// The head is the embedding.
    pub(crate) tied: bool,
    pub(crate) vocab: usize,
}

/// Gradients in the tensors' shapes.
pub(crate) struct ModelGrads {
    pub(crate) embedding: Vec<f32>,
    /// Absent where the model reads no side information.
    pub(crate) context: Option<Vec<f32>>,
    pub(crate) blocks: Vec<BlockGrads>,
    pub(crate) norm: Vec<f32>,
    /// Absent if tied: it is in the embedding's then.
    pub(crate) head: Option<Vec<f32>>,
}

/// Borrows a CPU tensor's storage and layout for the rest of the scope.
macro_rules! borrow {
    ($t:expr, $storage:ident, $layout:ident) => {
        let (guard, $layout) = $t.storage_and_layout();
        let Storage::Cpu($storage) = &*guard else {
            candle_core::bail!("expected a tensor on the cpu");
        };
    };
}

/// Borrows every tensor of a block and runs `f` with its parameters.
fn with_params<R>(t: &BlockTensors<'_>, f: impl FnOnce(&BlockParams<'_>) -> R) -> candle_core::Result<R> {
    borrow!(t.norm, norm, norm_layout);
    borrow!(t.in_proj, in_proj, in_layout);
    borrow!(t.conv_w, conv_w, conv_w_layout);
    borrow!(t.conv_b, conv_b, conv_b_layout);
    borrow!(t.dt_bias, dt_bias, dt_bias_layout);
    borrow!(t.a_log, a_log, a_log_layout);
    borrow!(t.d, d, d_layout);
    borrow!(t.gated_norm, gated_norm, gated_layout);
    borrow!(t.out_proj, out_proj, out_layout);
    Ok(f(&BlockParams {
        norm: slice(norm, norm_layout, "norm weight")?,
        in_proj: slice(in_proj, in_layout, "in_proj")?,
        small: Params {
            conv_w: slice(conv_w, conv_w_layout, "convolution weight")?,
            conv_b: slice(conv_b, conv_b_layout, "convolution bias")?,
            dt_bias: slice(dt_bias, dt_bias_layout, "dt_bias")?,
            a_log: slice(a_log, a_log_layout, "A_log")?,
            d: slice(d, d_layout, "D")?,
            norm_w: slice(gated_norm, gated_layout, "gated norm weight")?,
        },
        out_proj: slice(out_proj, out_layout, "out_proj")?,
    }))
}

/// Mean nats over the targets that count, and its gradient.
///
/// `tokens` are `(b, l)` in row-major order and in range, `targets` one each, rows of side information `fields` each.
/// `carried` is each block's state before the
/// sequences and is replaced by that after them.
pub(crate) fn loss_and_gradient(
    model: &ModelTensors<'_>,
    dims: &Dims,
    (tokens, beside, fields): (&[u32], &[u32], usize),
    targets: &[u32],
    carried: &mut [Carried],
    buffers: &Buffers,
) -> candle_core::Result<(f64, ModelGrads)> {
    borrow!(model.embedding, embedding, embedding_layout);
    // A tied head is the embedding: its lock is not taken twice.
    let untied = (!model.tied).then(|| model.head.storage_and_layout());
    let (head, head_layout) = match &untied {
        Some((guard, layout)) => match &**guard {
            Storage::Cpu(head) => (head, *layout),
            _ => candle_core::bail!("expected a tensor on the cpu"),
        },
        None => (embedding, embedding_layout),
    };
    borrow!(model.norm, last_norm, last_norm_layout);
    let table = slice(embedding, embedding_layout, "embedding")?;
    let last_norm = slice(last_norm, last_norm_layout, "last norm weight")?;
    let (rows, d, v) = (tokens.len(), last_norm.len(), model.vocab);

    let mut x = buffers.take(rows * d);
    for (x, &t) in x.chunks_exact_mut(d).zip(tokens) {
        x.copy_from_slice(&table[t as usize * d..(t as usize + 1) * d]);
    }
    if let Some(tensor) = model.context {
        borrow!(tensor, rows, layout);
        context::add(&mut x, slice(rows, layout, "context")?, beside, (fields, d));
    }
    let mut inputs = Vec::with_capacity(model.blocks.len());
    for (tensors, carried) in model.blocks.iter().zip(carried.iter_mut()) {
        let before =
            Carried { conv: std::mem::take(&mut carried.conv), ssm: std::mem::take(&mut carried.ssm) };
        let mut out = buffers.take(rows * d);
        let (after, saved) = with_params(tensors, |params| {
            block::forward(dims, params, (&x, &mut out), before, true, buffers)
        })?;
        *carried = after;
        inputs.push((std::mem::replace(&mut x, out), saved));
    }

    let mut normed = buffers.take(rows * d);
    norm::rms_forward(&x, last_norm, dims.eps, &mut normed);
    let head = &slice(head, head_layout, "head")?[..v * d];
    let mut logits = buffers.take(rows * v);
    multiply(Order::TimesTransposed, &normed, head, &mut logits, (rows, v, d), false);
    let nats = loss::replace_by_gradient(&mut logits, targets, v);

    let grad_logits = logits; // (b l, v)
    let mut grad_head = vec![0f32; v * d];
    multiply(Order::TransposedTimes, &grad_logits, &normed, &mut grad_head, (v, d, rows), false);
    let mut grad_normed = normed;
    multiply(Order::Times, &grad_logits, head, &mut grad_normed, (rows, d, v), false);
    drop(grad_logits);
    let mut grad = buffers.zeros(rows * d);
    let grad_norm = norm::rms_backward(&x, last_norm, dims.eps, &grad_normed, &mut grad);
    drop(grad_normed);

    let mut blocks = Vec::with_capacity(inputs.len());
    for (tensors, (x, saved)) in model.blocks.iter().zip(inputs).rev() {
        let Some(saved) = saved else {
            candle_core::bail!("a block's forward pass kept nothing for its gradient");
        };
        blocks.push(with_params(tensors, |params| {
            block::backward(dims, params, &x, &mut grad, saved, buffers)
        })?);
    }
    blocks.reverse();

    let mut grad_embedding = vec![0f32; table.len()];
    for (t, g) in tokens.iter().zip(grad.chunks_exact(d)) {
        super::math::add_to(&mut grad_embedding[*t as usize * d..(*t as usize + 1) * d], g);
    }
    let grad_context = model.context.map(|tensor| {
        let mut out = vec![0f32; tensor.elem_count()];
        context::add_gradient(&grad, &mut out, beside, (fields, d));
        out
    });
    let grad_head = if model.tied {
        super::math::add_to(&mut grad_embedding[..v * d], &grad_head);
        None
    } else {
        let mut padded = grad_head;
        padded.resize(model.head.elem_count(), 0.0);
        Some(padded)
    };
    Ok((
        nats,
        ModelGrads {
            embedding: grad_embedding,
            context: grad_context,
            blocks,
            norm: grad_norm,
            head: grad_head,
        },
    ))
}
