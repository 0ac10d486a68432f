//! A model's tensors by the reference implementation's names: what they are, how they are read, checked and written.
//!
//! Files are safetensors with the reference's (`backbone.embedding.weight`) or Hugging Face's
//! (`backbone.embeddings.weight`) names; what is written has the reference's. Weights in f16, bf16 and f64 are read
//! into f32. Files are read into memory and checked whole: nothing in them is trusted.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::network::config::ModelConfig;
use crate::network::params::{EMBEDDING, LM_HEAD, Params};

/// Tensors by the reference's names, in alphabetical order.
pub type Weights = BTreeMap<String, Tensor>;

/// The reference's name for a tensor named by the reference or by Hugging Face.
fn canonical(name: &str) -> String {
    if name == "backbone.embeddings.weight" { EMBEDDING.to_string() } else { name.to_string() }
}

/// Checks names and shapes against the configuration and returns the tensors by the reference's names.
///
/// A tied model may carry an `lm_head.weight`, if it equals the embedding. Nothing is copied; tensors that are
/// variables stay variables.
///
/// # Errors
/// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::UnknownTensor`].
pub fn checked<'a>(
    cfg: &ModelConfig,
    tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
) -> Result<Weights> {
    let mut found: BTreeMap<String, &Tensor> = tensors.into_iter().map(|(n, t)| (canonical(n), t)).collect();
    let mut out = Weights::new();
    for (name, expected) in Params::shapes(cfg).named() {
        let Some(t) = found.remove(&name) else {
            return Err(Error::MissingTensor { name, expected });
        };
        if t.dims() != expected {
            return Err(Error::TensorShape { name, expected, got: t.dims().to_vec() });
        }
        out.insert(name, t.clone());
    }
    if cfg.tie_embeddings
        && let Some(head) = found.remove(LM_HEAD)
    {
        let embedding = &out[EMBEDDING];
        let same = head.dims() == embedding.dims()
            && head.ne(embedding)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? == 0.0;
        if !same {
            let what = format!("true, but {LM_HEAD} differs from {EMBEDDING}");
            return Err(Error::Config { field: "tie_embeddings", what });
        }
    }
    match found.into_keys().next() {
        Some(name) => Err(Error::UnknownTensor { name }),
        None => Ok(out),
    }
}

/// Checks that every value is finite.
///
/// # Errors
/// [`Error::NotFinite`] naming the first that is not.
pub fn check_finite(weights: &Weights) -> Result<()> {
    for (name, t) in weights {
        let values =
            t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite { name: name.clone(), got: values[at], at });
        }
    }
    Ok(())
}

/// Reads weights from the bytes of a safetensors file into f32 on `device`, and checks them.
///
/// # Errors
/// [`Error::Format`] (with `path` for the message) if the bytes are not a whole safetensors file, else as [`checked`],
/// [`check_finite`] and [`Error::TensorDtype`].
pub fn from_bytes(cfg: &ModelConfig, bytes: &[u8], path: &Path, device: &Device) -> Result<Weights> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| Error::Format {
        path: path.into(),
        what: format!("not a whole safetensors file: {e}"),
    })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        tensors.insert(name.clone(), read_view(&name, &view)?);
    }
    let weights = checked(cfg, &tensors)?;
    check_finite(&weights)?;
    weights.into_iter().map(|(n, t)| Ok((n, t.to_device(device)?))).collect()
}

fn read_view(name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    let data = view.data();
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        other => {
            return Err(Error::TensorDtype {
                name: name.to_string(),
                got: format!("{other:?}").to_lowercase(),
            });
        }
    };
    Ok(Tensor::from_raw_buffer(data, dtype, view.shape(), &Device::Cpu)?.to_dtype(DType::F32)?)
}

/// Reads a weights file.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, else as [`from_bytes`].
pub fn read(cfg: &ModelConfig, path: &Path, device: &Device) -> Result<Weights> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    from_bytes(cfg, &bytes, path, device)
}

/// The bytes of a safetensors file with these weights in f32. Equal weights give equal bytes.
///
/// # Errors
/// [`Error::Tensor`] if a tensor cannot be brought to the CPU.
pub fn to_bytes(weights: &Weights) -> Result<Vec<u8>> {
    let mut data = Vec::with_capacity(weights.len());
    for (name, t) in weights {
        let values =
            t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        data.push((name.as_str(), t.dims().to_vec(), bytes));
    }
    let views = data
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(candle_core::Error::wrap)?;
    Ok(safetensors::serialize(views, None).map_err(candle_core::Error::wrap)?)
}

/// Trainable copies of weights: one variable a tensor.
#[derive(Debug, Clone)]
pub struct Parameters {
    vars: BTreeMap<String, Var>,
}

