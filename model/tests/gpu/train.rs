//! Training against the CPU's: scans, gradients, an update, a long sequence.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use netssm_model::engine::gpu::Gpu;
use netssm_model::engine::launch::Float;
use netssm_model::engine::scan::{Form, ScanInput, scan_as};
use netssm_model::engine::train_pass::Sizes;
use netssm_model::lm::{Engine, Mamba2};
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::init_weights;
use netssm_model::network::input::IGNORE;
use netssm_model::network::input::Input;
use netssm_model::network::weights::Parameters;
use netssm_model::optim::{AdamW, AdamWConfig};
use netssm_tokens::context::ContextShape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::gpu;
use crate::support::scan_input;

fn flat(t: &Tensor) -> Vec<f32> {
    t.to_device(&Device::Cpu)
        .and_then(|t| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>())
        .expect("values")
}

/// Asserts that `got` is within `tolerance` of `want`, relative to the largest magnitude in it.
fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(1e-6f32, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what}: {g} at {i}, expected {w} (scale {scale})");
    }
}

/// y and state of a scan, then the gradients of its five arguments where the form has any.
fn scan(
    form: Form,
    device: &Device,
    dtype: DType,
    (b, l, h, p): (usize, usize, usize, usize),
    (g, n): (usize, usize),
) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64((l * n) as u64);
    let mut draw = |shape: &[usize], low: f32, high: f32| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(low..high)).collect();
        // The same values in every dtype.
        let t = Tensor::from_vec(values, shape, &Device::Cpu).and_then(|t| t.to_dtype(DType::BF16));
        t.and_then(|t| t.to_dtype(dtype)?.to_device(device)).expect("a tensor")
    };
    let vars = [
        draw(&[b, l, h * p + 2 * g * n], -1.0, 1.0),
        draw(&[b, l, h], -4.0, 2.0),
        draw(&[h], 0.0, 2.77),
        draw(&[h], -1.0, 1.0),
        draw(&[h], -1.0, 1.0),
    ]
    .map(|t| Var::from_tensor(&t).expect("a variable"));
    let (initial, above) = (draw(&[b, h, p, n], -1.0, 1.0), draw(&[b, l, h * p], -1.0, 1.0));
    let lengths: Vec<usize> = (0..b).map(|i| l * (i + 1) / b).collect();
    let input = ScanInput {
        lengths: Some(&lengths),
        initial: Some(&initial),
        ..scan_input(vars.iter().map(|var| var.as_tensor()), (g, n), 64)
    };
    let (y, after) = scan_as(form, &input).expect("a scan");
    let mut out = vec![flat(&y), flat(&after)];
    if form != Form::Reference {
        let store = (y * above).and_then(|t| t.sum_all()?.backward()).expect("gradients");
        out.extend(vars.iter().map(|var| flat(store.get(var).expect("a gradient"))));
    }
    out
}

#[test]
fn scans_are_the_cpus() {
    let Some(device) = gpu() else { return };
    for (sizes, groups) in [
        ((1, 1, 1, 64), (1, 16)),
        ((3, 65, 4, 32), (2, 64)),
        ((2, 200, 2, 64), (1, 128)),
        ((1, 5000, 24, 64), (1, 128)),
    ] {
        let want = scan(Form::Chunked, &Device::Cpu, DType::F64, sizes, groups);
        for (dtype, tolerance) in [(DType::F32, 1e-3), (DType::BF16, 3e-2)] {
            let got = scan(Form::Kernels, &device, dtype, sizes, groups);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                close(&format!("result {i} of {sizes:?} {groups:?} in {dtype:?}"), got, want, tolerance);
            }
        }
    }
}

fn small((g, p, n): (usize, usize, usize), tied: bool) -> ModelConfig {
    ModelConfig {
        d_model: 256,
        n_layer: 3,
        vocab_size: 300,
        d_state: n,
        headdim: p,
        ngroups: g,
        tie_embeddings: tied,
        context: (!tied).then_some(ContextShape { version: 1, fields: 3, rows: 9 }),
        ..ModelConfig::default()
    }
}

struct Batch {
    tokens: Vec<u32>,
    context: Vec<u32>,
    targets: Vec<u32>,
    lengths: Vec<usize>,
    shape: (usize, usize),
}

impl Batch {
    fn new(cfg: &ModelConfig, (b, l): (usize, usize), seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lengths: Vec<usize> = (0..b).map(|i| l * (b - i) / b).collect();
        let mut token = || rng.random_range(0..cfg.vocab_size as u32);
        let tokens: Vec<u32> = (0..b * l).map(|_| token()).collect();
        let mut targets: Vec<u32> = (0..b * l).map(|_| token()).collect();
        for (row, &len) in lengths.iter().enumerate() {
            targets[row * l + len..(row + 1) * l].fill(IGNORE);
        }
        let context = (0..b * l * cfg.context_fields()).map(|_| rng.random_range(0..9)).collect();
        Self { tokens, context, targets, lengths, shape: (b, l) }
    }

    /// Two calls, the second with the state of the first: its loss and gradients.
    fn gradients(&self, model: &Mamba2) -> (f64, BTreeMap<String, Tensor>) {
        let tokens = Tensor::from_slice(&self.tokens, self.shape, model.device()).expect("tokens");
        let mut state = model.zero_state(self.shape.0).expect("a state");
        let mut once = || {
            let input = Input { tokens: &tokens, context: &self.context };
            model
                .loss_and_gradients(input, &self.targets, Some(&self.lengths), Some(&mut state))
                .expect("gradients")
        };
        once();
        once()
    }
}

