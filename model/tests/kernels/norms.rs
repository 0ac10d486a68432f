//! The norms of training: forward against plain loops in f64, backward against central differences of these.

use netssm_model::engine::launch::Float;
use netssm_model::engine::train_pass::NORM_ROWS;

use crate::emulated::{self, Argument, Buffer, Kernels, Launch, close};
use crate::{noise, noise_in};

const EPS: f64 = 1e-5;
/// Two pieces of the backward kernels, the second not whole.
const ROWS: usize = NORM_ROWS + 3;

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// The gradient of `sum(above f(x))` by x, by central differences.
fn slopes(x: &[f64], above: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let mut x = x.to_vec();
    let mut total = |i: usize, by: f64| {
        x[i] += by;
        let sum: f64 = f(&x).iter().zip(above).map(|(out, above)| out * above).sum();
        x[i] -= by;
        sum
    };
    (0..above.len()).map(|i| (total(i, STEP) - total(i, -STEP)) / (2.0 * STEP)).collect()
}

/// `x / sqrt(mean(x^2) + eps) weight` within each of `groups`.
fn norm(x: &[f64], weight: &[f64], groups: usize) -> Vec<f64> {
    let size = x.len() / groups;
    let scaled = |x: &[f64]| -> Vec<f64> {
        let root = (x.iter().map(|x| x * x).sum::<f64>() / size as f64 + EPS).sqrt();
        x.iter().map(|x| x / root).collect()
    };
    x.chunks(size).flat_map(scaled).zip(weight).map(|(x, weight)| x * weight).collect()
}

fn gated(y: &[f64], z: &[f64]) -> Vec<f64> {
    y.iter().zip(z).map(|(y, z)| y * z / (1.0 + (-z).exp())).collect()
}

/// The weight's gradient, from the rows after norm without weight.
fn of_weight(normed: &[Vec<f64>], above: &[f32]) -> Vec<f32> {
    let width = normed[0].len();
    let sum =
        |i: usize| normed.iter().enumerate().map(|(r, row)| row[i] * f64::from(above[r * width + i])).sum();
    narrow(&(0..width).map(sum).collect::<Vec<f64>>())
}

/// The columns' sums of pieces of `width` values.
fn summed(pieces: &[f32], width: usize) -> Vec<f32> {
    (0..width).map(|i| pieces.iter().skip(i).step_by(width).sum()).collect()
}

