//! One token of many sequences on the CPU: every layer of a few rows at a time, without tensors in between, in f32 but
//! for the matrix products of a model that steps in eight bits.
//!
//! Rows are split among threads once a token, not once a layer, so that threads never wait for one another. No row's
//! result depends on another's (see [`super::packed`]); the generator's promise of "same seed, same bytes" rests on it.

use std::borrow::BorrowMut;

use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::packed::PackedMatrix;
use super::workspace::{Mixing, Pool, Share};
use super::{context, conv, norm};
use crate::engine::cpu::recurrence;
use crate::engine::simd::math;
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::{BlockParams, Params};
use crate::network::state::RowState;
use crate::precision::Precision;

/// A row of a batch that is generated, as a step sees it.
pub trait Stepped: Send {
    /// The token to feed.
    fn token(&self) -> u32;

    /// The side information of this token: one row of the table for each field; empty for a model that reads none.
    fn context(&self) -> &[u32] {
        &[]
    }

    /// Tokens whose logits are wanted: bit `t % 64` of word `t / 64`, those beyond the last word not; `None` is all.
    fn wanted(&self) -> Option<&[u64]>;

    /// Takes the logits; those that were not wanted mean nothing.
    fn take(&mut self, logits: &[f32]);
}

/// One layer's parameters, ready to use.
#[derive(Clone)]
struct StepLayer {
    params: BlockParams<Vec<f32>, PackedMatrix>,
    taps: Vec<f32>, // the convolution's weight as (K, C)
    a: Vec<f32>,    // -exp(a_log)
}

/// A model's parameters, packed for single tokens.
#[derive(Clone)]
pub(crate) struct StepModel {
    cfg: ModelConfig,
    embedding: Vec<f32>, // (padded vocabulary, d)
    context: Vec<f32>,   // (rows, d)
    layers: Vec<StepLayer>,
    norm: Vec<f32>,
    head: PackedMatrix, // (vocabulary, d)
    pool: Pool,
}