#[test]
fn gradients_are_the_cpus() {
    let Some(device) = gpu() else { return };
    for (shape, tied, batch) in
        [((1, 64, 128), true, (2, 200)), ((2, 32, 16), false, (3, 129)), ((1, 32, 64), false, (8, 1024))]
    {
        let cfg = small(shape, tied);
        let batch = Batch::new(&cfg, batch, 3);
        let (host, on_device) = (
            Mamba2::load(&cfg, &init_weights(&cfg, 5, &Device::Cpu).expect("weights")).expect("a model"),
            init_weights(&cfg, 5, &device).expect("weights"),
        );
        let (nats, want) = batch.gradients(&host);
        for (float, tolerance) in [(Float::F32, 1e-3), (Float::Bf16, 5e-2)] {
            let mut model = Mamba2::load(&cfg, &on_device).expect("a model");
            model.set_engine(Engine::Kernels(float)).expect("kernels");
            let (got_nats, got) = batch.gradients(&model);
            assert!((got_nats - nats).abs() < f64::from(tolerance) * nats, "{got_nats}, expected {nats}");
            for (name, want) in &want {
                close(
                    &format!("{name} of {shape:?} in {float:?}"),
                    &flat(&got[name]),
                    &flat(want),
                    tolerance,
                );
            }
            let (again_nats, again) = batch.gradients(&model);
            assert_eq!(again_nats, got_nats, "the same call gives the same bits");
            for (name, got) in &got {
                assert_eq!(flat(&again[name]), flat(got), "{name}: the same call gives the same bits");
            }
        }
    }
}

#[test]
fn evaluation_is_the_cpus() {
    let Some(device) = gpu() else { return };
    let cfg = small((2, 32, 64), false);
    let batch = Batch::new(&cfg, (3, 150), 8);
    let logits = |model: &Mamba2| {
        let tokens = Tensor::from_slice(&batch.tokens, batch.shape, model.device()).expect("tokens");
        let whole = vec![batch.shape.1; batch.shape.0];
        let input = Input { tokens: &tokens, context: &batch.context };
        flat(&model.forward(input, Some(&whole), None).expect("logits"))
    };
    let host = Mamba2::init(&cfg, 5, &Device::Cpu).expect("a model");
    let mut model = Mamba2::init(&cfg, 5, &device).expect("a model");
    close("logits", &logits(&model), &logits(&host), 1e-3);
    model.set_engine(Engine::Tensors).expect("any device has them");
    close("logits by tensor operations", &logits(&model), &logits(&host), 1e-3);
    model.set_engine(Engine::Kernels(Float::Bf16)).expect("kernels");
    close("logits in bf16", &logits(&model), &logits(&host), 5e-2);
}

#[test]
fn an_update_is_the_cpus() {
    let Some(device) = gpu() else { return };
    let cfg = small((1, 64, 64), true);
    let batch = Batch::new(&cfg, (4, 256), 6);
    let constants = AdamWConfig { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 };
    let after = |device: &Device| {
        let parameters =
            Parameters::new(&init_weights(&cfg, 5, device).expect("weights")).expect("variables");
        let model = Mamba2::load(&cfg, &parameters.tensors()).expect("a model");
        let vars = parameters.vars().iter().map(|(name, var)| (name.clone(), var.clone()));
        let mut optim = AdamW::new(vars, constants).expect("an optimiser");
        let (_, gradients) = batch.gradients(&model);
        optim.accumulate(&gradients, 1.0).expect("a sum");
        let applied = optim.apply(1e-3, 1.0).expect("an update");
        (applied.norm, parameters.snapshot().expect("weights"))
    };
    let ((norm, got), (want_norm, want)) = (after(&device), after(&Device::Cpu));
    assert!((norm - want_norm).abs() < 1e-3 * want_norm, "norm {norm}, expected {want_norm}");
    // The first update is the learning rate times the gradient's sign, so where that is near zero it may differ by
    // twice as much.
    for (name, want) in &want {
        let (got, want) = (flat(&got[name]), flat(want));
        let far = got.iter().zip(&want).filter(|(g, w)| (*g - *w).abs() > 1e-5).count();
        assert!(far * 100 <= want.len(), "{name}: {far} of {} parameters differ", want.len());
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 2.1e-3), "{name}");
    }
}

#[test]
fn a_sequence_of_the_papers_length_at_its_size_fits() {
    let Some(device) = gpu() else { return };
    let cfg = ModelConfig { d_model: 768, n_layer: 24, vocab_size: 300, ..ModelConfig::default() };
    let sizes = Sizes::new(&cfg, (1, 100_000), Float::Bf16).expect("fits");
    let needed = sizes.memory() + 5 * 4 * cfg.parameters();
    let (free, _) = Gpu::of(&device).and_then(|gpu| gpu.memory()).expect("the driver's word");
    if free < needed {
        eprintln!("SKIPPED: {needed} bytes are needed on the device and {free} are free");
        return;
    }
    let mut model = Mamba2::load(&cfg, &init_weights(&cfg, 5, &device).expect("weights")).expect("a model");
    model.set_engine(Engine::Kernels(Float::Bf16)).expect("kernels");
    let batch = Batch::new(&cfg, (1, 100_000), 4);
    let (nats, gradients) = batch.gradients(&model);
    assert!((nats - 300f64.ln()).abs() < 1.0, "{nats} nats of random tokens");
    for (name, gradient) in &gradients {
        assert!(flat(gradient).iter().all(|x| x.is_finite()), "{name}");
    }
}
