//! Whole models decoded by the kernels, and what becomes of a state that is kept in bf16.

use candle_core::Device;
use netssm_model::engine::launch::Float;
use netssm_model::engine::step_program::{FRESH, SILENT, Types};
use netssm_model::lm::Mamba2;
use netssm_model::network::config::ModelConfig;
use netssm_model::sample::Policy;
use netssm_tokens::context::ContextShape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::emulated::{self, Argument, Buffer, Kernels, Launch, close, from_bf16};
use crate::emulated_step::Emulated;
use crate::noise;

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
    let draws = vec![u64::MAX; rows * emulated.program.draw_words()];
    for step in 0..STEPS {
        let tokens: Vec<u32> = (0..rows).map(|_| rng.random_range(0..cfg.vocab_size as u32)).collect();
        let ids: Vec<u32> = (0..rows * fields)
            .map(|_| if rng.random_bool(0.2) { u32::MAX } else { rng.random_range(0..9) })
            .collect();
        let mut row_inputs = Vec::new();
        for row in 0..rows {
            let anew = step == 0 || (step == 2 && row == rows / 2);
            if anew {
                state.reset_row(row).expect("a row");
            }
            let slot = (rows + 1 - row) as u32;
            row_inputs.extend([tokens[row], slot, if anew { FRESH } else { 0 } | SILENT, rng.random()]);
            row_inputs.extend(&ids[row * fields..(row + 1) * fields]);
        }
        emulated.step(rows, &row_inputs, &draws);
        let want = model.step_with_context(&tokens, &ids, &mut state).expect("a step");
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

#[test]
fn a_row_does_not_know_of_the_others() {
    let Some(kernels) = emulated::kernels() else { return };
    for types in [Types::default(), Types { weights: Float::Bf16, state: Float::Bf16 }] {
        let model = Mamba2::init(&small((2, 32, 16)), 5, &Device::Cpu).expect("a model");
        let mut alone = Emulated::new(kernels, &model, types, Policy::default(), 1);
        let mut among = Emulated::new(kernels, &model, types, Policy::default(), 40);
        let words = alone.program.draw_words();
        for step in 0..3u32 {
            let row_input = |row: u32, slot| {
                let flags = if step == 0 { FRESH } else { 0 } | SILENT;
                [(7 + 13 * row + step) % 70, slot, flags, 1000 * row + step, row % 9, u32::MAX, step]
            };
            alone.step(1, &row_input(3, 0), &vec![0; words]);
            let many: Vec<u32> = (0..33).flat_map(|row| row_input(row, 39 - row)).collect();
            among.step(33, &many, &vec![0; 33 * words]);
            assert_eq!(alone.logits(), among.logits()[3 * 70..4 * 70], "{types:?}, step {step}");
        }
    }
}

/// One head of 4 channels and 4 states for `steps` tokens, with a decay of about `1 - 1e-3` a token: the outputs before
/// the gate's norm matter little, so the state itself comes back, as f32.
fn long_run(kernels: &Kernels, state: &str, steps: u32) -> Vec<f32> {
    let (e, n, k) = (4usize, 4usize, 2usize);
    let channels = e + 2 * n;
    let mut tail = Buffer::of(&vec![0f32; (k - 1) * channels]);
    let mut kept = match state {
        "f32" => Buffer::of(&vec![0f32; e * n]),
        _ => Buffer::of(&vec![0u16; e * n]),
    };
    let launch = Launch { grid: (1, 1, 1), block: 128, shared: 4 * (2 * e + 2 * n + 2 + 32) };
    let taps: Vec<f32> = vec![0.0; channels].into_iter().chain(vec![1.0; channels]).collect();
    for step in 0..steps {
        // z, x, B, C, raw dt; softplus(-6.9) is about 1e-3.
        let mut zx = noise(u64::from(step), e + channels + 1);
        zx[e..e + e].iter_mut().for_each(|x| *x += 2.0);
        zx[2 * e..2 * e + n].iter_mut().for_each(|b| *b += 2.0);
        zx[e + channels] = -6.9;
        let row_input = [0u32, 0, u32::from(step == 0) * FRESH, step.wrapping_mul(0x9e37_79b9)];
        let buffers = vec![
            Buffer::of(&zx),
            tail,
            kept,
            Buffer::of(&taps),
            Buffer::of(&vec![0f32; channels]),
            Buffer::of(&[0f32]),
            Buffer::of(&[-1f32]),
            Buffer::of(&[1f32]),
            Buffer::of(&vec![1f32; e]),
            Buffer::of(&row_input),
            Buffer::unwritten::<f32>(e),
        ];
        let sizes = [e, 1, e, n, 1, k, 4].map(Argument::Int);
        let mut arguments: Vec<Argument<usize>> = (0..buffers.len()).map(Argument::Buffer).collect();
        arguments.extend(sizes);
        arguments.extend([Argument::Float(1e-5), Argument::Int(0)]);
        let mut after = kernels.launch(&format!("layer_step_{state}_f32_4"), launch, buffers, &arguments);
        kept = after.swap_remove(2);
        tail = after.swap_remove(1);
    }
    if state == "f32" { kept.values() } else { kept.values().into_iter().map(from_bf16).collect() }
}

/// To the nearest, a bf16 that a decay of 0.999 multiplies never moves, nor does what a small step adds; the error
/// would grow with the run. Stochastically rounded it goes as f32 does, give or take.
#[test]
fn a_bf16_state_does_not_drift() {
    let Some(kernels) = emulated::kernels() else { return };
    for steps in [300, 3000] {
        let (want, got) = (long_run(kernels, "f32", steps), long_run(kernels, "bf16", steps));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let off = (mean(&got) - mean(&want)).abs() / mean(&want);
        assert!(off < 0.02, "{steps} steps: mean state {} in bf16, {} in f32", mean(&got), mean(&want));
        close("state", &got, &want, 0.1);
    }
}
