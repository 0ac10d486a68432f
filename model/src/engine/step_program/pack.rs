//! A model's parameters as the bytes of their regions.

use candle_core::{DType, Device, Tensor};

use super::{Region, Types, regions};
use crate::engine::cpu::conv::taps;
use crate::engine::launch::Float;
use crate::error::{Error, Result};
use crate::network::config::ModelConfig;
use crate::network::params::Params;

/// The bytes of every region of [`super::StepProgram::weights`], for the parameters of a model of this configuration.
///
/// # Errors
/// [`Error::NotFinite`] for a value that is none or does not fit the format, naming its tensor.
pub fn pack(cfg: &ModelConfig, params: &Params<Tensor>, types: Types) -> Result<Vec<(Region, Vec<u8>)>> {
    let mut out = Vec::new();
    for ((name, tensor), (_, region)) in params.as_ref().named().into_iter().zip(regions(cfg).named()) {
        let mut values = values(tensor)?;
        match region {
            Region::Taps(_) => values = taps(&values, cfg.conv_dim(), cfg.d_conv),
            Region::A(_) => values.iter_mut().for_each(|a| *a = -a.exp()),
            _ => {}
        }
        let float = if region.is_matrix() { types.weights } else { Float::F32 };
        out.push((region, bytes(&name, &values, float)?));
    }
    if !cfg.conv_bias {
        out.extend((0..cfg.n_layer).map(|i| (Region::ConvBias(i), vec![0; cfg.conv_dim() * 4])));
    }
    Ok(out)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

fn bytes(name: &str, values: &[f32], float: Float) -> Result<Vec<u8>> {
    let bad = |at: usize, got: f64| Err(Error::NotFinite { name: name.to_owned(), got, at });
    let mut out = Vec::with_capacity(values.len() * float.size());
    for (at, &value) in values.iter().enumerate() {
        let upper = bf16(value);
        match float {
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
    use crate::engine::step_program::StepProgram;
    use crate::lm::Mamba2;
    use crate::network::init::init_weights;
    use crate::network::params::layer_name;
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
            let program = StepProgram::new(&cfg, types, Policy::default(), 13).unwrap();
            let model = Mamba2::init(&cfg, 1, &Device::Cpu).unwrap();
            let packed = pack(&cfg, model.params(), types).unwrap();
            let mut got: Vec<(Region, usize)> = packed.iter().map(|(r, bytes)| (*r, bytes.len())).collect();
            let mut want: Vec<(Region, usize)> =
                program.weights().into_iter().map(|r| (r, program.bytes(r, 0, 0))).collect();
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
        let name = layer_name(0, "mixer.D");
        weights.insert(name.clone(), Tensor::new(&[1f32, f32::NAN, 1.0, 1.0], &Device::Cpu).unwrap());
        let model = Mamba2::load(&cfg, &weights).unwrap();
        let error = pack(&cfg, model.params(), Types::default()).unwrap_err().to_string();
        assert_eq!(error, format!("tensor {name} holds NaN at element 1: expected finite values"));
    }
}
