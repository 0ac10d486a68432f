//! The model's configuration: the reference implementation's names and defaults, read from its `config.json` or from
//! Hugging Face's.
//!
//! Sources: state-spaces/mamba `mamba_ssm/models/config_mamba.py` and `modules/mamba2.py` (names, defaults), Hugging
//! Face `transformers` `configuration_mamba2.py` (the other spelling). What this implementation cannot run is an error
//! that names the field; a key that cannot change the result (cache and token id settings) is passed over.
//!
//! Letters used through the crate: `b` batch, `l` length, `d` d_model, `E` d_inner = expand d, `H` heads of `P`
//! (headdim) channels, `G` groups, `N` d_state, `K` d_conv, `v` vocabulary.

use netssm_tokens::context::ContextShape;

use crate::error::{Error, Result};

mod json;

/// Shape and initialisation of one Mamba-2 language model.
///
/// Serialises to the reference's `config.json`; [`ModelConfig::from_json`] reads both spellings.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Width of the residual stream. Reference default 2560; here 256.
    pub d_model: usize,
    /// Number of blocks. Reference default 64; here 6.
    pub n_layer: usize,
    /// Number of token ids, before padding.
    pub vocab_size: usize,
    /// State size `N` per channel. Default 128.
    pub d_state: usize,
    /// Taps of the causal convolution. Default 4.
    pub d_conv: usize,
    /// `d_inner / d_model`. Default 2.
    pub expand: usize,
    /// Channels per head `P`. Default 64.
    pub headdim: usize,
    /// Groups that share one B and C. Default 1.
    pub ngroups: usize,
    /// Steps per chunk of the chunked scan. Default 256.
    pub chunk_size: usize,
    /// Normalise with RMSNorm (the only kind implemented). Default true.
    pub rms_norm: bool,
    /// Added to the mean square before the root. Default 1e-5.
    pub norm_eps: f64,
    /// Output projection shares the embedding's weights. Default true.
    pub tie_embeddings: bool,
    /// The embedding has `vocab_size` rounded up to a multiple of this many rows. Default 8.
    pub pad_vocab_size_multiple: usize,
    /// Biases on the two projections of a block (not implemented). Default false.
    pub bias: bool,
    /// Bias on the convolution. Default true.
    pub conv_bias: bool,
    /// Keep the residual stream in f32 (it always is here). Default true.
    pub residual_in_fp32: bool,
    /// Shape of the side information; a plain Mamba-2 has none. Default none.
    pub context: Option<ContextShape>,
    /// Initial `A` is drawn uniformly from minus this range. Default (1, 16).
    pub a_init_range: (f64, f64),
    /// Smallest initial step. Default 0.001.
    pub dt_min: f64,
    /// Largest initial step. Default 0.1.
    pub dt_max: f64,
    /// Floor under the drawn initial step. Default 1e-4.
    pub dt_init_floor: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            d_model: 256,
            n_layer: 6,
            vocab_size: 512,
            d_state: 128,
            d_conv: 4,
            expand: 2,
            headdim: 64,
            ngroups: 1,
            chunk_size: 256,
            rms_norm: true,
            norm_eps: 1e-5,
            tie_embeddings: true,
            pad_vocab_size_multiple: 8,
            bias: false,
            conv_bias: true,
            residual_in_fp32: true,
            context: None,
            a_init_range: (1.0, 16.0),
            dt_min: 0.001,
            dt_max: 0.1,
            dt_init_floor: 1e-4,
        }
    }
}

impl ModelConfig {
    /// Rows of side information that a token has.
    pub fn context_fields(&self) -> usize {
        self.context.map_or(0, |context| context.fields)
    }

    /// Channels inside a block: `E = expand * d_model`.
    pub fn d_inner(&self) -> usize {
        self.expand * self.d_model
    }

    /// Heads: `H = E / P`.
    pub fn nheads(&self) -> usize {
        self.d_inner() / self.headdim
    }

    /// Channels through the convolution: `E + 2 G N` (x, B, C).
    pub fn conv_dim(&self) -> usize {
        self.d_inner() + 2 * self.ngroups * self.d_state
    }

    /// Rows of `in_proj`: `2 E + 2 G N + H` (z, x, B, C, dt).
    pub fn d_in_proj(&self) -> usize {
        self.d_inner() + self.conv_dim() + self.nheads()
    }

    /// Rows of the embedding: `vocab_size` rounded up to `pad_vocab_size_multiple`.
    pub fn padded_vocab(&self) -> usize {
        self.vocab_size.next_multiple_of(self.pad_vocab_size_multiple.max(1))
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        let (d, e, h, c) = (self.d_model, self.d_inner(), self.nheads(), self.conv_dim());
        let conv = c * self.d_conv + if self.conv_bias { c } else { 0 };
        let layer = d + self.d_in_proj() * d + conv + 3 * h + e + d * e;
        let heads = if self.tie_embeddings { 1 } else { 2 };
        let context = self.context.map_or(0, |context| context.rows * d);
        self.n_layer * layer + heads * self.padded_vocab() * d + context + d
    }

    /// Checks that the shapes fit one another and that this implementation can run them.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<()> {
        let bad = |field, what: String| Err(Error::Config { field, what });
        for (field, value) in [
            ("d_model", self.d_model),
            ("n_layer", self.n_layer),
            ("vocab_size", self.vocab_size),
            ("d_state", self.d_state),
            ("expand", self.expand),
            ("headdim", self.headdim),
            ("ngroups", self.ngroups),
            ("chunk_size", self.chunk_size),
            ("pad_vocab_size_multiple", self.pad_vocab_size_multiple),
        ] {
            if value == 0 || value > 1 << 24 {
                return bad(field, format!("expected 1 to {}, got {value}", 1 << 24));
            }
        }
        if !(2..=16).contains(&self.d_conv) {
            return bad("d_conv", format!("expected 2 to 16, got {}", self.d_conv));
        }
        if !self.d_inner().is_multiple_of(self.headdim) {
            return bad("headdim", format!("{} does not divide d_inner {}", self.headdim, self.d_inner()));
        }
        if !self.nheads().is_multiple_of(self.ngroups) {
            return bad("ngroups", format!("{} does not divide the {} heads", self.ngroups, self.nheads()));
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return bad("norm_eps", format!("expected a positive number, got {}", self.norm_eps));
        }
        if !self.rms_norm {
            return bad("rms_norm", "false (LayerNorm) is not supported, expected true".into());
        }
        if self.bias {
            return bad(
                "bias",
                "true (biases on in_proj and out_proj) is not supported, expected false".into(),
            );
        }
        if let Some(context) = self.context
            && (!(1..=256).contains(&context.fields) || !(1..=1 << 20).contains(&context.rows))
        {
            return bad(
                "context",
                format!("expected 1 to 256 fields and 1 to {} rows, got {context:?}", 1 << 20),
            );
        }
        let (lo, hi) = self.a_init_range;
        if !(lo > 0.0 && hi >= lo && hi.is_finite()) {
            return bad("A_init_range", format!("expected 0 < low <= high, got ({lo}, {hi})"));
        }
        if !(self.dt_min > 0.0 && self.dt_max >= self.dt_min && self.dt_max.is_finite()) {
            let what = format!("expected 0 < dt_min <= dt_max, got {} and {}", self.dt_min, self.dt_max);
            return bad("dt_min", what);
        }
        Ok(())
    }
}