/// A tensor's values in row-major order.
fn values(t: &Tensor) -> Result<Vec<f32>> {
    Ok(t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

impl StepModel {
    /// Packs the parameters for steps that multiply in `precision`.
    ///
    /// # Errors
    /// As [`PackedMatrix::new`].
    pub(crate) fn new(cfg: &ModelConfig, params: &Params<Tensor>, precision: Precision) -> Result<Self> {
        let matrix = |t: &Tensor| PackedMatrix::new(precision, &values(t)?, t.dim(0)?, t.dim(1)?);
        let layer = |block: &BlockParams<Tensor>| -> Result<StepLayer> {
            let params = block.as_ref().try_map_each(values, matrix)?;
            let taps = conv::taps(&params.conv_weight, cfg.conv_dim(), cfg.d_conv);
            let a = params.a_log.iter().map(|a| -a.exp()).collect();
            Ok(StepLayer { params, taps, a })
        };
        let (v, d) = (cfg.vocab_size, cfg.d_model);
        Ok(Self {
            cfg: cfg.clone(),
            embedding: values(&params.embedding)?,
            context: params.context.as_ref().map(values).transpose()?.unwrap_or_default(),
            layers: params.blocks.iter().map(layer).collect::<Result<_>>()?,
            norm: values(&params.norm)?,
            head: PackedMatrix::new(precision, &values(params.output())?[..v * d], v, d)?,
            pool: Pool::default(),
        })
    }

    /// Steps every row by its token with the side information `(rows, fields)` beside it, and returns the logits
    /// `(rows, vocabulary)`. Tokens and side information are in range.
    pub(crate) fn step(&self, (tokens, context): (&[u32], &[u32]), rows: &mut [&mut RowState]) -> Vec<f32> {
        let (v, fields) = (self.head.outputs(), self.cfg.context_fields());
        let mut logits = vec![0f32; tokens.len() * v];
        let split = split(tokens.len());
        let mut workspace = self.pool.take(&self.cfg, v, split);
        let (_, share) = split;
        logits
            .par_chunks_mut(share * v)
            .zip(rows.par_chunks_mut(share).zip(tokens.par_chunks(share)))
            .zip(&mut workspace.shares)
            .enumerate()
            .for_each(|(i, ((logits, (rows, tokens)), work))| {
                work.clear(v);
                work.tokens.extend_from_slice(tokens);
                work.context.extend_from_slice(&context[i * share * fields..][..tokens.len() * fields]);
                self.step_rows(rows, work);
                logits.copy_from_slice(&work.logits);
            });
        self.pool.give_back(workspace);
        logits
    }

    /// Steps every row by its token and hands it its logits, on the thread that stepped it. Tokens are in range.
    /// Allocates nothing once it had as many rows.
    pub(crate) fn step_each<R: Stepped>(&self, rows: &mut [R], states: &mut [RowState]) {
        let v = self.head.outputs();
        let split = split(rows.len());
        let mut workspace = self.pool.take(&self.cfg, v, split);
        let (_, share) = split;
        rows.par_chunks_mut(share).zip(states.par_chunks_mut(share)).zip(&mut workspace.shares).for_each(
            |((rows, states), work)| {
                work.clear(v);
                for row in rows.iter() {
                    work.tokens.push(row.token());
                    work.context.extend_from_slice(row.context());
                    work.wanted.push(row.wanted());
                }
                self.step_rows(states, work);
                for (row, logits) in rows.iter_mut().zip(work.logits.chunks_exact(v)) {
                    row.take(logits);
                }
            },
        );
        self.pool.give_back(workspace);
    }

    /// Steps the rows whose tokens, side information and wishes were read into `work`, which receives their logits.
    fn step_rows(&self, states: &mut [impl BorrowMut<RowState>], work: &mut Share) {
        let cfg = &self.cfg;
        let (d, e, j) = (cfg.d_model, cfg.d_inner(), cfg.d_in_proj());
        work.fit(cfg, self.head.outputs());
        let Share { tokens, context, wanted, x, normed, zx, gated, logits, mixing, scratch } = work;
        x.clear();
        for &t in tokens.iter() {
            x.extend_from_slice(&self.embedding[t as usize * d..(t as usize + 1) * d]);
        }
        context::add(x, &self.context, context, (cfg.context_fields(), d));
        for (i, layer) in self.layers.iter().enumerate() {
            let params = &layer.params;
            norm::rms_rows(x, &params.norm, cfg.norm_eps as f32, normed);
            params.in_proj.multiply(normed, zx, false, scratch);
            for ((state, zx), gated) in
                states.iter_mut().zip(zx.chunks_exact(j)).zip(gated.chunks_exact_mut(e))
            {
                let (conv, ssm) = state.borrow_mut().layer_mut(i);
                pulp::Arch::new().dispatch(Mix { cfg, layer, zx, conv, ssm, mixing, gated });
            }
            params.out_proj.multiply(gated, x, true, scratch);
        }
        norm::rms_rows(x, &self.norm, cfg.norm_eps as f32, normed);
        self.head.multiply_wanted(normed, logits, false, wanted, scratch);
    }
}

/// Splits `rows` rows into one share for each thread: the number of shares, and the rows of each but the last.
fn split(rows: usize) -> (usize, usize) {
    let share = rows.div_ceil(rayon::current_num_threads()).max(1);
    (rows.div_ceil(share), share)
}

/// One row between the two products of a layer: convolution, recurrence, gated norm.
struct Mix<'a> {
    cfg: &'a ModelConfig,
    layer: &'a StepLayer,
    zx: &'a [f32],
    conv: &'a mut [f32], // (K-1, C), oldest first
    ssm: &'a mut [f32],  // (H, N, P)
    mixing: &'a mut Mixing,
    gated: &'a mut [f32],
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { cfg, layer, zx, conv, ssm, mixing, gated } = self;
        let StepLayer { params, taps, a } = layer;
        let Mixing { xbc, dtx, y } = mixing;
        let (e, h, p, n, g) = (cfg.d_inner(), cfg.nheads(), cfg.headdim, cfg.d_state, cfg.ngroups);
        let c = cfg.conv_dim();
        let (z, rest) = zx.split_at(e);
        let (input, raw) = rest.split_at(c);

        match &params.conv_bias {
            Some(bias) => xbc.copy_from_slice(bias),
            None => xbc.fill(0.0),
        }
        for (x, w) in conv.chunks_exact(c).chain(std::iter::once(input)).zip(taps.chunks_exact(c)) {
            for ((o, x), w) in xbc.iter_mut().zip(x).zip(w) {
                *o = x.mul_add(*w, *o);
            }
        }
        for v in xbc.iter_mut() {
            *v = math::silu(*v);
        }
        conv.copy_within(c.., 0);
        let last = conv.len() - c;
        conv[last..].copy_from_slice(input);

        let (x, bc) = xbc.split_at(e);
        let (bs, cs) = bc.split_at(g * n);
        for head in 0..h {
            let range = head * p..(head + 1) * p;
            let dt = math::softplus(raw[head] + params.dt_bias[head]);
            let decay = (dt * a[head]).exp();
            for i in range.clone() {
                dtx[i] = dt * x[i];
                y[i] = params.d[head] * x[i];
            }
            let group = head / (h / g);
            let (b, c) = (&bs[group * n..(group + 1) * n], &cs[group * n..(group + 1) * n]);
            let state = &mut ssm[head * n * p..(head + 1) * n * p];
            let (dtx, y) = (&dtx[range.clone()], &mut y[range]);
            if p % S::F32_LANES == 0 {
                recurrence::advance(simd, state, dtx, decay, b, c, y);
            } else {
                for ((s, &b), &c) in state.chunks_exact_mut(p).zip(b).zip(c) {
                    for ((s, x), y) in s.iter_mut().zip(dtx).zip(y.iter_mut()) {
                        *s = decay.mul_add(*s, b * x);
                        *y = c.mul_add(*s, *y);
                    }
                }
            }
        }
        norm::gated_row(y, z, &params.gated_norm, g, cfg.norm_eps as f32, gated);
    }
}
