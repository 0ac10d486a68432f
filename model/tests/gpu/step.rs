//! The decode loop: steps against the CPU's, and sessions end to end.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use netssm_model::checkpoint::Checkpoint;
use netssm_model::engine::gpu::step::Probe;
use netssm_model::engine::launch::Float;
use netssm_model::engine::step_program::Types;
use netssm_model::generate::{Ending, GenerateOptions, Generated, Generator, Limit, SessionRequest};
use netssm_model::lm::Mamba2;
use netssm_model::network::config::ModelConfig;
use netssm_model::precision::Precision;
use netssm_tokens::context::ContextShape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::gpu;

fn model((g, p, n): (usize, usize, usize)) -> ModelConfig {
    ModelConfig {
        d_model: 128,
        n_layer: 3,
        vocab_size: 300,
        d_state: n,
        headdim: p,
        ngroups: g,
        context: Some(ContextShape { version: 1, fields: 3, rows: 9 }),
        ..Default::default()
    }
}

#[test]
fn steps_are_the_cpus() {
    let Some(device) = gpu() else { return };
    for (shape, rows) in [((1, 64, 128), 1), ((2, 32, 16), 3), ((1, 32, 64), 17), ((2, 64, 32), 1500)] {
        let cfg = model(shape);
        let host = Mamba2::init(&cfg, 5, &Device::Cpu).expect("a model");
        for (weights, state, tolerance) in [
            (Float::F32, Float::F32, 1e-4),
            (Float::Bf16, Float::F32, 2e-2),
            (Float::F32, Float::Bf16, 2e-2),
            (Float::Bf16, Float::Bf16, 2e-2),
        ] {
            let mut probe =
                Probe::new(&device, (&cfg, host.params()), Types { weights, state }, rows).expect("a probe");
            let mut carried = host.zero_state(rows).expect("a state");
            let mut rng = ChaCha8Rng::seed_from_u64(rows as u64);
            for step in 0..20 {
                let tokens: Vec<u32> = (0..rows).map(|_| rng.random_range(0..300)).collect();
                let context: Vec<u32> = (0..3 * rows).map(|_| rng.random_range(0..9)).collect();
                let fresh = if step == 10 { vec![rows / 2] } else { vec![] };
                for &row in &fresh {
                    carried.reset_row(row).expect("a row");
                }
                let got = probe.step(&tokens, &context, &fresh).expect("a step");
                let want = host.step_with_context(&tokens, &context, &mut carried).expect("a step");
                let want = want.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
                let scale = want.iter().fold(0f32, |m, x| m.max(x.abs()));
                for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                    let what = format!("{shape:?} {rows} {weights:?} {state:?} step {step} at {i}");
                    assert!((g - w).abs() <= tolerance * scale, "{what}: {g}, expected {w}");
                }
            }
        }
    }
}

fn sessions(device: &Device, precision: Precision, batch: usize, count: u64) -> Vec<Generated> {
    // On another machine than the one that built this, the models are where the variable says.
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/models");
    let dir = std::env::var_os("NETSSMD_MODELS").map_or(built, Into::into).join("default");
    let checkpoint = Checkpoint::open(&dir).expect("the model that ships");
    let options = GenerateOptions { device: device.clone(), precision, batch, ..Default::default() };
    let label = checkpoint.codec().vocab().labels()[0].clone();
    let mut generator = Generator::new(&checkpoint, options).expect("a generator");
    let request = |id| SessionRequest {
        id,
        label: label.clone(),
        seed: 900 + id,
        limit: Limit::Packets(40),
        prompt: None,
    };
    let mut out = Vec::new();
    let mut requests = (0..count).map(request);
    let go_on = &mut |_: &_| ControlFlow::Continue(());
    generator.run(&mut requests, &mut |generated| out.push(generated), go_on).expect("sessions");
    out.sort_by_key(|generated: &Generated| generated.id);
    out
}

#[test]
fn sessions_depend_on_their_seed_alone() {
    let Some(device) = gpu() else { return };
    for precision in [Precision::F32, Precision::Bf16, Precision::Bf16State] {
        let one = sessions(&device, precision, 1, 6);
        for generated in &one {
            assert!(matches!(generated.ending, Ending::Limit | Ending::EndToken), "{:?}", generated.ending);
            generated.session.check().expect("a good session");
        }
        let many = sessions(&device, precision, 300, 700);
        assert_eq!(many.len(), 700);
        for (a, b) in one.iter().zip(&many) {
            assert_eq!(a.session, b.session, "{precision}, session {}", a.id);
        }
    }
}

#[test]
fn in_f32_most_sessions_begin_as_the_cpus() {
    let Some(device) = gpu() else { return };
    let (gpu, cpu) =
        (sessions(&device, Precision::F32, 16, 32), sessions(&Device::Cpu, Precision::F32, 16, 32));
    // The draws are the same; a token differs only where a sum's last bits decide.
    let same = gpu.iter().zip(&cpu).filter(|(a, b)| {
        let n = a.session.packets.len().min(b.session.packets.len()).min(10);
        a.session.packets[..n] == b.session.packets[..n]
    });
    assert!(same.count() >= 28, "fewer than 28 of 32 sessions begin alike");
}

#[test]
fn too_large_a_batch_is_refused_before_anything_runs() {
    let Some(device) = gpu() else { return };
    let cfg = ModelConfig { d_model: 2048, n_layer: 8, vocab_size: 300, ..Default::default() };
    let host = Mamba2::init(&cfg, 1, &Device::Cpu).expect("a model");
    let Err(error) = Probe::new(&device, (&cfg, host.params()), Types::default(), 1 << 20) else {
        panic!("it fits")
    };
    let text = error.to_string();
    assert!(text.contains("MiB are free") && text.contains("a batch of"), "{text}");
}
