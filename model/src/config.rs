//! The model's configuration: the reference implementation's names and defaults, read from its `config.json` or from
//! Hugging Face's.
//!
//! Sources: state-spaces/mamba `mamba_ssm/models/config_mamba.py` and `modules/mamba2.py` (names, defaults), Hugging
//! Face `transformers` `configuration_mamba2.py` (the other spelling). What this implementation cannot run is an error
//! that names the field; a key that cannot change the result (cache and token id settings) is passed over.
//!
//! Letters used through the crate: `b` batch, `l` length, `d` d_model, `E` d_inner = expand d, `H` heads of `P`
//! (headdim) channels, `G` groups, `N` d_state, `K` d_conv, `v` vocabulary.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

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
            a_init_range: (1.0, 16.0),
            dt_min: 0.001,
            dt_max: 0.1,
            dt_init_floor: 1e-4,
        }
    }
}

impl ModelConfig {
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
        self.n_layer * layer + heads * self.padded_vocab() * d + d
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
        if self.d_inner() % self.headdim != 0 {
            return bad("headdim", format!("{} does not divide d_inner {}", self.headdim, self.d_inner()));
        }
        if self.nheads() % self.ngroups != 0 {
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

    /// Reads and validates a `config.json` of either kind.
    ///
    /// # Errors
    /// [`Error::Format`] for text that is not JSON, [`Error::Config`] for a field with the wrong type or value.
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::Format {
            path: path.into(),
            what: format!("not a model configuration: {e}"),
        })?;
        let Value::Object(map) = value else {
            let what = "not a model configuration: expected a JSON object".to_string();
            return Err(Error::Format { path: path.into(), what });
        };
        let config = if map.contains_key("hidden_size") || map.contains_key("num_hidden_layers") {
            Self::from_hugging_face(&map)?
        } else {
            Self::from_reference(&map)?
        };
        config.validate()?;
        Ok(config)
    }

    /// Reads a `config.json` file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, else as [`Self::from_json`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            action: "read",
            path: path.into(),
            source,
        })?;
        Self::from_json(&text, path)
    }

    /// The reference's `config.json`.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "d_model": self.d_model,
            "d_intermediate": 0,
            "n_layer": self.n_layer,
            "vocab_size": self.vocab_size,
            "ssm_cfg": {
                "layer": "Mamba2",
                "d_state": self.d_state,
                "d_conv": self.d_conv,
                "expand": self.expand,
                "headdim": self.headdim,
                "ngroups": self.ngroups,
                "chunk_size": self.chunk_size,
                "bias": self.bias,
                "conv_bias": self.conv_bias,
                "A_init_range": [self.a_init_range.0, self.a_init_range.1],
                "dt_min": self.dt_min,
                "dt_max": self.dt_max,
                "dt_init_floor": self.dt_init_floor,
            },
            "rms_norm": self.rms_norm,
            "norm_epsilon": self.norm_eps,
            "residual_in_fp32": self.residual_in_fp32,
            "fused_add_norm": true,
            "pad_vocab_size_multiple": self.pad_vocab_size_multiple,
            "tie_embeddings": self.tie_embeddings,
        })
    }

    fn from_reference(map: &Map<String, Value>) -> Result<Self> {
        let mut c = Self::default();
        let top = Fields(map);
        c.d_model = top.required("d_model")?;
        c.n_layer = top.required("n_layer")?;
        c.vocab_size = top.required("vocab_size")?;
        top.get("rms_norm", &mut c.rms_norm)?;
        top.get("norm_epsilon", &mut c.norm_eps)?;
        top.get("residual_in_fp32", &mut c.residual_in_fp32)?;
        top.get("pad_vocab_size_multiple", &mut c.pad_vocab_size_multiple)?;
        top.get("tie_embeddings", &mut c.tie_embeddings)?;
        top.only("d_intermediate", &[Value::from(0), Value::Null])?;
        top.only("attn_layer_idx", &[Value::Array(vec![]), Value::Null])?;
        let empty = Map::new();
        let ssm = match map.get("ssm_cfg") {
            Some(Value::Object(m)) => m,
            Some(Value::Null) | None => &empty,
            Some(_) => {
                return Err(Error::Config { field: "ssm_cfg", what: "expected an object".into() });
            }
        };
        let ssm = Fields(ssm);
        // Without this key the reference builds Mamba-1 blocks, whose tensors do not fit here.
        match ssm.0.get("layer") {
            Some(Value::String(s)) if s == "Mamba2" => {}
            other => {
                let got = other.map_or("nothing (which means Mamba1)".to_string(), Value::to_string);
                return Err(Error::Config {
                    field: "ssm_cfg.layer",
                    what: format!("expected \"Mamba2\", got {got}"),
                });
            }
        }
        ssm.get("d_state", &mut c.d_state)?;
        ssm.get("d_conv", &mut c.d_conv)?;
        ssm.get("expand", &mut c.expand)?;
        ssm.get("headdim", &mut c.headdim)?;
        ssm.get("ngroups", &mut c.ngroups)?;
        ssm.get("chunk_size", &mut c.chunk_size)?;
        ssm.get("bias", &mut c.bias)?;
        ssm.get("conv_bias", &mut c.conv_bias)?;
        ssm.get("A_init_range", &mut c.a_init_range)?;
        ssm.get("dt_min", &mut c.dt_min)?;
        ssm.get("dt_max", &mut c.dt_max)?;
        ssm.get("dt_init_floor", &mut c.dt_init_floor)?;
        ssm.only("d_ssm", &[Value::Null])?;
        ssm.only("rmsnorm", &[Value::Bool(true)])?;
        ssm.only("norm_before_gate", &[Value::Bool(false)])?;
        ssm.only("D_has_hdim", &[Value::Bool(false)])?;
        Ok(c)
    }

    fn from_hugging_face(map: &Map<String, Value>) -> Result<Self> {
        // Hugging Face's own defaults where they differ from the reference's.
        let mut c = Self {
            headdim: 64,
            ngroups: 8,
            tie_embeddings: false,
            pad_vocab_size_multiple: 1,
            ..Self::default()
        };
        let top = Fields(map);
        top.only("model_type", &[Value::from("mamba2")])?;
        c.d_model = top.required("hidden_size")?;
        c.n_layer = top.required("num_hidden_layers")?;
        c.vocab_size = top.required("vocab_size")?;
        top.get("state_size", &mut c.d_state)?;
        top.get("conv_kernel", &mut c.d_conv)?;
        top.get("expand", &mut c.expand)?;
        top.get("head_dim", &mut c.headdim)?;
        top.get("n_groups", &mut c.ngroups)?;
        top.get("chunk_size", &mut c.chunk_size)?;
        top.get("layer_norm_epsilon", &mut c.norm_eps)?;
        top.get("tie_word_embeddings", &mut c.tie_embeddings)?;
        top.get("use_bias", &mut c.bias)?;
        top.get("use_conv_bias", &mut c.conv_bias)?;
        top.get("residual_in_fp32", &mut c.residual_in_fp32)?;
        top.get("time_step_min", &mut c.dt_min)?;
        top.get("time_step_max", &mut c.dt_max)?;
        top.get("time_step_floor", &mut c.dt_init_floor)?;
        top.only("hidden_act", &[Value::from("silu"), Value::from("swish")])?;
        top.only("norm_before_gate", &[Value::Bool(false)])?;
        // Infinity is written in several ways (a bare Infinity is not JSON and fails before this).
        if let Some(Value::Array(limit)) = map.get("time_step_limit") {
            let open = |v: &Value| !v.is_number() || v.as_f64().is_some_and(|x| x > 1e30);
            if limit.len() != 2 || limit[0].as_f64() != Some(0.0) || !open(&limit[1]) {
                let what = format!("expected [0, infinity], got {}", Value::Array(limit.clone()));
                return Err(Error::Config { field: "time_step_limit", what });
            }
        }
        if let Some(heads) = map.get("num_heads").and_then(Value::as_u64) {
            if c.headdim == 0 || heads as usize * c.headdim != c.expand.saturating_mul(c.d_model) {
                let what = format!(
                    "{heads} heads of {} do not make d_inner {} x {}",
                    c.headdim, c.expand, c.d_model
                );
                return Err(Error::Config { field: "num_heads", what });
            }
        }
        Ok(c)
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value.to_string(), Path::new("model configuration"))
            .map_err(serde::de::Error::custom)
    }
}

