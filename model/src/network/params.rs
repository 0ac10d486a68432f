//! One struct for the model's parameters, whatever stands for a parameter: its tensor, its values on the CPU, its
//! buffer on a device, its gradient, its shape, its place in device memory, its name.
//!
//! Shapes use the letters of [`super::config`], with `J = 2 E + 2 G N + H` (rows of `in_proj`) and `C = E + 2 G N`
//! (channels of the convolution). Names are those of the reference implementation, state-spaces/mamba
//! `modules/mamba2.py` and `models/mixer_seq_simple.py`.

use std::cell::RefCell;
use std::convert::Infallible;

use super::config::ModelConfig;

/// Name of the embedding, whose first `vocab_size` rows are the tokens.
pub const EMBEDDING: &str = "backbone.embedding.weight";
/// Name of the table of side information, in a model that reads some (see [`super::context`]).
pub const CONTEXT: &str = "backbone.context.weight";
/// Name of the output projection of a model that does not tie it to the embedding.
pub const LM_HEAD: &str = "lm_head.weight";
/// Name of the last norm's weight.
pub const NORM_F: &str = "backbone.norm_f.weight";

/// Name of a tensor of block `layer`.
pub fn layer_name(layer: usize, part: &str) -> String {
    format!("backbone.layers.{layer}.{part}")
}

/// A `T` for each parameter of one block, an `M` for each of its two matrices. Fields are in the order of the forward
/// pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockParams<T, M = T> {
    /// Weight of the norm before the block, `(d)`.
    pub norm: T,
    /// Input projection to z, x, B, C and dt, `(J, d)`.
    pub in_proj: M,
    /// Taps of the convolution, `(C, 1, K)`.
    pub conv_weight: T,
    /// Bias of the convolution, `(C)`; absent in a model without one.
    pub conv_bias: Option<T>,
    /// Bias of the steps before softplus, `(H)`.
    pub dt_bias: T,
    /// Logarithm of `-A`, `(H)`.
    pub a_log: T,
    /// Skip weight D, `(H)`.
    pub d: T,
    /// Weight of the gated norm, `(E)`.
    pub gated_norm: T,
    /// Output projection, `(d, E)`.
    pub out_proj: M,
}

impl BlockParams<&'static str> {
    /// Names within the block.
    pub const NAMES: Self = Self {
        norm: "norm.weight",
        in_proj: "mixer.in_proj.weight",
        conv_weight: "mixer.conv1d.weight",
        conv_bias: Some("mixer.conv1d.bias"),
        dt_bias: "mixer.dt_bias",
        a_log: "mixer.A_log",
        d: "mixer.D",
        gated_norm: "mixer.norm.weight",
        out_proj: "mixer.out_proj.weight",
    };

    /// The names that a model with or without a bias of the convolution has.
    pub fn names(conv_bias: bool) -> Self {
        Self { conv_bias: Self::NAMES.conv_bias.filter(|_| conv_bias), ..Self::NAMES }
    }
}

impl BlockParams<Vec<usize>> {
    /// Shapes of the block's tensors.
    pub fn shapes(cfg: &ModelConfig) -> Self {
        let (d, e, h, c) = (cfg.d_model, cfg.d_inner(), cfg.nheads(), cfg.conv_dim());
        Self {
            norm: vec![d],
            in_proj: vec![cfg.d_in_proj(), d],
            conv_weight: vec![c, 1, cfg.d_conv],
            conv_bias: cfg.conv_bias.then(|| vec![c]),
            dt_bias: vec![h],
            a_log: vec![h],
            d: vec![h],
            gated_norm: vec![e],
            out_proj: vec![d, e],
        }
    }
}

impl<T, M> BlockParams<T, M> {
    /// References to the parameters.
    pub fn as_ref(&self) -> BlockParams<&T, &M> {
        BlockParams {
            norm: &self.norm,
            in_proj: &self.in_proj,
            conv_weight: &self.conv_weight,
            conv_bias: self.conv_bias.as_ref(),
            dt_bias: &self.dt_bias,
            a_log: &self.a_log,
            d: &self.d,
            gated_norm: &self.gated_norm,
            out_proj: &self.out_proj,
        }
    }

    /// What `vector` makes of the vectors and the convolution's taps, and `matrix` of the two matrices.
    ///
    /// # Errors
    /// The first that either gives.
    pub fn try_map_each<U, N, E>(
        self,
        mut vector: impl FnMut(T) -> Result<U, E>,
        mut matrix: impl FnMut(M) -> Result<N, E>,
    ) -> Result<BlockParams<U, N>, E> {
        Ok(BlockParams {
            norm: vector(self.norm)?,
            in_proj: matrix(self.in_proj)?,
            conv_weight: vector(self.conv_weight)?,
            conv_bias: self.conv_bias.map(&mut vector).transpose()?,
            dt_bias: vector(self.dt_bias)?,
            a_log: vector(self.a_log)?,
            d: vector(self.d)?,
            gated_norm: vector(self.gated_norm)?,
            out_proj: matrix(self.out_proj)?,
        })
    }
}

