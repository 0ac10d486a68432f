//! Where the gradient of each parameter lies: some arrays hold several, one after the other.

use super::{BlockGrads, Gradients};
use crate::network::config::ModelConfig;
use crate::network::params::{BlockParams, Params};

/// Where a gradient lies.
#[derive(Debug)]
pub struct Place<'a, B> {
    /// Which array.
    pub buffer: &'a B,
    /// Its first value there.
    pub at: usize,
}

impl<'a, B> From<&'a B> for Place<'a, B> {
    fn from(buffer: &'a B) -> Self {
        Self { buffer, at: 0 }
    }
}

impl<B> BlockGrads<B> {
    fn places(&self, cfg: &ModelConfig) -> BlockParams<Place<'_, B>> {
        let heads = |i: usize| Place { buffer: &self.heads, at: i * cfg.nheads() };
        let taps = cfg.conv_dim() * cfg.d_conv;
        BlockParams {
            norm: Place::from(&self.norm),
            in_proj: Place::from(&self.in_proj),
            conv_weight: Place::from(&self.conv),
            conv_bias: cfg.conv_bias.then_some(Place { buffer: &self.conv, at: taps }),
            dt_bias: heads(0),
            a_log: heads(1),
            d: heads(2),
            gated_norm: Place::from(&self.gated_norm),
            out_proj: Place::from(&self.out_proj),
        }
    }
}

impl<B> Gradients<B> {
    /// The place of every parameter's gradient.
    pub fn places(&self, cfg: &ModelConfig) -> Params<Place<'_, B>> {
        Params {
            embedding: Place::from(&self.embedding),
            context: self.context.as_ref().map(Place::from),
            blocks: self.blocks.iter().map(|block| block.places(cfg)).collect(),
            norm: Place::from(&self.norm),
            head: self.head.as_ref().map(Place::from),
        }
    }
}
