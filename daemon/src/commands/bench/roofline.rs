//! The machine's roofline: how many bytes it copies and how much arithmetic it does per second. It is measured on the
//! threads of the current rayon pool, or on a GPU. Benchmarks state their own rates as shares of it.
//!
//! Each rate is the fastest of several runs, because a roof is what is possible, not what is usual.

use std::time::Duration;

use anyhow::anyhow;
use candle_core::{DType, Device, Tensor};
use netssm_model::engine::cpu::packed::{PackedMatrix, Scratch};
use netssm_model::precision::Precision;
use netssm_replay::clock::{Clock, SystemClock};
use rayon::prelude::*;
use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// How long each rate is measured. It is measured at least [`RUNS`] times.
const MEASURE: Duration = Duration::from_millis(300);
const RUNS: u32 = 5;
/// Bytes that each thread, or the GPU, copies from one buffer to another. A cache does not hold that much.
const COPY_BYTES: usize = 256 << 20;
/// Side of the large square matmul, at which a matrix library runs at its best rate. A GPU gets a larger one: the
/// smaller ends before the GPU reaches its full rate.
const SQUARE: usize = 2048;
const SQUARE_OF_A_GPU: usize = 8192;
/// Operations queued on a GPU before the host waits. With one alone, the wait itself would count as computing time.
const QUEUED: usize = 20;
/// Number of rows of the largest eight-bit matmul. Its weights are those of a block.
const INT8_ROWS: usize = 1024;

/// A matmul `(rows, inputs) (inputs, outputs)`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Shape {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
}

impl Shape {
    fn flops(self) -> f64 {
        2.0 * self.rows as f64 * self.inputs as f64 * self.outputs as f64
    }
}

/// Bytes per second of copying. Read and written bytes both count.
pub(super) fn copy(device: &Device) -> Outcome<f64> {
    let threads = if device.is_cpu() { rayon::current_num_threads() } else { 1 };
    let seconds = if device.is_cpu() {
        let mut buffers = vec![(vec![1_u8; COPY_BYTES], vec![0_u8; COPY_BYTES]); threads];
        fastest(|| {
            buffers.par_iter_mut().for_each(|(from, to)| to.copy_from_slice(std::hint::black_box(from)));
            Ok(())
        })?
    } else {
        let from = Tensor::zeros(COPY_BYTES / DType::F32.size_in_bytes(), DType::F32, device)?;
        each(device, || from.copy())?
    };
    Ok((2 * threads * COPY_BYTES) as f64 / seconds)
}

/// FLOP per second of the matrix library for these shapes, one after the other. The library is the one that candle
/// calls: the `gemm` crate on the CPU, cuBLAS on a GPU.
pub(super) fn product(device: &Device, dtype: DType, shapes: &[Shape]) -> Outcome<f64> {
    let mut seconds = 0.0;
    for &Shape { rows, inputs, outputs } in shapes {
        let filled = |shape| Tensor::rand(-1_f32, 1.0, shape, device)?.to_dtype(dtype);
        let (a, b) = (filled((rows, inputs))?, filled((outputs, inputs))?.t()?);
        seconds += each(device, || a.matmul(&b))?;
    }
    rate(shapes, seconds)
}

/// FLOP per second of the matrix library for a large square matmul.
pub(super) fn square(device: &Device, dtype: DType) -> Outcome<f64> {
    let side = if device.is_cpu() { SQUARE } else { SQUARE_OF_A_GPU };
    product(device, dtype, &[Shape { rows: side, inputs: side, outputs: side }])
}

/// Operations per second of this program's own eight-bit matmuls. The rows are split among the threads as a step splits
/// them. No matrix library that we know of has such matmuls, so the roof is our own best rate.
pub(super) fn int8(shapes: &[Shape]) -> Outcome<f64> {
    let mut seconds = 0.0;
    for &Shape { rows, inputs, outputs } in shapes {
        let number = |i: usize| (i * 7919 % 1009) as f32 / 504.5 - 1.0;
        let weights: Vec<f32> = (0..inputs * outputs).map(number).collect();
        let product = PackedMatrix::new(Precision::Int8, &weights, outputs, inputs)?;
        let x: Vec<f32> = (0..rows * inputs).map(number).collect();
        let mut out = vec![0_f32; rows * outputs];
        let share = rows.div_ceil(rayon::current_num_threads());
        let mut scratch = vec![Scratch::default(); rows.div_ceil(share)];
        seconds += fastest(|| {
            out.par_chunks_mut(share * outputs)
                .zip(x.par_chunks(share * inputs))
                .zip(&mut scratch)
                .for_each(|((out, x), scratch)| product.multiply(x, out, false, scratch));
            Ok(())
        })?;
    }
    rate(shapes, seconds)
}

/// The same for many rows of one shape.
pub(super) fn int8_best(shape: Shape) -> Outcome<f64> {
    int8(&[Shape { rows: INT8_ROWS, ..shape }])
}

fn rate(shapes: &[Shape], seconds: f64) -> Outcome<f64> {
    let rate = shapes.iter().map(|shape| shape.flops()).sum::<f64>() / seconds;
    if rate.is_finite() { Ok(rate) } else { Err(Failure::Run(anyhow!("nothing was multiplied"))) }
}

/// Seconds per operation, from the fastest run. A run on a GPU queues several operations at once.
fn each(device: &Device, work: impl Fn() -> candle_core::Result<Tensor>) -> Outcome<f64> {
    let count = if device.is_cpu() { 1 } else { QUEUED };
    let seconds = fastest(|| {
        for _ in 0..count {
            std::hint::black_box(work()?);
        }
        Ok(device.synchronize()?)
    })?;
    Ok(seconds / count as f64)
}

/// Seconds of the fastest run. One run before that warms up.
fn fastest(mut work: impl FnMut() -> Outcome) -> Outcome<f64> {
    let clock = SystemClock::new();
    work()?;
    let begun = clock.now();
    let (mut best, mut runs) = (Duration::MAX, 0);
    while runs < RUNS || clock.now().since(begun) < MEASURE {
        let start = clock.now();
        work()?;
        best = best.min(clock.now().since(start));
        runs += 1;
    }
    Ok(best.as_secs_f64())
}
