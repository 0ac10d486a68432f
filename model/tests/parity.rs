//! The model against Hugging Face transformers' Mamba-2, through the fixtures in `tests/fixtures`.
//!
//! Tolerances: a logit may differ by 1e-4. A gradient tensor may differ in any element by 1e-3 of that tensor's largest
//! magnitude (gradients of one loss span four orders of magnitude between parameters, so an absolute bound would say
//! nothing about the small ones). Both engines are held to both.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use netssm_model::lm::{Engine, Mamba2};
use netssm_model::network::config::ModelConfig;
use netssm_model::network::input::IGNORE;
use netssm_model::network::weights::{self, Parameters, Weights};

const LOGITS: f64 = 1e-4;
const GRADIENTS: f64 = 1e-3;

struct Fixture {
    cfg: ModelConfig,
    weights: Weights,
    gradients: BTreeMap<String, Tensor>,
    tokens: Tensor, // (b, l) u32
    logits: Tensor, // (b, l, v)
    loss: f32,
}

fn fixture(case: &str) -> Fixture {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join(format!("mamba2_{case}.json"))).unwrap()).unwrap();
    let cfg = ModelConfig::from_json(&json["config"].to_string(), &folder).unwrap();
    let bytes = std::fs::read(folder.join(format!("mamba2_{case}.safetensors"))).unwrap();
    let mut all: BTreeMap<String, Tensor> =
        candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap().into_iter().collect();
    let tokens = all.remove("fixture.tokens").unwrap().to_dtype(DType::U32).unwrap();
    let logits = all.remove("fixture.logits").unwrap();
    let loss = all.remove("fixture.loss").unwrap().to_scalar().unwrap();
    let mut gradients = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (name, t) in all {
        match name.strip_prefix("grad.") {
            Some(name) => gradients.insert(name.replace("embeddings", "embedding"), t),
            None => tensors.insert(name, t),
        };
    }
    Fixture { weights: weights::checked(&cfg, &tensors).unwrap(), cfg, gradients, tokens, logits, loss }
}

fn largest(t: &Tensor) -> f64 {
    let values = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    values.iter().fold(0.0, |m, x| if x.is_nan() { f64::INFINITY } else { m.max(x.abs()) })
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    largest(&(a.to_dtype(DType::F64).unwrap() - b.to_dtype(DType::F64).unwrap()).unwrap())
}

/// Next-token targets of the fixture's loss: none at a row's last position.
fn targets(tokens: &Tensor) -> Vec<u32> {
    let rows = tokens.to_vec2::<u32>().unwrap();
    rows.iter().flat_map(|r| r[1..].iter().copied().chain([IGNORE])).collect()
}

#[test]
fn logits_and_gradients_are_those_of_transformers() {
    for case in ["groups1", "groups2"] {
        let f = fixture(case);
        for engine in [Engine::Fused, Engine::Tensors] {
            let parameters = Parameters::new(&f.weights).unwrap();
            let mut model = Mamba2::load(&f.cfg, &parameters.tensors()).unwrap();
            model.set_engine(engine).unwrap();
            let logits = model.forward(&f.tokens, None, None).unwrap();
            let off = difference(&logits, &f.logits);
            let loss = model.loss(&f.tokens, &targets(&f.tokens), None, None).unwrap();
            let loss_off = (loss.to_scalar::<f32>().unwrap() - f.loss).abs();
            let gradients = loss.backward().unwrap();
            let (nats, direct) =
                model.loss_and_gradients(&f.tokens, &targets(&f.tokens), None, None).unwrap();
            assert!((nats - f64::from(f.loss)).abs() <= 1e-5, "{case} {engine:?}: loss {nats}");
            assert_eq!(direct.len(), f.gradients.len());
            assert_eq!(f.gradients.len(), parameters.vars().len());
            let mut worst = (0.0, "");
            for (name, var) in parameters.vars() {
                let expected = &f.gradients[name];
                let got = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("no gradient for {name}"));
                let off = difference(got, expected).max(difference(&direct[name], expected));
                let relative = off / largest(expected);
                if relative > worst.0 {
                    worst = (relative, name);
                }
            }
            eprintln!(
                "{case} {engine:?}: logits differ by at most {off:.2e}, the loss by {loss_off:.1e}, gradients by {:.2e} of \
                 their largest ({})",
                worst.0, worst.1
            );
            assert!(off <= LOGITS, "{case} {engine:?}: logits {off:e}");
            assert!(loss_off <= 1e-5, "{case} {engine:?}: loss {loss_off:e}");
            assert!(worst.0 <= GRADIENTS, "{case} {engine:?}: gradient of {} {:e}", worst.1, worst.0);
        }
    }
}

