//! Parameters and their gradients by the reference's names.

use super::{BlockGrads, BlockWeights, Gradients, Weights};
use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::weights::{self, layer_name};

impl<B> Weights<B> {
    /// Takes each parameter from `get`, which gives the f32 array of a name.
    ///
    /// # Errors
    /// Those of `get`.
    pub fn new(cfg: &ModelConfig, mut get: impl FnMut(&str) -> Result<B>) -> Result<Self> {
        let blocks = (0..cfg.n_layer)
            .map(|i| {
                let mut part = |name: &str| get(&layer_name(i, name));
                Ok(BlockWeights {
                    norm: part("norm.weight")?,
                    in_proj: part("mixer.in_proj.weight")?,
                    conv_w: part("mixer.conv1d.weight")?,
                    conv_b: if cfg.conv_bias { Some(part("mixer.conv1d.bias")?) } else { None },
                    dt_bias: part("mixer.dt_bias")?,
                    a_log: part("mixer.A_log")?,
                    d: part("mixer.D")?,
                    gated_norm: part("mixer.norm.weight")?,
                    out_proj: part("mixer.out_proj.weight")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            embedding: get(weights::EMBEDDING)?,
            padded: cfg.padded_vocab(),
            context: match cfg.context {
                Some(shape) => Some((get(weights::CONTEXT)?, shape.rows)),
                None => None,
            },
            blocks,
            norm: get(weights::NORM_F)?,
            head: if cfg.tie_embeddings { None } else { Some(get(weights::LM_HEAD)?) },
        })
    }
}

/// A gradient's name, and where it lies.
#[derive(Debug)]
pub struct Named<'a, B> {
    /// The parameter's.
    pub name: String,
    /// Which array.
    pub buffer: &'a B,
    /// Its first value there.
    pub at: usize,
}

impl<B> Gradients<B> {
    /// Every gradient with the name of its parameter.
    pub fn named(&self, cfg: &ModelConfig) -> Vec<Named<'_, B>> {
        let whole = |name: String, buffer| Named { name, buffer, at: 0 };
        let mut all = vec![
            whole(weights::EMBEDDING.to_owned(), &self.embedding),
            whole(weights::NORM_F.to_owned(), &self.norm),
        ];
        all.extend(self.context.iter().map(|buffer| whole(weights::CONTEXT.to_owned(), buffer)));
        all.extend(self.head.iter().map(|buffer| whole(weights::LM_HEAD.to_owned(), buffer)));
        let (heads, taps) = (cfg.nheads(), cfg.conv_dim() * cfg.d_conv);
        for (i, BlockGrads { norm, in_proj, conv, heads: scan, gated_norm, out_proj }) in
            self.blocks.iter().enumerate()
        {
            let mut add = |name: &str, buffer, at| all.push(Named { name: layer_name(i, name), buffer, at });
            add("norm.weight", norm, 0);
            add("mixer.in_proj.weight", in_proj, 0);
            add("mixer.conv1d.weight", conv, 0);
            if cfg.conv_bias {
                add("mixer.conv1d.bias", conv, taps);
            }
            add("mixer.dt_bias", scan, 0);
            add("mixer.A_log", scan, heads);
            add("mixer.D", scan, 2 * heads);
            add("mixer.norm.weight", gated_norm, 0);
            add("mixer.out_proj.weight", out_proj, 0);
        }
        all
    }
}
