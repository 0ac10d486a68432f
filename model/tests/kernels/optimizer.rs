//! AdamW's kernels against the CPU's optimiser, over several updates, clipped and not.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use netssm_model::engine::launch::Float;
use netssm_model::engine::train_pass::{self, Backend};
use netssm_model::optim::{AdamW, AdamWConfig, decays};

use crate::emulated::{self, close};
use crate::emulated_pass::Emulated;
use crate::noise;

const CONFIG: AdamWConfig = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
/// Less than a block, one that decays not, and several blocks of squares.
const PARAMETERS: [(&str, usize); 3] = [("a.weight", 5), ("b.bias", 300), ("c.weight", 9000)];

#[test]
fn updates_are_the_cpus() {
    let Some(kernels) = emulated::kernels() else { return };
    let k = Emulated::new(kernels);
    let vars = PARAMETERS.map(|(name, len)| {
        (name.to_owned(), Var::from_vec(noise(len as u64, len), len, &Device::Cpu).expect("a variable"))
    });
    let mut truth = AdamW::new(vars.clone(), CONFIG).expect("an optimiser");
    let ours = PARAMETERS.map(|(_, len)| {
        let zeros = || k.zeros("moments", len).expect("room");
        (k.of(&noise(len as u64, len), Float::F32), zeros(), zeros())
    });
    for step in 1..=4 {
        // Steps of odd number are longer than the clip.
        let size = if step % 2 == 1 { 1.0 } else { 1e-3 };
        let values = PARAMETERS.map(|(_, len)| -> Vec<f32> {
            noise(len as u64 + step, len).into_iter().map(|x| x * size).collect()
        });
        let grads: BTreeMap<String, Tensor> = (PARAMETERS.iter().zip(&values))
            .map(|((name, len), values)| {
                (name.to_string(), Tensor::from_slice(values, *len, &Device::Cpu).expect("a gradient"))
            })
            .collect();
        truth.accumulate(&grads, 1.0).expect("gradients");
        let (lr, clip) = (1e-2, 1.0);
        let norm = truth.apply(lr, clip).expect("an update").norm;

        let grads = values.map(|values| k.of(&values, Float::F32));
        let arrays: Vec<_> = grads.iter().zip(PARAMETERS).map(|(grad, (_, len))| (grad, len)).collect();
        let length = train_pass::length(&k, &arrays).expect("a length");
        assert!((length - norm).abs() < 1e-7 * norm, "{length}, expected {norm}");
        let scale = if length > clip { clip / length } else { 1.0 };
        assert_eq!(scale < 1.0, step % 2 == 1, "both cases are there");
        for ((name, len), ((theta, first, second), grad)) in PARAMETERS.iter().zip(ours.iter().zip(&grads)) {
            let factors = CONFIG.factors(step, lr, scale, decays(name));
            train_pass::adamw(&k, theta, grad, (first, second), *len, &factors).expect("an update");
        }
    }
    let moments = truth.moments().expect("moments");
    let flat = |tensor: &Tensor| tensor.to_vec1::<f32>().expect("values");
    for ((name, var), (theta, first, second)) in vars.iter().zip(&ours) {
        close(name, &k.values_of(theta, Float::F32), &flat(var), 1e-6);
        for (which, moment) in [("first", first), ("second", second)] {
            let what = format!("{name}.{which}");
            close(&what, &k.values_of(moment, Float::F32), &flat(&moments[&what]), 1e-6);
        }
    }
}

#[test]
fn a_length_is_not_finite_where_a_value_is_not() {
    let Some(kernels) = emulated::kernels() else { return };
    let k = Emulated::new(kernels);
    for bad in [f32::NAN, f32::INFINITY] {
        let (fine, wrong) = (k.of(&[1.0, 2.0], Float::F32), k.of(&[0.0, bad], Float::F32));
        assert!(!train_pass::length(&k, &[(&fine, 2), (&wrong, 2)]).expect("a length").is_finite());
    }
}
