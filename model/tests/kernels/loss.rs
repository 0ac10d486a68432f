//! The loss of training and its gradient against plain loops in f64.

use netssm_model::engine::launch::Float;
use netssm_model::network::input::IGNORE;

use crate::emulated::{self, Argument, Buffer, Kernels, Launch, close};
use crate::noise;

fn cross_entropy(kernels: &Kernels, (rows, v): (usize, usize), float: Float, tolerance: f32) {
    let scale = 0.25f32;
    // Far apart, so that a row without its largest value taken off would be infinite.
    let logits: Vec<f32> = noise(1, rows * v).into_iter().map(|x| 100.0 * x).collect();
    let targets: Vec<u32> =
        (0..rows as u32).map(|row| if row % 3 == 1 { IGNORE } else { row * 7 % v as u32 }).collect();
    let (mut want, mut want_nats) = (vec![], vec![]);
    for (row, &target) in logits.chunks(v).zip(&targets) {
        if target == IGNORE {
            want.extend(vec![0.0; v]);
            want_nats.push(0.0);
            continue;
        }
        let largest = row.iter().fold(f64::MIN, |m, &x| m.max(f64::from(x)));
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
        want_nats.push((sum.ln() + largest - f64::from(row[target as usize])) as f32);
        for (i, &x) in row.iter().enumerate() {
            let share = (f64::from(x) - largest).exp() / sum - f64::from(u8::from(i == target as usize));
            want.push((share * f64::from(scale)) as f32);
        }
    }
    let mut buffers = vec![Buffer::of(&logits), Buffer::of(&targets), Buffer::unwritten::<f32>(rows)];
    // In f32 the gradient takes the logits' place.
    let grad = if float == Float::F32 { 0 } else { buffers.len() };
    if float == Float::Bf16 {
        buffers.push(Buffer::unwritten_floats(rows * v, float));
    }
    let arguments = [
        Argument::Buffer(0),
        Argument::Buffer(1),
        Argument::Buffer(2),
        Argument::Buffer(grad),
        Argument::Int(v),
        Argument::Float(scale),
    ];
    let launch = Launch { grid: (rows as u32, 1, 1), block: 128, shared: 0 };
    let out = kernels.launch(&format!("cross_entropy_{}", float.name()), launch, buffers, &arguments);
    let what = format!("{rows} x {v} in {float:?}");
    close(&format!("nats of {what}"), &out[2].values::<f32>(), &want_nats, 2e-6);
    close(&format!("gradient of {what}"), &out[grad].floats(float), &want, tolerance);
}

#[test]
fn the_loss_is_the_plain_loops() {
    let Some(kernels) = emulated::kernels() else { return };
    for shape in [(1, 1), (5, 27), (4, 300)] {
        cross_entropy(kernels, shape, Float::F32, 1e-5);
        cross_entropy(kernels, shape, Float::Bf16, 4e-3);
    }
}
