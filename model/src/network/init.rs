//! The reference's initialisation, deterministic.
//!
//! Sources: `mamba_ssm/modules/mamba2.py` (dt_bias, A_log, D), `mixer_seq_simple.py` (`_init_weights`: embedding N(0,
//! 0.02), output projections divided by the root of the number of layers) and PyTorch's defaults for linear and
//! convolution layers (uniform within one over the root of the fan-in).

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::network::config::ModelConfig;
use crate::network::params::{self, Params};
use crate::network::weights::Weights;

/// Standard deviation of the embedding.
const EMBEDDING_STD: f64 = 0.02;

/// Initial weights in f32. Each tensor has its own random stream, so that a change of one shape leaves the others.
///
/// # Errors
/// [`crate::error::Error::Config`] if the configuration is not valid; [`crate::error::Error::Tensor`] if the device
/// cannot hold the weights.
pub fn init_weights(cfg: &ModelConfig, seed: u64, device: &Device) -> Result<Weights> {
    cfg.validate()?;
    let mut out = Weights::new();
    for (stream, (name, shape)) in Params::shapes(cfg).named().into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64);
        let values = init_tensor(cfg, &name, &shape, &mut rng);
        out.insert(name, Tensor::from_vec(values, shape, device)?.to_dtype(DType::F32)?);
    }
    Ok(out)
}

fn init_tensor(cfg: &ModelConfig, name: &str, shape: &[usize], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count = shape.iter().product();
    let part = name.rsplit_once("mixer.").map_or(name, |(_, part)| part);
    // PyTorch's default for linear and convolution layers: uniform within one over the root of the fan-in.
    let mut uniform = |fan_in: usize, scale: f64| -> Vec<f32> {
        let bound = scale / (fan_in as f64).sqrt();
        (0..count).map(|_| ((2.0 * rng.random::<f64>() - 1.0) * bound) as f32).collect()
    };
    match part {
        "in_proj.weight" => uniform(cfg.d_model, 1.0),
        "conv1d.weight" | "conv1d.bias" => uniform(cfg.d_conv, 1.0),
        "out_proj.weight" => uniform(cfg.d_inner(), 1.0 / (cfg.n_layer as f64).sqrt()),
        params::LM_HEAD => uniform(cfg.d_model, 1.0),
        // The model begins as one without side information.
        params::CONTEXT => vec![0.0; count],
        params::EMBEDDING => (0..count).map(|_| (EMBEDDING_STD * normal(rng)) as f32).collect(),
        "dt_bias" => (0..count).map(|_| dt_bias(cfg, rng.random()) as f32).collect(),
        "A_log" => {
            let (lo, hi) = cfg.a_init_range;
            (0..count).map(|_| (lo + (hi - lo) * rng.random::<f64>()).ln() as f32).collect()
        }
        _ => vec![1.0; count], // D and the norms
    }
}

/// The inverse softplus of a step drawn log-uniformly between `dt_min` and `dt_max`.
fn dt_bias(cfg: &ModelConfig, u: f64) -> f64 {
    let dt = (u * (cfg.dt_max.ln() - cfg.dt_min.ln()) + cfg.dt_min.ln()).exp().max(cfg.dt_init_floor);
    dt + (-(-dt).exp_m1()).ln()
}

/// Rows for new entries of an embedding or output projection, drawn like the embedding, `(rows, d_model)`.
///
/// # Errors
/// [`crate::error::Error::Tensor`] if the device cannot hold them.
pub fn embedding_rows(cfg: &ModelConfig, rows: usize, seed: u64, device: &Device) -> Result<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..rows * cfg.d_model).map(|_| (EMBEDDING_STD * normal(&mut rng)) as f32).collect();
    Ok(Tensor::from_vec(values, (rows, cfg.d_model), device)?)
}

/// A standard normal number (Box and Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let u = 1.0 - rng.random::<f64>(); // in (0, 1]
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::weights;

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn follows_the_reference_and_the_seed() {
        let cfg = ModelConfig {
            d_model: 64,
            n_layer: 4,
            vocab_size: 500,
            d_state: 16,
            headdim: 8,
            ..Default::default()
        };
        let w = init_weights(&cfg, 7, &Device::Cpu).unwrap();
        let e = values(&w[params::EMBEDDING]);
        let std = (e.iter().map(|x| x * x).sum::<f32>() / e.len() as f32).sqrt();
        assert!((std - 0.02).abs() < 3e-4, "{std}");
        for x in values(&w["backbone.layers.2.mixer.dt_bias"]) {
            let dt = x.exp().ln_1p();
            assert!((0.000_99..=0.101).contains(&dt), "{dt}");
        }
        for x in values(&w["backbone.layers.2.mixer.A_log"]) {
            assert!((0.0..=16f32.ln()).contains(&x));
        }
        let largest = |name: &str| values(&w[name]).iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!((0.12..=0.125).contains(&largest("backbone.layers.1.mixer.in_proj.weight")));
        // 1 / sqrt(128) / sqrt(4 layers)
        assert!((0.043..=0.0442).contains(&largest("backbone.layers.1.mixer.out_proj.weight")));
        assert!((0.49..=0.5).contains(&largest("backbone.layers.1.mixer.conv1d.weight")));

        let again = init_weights(&cfg, 7, &Device::Cpu).unwrap();
        let other = init_weights(&cfg, 8, &Device::Cpu).unwrap();
        assert_eq!(weights::to_bytes(&again).unwrap(), weights::to_bytes(&w).unwrap());
        assert_ne!(weights::to_bytes(&other).unwrap(), weights::to_bytes(&w).unwrap());
    }
}
