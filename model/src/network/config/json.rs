//! `config.json` in the reference's and in Hugging Face's spelling, read and written.
//!
//! Sources: state-spaces/mamba `mamba_ssm/models/config_mamba.py`, Hugging Face `configuration_mamba2.py`.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ModelConfig;
use crate::error::{Error, Result};

impl ModelConfig {
    /// Reads and validates a `config.json` of either kind.
    ///
    /// # Errors
    /// [`Error::Format`] for text that is not JSON, [`Error::Config`] for a field with the wrong type or value.
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let value: Value = serde_json::from_str(&without_infinity(text)).map_err(|e| Error::Format {
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
        let mut json = serde_json::json!({
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
        });
        if let (Some(context), Some(map)) = (self.context, json.as_object_mut()) {
            map.insert("context".into(), serde_json::json!(context));
        }
        json
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
        top.get("context", &mut c.context)?;
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
        // Infinity is written in several ways: bare (null by now, see `without_infinity`), as an object, as a number.
        if let Some(Value::Array(limit)) = map.get("time_step_limit") {
            let open = |v: &Value| !v.is_number() || v.as_f64().is_some_and(|x| x > 1e30);
            if limit.len() != 2 || limit[0].as_f64() != Some(0.0) || !open(&limit[1]) {
                let what = format!("expected [0, infinity], got {}", Value::Array(limit.clone()));
                return Err(Error::Config { field: "time_step_limit", what });
            }
        }
        if let Some(heads) = map.get("num_heads").and_then(Value::as_u64)
            && (heads as usize).saturating_mul(c.headdim) != c.expand.saturating_mul(c.d_model)
        {
            let what =
                format!("{heads} heads of {} do not make d_inner {} x {}", c.headdim, c.expand, c.d_model);
            return Err(Error::Config { field: "num_heads", what });
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

/// Replaces Python's bare `Infinity`, which is no JSON but stands in published Mamba-2 configurations, by `null`.
fn without_infinity(text: &str) -> Cow<'_, str> {
    if !text.contains("Infinity") {
        return text.into();
    }
    // Every second piece between quotes is inside a string; an escaped quote does not end one.
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut rest) = (false, text);
    while let Some(at) = rest.find(['"', '\\', 'I']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let step = if inside && rest.starts_with('\\') {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else if !inside && rest.starts_with("Infinity") {
            out.push_str("null");
            rest = &rest["Infinity".len()..];
            continue;
        } else {
            inside ^= rest.starts_with('"');
            1
        };
        out.push_str(&rest[..step]);
        rest = &rest[step..];
    }
    out.push_str(rest);
    out.into()
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
    use netssm_tokens::context::ContextShape;

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
    fn reads_the_bare_infinity_of_published_configurations() {
        let text = r#"{"hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 3, "n_groups": 1,
            "time_step_limit": [0.0, Infinity], "_name_or_path": "a\"Infinity\" \u0049 Infinity"}"#;
        assert_eq!(parse(text).unwrap().d_model, 64);
        assert_eq!(
            without_infinity(r#"["Infinity\"", Infinity, "I\\", Infinity]"#),
            r#"["Infinity\"", null, "I\\", null]"#
        );
        let finite = text.replace("Infinity]", "0.1]");
        assert!(parse(&finite).unwrap_err().to_string().contains("time_step_limit: expected [0, infinity]"));
    }

    #[test]
    fn writes_what_it_reads() {
        let c = ModelConfig {
            d_state: 32,
            tie_embeddings: false,
            a_init_range: (2.0, 3.0),
            context: Some(ContextShape { version: 1, fields: 3, rows: 70 }),
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
                r#"{"d_model": 64, "n_layer": 1, "vocab_size": 9, "ssm_cfg": {"layer": "Mamba2"},
                    "context": {"version": 1, "fields": 0, "rows": 6}}"#,
                "context: expected 1 to 256 fields",
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