#[test]
fn prefill_then_step_equals_one_pass() {
    for case in ["groups1", "groups2"] {
        let f = fixture(case);
        let rows = f.tokens.to_vec2::<u32>().unwrap();
        for engine in [Engine::Fused, Engine::Tensors] {
            let mut model = Mamba2::load(&f.cfg, &f.weights).unwrap();
            model.set_engine(engine).unwrap();
            let mut worst = 0f64;
            for cut in [1, 2, 3, 16, 17, 40] {
                let mut state = model.zero_state(rows.len()).unwrap();
                let prompt: Vec<&[u32]> = rows.iter().map(|r| &r[..cut]).collect();
                let mut got = vec![model.prefill(&prompt, &mut state).unwrap()];
                for t in cut..rows[0].len() {
                    let tokens: Vec<u32> = rows.iter().map(|r| r[t]).collect();
                    got.push(model.step(&tokens, &mut state).unwrap());
                }
                let got = Tensor::stack(&got, 1).unwrap(); // (b, l - cut + 1, v)
                let expected = f.logits.narrow(1, cut - 1, rows[0].len() - cut + 1).unwrap();
                let off = difference(&got, &expected);
                assert!(off <= LOGITS, "{case} {engine:?} cut at {cut}: {off:e}");
                worst = worst.max(off);
            }
            eprintln!("{case} {engine:?}: prefill then step differs from one pass by at most {worst:.2e}");
        }
    }
}

#[test]
fn a_pass_may_be_cut_anywhere() {
    let f = fixture("groups2");
    for engine in [Engine::Fused, Engine::Tensors] {
        let mut model = Mamba2::load(&f.cfg, &f.weights).unwrap();
        model.set_engine(engine).unwrap();
        let mut state = model.zero_state(2).unwrap();
        let mut parts = vec![];
        for (from, len) in [(0, 1), (1, 2), (3, 20), (23, 18)] {
            let piece = f.tokens.narrow(1, from, len).unwrap().contiguous().unwrap();
            parts.push(model.forward(&piece, None, Some(&mut state)).unwrap());
        }
        let off = difference(&Tensor::cat(&parts, 1).unwrap(), &f.logits);
        assert!(off <= LOGITS, "{engine:?}: {off:e}");
    }
}

#[test]
fn a_ragged_batch_equals_its_rows_alone() {
    let f = fixture("groups1");
    let row = f.tokens.to_vec2::<u32>().unwrap().remove(0);
    let lengths = [1usize, 7, 16, 40];
    let mut padded = vec![];
    for &n in &lengths {
        padded.extend_from_slice(&row[..n]);
        padded.extend(std::iter::repeat_n(63u32, 40 - n)); // padding that would show
    }
    let padded = Tensor::from_vec(padded, (4, 40), &Device::Cpu).unwrap();
    for engine in [Engine::Fused, Engine::Tensors] {
        let mut model = Mamba2::load(&f.cfg, &f.weights).unwrap();
        model.set_engine(engine).unwrap();
        let mut state = model.zero_state(4).unwrap();
        let logits = model.forward(&padded, Some(&lengths), Some(&mut state)).unwrap();
        let next = model.step(&[5, 5, 5, 5], &mut state).unwrap();
        for (i, &n) in lengths.iter().enumerate() {
            let mut alone = model.zero_state(1).unwrap();
            let tokens = Tensor::from_slice(&row[..n], (1, n), &Device::Cpu).unwrap();
            let expected = model.forward(&tokens, None, Some(&mut alone)).unwrap();
            let got = logits.narrow(0, i, 1).unwrap().narrow(1, 0, n).unwrap();
            assert!(difference(&got, &expected) <= 1e-5, "{engine:?} row of {n}");
            let expected = model.step(&[5], &mut alone).unwrap();
            assert!(
                difference(&next.narrow(0, i, 1).unwrap(), &expected) <= 1e-5,
                "{engine:?} state after {n}"
            );
        }
        // The gradient does not see the padding either.
        let parameters = Parameters::new(&f.weights).unwrap();
        let mut model = Mamba2::load(&f.cfg, &parameters.tensors()).unwrap();
        model.set_engine(engine).unwrap();
        let mut goal = vec![IGNORE; 160];
        goal[40..46].copy_from_slice(&row[1..7]);
        let ragged = model.loss(&padded, &goal, Some(&lengths), None).unwrap().backward().unwrap();
        let tokens = Tensor::from_slice(&row[..7], (1, 7), &Device::Cpu).unwrap();
        let goal: Vec<u32> = row[1..7].iter().copied().chain([IGNORE]).collect();
        let alone = model.loss(&tokens, &goal, None, None).unwrap().backward().unwrap();
        for (name, var) in parameters.vars() {
            let (a, b) = (ragged.get(var.as_tensor()).unwrap(), alone.get(var.as_tensor()).unwrap());
            assert!(difference(a, b) <= 1e-5 * largest(b).max(1e-3), "{engine:?} gradient of {name}");
        }
    }
}