fn gated_norm(kernels: &Kernels, (e, groups): (usize, usize), float: Float, tolerance: f32) {
    let (width, what) = (e + 5, format!("of {e} in {groups} groups in {float:?}"));
    let (y, z) = (noise_in(float, 1, ROWS * e), noise_in(float, 2, ROWS * width));
    let (weight, above) = (noise(3, e), noise_in(float, 4, ROWS * e));
    let weights = wide(&weight);
    let ones = vec![1.0; e];
    let (mut want, mut want_y, mut want_z, mut normed) = (vec![], vec![], vec![], vec![]);
    for row in 0..ROWS {
        let (y, z) = (wide(&y[row * e..][..e]), wide(&z[row * width..][..e]));
        let above = wide(&above[row * e..][..e]);
        want.extend(narrow(&norm(&gated(&y, &z), &weights, groups)));
        want_y.extend(narrow(&slopes(&y, &above, |y| norm(&gated(y, &z), &weights, groups))));
        want_z.extend(narrow(&slopes(&z, &above, |z| norm(&gated(&y, z), &weights, groups))));
        normed.push(norm(&gated(&y, &z), &ones, groups));
    }
    let sizes = [Argument::Int(e), Argument::Int(groups), Argument::Int(width)];
    let eps = Argument::Float(EPS as f32);
    let floats = |values: &[f32]| Buffer::of_floats(values, float);
    let room = |len| Buffer::unwritten_floats(len, float);

    let buffers = vec![floats(&y), floats(&z), Buffer::of(&weight), room(ROWS * e)];
    let mut arguments: Vec<Argument<usize>> = (0..buffers.len()).map(Argument::Buffer).collect();
    arguments.extend(sizes);
    arguments.push(eps);
    let launch = Launch { grid: (ROWS as u32, 1, 1), block: 128, shared: 0 };
    let out = kernels.launch(&format!("gated_norm_{}", float.name()), launch, buffers, &arguments);
    close(&format!("gated_norm {what}"), &out[3].floats(float), &want, tolerance);

    let pieces = ROWS.div_ceil(NORM_ROWS);
    let mut buffers = vec![floats(&y), floats(&z), Buffer::of(&weight), floats(&above)];
    buffers.extend([room(ROWS * e), room(ROWS * width), Buffer::unwritten::<f32>(pieces * e)]);
    let mut arguments: Vec<Argument<usize>> = (0..buffers.len()).map(Argument::Buffer).collect();
    arguments.push(Argument::Int(ROWS));
    arguments.extend(sizes);
    arguments.push(eps);
    let launch = Launch { grid: (pieces as u32, 1, 1), block: 128, shared: e * 4 };
    let out = kernels.launch(&format!("gated_norm_backward_{}", float.name()), launch, buffers, &arguments);
    close(&format!("gradient of y {what}"), &out[4].floats(float), &want_y, tolerance);
    let rows = out[5].floats(float);
    let got: Vec<f32> = rows.chunks(width).flat_map(|row| row[..e].to_vec()).collect();
    close(&format!("gradient of z {what}"), &got, &want_z, tolerance);
    assert!(
        rows.chunks(width).all(|row| row[e..].iter().all(|x| x.is_nan())),
        "a column that is not z's {what}"
    );
    let got = summed(&out[6].values::<f32>(), e);
    close(&format!("gradient of the weight {what}"), &got, &of_weight(&normed, &above), 1e-5);
}

#[test]
fn gated_norms_are_the_plain_loops() {
    let Some(kernels) = emulated::kernels() else { return };
    for shape in [(8, 1), (132, 1), (66, 2), (264, 2)] {
        gated_norm(kernels, shape, Float::F32, 5e-6);
        gated_norm(kernels, shape, Float::Bf16, 4e-3);
    }
}

#[test]
fn the_norms_gradient_is_the_plain_loops() {
    let Some(kernels) = emulated::kernels() else { return };
    for d in [7, 130] {
        let (x, weight, above, before) =
            (noise(1, ROWS * d), noise(2, d), noise(3, ROWS * d), noise(4, ROWS * d));
        let (weights, ones) = (wide(&weight), vec![1.0; d]);
        let (mut want, mut normed) = (wide(&before), vec![]);
        for row in 0..ROWS {
            let (x, above) = (wide(&x[row * d..][..d]), wide(&above[row * d..][..d]));
            let slopes = slopes(&x, &above, |x| norm(x, &weights, 1));
            want[row * d..][..d].iter_mut().zip(slopes).for_each(|(to, slope)| *to += slope);
            normed.push(norm(&x, &ones, 1));
        }
        let pieces = ROWS.div_ceil(NORM_ROWS);
        let mut buffers: Vec<Buffer> = [&x, &weight, &above, &before].map(|values| Buffer::of(values)).into();
        buffers.push(Buffer::unwritten::<f32>(pieces * d));
        let mut arguments: Vec<Argument<usize>> = (0..buffers.len()).map(Argument::Buffer).collect();
        arguments.extend([Argument::Int(ROWS), Argument::Int(d), Argument::Float(EPS as f32)]);
        let launch = Launch { grid: (pieces as u32, 1, 1), block: 128, shared: d * 4 };
        let out = kernels.launch("rms_norm_backward", launch, buffers, &arguments);
        close(&format!("gradient of a norm of {d}"), &out[3].values::<f32>(), &narrow(&want), 5e-6);
        let got = summed(&out[4].values::<f32>(), d);
        close(&format!("gradient of a weight of {d}"), &got, &of_weight(&normed, &above), 1e-5);
    }
}
