//! A model's parameters as the bytes of their regions.

use candle_core::{DType, Device, Tensor};

use super::{Float, Region, Types};
use crate::engine::cpu::step::taps;
use crate::error::{Error, Result};
use crate::lm::Mamba2;
use crate::network::weights;

/// The bytes of every region of [`super::Decoding::weights`].
///
/// # Errors
/// [`Error::NotFinite`] for a value that is none or does not fit the format, naming its tensor.
pub fn pack(model: &Mamba2, types: Types) -> Result<Vec<(Region, Vec<u8>)>> {
    let cfg = model.config();
    let mut out = Vec::new();
    let mut no_bias: Vec<usize> = (0..cfg.n_layer).collect();
    for (name, tensor) in model.named() {
        let Some((region, kind)) = place(&name, types) else { continue };
        let mut values = values(tensor)?;
        match region {
            Region::Taps(_) => values = taps(cfg, &values),
            Region::A(_) => values.iter_mut().for_each(|a| *a = -a.exp()),
            Region::ConvBias(i) => no_bias.retain(|&layer| layer != i),
            _ => {}
        }
        out.push((region, bytes(&name, &values, kind)?));
    }
    out.extend(no_bias.into_iter().map(|i| (Region::ConvBias(i), vec![0; cfg.conv_dim() * 4])));
    Ok(out)
}

/// Where a tensor goes, and in which format.
fn place(name: &str, types: Types) -> Option<(Region, Float)> {
    let whole = |region| Some((region, types.weights));
    match name {
        weights::EMBEDDING => return whole(Region::Embedding),
        weights::CONTEXT => return whole(Region::Context),
        weights::LM_HEAD => return whole(Region::Head),
        weights::NORM_F => return Some((Region::FinalNorm, Float::F32)),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("backbone.layers.")?.split_once('.')?;
    let i = layer.parse().ok()?;
    let single = |region| Some((region, Float::F32));
    match part {
        "mixer.in_proj.weight" => whole(Region::InProj(i)),
        "mixer.out_proj.weight" => whole(Region::OutProj(i)),
        "norm.weight" => single(Region::Norm(i)),
        "mixer.conv1d.weight" => single(Region::Taps(i)),
        "mixer.conv1d.bias" => single(Region::ConvBias(i)),
        "mixer.dt_bias" => single(Region::DtBias(i)),
        "mixer.A_log" => single(Region::A(i)),
        "mixer.D" => single(Region::Skip(i)),
        "mixer.norm.weight" => single(Region::GatedNorm(i)),
        _ => None,
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

fn bytes(name: &str, values: &[f32], kind: Float) -> Result<Vec<u8>> {
    let bad = |at: usize, got: f64| Err(Error::NotFinite { name: name.to_owned(), got, at });
    let mut out = Vec::with_capacity(values.len() * kind.size());
    for (at, &value) in values.iter().enumerate() {
        let upper = bf16(value);
        match kind {
            Float::F32 if value.is_finite() => out.extend(value.to_le_bytes()),
            // The largest floats round to infinity.
            Float::Bf16 if value.is_finite() && upper & 0x7f80 != 0x7f80 => out.extend(upper.to_le_bytes()),
            _ => return bad(at, f64::from(value)),
        }
    }
    Ok(out)
}

/// The upper half of a float's bits, to the nearest, ties to even.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use netssm_tokens::context::ContextShape;

    use super::*;
    use crate::engine::step_program::Decoding;
    use crate::network::config::ModelConfig;
    use crate::network::init::init_weights;
    use crate::sample::Policy;

    #[test]
    fn every_region_has_its_bytes() {
        for (tie, conv_bias, weights) in [(true, true, Float::F32), (false, false, Float::Bf16)] {
            let context = Some(ContextShape { version: 1, fields: 2, rows: 5 });
            let cfg = ModelConfig {
                d_model: 16,
                n_layer: 2,
                vocab_size: 13,
                d_state: 4,
                headdim: 8,
                tie_embeddings: tie,
                conv_bias,
                context,
                ..Default::default()
            };
            let types = Types { weights, state: Float::F32 };
            let decoding = Decoding::new(&cfg, types, Policy::default(), 13).unwrap();
            let packed = pack(&Mamba2::init(&cfg, 1, &Device::Cpu).unwrap(), types).unwrap();
            let mut got: Vec<(Region, usize)> = packed.iter().map(|(r, bytes)| (*r, bytes.len())).collect();
            let mut want: Vec<(Region, usize)> =
                decoding.weights().into_iter().map(|r| (r, decoding.bytes(r, 0, 0))).collect();
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        let cfg = ModelConfig {
            d_model: 8,
            n_layer: 1,
            vocab_size: 5,
            d_state: 4,
            headdim: 4,
            ..Default::default()
        };
        let mut weights = init_weights(&cfg, 1, &Device::Cpu).unwrap();
        let name = crate::network::weights::layer_name(0, "mixer.D");
        weights.insert(name.clone(), Tensor::new(&[1f32, f32::NAN, 1.0, 1.0], &Device::Cpu).unwrap());
        let model = Mamba2::load(&cfg, &weights).unwrap();
        let error = pack(&model, Types::default()).unwrap_err().to_string();
        assert_eq!(error, format!("tensor {name} holds NaN at element 1: expected finite values"));
    }
}
