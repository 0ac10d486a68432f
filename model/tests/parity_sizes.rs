//! Every size that is promised: groups 1, 2 and 4, heads of 32 and 64, states 16 to 128, batches 1 to 513, ragged rows.
//!
//! The scan against the plain loop in f64 and whole models against themselves, token by token. Tolerances are those
//! that are promised, relative to the largest magnitude of what is compared: 1e-4 forward and 1e-3 for gradients in
//! f32, 2e-2 in bf16. What is usually found is far below, and printed.

mod support;

use candle_core::{DType, Device, Tensor, Var};
use netssm_model::engine::scan::{Form, ScanInput, scan_as};
use netssm_model::lm::{Engine, Mamba2};
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::init_weights;
use netssm_model::network::input::IGNORE;
use netssm_model::network::weights::Parameters;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::scan_input;

const FORWARD: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;
const HALF: f64 = 2e-2;

#[derive(Debug, Clone, Copy)]
struct Size {
    batch: usize,
    length: usize,
    groups: usize,
    headdim: usize,
    d_state: usize,
}

impl Size {
    /// Two heads a group.
    fn heads(self) -> usize {
        2 * self.groups
    }

    /// From none of the steps to all of them, all different where there are enough.
    fn lengths(self) -> Vec<usize> {
        (0..self.batch).map(|row| (row * 7 + self.length) % (self.length + 1)).collect()
    }

    fn config(self) -> ModelConfig {
        ModelConfig {
            d_model: self.heads() * self.headdim / 2,
            n_layer: 2,
            vocab_size: 11,
            d_state: self.d_state,
            headdim: self.headdim,
            ngroups: self.groups,
            chunk_size: 16,
            ..Default::default()
        }
    }
}

/// All combinations in small, then every batch in tiny.
fn sizes() -> Vec<Size> {
    let mut all = vec![];
    for groups in [1, 2, 4] {
        for headdim in [32, 64] {
            for d_state in [16, 32, 64, 128] {
                all.push(Size { batch: 3, length: 37, groups, headdim, d_state });
            }
        }
    }
    for batch in [1, 2, 15, 16, 17, 64, 65, 513] {
        all.push(Size { batch, length: 3, groups: 2, headdim: 32, d_state: 16 });
    }
    all
}

fn draw(rng: &mut ChaCha8Rng, shape: &[usize], low: f64, high: f64) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(low..high)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// x with B and C, steps, A, skip and bias of the steps, in f64.
fn arguments(size: Size) -> Vec<Tensor> {
    let Size { batch, length, groups, headdim, d_state } = size;
    let (rng, h) = (&mut ChaCha8Rng::seed_from_u64(d_state as u64), size.heads());
    vec![
        draw(rng, &[batch, length, h * headdim + 2 * groups * d_state], -1.0, 1.0),
        draw(rng, &[batch, length, h], -4.0, 2.0),
        draw(rng, &[h], 0.0, 2.77),
        draw(rng, &[h], -1.0, 1.0),
        draw(rng, &[h], -1.0, 1.0),
    ]
}

/// Outputs, end state, and gradients of a weighted sum of the outputs, where there are some.
fn scan(size: Size, form: Form, dtype: DType) -> (Tensor, Tensor, Vec<Tensor>) {
    let vars: Vec<Var> =
        arguments(size).iter().map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()).collect();
    let v: Vec<&Tensor> = vars.iter().map(Var::as_tensor).collect();
    let lengths = size.lengths();
    let input = ScanInput { lengths: Some(&lengths), ..scan_input(v, (size.groups, size.d_state), 16) };
    let (y, end) = scan_as(form, &input).unwrap();
    let weight = draw(&mut ChaCha8Rng::seed_from_u64(9), y.dims(), -1.0, 1.0).to_dtype(dtype).unwrap();
    let gradients = (form != Form::Reference)
        .then(|| (&y * &weight).unwrap().sum_all().unwrap().backward().unwrap())
        .map(|all| vars.iter().map(|var| all.get(var.as_tensor()).unwrap().clone()).collect());
    (y, end, gradients.unwrap_or_default())
}

fn off(got: &Tensor, truth: &Tensor) -> f64 {
    assert_eq!(got.dims(), truth.dims());
    let values = |t: &Tensor| -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let (got, truth) = (values(got), values(truth));
    let scale = truth.iter().fold(1e-6_f64, |m, x| m.max(x.abs()));
    let differences = got.iter().zip(&truth).map(|(a, b)| (a - b).abs() / scale);
    differences.fold(0.0, |m, off| if off.is_nan() { f64::INFINITY } else { off.max(m) })
}

#[test]
fn both_scans_are_the_plain_loop_forward_and_backward() {
    let (mut forward, mut backward) = (0.0_f64, 0.0_f64);
    for size in sizes() {
        let (y, end, _) = scan(size, Form::Reference, DType::F64);
        // Its gradient is checked against finite differences elsewhere (parity_scan.rs).
        let (_, _, truth) = scan(size, Form::Chunked, DType::F64);
        for form in [Form::Chunked, Form::Fused] {
            let (got_y, got_end, gradients) = scan(size, form, DType::F32);
            let worst = off(&got_y, &y).max(off(&got_end, &end));
            assert!(worst < FORWARD, "{form:?} {size:?}: {worst:e}");
            forward = forward.max(worst);
            for (which, (got, truth)) in gradients.iter().zip(&truth).enumerate() {
                let worst = off(got, truth);
                assert!(worst < GRADIENT, "{form:?} {size:?} gradient {which}: {worst:e}");
                backward = backward.max(worst);
            }
        }
    }
    eprintln!("f32 scans differ from the plain loop by {forward:.1e}, their gradients by {backward:.1e}");
}