impl<T> BlockParams<T> {
    /// What `f` makes of each parameter.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<U, E>(self, f: impl FnMut(T) -> Result<U, E>) -> Result<BlockParams<U>, E> {
        let f = RefCell::new(f);
        self.try_map_each(|t| f.borrow_mut()(t), |t| f.borrow_mut()(t))
    }

    /// What `f` makes of each parameter.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> BlockParams<U> {
        let Ok(out) = self.try_map(|t| Ok::<_, Infallible>(f(t)));
        out
    }

    /// The parameters in the order of the forward pass.
    pub fn in_order(self) -> Vec<T> {
        let mut all = Vec::with_capacity(9);
        self.map(|t| all.push(t));
        all
    }
}

/// A `T` for each parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params<T> {
    /// `(padded vocabulary, d)`.
    pub embedding: T,
    /// Table of side information, `(rows, d)`; absent in a model that reads none.
    pub context: Option<T>,
    /// The blocks in order.
    pub blocks: Vec<BlockParams<T>>,
    /// Weight of the norm after the last block, `(d)`.
    pub norm: T,
    /// Output projection, `(padded vocabulary, d)`; absent where it is the embedding.
    pub head: Option<T>,
}

impl Params<Vec<usize>> {
    /// Shapes of the model's tensors.
    pub fn shapes(cfg: &ModelConfig) -> Self {
        let (rows, d) = (cfg.padded_vocab(), cfg.d_model);
        Self {
            embedding: vec![rows, d],
            context: cfg.context.map(|context| vec![context.rows, d]),
            blocks: vec![BlockParams::shapes(cfg); cfg.n_layer],
            norm: vec![d],
            head: (!cfg.tie_embeddings).then(|| vec![rows, d]),
        }
    }
}

impl<T> Params<T> {
    /// The parameters of a model of this configuration, each what `get` gives for its name.
    ///
    /// # Errors
    /// The first that `get` gives.
    pub fn by_name<E>(cfg: &ModelConfig, mut get: impl FnMut(&str) -> Result<T, E>) -> Result<Self, E> {
        let names = BlockParams::names(cfg.conv_bias);
        Ok(Self {
            embedding: get(EMBEDDING)?,
            context: cfg.context.map(|_| get(CONTEXT)).transpose()?,
            blocks: (0..cfg.n_layer)
                .map(|i| names.try_map(|part| get(&layer_name(i, part))))
                .collect::<Result<_, E>>()?,
            norm: get(NORM_F)?,
            head: (!cfg.tie_embeddings).then(|| get(LM_HEAD)).transpose()?,
        })
    }

    /// The output projection: its own, or the embedding.
    pub fn output(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// What `f` makes of each parameter.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Params<U>, E> {
        Ok(Params {
            embedding: f(self.embedding)?,
            context: self.context.map(&mut f).transpose()?,
            blocks: self.blocks.into_iter().map(|block| block.try_map(&mut f)).collect::<Result<_, E>>()?,
            norm: f(self.norm)?,
            head: self.head.map(f).transpose()?,
        })
    }

    /// References to the parameters.
    pub fn as_ref(&self) -> Params<&T> {
        Params {
            embedding: &self.embedding,
            context: self.context.as_ref(),
            blocks: self.blocks.iter().map(BlockParams::as_ref).collect(),
            norm: &self.norm,
            head: self.head.as_ref(),
        }
    }

    /// The parameters with their names, in the order of the forward pass.
    pub fn named(self) -> Vec<(String, T)> {
        let mut all = vec![(EMBEDDING.to_owned(), self.embedding)];
        all.extend(self.context.map(|context| (CONTEXT.to_owned(), context)));
        for (i, block) in self.blocks.into_iter().enumerate() {
            let names = BlockParams::names(block.conv_bias.is_some()).in_order();
            all.extend(names.into_iter().map(|part| layer_name(i, part)).zip(block.in_order()));
        }
        all.push((NORM_F.to_owned(), self.norm));
        all.extend(self.head.map(|head| (LM_HEAD.to_owned(), head)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_go_together() {
        for conv_bias in [true, false] {
            let cfg = ModelConfig { n_layer: 2, conv_bias, tie_embeddings: conv_bias, ..Default::default() };
            let params = Params::by_name(&cfg, |name| Ok::<_, Infallible>(name.to_owned())).unwrap();
            assert_eq!(params.output(), if conv_bias { EMBEDDING } else { LM_HEAD });
            let named = params.named();
            assert_eq!(named.len(), Params::shapes(&cfg).named().len());
            for (name, value) in named {
                assert_eq!(name, value);
            }
        }
    }
}
