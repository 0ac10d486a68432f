//! Loss and gradient of the whole model in f32 on the CPU, without autograd.
//!
//! candle's backward pass fills a zero tensor and adds to it for every gradient of every operation, and the fused block
//! needs its parameters in one copied tensor. At our model sizes that is a fifth of a training step. Here each gradient
//! is computed once, into the buffer in which it is returned. The result is the same as through autograd, against which
//! it is tested.

use std::ops::Deref;

use candle_core::{Layout, Storage, Tensor};

use super::block;
use super::buffers::Buffers;
use super::gemm::gemm;
use super::mixer::Dims;
use super::{context, loss, norm, slice};
use crate::engine::launch::Gemm;
use crate::engine::simd::math;
use crate::network::params::{BlockParams, Params};
use crate::network::state::LayerState;

/// The values of a tensor whose storage, contiguous f32 on the CPU, is borrowed for a pass.
fn values<'a>(
    (storage, layout): &'a (impl Deref<Target = Storage>, &Layout),
) -> candle_core::Result<&'a [f32]> {
    match &**storage {
        Storage::Cpu(storage) => slice(storage, layout, "parameter"),
        _ => candle_core::bail!("expected a tensor on the cpu"),
    }
}

/// Borrows every tensor of a block and runs `f` with its values.
fn with_values<R>(
    block: &BlockParams<Tensor>,
    f: impl FnOnce(&BlockParams<&[f32]>) -> R,
) -> candle_core::Result<R> {
    let borrowed = block.as_ref().map(Tensor::storage_and_layout);
    Ok(f(&borrowed.as_ref().try_map(values)?))
}

/// Mean nats over the targets that count, and its gradient.
///
/// The model's tensors are contiguous f32 on the CPU; `v` is its vocabulary. Gradients have the tensors' shapes.
///
/// `tokens` are `(b, l)` in row-major order and in range, `targets` one each, rows of side information `fields` each.
/// `carried` is each block's state before the
/// sequences and is replaced by that after them.
pub(crate) fn loss_and_gradient(
    (model, v): (&Params<Tensor>, usize),
    dims: &Dims,
    (tokens, ids, fields): (&[u32], &[u32], usize),
    targets: &[u32],
    carried: &mut [LayerState<Vec<f32>>],
    buffers: &Buffers,
) -> candle_core::Result<(f64, Params<Vec<f32>>)> {
    let embedding = model.embedding.storage_and_layout();
    // A tied head is the embedding: its lock is not taken twice.
    let head = model.head.as_ref().map(Tensor::storage_and_layout);
    let last_norm = model.norm.storage_and_layout();
    let (table, last_norm) = (values(&embedding)?, values(&last_norm)?);
    let head = head.as_ref().map_or(Ok(table), values)?;
    let (rows, d) = (tokens.len(), last_norm.len());

    let mut x = buffers.take(rows * d);
    for (x, &t) in x.chunks_exact_mut(d).zip(tokens) {
        x.copy_from_slice(&table[t as usize * d..(t as usize + 1) * d]);
    }
    if let Some(context) = &model.context {
        context::add(&mut x, values(&context.storage_and_layout())?, ids, (fields, d));
    }
    let mut inputs = Vec::with_capacity(model.blocks.len());
    for (tensors, carried) in model.blocks.iter().zip(carried.iter_mut()) {
        let before = std::mem::take(carried);
        let mut out = buffers.take(rows * d);
        let (after, saved) = with_values(tensors, |params| {
            block::forward(dims, params, (&x, &mut out), before, true, buffers)
        })?;
        *carried = after;
        inputs.push((std::mem::replace(&mut x, out), saved));
    }

    let mut normed = buffers.take(rows * d);
    norm::rms_forward(&x, last_norm, dims.eps, &mut normed);
    let head = &head[..v * d];
    let mut logits = buffers.take(rows * v);
    gemm(Gemm::Nt, &normed, head, &mut logits, (rows, v, d), false);
    let nats = loss::replace_by_gradient(&mut logits, targets, v);

    let grad_logits = logits; // (b l, v)
    let mut grad_head = vec![0f32; v * d];
    gemm(Gemm::Tn, &grad_logits, &normed, &mut grad_head, (v, d, rows), false);
    let mut grad_normed = normed;
    gemm(Gemm::Nn, &grad_logits, head, &mut grad_normed, (rows, d, v), false);
    drop(grad_logits);
    let mut grad = buffers.zeros(rows * d);
    let grad_norm = norm::rms_backward(&x, last_norm, dims.eps, &grad_normed, &mut grad);
    drop(grad_normed);

    let mut blocks = Vec::with_capacity(inputs.len());
    for (tensors, (x, saved)) in model.blocks.iter().zip(inputs).rev() {
        let Some(saved) = saved else {
            candle_core::bail!("a block's forward pass kept nothing for its gradient");
        };
        blocks.push(with_values(tensors, |params| {
            block::backward(dims, params, &x, &mut grad, saved, buffers)
        })?);
    }
    blocks.reverse();

    let mut grad_embedding = vec![0f32; table.len()];
    for (t, g) in tokens.iter().zip(grad.chunks_exact(d)) {
        math::add_to(&mut grad_embedding[*t as usize * d..(*t as usize + 1) * d], g);
    }
    let grad_context = model.context.as_ref().map(|tensor| {
        let mut out = vec![0f32; tensor.elem_count()];
        context::add_gradient(&grad, &mut out, ids, (fields, d));
        out
    });
    let grad_head = match &model.head {
        None => {
            math::add_to(&mut grad_embedding[..v * d], &grad_head);
            None
        }
        Some(head) => {
            grad_head.resize(head.elem_count(), 0.0);
            Some(grad_head)
        }
    };
    let grads =
        Params { embedding: grad_embedding, context: grad_context, blocks, norm: grad_norm, head: grad_head };
    Ok((nats, grads))
}