impl Parameters {
    /// Copies the weights into variables.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold them.
    pub fn new(weights: &Weights) -> Result<Self> {
        let vars = weights
            .iter()
            .map(|(n, t)| Ok((n.clone(), Var::from_tensor(&t.copy()?.detach())?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Self { vars })
    }

    /// The variables by name, in alphabetical order.
    pub fn vars(&self) -> &BTreeMap<String, Var> {
        &self.vars
    }

    /// The variables as tensors that lead gradients to them: what a model to be trained is built from.
    pub fn tensors(&self) -> Weights {
        self.vars.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect()
    }

    /// Copies of the present values, without gradients.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device cannot hold them.
    pub fn snapshot(&self) -> Result<Weights> {
        self.vars.iter().map(|(n, v)| Ok((n.clone(), v.as_tensor().copy()?.detach()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::init::init_weights;
    use crate::network::params::{NORM_F, layer_name};

    fn cfg() -> ModelConfig {
        ModelConfig { d_model: 16, n_layer: 2, vocab_size: 13, d_state: 4, headdim: 8, ..Default::default() }
    }

    fn load(cfg: &ModelConfig, bytes: &[u8]) -> Result<Weights> {
        from_bytes(cfg, bytes, Path::new("model.safetensors"), &Device::Cpu)
    }

    #[test]
    fn writes_what_it_reads_and_the_count_is_the_configurations() {
        let w = init_weights(&cfg(), 3, &Device::Cpu).unwrap();
        let bytes = to_bytes(&w).unwrap();
        assert_eq!(to_bytes(&load(&cfg(), &bytes).unwrap()).unwrap(), bytes);
        assert_eq!(w.values().map(Tensor::elem_count).sum::<usize>(), cfg().parameters());
    }

    #[test]
    fn reads_hugging_face_names_and_half_precision() {
        let mut w = init_weights(&cfg(), 3, &Device::Cpu).unwrap();
        let e = w.remove(EMBEDDING).unwrap();
        w.insert("lm_head.weight".into(), e.clone());
        w.insert("backbone.embeddings.weight".into(), e);
        let half: Weights = w.iter().map(|(n, t)| (n.clone(), t.to_dtype(DType::BF16).unwrap())).collect();
        let data: Vec<(String, Tensor)> = half.into_iter().collect();
        let path = tempfile::tempdir().unwrap();
        let file = path.path().join("m.safetensors");
        candle_core::safetensors::save(&data.into_iter().collect(), &file).unwrap();
        let got = read(&cfg(), &file, &Device::Cpu).unwrap();
        assert_eq!(got[EMBEDDING].dtype(), DType::F32);
        assert_eq!(got.len(), Params::shapes(&cfg()).named().len());
    }

    #[test]
    fn errors_name_tensor_expected_and_got() {
        let good = init_weights(&cfg(), 3, &Device::Cpu).unwrap();
        let bytes = to_bytes(&good).unwrap();
        for cut in [0, 7, 100, bytes.len() - 1] {
            let message = load(&cfg(), &bytes[..cut]).unwrap_err().to_string();
            assert!(message.starts_with("model.safetensors: not a whole safetensors file"), "{message}");
        }
        let name = layer_name(1, "mixer.A_log");
        let change = |t: Option<Tensor>| {
            let mut w = good.clone();
            w.remove(&name);
            w.extend(t.map(|t| (name.clone(), t)));
            load(&cfg(), &to_bytes(&w).unwrap()).unwrap_err().to_string()
        };
        assert_eq!(change(None), "tensor backbone.layers.1.mixer.A_log is missing (expected shape [4])");
        let wrong = Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            change(Some(wrong)),
            "tensor backbone.layers.1.mixer.A_log has the wrong shape: expected [4], got [5]"
        );
        let nan = Tensor::new(&[0f32, 1.0, f32::NAN, 2.0], &Device::Cpu).unwrap();
        assert_eq!(
            change(Some(nan)),
            "tensor backbone.layers.1.mixer.A_log holds NaN at element 2: expected finite values"
        );
        let mut extra = good.clone();
        extra.insert("backbone.layers.2.norm.weight".into(), good[NORM_F].clone());
        let message = load(&cfg(), &to_bytes(&extra).unwrap()).unwrap_err().to_string();
        assert_eq!(message, "tensor backbone.layers.2.norm.weight does not belong to this model");
        let mut untied = good;
        untied.insert(LM_HEAD.into(), Tensor::zeros((16, 16), DType::F32, &Device::Cpu).unwrap());
        assert!(
            load(&cfg(), &to_bytes(&untied).unwrap()).unwrap_err().to_string().contains("tie_embeddings")
        );
    }
}
