//! The norm and the matrix products.

use crate::emulated::{self, Argument, Buffer, Kernels, Launch, close, from_bf16, to_bf16};
use crate::noise;

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
        Argument::Int(d),
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

/// `a (rows, k) w (n, k)^T` in f64.
fn product(a: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let dot = |a: &[f32], w: &[f32]| {
        a.iter().zip(w).map(|(a, w)| f64::from(*a) * f64::from(*w)).sum::<f64>() as f32
    };
    a.chunks_exact(k).flat_map(|a| w.chunks_exact(k).map(move |w| dot(a, w))).collect()
}

fn matmul(
    kernels: &Kernels,
    name: &str,
    tile: usize,
    (rows, n, k): (usize, usize, usize),
    add: bool,
) -> Vec<f32> {
    let bf16 = name == "matmul_bf16";
    let round = |values: Vec<f32>| -> Vec<f32> {
        if bf16 { values.into_iter().map(|x| from_bf16(to_bf16(x))).collect() } else { values }
    };
    let (a, w, before) = (round(noise(3, rows * k)), round(noise(4, n * k)), noise(5, rows * n));
    let mut want = product(&a, &w, k);
    if add {
        want.iter_mut().zip(&before).for_each(|(x, before)| *x += before);
    }
    let operand = |values: &[f32]| match bf16 {
        true => Buffer::of(&values.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>()),
        false => Buffer::of(values),
    };
    let out = if add { Buffer::of(&before) } else { Buffer::unwritten::<f32>(rows * n) };
    let block = if bf16 { 128 } else { 256 };
    let launch = Launch { grid: (n.div_ceil(64) as u32, rows.div_ceil(tile) as u32, 1), block, shared: 0 };
    let arguments = [
        Argument::Buffer(0),
        Argument::Buffer(1),
        Argument::Buffer(2),
        Argument::Int(rows),
        Argument::Int(n),
        Argument::Int(k),
        Argument::Int(usize::from(add)),
    ];
    let got =
        kernels.launch(name, launch, vec![operand(&a), operand(&w), out], &arguments)[2].values::<f32>();
    close(&format!("{name} of {rows} x {n} x {k}"), &got, &want, 2e-6);
    got
}

#[test]
fn products_are_the_same_whatever_the_tile_and_the_batch() {
    let Some(kernels) = emulated::kernels() else { return };
    for (n, k) in [(1, 3), (70, 32), (129, 50)] {
        let one = matmul(kernels, "matmul_f32_16", 16, (1, n, k), false);
        for (name, tile) in [("matmul_f32_16", 16), ("matmul_f32_64", 64), ("matmul_f32_128", 128)] {
            let many = matmul(kernels, name, tile, (131, n, k), false);
            // The first row's inputs are the same.
            assert_eq!(many[..n], one, "{name}");
            matmul(kernels, name, tile, (17, n, k), true);
        }
        let one = matmul(kernels, "matmul_bf16", 64, (1, n, k), false);
        assert_eq!(matmul(kernels, "matmul_bf16", 64, (70, n, k), false)[..n], one);
        matmul(kernels, "matmul_bf16", 64, (17, n, k), true);
    }
}