/// One JSON object and typed access to it, with errors that name the field.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self, field: &'static str) -> Result<Option<T>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => serde_json::from_value(v.clone())
                .map(Some)
                .map_err(|e| Error::Config { field, what: format!("got {v}: {e}") }),
        }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, field: &'static str, into: &mut T) -> Result<()> {
        if let Some(v) = self.read(field)? {
            *into = v;
        }
        Ok(())
    }

    fn required<T: serde::de::DeserializeOwned>(&self, field: &'static str) -> Result<T> {
        self.read(field)?.ok_or(Error::Config { field, what: "is missing".into() })
    }

    /// The field is absent or holds one of `allowed`.
    fn only(&self, field: &'static str, allowed: &[Value]) -> Result<()> {
        match self.0.get(field) {
            None => Ok(()),
            Some(v) if allowed.contains(v) => Ok(()),
            Some(v) => {
                Err(Error::Config { field, what: format!("{v} is not supported, expected {}", allowed[0]) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelConfig> {
        ModelConfig::from_json(text, Path::new("config.json"))
    }

    #[test]
    fn reads_the_reference_spelling() {
        let c = parse(
            r#"{"d_model": 768, "d_intermediate": 0, "n_layer": 24, "vocab_size": 50277,
                "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": true,
                "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 16, "tie_embeddings": true}"#,
        )
        .unwrap();
        assert_eq!((c.d_model, c.n_layer, c.d_state, c.headdim, c.chunk_size), (768, 24, 128, 64, 256));
        assert_eq!(c.padded_vocab(), 50288);
        // mamba2-130m as published: 128,989,632 parameters.
        assert_eq!(c.parameters(), 128_989_632);
    }

    #[test]
    fn reads_the_hugging_face_spelling() {
        let c = parse(
            r#"{"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 3, "vocab_size": 61, "state_size": 16,
                "head_dim": 8, "num_heads": 8, "n_groups": 2, "conv_kernel": 4, "chunk_size": 16, "expand": 2,
                "layer_norm_epsilon": 1e-6, "tie_word_embeddings": true, "time_step_limit": [0.0, null]}"#,
        )
        .unwrap();
        assert_eq!((c.d_state, c.headdim, c.ngroups, c.vocab_size, c.padded_vocab()), (16, 8, 2, 61, 61));
        assert_eq!(c.norm_eps, 1e-6);
    }

    #[test]
    fn writes_what_it_reads() {
        let c = ModelConfig {
            d_state: 32,
            tie_embeddings: false,
            a_init_range: (2.0, 3.0),
            ..Default::default()
        };
        assert_eq!(parse(&c.to_json().to_string()).unwrap(), c);
        let through_serde: ModelConfig = serde_json::from_str(&serde_json::to_string(&c).unwrap()).unwrap();
        assert_eq!(through_serde, c);
    }

    #[test]
    fn errors_name_the_field() {
        for (text, expect) in [
            (r#"[1]"#, "expected a JSON object"),
            (r#"{"d_model": 8"#, "not a model configuration"),
            (r#"{"n_layer": 1, "vocab_size": 3}"#, "d_model: is missing"),
            (r#"{"d_model": -1, "n_layer": 1, "vocab_size": 3}"#, "d_model: got -1"),
            (
                r#"{"d_model": 64, "n_layer": 1, "vocab_size": 3}"#,
                "ssm_cfg.layer: expected \"Mamba2\", got nothing",
            ),
            (
                r#"{"d_model": 64, "n_layer": 1, "vocab_size": 3, "ssm_cfg": {"layer": "Mamba1"}}"#,
                "got \"Mamba1\"",
            ),
            (
                r#"{"d_model": 60, "n_layer": 1, "vocab_size": 3, "ssm_cfg": {"layer": "Mamba2"}}"#,
                "headdim: 64 does not divide d_inner 120",
            ),
            (
                r#"{"d_model": 64, "n_layer": 1, "vocab_size": 3, "attn_layer_idx": [1], "ssm_cfg": {"layer": "Mamba2"}}"#,
                "attn_layer_idx: [1] is not supported",
            ),
            (
                r#"{"hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 3, "n_groups": 1, "use_bias": true}"#,
                "bias: true",
            ),
            (
                r#"{"hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 3, "n_groups": 1, "num_heads": 3}"#,
                "num_heads: 3 heads of 64",
            ),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(expect), "{text}: {message}");
        }
    }
}
