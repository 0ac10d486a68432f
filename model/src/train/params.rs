//! The parameters in training: named variables, their initial values, and models over them.

use candle_core::{Device, Tensor};
use netssm_tokens::codec::Vocab;
use netssm_tokens::context::ContextShape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::lm::Mamba2;
use crate::network::config::ModelConfig;
use crate::network::init::init_weights;
use crate::network::params::{CONTEXT, EMBEDDING, LM_HEAD};
use crate::network::weights::{Parameters, Weights};

/// Noise on a new label's row, as a share of the label rows' root mean square. It is large enough to tell two new
/// labels apart, and small against what labels have in common.
const NOISE: f64 = 0.1;

/// The variables of a model of `config`.
pub(super) struct Params {
    pub(super) config: ModelConfig,
    pub(super) parameters: Parameters,
}

impl Params {
    /// The reference's initialisation, drawn from a seed.
    pub(super) fn fresh(config: ModelConfig, seed: u64, device: &Device) -> Result<Self> {
        let weights = init_weights(&config, seed, device)?;
        Self::new(config, &weights, device)
    }

    /// Variables with the values of `weights`.
    pub(super) fn new(config: ModelConfig, weights: &Weights, device: &Device) -> Result<Self> {
        let weights = weights.iter().map(|(n, t)| Ok((n.clone(), t.to_device(device)?)));
        Ok(Self { config, parameters: Parameters::new(&weights.collect::<Result<_>>()?)? })
    }

    /// The values of a checkpoint, with new rows for the labels that `vocab` has and `old` has not. A new row is the
    /// mean of the known labels' rows plus a little noise. This holds for the embedding and for an output head that is
    /// not tied to it.
    pub(super) fn extended(
        config: &ModelConfig,
        weights: &Weights,
        (old, vocab): (&Vocab, &Vocab),
        context: Option<ContextShape>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        // A model without side information stays without. In the table of side information the labels have the last
        // rows.
        let context = context.filter(|_| config.context.is_some());
        if context.map(|now| (now.version, now.fields)) != config.context.map(|was| (was.version, was.fields))
        {
            let expected = format!("the codec's {context:?}");
            return Err(Error::input(
                "side information of the checkpoint",
                expected,
                format!("{:?}", config.context),
            ));
        }
        let config = ModelConfig { vocab_size: vocab.size(), context, ..config.clone() };
        let mut weights = weights.clone();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(u32::MAX));
        for name in [EMBEDDING, LM_HEAD] {
            if let Some(tensor) = weights.get_mut(name) {
                let id = |vocab: &Vocab, label: &str| vocab.label(label).map(usize::from);
                *tensor = extend_rows(tensor, config.padded_vocab(), (old, vocab), id, &mut rng)?;
            }
        }
        if let (Some(tensor), Some(ContextShape { rows, .. })) = (weights.get_mut(CONTEXT), context) {
            let first = rows - vocab.labels().len();
            let id = |vocab: &Vocab, label: &str| {
                vocab.labels().iter().position(|known| known == label).map(|place| first + place)
            };
            *tensor = extend_rows(tensor, rows, (old, vocab), id, &mut rng)?;
        }
        Self::new(config, &weights, device)
    }

    /// A model whose gradients reach the variables.
    pub(super) fn model(&self) -> Result<Mamba2, Error> {
        Mamba2::load(&self.config, &self.parameters.tensors())
    }

    /// A model that shares the variables' storage and records no graph; for validation.
    pub(super) fn frozen(&self) -> Result<Mamba2, Error> {
        Mamba2::load(&self.config, &self.weights())
    }

    /// The values. They share storage with the variables.
    pub(super) fn weights(&self) -> Weights {
        self.parameters.vars().iter().map(|(n, v)| (n.clone(), v.as_detached_tensor())).collect()
    }
}