#[test]
fn the_chunked_scan_in_bf16_is_near_the_plain_loop_on_the_same_values() {
    let mut worst = 0.0_f64;
    for size in sizes().into_iter().filter(|size| size.batch <= 17) {
        // Both read what bf16 leaves of the arguments: what is measured is the arithmetic.
        let rounded: Vec<Tensor> = arguments(size).iter().map(|t| t.to_dtype(DType::BF16).unwrap()).collect();
        let exact: Vec<Tensor> = rounded.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
        let lengths = size.lengths();
        let run = |form, v: &[Tensor]| {
            let input =
                ScanInput { lengths: Some(&lengths), ..scan_input(v, (size.groups, size.d_state), 16) };
            scan_as(form, &input).unwrap()
        };
        let ((y, end), (got_y, got_end)) = (run(Form::Reference, &exact), run(Form::Chunked, &rounded));
        let off = off(&got_y, &y).max(off(&got_end, &end));
        assert!(off < HALF, "{size:?}: {off:e}");
        worst = worst.max(off);
    }
    eprintln!("the chunked scan in bf16 differs from the plain loop by {worst:.1e}");
}

/// Whole models: a prompt and then step by step is one pass, on both engines; and both engines have the same gradients.
#[test]
fn models_decode_what_they_prefill_and_engines_agree() {
    let (mut decoded, mut apart) = (0.0_f64, 0.0_f64);
    // A model does nothing with its state but the scan, which was tested in every size: the ends of its range will do.
    let ends = |size: &Size| size.batch != 3 || [16, 128].contains(&size.d_state);
    for (i, size) in sizes().into_iter().filter(ends).enumerate() {
        let (cfg, Size { batch, length, .. }) = (size.config(), size);
        let mut rng = ChaCha8Rng::seed_from_u64(i as u64);
        let parameters = Parameters::new(&init_weights(&cfg, i as u64, &Device::Cpu).unwrap()).unwrap();
        let rows: Vec<Vec<u32>> =
            (0..batch).map(|_| (0..length).map(|_| rng.random_range(0..11)).collect()).collect();
        let tokens = Tensor::from_vec(rows.concat(), (batch, length), &Device::Cpu).unwrap();
        let lengths = size.lengths();
        let targets: Vec<u32> = (0..batch * length)
            .map(|at| if at % length < lengths[at / length] { rng.random_range(0..11) } else { IGNORE })
            .collect();
        let mut results = vec![];
        for engine in [Engine::Fused, Engine::Tensors] {
            // Of plain tensors, whose weights are packed once for all steps.
            let mut model = Mamba2::load(&cfg, &parameters.snapshot().unwrap()).unwrap();
            model.set_engine(engine).unwrap();
            let whole = model.forward(&tokens, None, None).unwrap();
            let mut state = model.zero_state(batch).unwrap();
            // Every row has read another part of itself; rows of a step may stand anywhere.
            let cut = |row: usize| 1 + row % (length - 1).max(1);
            let prompts: Vec<&[u32]> = rows.iter().enumerate().map(|(i, row)| &row[..cut(i)]).collect();
            let mut logits = model.prefill(&prompts, &mut state).unwrap();
            for step in 0.. {
                for row in 0..batch {
                    let at = cut(row) + step - 1;
                    if at < length {
                        let truth = whole.get(row).unwrap().get(at).unwrap();
                        let off = off(&logits.get(row).unwrap(), &truth);
                        assert!(off < FORWARD, "{engine:?} {size:?} row {row} token {at}: {off:e}");
                        decoded = decoded.max(off);
                    }
                }
                if step + 1 == length.min(12) {
                    break;
                }
                let next: Vec<u32> =
                    rows.iter().enumerate().map(|(i, row)| row[(cut(i) + step).min(length - 1)]).collect();
                logits = model.step(&next, &mut state).unwrap();
            }
            let mut model = Mamba2::load(&cfg, &parameters.tensors()).unwrap();
            model.set_engine(engine).unwrap();
            let loss = model.loss(&tokens, &targets, Some(&lengths), None).unwrap();
            results.push((whole, loss.backward().unwrap()));
        }
        let [(fused, fused_gradients), (tensors, gradients)] = &results[..] else { unreachable!() };
        let worst = off(fused, tensors);
        assert!(worst < FORWARD, "{size:?}: {worst:e}");
        for (name, var) in parameters.vars() {
            let [got, truth] = [fused_gradients, gradients].map(|all| all.get(var.as_tensor()).unwrap());
            let worst = off(got, truth);
            assert!(worst < GRADIENT, "{size:?} gradient of {name}: {worst:e}");
            apart = apart.max(worst);
        }
    }
    eprintln!("steps differ from one pass by {decoded:.1e}, gradients of the engines by {apart:.1e}");
}
