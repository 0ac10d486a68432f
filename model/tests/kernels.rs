//! Every CUDA kernel against the CPU's code, on the host: see [`emulated`].

mod emulated;

use candle_core::Device;
use emulated::model::Emulated;
use emulated::{Argument, Buffer, Kernels, Launch, close, from_bf16, to_bf16};
use netssm_model::config::ModelConfig;
use netssm_model::context::ContextShape;
use netssm_model::decode::{FRESH, Float, SILENT, Types};
use netssm_model::lm::Mamba2;
use netssm_model::sample::Policy;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers between -1 and 1, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn rms_norm(kernels: &Kernels, rows: usize, d: usize) {
    let (x, weight, eps) = (noise(1, rows * d), noise(2, d), 1e-5f32);
    let want: Vec<f32> = x
        .chunks_exact(d)
        .flat_map(|row| {
            let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let scale = 1.0 / (squares / d as f64 + f64::from(eps)).sqrt();
            row.iter().zip(&weight).map(move |(x, w)| (f64::from(*x) * scale * f64::from(*w)) as f32)
        })
        .collect();
    let launch = Launch { grid: (rows as u32, 1, 1), block: 128, shared: 0 };
    let arguments = [
        Argument::Buffer(0),
        Argument::Buffer(1),
        Argument::Buffer(2),
        Argument::Int(d as i32),
        Argument::Float(eps),
    ];
    let input = || vec![Buffer::of(&x), Buffer::of(&weight)];
    let mut buffers = input();
    buffers.push(Buffer::unwritten::<f32>(rows * d));
    let out = kernels.launch("rms_norm_f32", launch, buffers, &arguments);
    let got = out[2].values::<f32>();
    close("rms_norm_f32", &got, &want, 2e-6);
    let mut buffers = input();
    buffers.push(Buffer::unwritten::<u16>(rows * d));
    let out = kernels.launch("rms_norm_bf16", launch, buffers, &arguments);
    assert_eq!(out[2].values::<u16>(), got.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>());
    close("rms_norm_bf16", &out[2].values().into_iter().map(from_bf16).collect::<Vec<_>>(), &want, 4e-3);
}

#[test]
fn rms_norm_is_the_cpus() {
    let Some(kernels) = emulated::kernels() else { return };
    for (rows, d) in [(1, 8), (3, 100), (17, 256), (2, 768)] {
        rms_norm(kernels, rows, d);
    }
}

/// A small model: groups, channels a head, state.
fn small((g, p, n): (usize, usize, usize)) -> ModelConfig {
    ModelConfig {
        d_model: 2 * p,
        n_layer: 2,
        vocab_size: 70,
        d_state: n,
        headdim: p,
        ngroups: g,
        context: (g == 2).then_some(ContextShape { version: 1, fields: 3, rows: 9 }),
        ..Default::default()
    }
}

/// Steps a model on the kernels and on the CPU: rows in slots of their own, one of them begun anew half-way.
fn steps(kernels: &Kernels, cfg: &ModelConfig, types: Types, rows: usize, tolerance: f32) {
    const STEPS: usize = 4;
    let model = Mamba2::init(cfg, 5, &Device::Cpu).expect("a model");
    let mut emulated = Emulated::new(kernels, &model, types, Policy::default(), rows + 2);
    let mut state = model.zero_state(rows).expect("a state");
    let mut rng = ChaCha8Rng::seed_from_u64(rows as u64);
    let fields = cfg.context_fields();
    let draws = vec![u64::MAX; rows * emulated.decoding.draw_words()];
    for step in 0..STEPS {
        let tokens: Vec<u32> = (0..rows).map(|_| rng.random_range(0..cfg.vocab_size as u32)).collect();
        let ids: Vec<u32> = (0..rows * fields)
            .map(|_| if rng.random_bool(0.2) { u32::MAX } else { rng.random_range(0..9) })
            .collect();
        let mut tickets = Vec::new();
        for row in 0..rows {
            let anew = step == 0 || (step == 2 && row == rows / 2);
            if anew {
                state.reset_row(row).expect("a row");
            }
            let slot = (rows + 1 - row) as u32;
            tickets.extend([tokens[row], slot, if anew { FRESH } else { 0 } | SILENT, rng.random()]);
            tickets.extend(&ids[row * fields..(row + 1) * fields]);
        }
        emulated.step(rows, &tickets, &draws);
        let want = model.step_beside(&tokens, &ids, &mut state).expect("a step");
        let want = want.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
        let what = format!(
            "step {step} of {rows} rows of {types:?} in {:?}",
            (cfg.ngroups, cfg.headdim, cfg.d_state)
        );
        close(&what, &emulated.logits(), &want, tolerance);
    }
}

#[test]
fn a_model_of_every_shape_steps_as_on_the_cpu() {
    let Some(kernels) = emulated::kernels() else { return };
    let shapes = [(1, 32, 16), (2, 32, 64), (1, 64, 128), (2, 64, 32), (1, 10, 5)];
    for (shape, rows) in shapes.into_iter().zip([3, 17, 1, 3, 2]) {
        steps(kernels, &small(shape), Types::default(), rows, 1e-5);
        let half = Types { weights: Float::Bf16, state: Float::F32 };
        steps(kernels, &small(shape), half, rows, 2e-2);
        steps(kernels, &small(shape), Types { state: Float::Bf16, ..half }, rows, 2e-2);
        steps(kernels, &small(shape), Types { state: Float::Bf16, ..Types::default() }, rows, 2e-2);
    }
}