/// Extends `tensor` to `rows` rows, with new rows for labels that only the second vocabulary has. `row` gives a label's
/// row.
fn extend_rows(
    tensor: &Tensor,
    rows: usize,
    (old, vocab): (&Vocab, &Vocab),
    row: impl Fn(&Vocab, &str) -> Option<usize>,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor> {
    let (_, width) = tensor.dims2()?;
    let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
    // Ids beyond the vocabulary are padding, which may grow or shrink with it.
    values.resize(rows * width, 0.0);
    let known: Vec<usize> = old.labels().iter().filter_map(|label| row(old, label)).collect();
    let mut mean = vec![0f64; width];
    let mut square = 0f64;
    for &row in &known {
        for (mean, &x) in mean.iter_mut().zip(&values[row * width..(row + 1) * width]) {
            *mean += f64::from(x) / known.len() as f64;
            square += f64::from(x) * f64::from(x);
        }
    }
    let rms = (square / (known.len().max(1) * width) as f64).sqrt();
    for label in vocab.labels().iter().filter(|label| old.label(label).is_none()) {
        let Some(row) = row(vocab, label) else { continue };
        for (x, &mean) in values[row * width..(row + 1) * width].iter_mut().zip(&mean) {
            *x = (mean + NOISE * rms * normal(rng)) as f32;
        }
    }
    Ok(Tensor::from_vec(values, (rows, width), &Device::Cpu)?)
}

/// A standard normal number (Box and Muller's transform).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vocab: &Vocab, tie: bool) -> ModelConfig {
        ModelConfig {
            d_model: 16,
            n_layer: 1,
            d_state: 8,
            headdim: 8,
            vocab_size: vocab.size(),
            tie_embeddings: tie,
            ..ModelConfig::default()
        }
    }

    #[test]
    fn new_labels_start_near_the_mean_of_the_old_and_old_rows_stay() {
        let old = Vocab::new(&["a", "b", "c"]).unwrap();
        let mut new = old.clone();
        new.extend(&["d", "e", "f", "g", "h", "i"]).unwrap();
        for tie in [true, false] {
            let before = Params::fresh(config(&old, tie), 3, &Device::Cpu).unwrap();
            let vocabs = (&old, &new);
            let after =
                Params::extended(&before.config, &before.weights(), vocabs, None, 9, &Device::Cpu).unwrap();
            assert_eq!(after.config.vocab_size, new.size());
            assert_eq!(after.parameters.vars().contains_key(LM_HEAD), !tie);
            for name in [EMBEDDING, LM_HEAD].iter().filter(|n| after.parameters.vars().contains_key(**n)) {
                let x = before.parameters.vars()[*name].to_vec2::<f32>().unwrap();
                let y = after.parameters.vars()[*name].to_vec2::<f32>().unwrap();
                assert_eq!(y.len(), after.config.padded_vocab());
                assert_eq!(x[..old.size()], y[..old.size()], "{name}");
                let rms = (x[260..263].iter().flatten().map(|v| v * v).sum::<f32>() / 48.0).sqrt();
                for row in &y[263..269] {
                    for (i, v) in row.iter().enumerate() {
                        let mean = (x[260][i] + x[261][i] + x[262][i]) / 3.0;
                        assert!((v - mean).abs() < 0.6 * rms, "{name}: {v} far from {mean}");
                    }
                }
                assert_ne!(y[263], y[264]);
            }
            after.model().unwrap();
        }
    }

    #[test]
    fn side_information_grows_by_the_new_labels_at_its_end() {
        let old = Vocab::new(&["a", "b"]).unwrap();
        let mut new = old.clone();
        new.extend(&["c"]).unwrap();
        let shape = |labels: usize| Some(ContextShape { version: 1, fields: 2, rows: 5 + labels });
        let config = ModelConfig { context: shape(2), ..config(&old, true) };
        let mut weights = init_weights(&config, 3, &Device::Cpu).unwrap();
        let values: Vec<f32> = (0..7 * 16).map(|i| i as f32).collect();
        weights.insert(CONTEXT.into(), Tensor::from_vec(values, (7, 16), &Device::Cpu).unwrap());
        let extend = |context| Params::extended(&config, &weights, (&old, &new), context, 9, &Device::Cpu);
        let after = extend(shape(3)).unwrap();
        let (x, y) = (&weights[CONTEXT], &after.parameters.vars()[CONTEXT]);
        let (x, y) = (x.to_vec2::<f32>().unwrap(), y.to_vec2::<f32>().unwrap());
        assert_eq!((y.len(), &x[..]), (8, &y[..7]));
        assert!((y[7][0] - (x[5][0] + x[6][0]) / 2.0).abs() < 40.0, "near the mean of the labels' rows");
        after.model().unwrap();
        let other = extend(Some(ContextShape { version: 2, fields: 2, rows: 8 })).err().unwrap().to_string();
        assert!(other.contains("version: 2") && other.contains("version: 1"), "{other}");
        assert!(extend(None).is_err());
    }

    #[test]
    fn the_same_seed_gives_the_same_weights() {
        let vocab = Vocab::new(&["a"]).unwrap();
        let make = |seed| Params::fresh(config(&vocab, true), seed, &Device::Cpu).unwrap();
        let flat = |p: &Params| {
            p.parameters
                .vars()
                .values()
                .flat_map(|v| v.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(flat(&make(4)), flat(&make(4)));
        assert_ne!(flat(&make(4)), flat(&make(5)));
    }
}
