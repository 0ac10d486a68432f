//! The whole model: logits, or loss and gradient without autograd, as [`crate::engine::cpu::gradient`] does on the CPU.

use super::block::{BlockGrads, Common};
use super::calls::{self, matmul, operand, sum_rows};
use super::scatter::{self, Lists};
use super::{Backend, Matmul, Sizes};
use crate::engine::launch::Float;
use crate::engine::launch::Gemm;
use crate::error::Result;
use crate::network::input::IGNORE;
use crate::network::params::Params;
use crate::network::state::LayerState;

/// Gradients of the model's parameters, f32.
#[derive(Debug)]
pub struct Gradients<B> {
    /// `(padded vocabulary, d)`, the head's with it where they are one.
    pub embedding: B,
    /// Of the table of side information.
    pub context: Option<B>,
    /// In order.
    pub blocks: Vec<BlockGrads<B>>,
    /// `(d)`.
    pub norm: B,
    /// `(padded vocabulary, d)`.
    pub head: Option<B>,
}

/// What a call reads, checked by the caller.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `(b, l)`, below the vocabulary.
    pub tokens: &'a [u32],
    /// `(b, l, fields)`, rows of the table or `context`'s mark of a hidden one.
    pub context: &'a [u32],
    /// Rows of side information a token.
    pub fields: usize,
    /// Steps of each sequence that count, at most l.
    pub lengths: &'a [usize],
}

impl Input<'_> {
    /// Lists of the lookups in the table of side information, where a token has any.
    fn context_lists(&self) -> Option<Lists> {
        (self.fields > 0).then(|| Lists::context(self.context, self.fields))
    }
}

fn on_device<K: Backend>(k: &K, lengths: &[usize]) -> Result<K::Buffer> {
    let lengths: Vec<u32> = lengths.iter().map(|&len| u32::try_from(len).unwrap_or(u32::MAX)).collect();
    k.upload_u32("lengths", &lengths)
}

/// The first block's input, `(rows, d)`.
fn embed<K: Backend>(
    k: &K,
    sizes: &Sizes,
    weights: &Params<K::Buffer>,
    input: &Input<'_>,
    lists: Option<&Lists>,
) -> Result<K::Buffer> {
    let x = k.alloc("embedded tokens", Float::F32, sizes.rows() * sizes.d)?;
    sum_rows(k, &Lists::tokens(input.tokens), &weights.embedding, &x, sizes.d, false)?;
    if let (Some(table), Some(lists)) = (&weights.context, lists) {
        sum_rows(k, lists, table, &x, sizes.d, true)?;
    }
    Ok(x)
}

/// The blocks over `x (rows, d)`: the last one's output. `carried` is each block's state before the sequences and is
/// replaced by that after them; `lengths` are the steps of each sequence that count.
///
/// # Errors
/// What the backend's calls fail with.
pub fn blocks<K: Backend>(
    k: &K,
    sizes: &Sizes,
    weights: &Params<K::Buffer>,
    mut x: K::Buffer,
    lengths: &[usize],
    carried: &mut [LayerState<K::Buffer>],
) -> Result<K::Buffer> {
    let lengths = on_device(k, lengths)?;
    let common = Common { k, sizes, lengths: &lengths };
    for (block, carried) in weights.blocks.iter().zip(carried) {
        (x, *carried) = common.forward(block, &x, carried)?;
    }
    Ok(x)
}

/// Mean nats over the targets that count (at least one does; [`IGNORE`] where none), and its gradient.
///
/// `carried` as in [`blocks`]; no gradient flows through it.
///
/// # Errors
/// What the backend's calls fail with.
pub fn loss_and_gradient<K: Backend>(
    k: &K,
    sizes: &Sizes,
    weights: &Params<K::Buffer>,
    input: &Input<'_>,
    targets: &[u32],
    carried: &mut [LayerState<K::Buffer>],
) -> Result<(f64, Gradients<K::Buffer>)> {
    let (rows, d, v, float) = (sizes.rows(), sizes.d, sizes.v, sizes.float);
    let lengths = on_device(k, input.lengths)?;
    let common = Common { k, sizes, lengths: &lengths };
    let lists = input.context_lists();
    let mut x = embed(k, sizes, weights, input, lists.as_ref())?;
    let mut inputs = Vec::with_capacity(weights.blocks.len());
    for (block, carried) in weights.blocks.iter().zip(carried) {
        let (out, after) = common.forward(block, &x, carried)?;
        inputs.push((std::mem::replace(&mut x, out), std::mem::replace(carried, after)));
    }

    let normed = calls::rms_norm(k, sizes, &x, &weights.norm)?;
    let head = operand(k, float, weights.output(), v * d)?;
    let form = ("logits", Gemm::Nt, Float::F32);
    let logits = matmul(k, form, (&normed, head.buffer()), (rows, v, d), float)?;
    let counted = targets.iter().filter(|&&t| t != IGNORE).count().max(1);
    let targets = k.upload_u32("targets", targets)?;
    let (nats, grad_logits) = calls::cross_entropy(k, sizes, (logits, &targets), 1.0 / counted as f32)?;

    // Rows behind the vocabulary are padding: no logit, no gradient.
    let grad_head = k.zeros("gradient of the head", sizes.padded * d)?;
    k.matmul(&Matmul {
        form: Gemm::Tn,
        a: &grad_logits,
        b: &normed,
        to: &grad_head,
        sizes: (v, d, rows),
        operands: float,
        result: Float::F32,
        add: false,
    })?;
    let form = ("gradient of normed rows", Gemm::Nn, Float::F32);
    let grad_normed = matmul(k, form, (&grad_logits, head.buffer()), (rows, d, v), float)?;
    drop((grad_logits, normed, head));
    let grad = k.zeros("gradient of the stream", rows * d)?;
    let norm = calls::rms_norm_backward(k, sizes, (&x, &weights.norm), &grad_normed, &grad)?;
    drop((grad_normed, x));

    let mut blocks = Vec::with_capacity(inputs.len());
    while let Some((x, before)) = inputs.pop() {
        blocks.push(common.backward(&weights.blocks[inputs.len()], (&x, &before), &grad)?);
    }
    blocks.reverse();

    let (embedding, head) = match weights.head {
        None => (grad_head, None),
        Some(_) => (k.zeros("gradient of the embedding", sizes.padded * d)?, Some(grad_head)),
    };
    scatter::add_gradient(k, &Lists::tokens(input.tokens), &grad, &embedding, (sizes.padded, d))?;
    let context = match (&weights.context, &lists) {
        (Some(_), lists) => {
            let out = k.zeros("gradient of side information", sizes.context_rows * d)?;
            if let Some(lists) = lists {
                scatter::add_gradient(k, lists, &grad, &out, (sizes.context_rows, d))?;
            }
            Some(out)
        }
        (None, _) => None,
    };
    let nats = k.download(&nats, rows)?.iter().map(|&x| f64::from(x)).sum::<f64>() / counted as f64;
    Ok((nats, Gradients { embedding, context, blocks, norm, head }))
}