#[test]
fn a_row_steps_the_same_to_the_last_bit_in_any_batch() {
    let f = fixture("groups2");
    let model = Mamba2::load(&f.cfg, &f.weights).unwrap();
    let run = |batch: usize, at: usize| -> Vec<u32> {
        let mut state = model.zero_state(batch).unwrap();
        let mut bits = vec![];
        for t in 0..12u32 {
            let tokens: Vec<u32> =
                (0..batch).map(|i| if i == at { t * 5 } else { (i as u32 * 7 + t) % 64 }).collect();
            let logits = model.step(&tokens, &mut state).unwrap().to_vec2::<f32>().unwrap();
            bits.extend(logits[at].iter().map(|x| x.to_bits()));
        }
        bits
    };
    let alone = run(1, 0);
    for (batch, at) in [(2, 0), (2, 1), (5, 3), (9, 8), (16, 0), (33, 32), (64, 17)] {
        assert_eq!(run(batch, at), alone, "row {at} of {batch}");
    }
}

#[test]
fn a_prompt_gives_the_same_to_the_last_bit_in_any_batch() {
    let f = fixture("groups2");
    let model = Mamba2::load(&f.cfg, &f.weights).unwrap();
    let tokens = f.tokens.flatten_all().unwrap().to_vec1::<u32>().unwrap();
    let prompts = [&tokens[..1], &tokens[3..10], &tokens[2..34], &tokens[..33], &tokens[5..82]];
    let bits = |t: &Tensor| -> Vec<Vec<u32>> {
        t.to_vec2::<f32>().unwrap().iter().map(|r| r.iter().map(|x| x.to_bits()).collect()).collect()
    };
    let mut together = model.zero_state(5).unwrap();
    let logits = bits(&model.prefill(&prompts, &mut together).unwrap());
    let next = bits(&model.step(&[1, 2, 3, 4, 5], &mut together).unwrap());
    for (i, prompt) in prompts.iter().enumerate() {
        let mut alone = model.zero_state(1).unwrap();
        assert_eq!(bits(&model.prefill(&[prompt], &mut alone).unwrap())[0], logits[i], "prompt {i}");
        assert_eq!(bits(&model.step(&[i as u32 + 1], &mut alone).unwrap())[0], next[i], "after prompt {i}");
    }
}

#[test]
fn calls_that_do_not_fit_are_errors() {
    let f = fixture("groups1");
    let model = Mamba2::load(&f.cfg, &f.weights).unwrap();
    let mut state = model.zero_state(2).unwrap();
    let message = |e: netssm_model::error::Error| e.to_string();
    assert_eq!(
        message(model.step(&[1, 64], &mut state).unwrap_err()),
        "token: expected below the vocabulary's 64, got 64"
    );
    assert_eq!(message(model.step(&[1], &mut state).unwrap_err()), "state: expected 1 rows, got 2");
    assert!(message(model.prefill(&[&[1], &[]], &mut state).unwrap_err()).contains("empty row"));
    let bad = Tensor::from_slice(&[1u32, 99], (1, 2), &Device::Cpu).unwrap();
    assert!(message(model.forward(&bad, None, None).unwrap_err()).contains("got 99"));
    assert!(message(model.forward(&f.tokens, Some(&[3, 99]), None).unwrap_err()).starts_with("lengths"));
    assert!(message(model.prefill(&[&[1], &[70]], &mut state).unwrap_err()).contains("got 70"));
    let empty = Tensor::zeros((2, 0), DType::U32, &Device::Cpu).unwrap();
    assert!(message(model.forward(&empty, None, None).unwrap_err()).contains("got (2, 0)"));
    assert_eq!(model.prefill(&[], &mut model.zero_state(0).unwrap()).unwrap().dims(), [0, 64]);
    let untouched = model.step(&[1, 2], &mut model.zero_state(2).unwrap()).unwrap();
    assert_eq!(difference(&model.step(&[1, 2], &mut state).unwrap(), &untouched), 0.0);
    let loss = model.loss(&f.tokens, &[1], None, None).unwrap_err();
    assert!(message(loss).starts_with("targets: expected one per row of logits"));
}
