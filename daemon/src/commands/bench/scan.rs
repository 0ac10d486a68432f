//! `netssmd bench scan`: for each form of the selective scan, its speed, its difference from the reference, and its
//! share of the machine's roofline.

use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use netssm_model::engine::scan::{Form, ScanInput, scan_as};
use netssm_replay::clock::{Clock, SystemClock};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::cost::{scan_bytes, scan_flops};
use super::resident;
use super::roofline::{self, Shape};
use crate::cli::bench::BenchScanArgs;
use crate::commands::tell;
use crate::device;
use crate::exit::Outcome;

/// How long each form is repeated. It runs at least once.
const MEASURE: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize)]
struct Report {
    batch: usize,
    heads: usize,
    headdim: usize,
    d_state: usize,
    chunk: usize,
    threads: usize,
    device: &'static str,
    /// FLOP per token by the recurrence. The chunked form does more, which is not counted.
    flops_per_token: f64,
    /// Bytes per token that the scan must move: x, B, C and the time steps in, y out.
    bytes_per_token: f64,
    /// Bytes per second that the threads or the GPU copy. Read and written bytes both count.
    copy_bytes_per_second: f64,
    /// FLOP per second of the matrix library in f32, for the matmuls of one head's chunk and for a large square matmul.
    chunk_flops: f64,
    square_flops: f64,
    /// Read before the rooflines are measured.
    peak_resident_bytes: Option<u64>,
    rows: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    form: &'static str,
    length: usize,
    runs: u32,
    tokens_per_second: f64,
    flops_per_second: f64,
    share_of_square: f64,
    bytes_per_second: f64,
    share_of_copy: f64,
    /// Largest absolute difference of y from the reference.
    difference: f32,
}

/// The forms that a device has, each with the number format of its activations.
fn forms(device: &Device) -> &'static [(&'static str, Form, DType)] {
    if device.is_cpu() {
        return &[
            ("reference", Form::Reference, DType::F32),
            ("chunked", Form::Chunked, DType::F32),
            ("fused", Form::Fused, DType::F32),
        ];
    }
    &[
        ("chunked", Form::Chunked, DType::F32),
        ("kernels", Form::Kernels, DType::F32),
        ("kernels bf16", Form::Kernels, DType::BF16),
    ]
}

/// Runs the command.
pub(super) fn run(args: &BenchScanArgs) -> Outcome {
    let device = device::open(args.device)?;
    let mut rows = Vec::new();
    for &length in &args.lengths {
        let tensors = Tensors::random(args, length)?;
        let (truth, _) = scan_as(Form::Reference, &tensors.input(args))?;
        for &(name, form, dtype) in forms(&device) {
            let tensors = tensors.to(&device, dtype)?;
            rows.push(measure(name, form, &tensors.input(args), &truth, args.batch * length, length)?);
        }
    }
    let peak_resident_bytes = resident::peak_bytes();
    let inner = args.heads * args.headdim;
    let (flops_per_token, bytes_per_token) =
        (scan_flops(inner, args.d_state), scan_bytes(inner, args.d_state, args.heads));
    let (copy, square) = (roofline::copy(&device)?, roofline::square(&device, DType::F32)?);
    for m in &mut rows {
        m.flops_per_second = m.tokens_per_second * flops_per_token;
        m.share_of_square = m.flops_per_second / square;
        m.bytes_per_second = m.tokens_per_second * bytes_per_token;
        m.share_of_copy = m.bytes_per_second / copy;
    }
    let report = Report {
        batch: args.batch,
        heads: args.heads,
        headdim: args.headdim,
        d_state: args.d_state,
        chunk: args.chunk,
        threads: rayon::current_num_threads(),
        device: device::describe(&device),
        flops_per_token,
        bytes_per_token,
        copy_bytes_per_second: copy,
        chunk_flops: roofline::product(&device, DType::F32, &chunk_shapes(args))?,
        square_flops: square,
        peak_resident_bytes,
        rows,
    };
    tell(args.json, &report, lines)
}

/// The matmuls of one head's chunk: the scores of C and B, the scores times x, the state from B and x, and C times the
/// state.
fn chunk_shapes(args: &BenchScanArgs) -> [Shape; 4] {
    let (q, n, p) = (args.chunk, args.d_state, args.headdim);
    [(q, n, q), (q, q, p), (n, q, p), (q, n, p)].map(|(rows, inputs, outputs)| Shape {
        rows,
        inputs,
        outputs,
    })
}

/// The report for people.
fn lines(r: &Report) -> String {
    let mut text = format!(
        "batch {}, {} heads of {}, state {}, chunk {}, {} threads, {}\na token: {:.0} kFLOP by the recurrence, {:.1} kB in and out\n",
        r.batch,
        r.heads,
        r.headdim,
        r.d_state,
        r.chunk,
        r.threads,
        r.device,
        r.flops_per_token / 1e3,
        r.bytes_per_token / 1e3
    );
    text += &format!(
        "roofs: copy {:.1} GB/s, a chunk's products at {:.0} GFLOP/s, of a large square {:.0}\n",
        r.copy_bytes_per_second / 1e9,
        r.chunk_flops / 1e9,
        r.square_flops / 1e9
    );
    text += &format!(
        "{:>12} {:>8} {:>12} {:>10} {:>11} {:>8} {:>8} {:>12}\n",
        "form", "length", "tokens/s", "GFLOP/s", "of square", "GB/s", "of copy", "difference"
    );
    for m in &r.rows {
        text += &format!(
            "{:>12} {:>8} {:>12.0} {:>10.1} {:>9.0} % {:>8.2} {:>6.0} % {:>12.1e}\n",
            m.form,
            m.length,
            m.tokens_per_second,
            m.flops_per_second / 1e9,
            100.0 * m.share_of_square,
            m.bytes_per_second / 1e9,
            100.0 * m.share_of_copy,
            m.difference
        );
    }
    text + &resident::words(r.peak_resident_bytes)
}

struct Tensors {
    xbc: Tensor,
    dt: Tensor,
    a_log: Tensor,
    d: Tensor,
    dt_bias: Tensor,
}

impl Tensors {
    /// Random values in the range of a trained model: activations around 0, A from -16 to -1, time steps after softplus
    /// from 0.001 to 0.1.
    fn random(args: &BenchScanArgs, length: usize) -> Outcome<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let channels = args.heads * args.headdim + 2 * args.d_state;
        let mut draw = |shape: &[usize], low: f32, high: f32| {
            let n = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|_| rng.random_range(low..high)).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        Ok(Self {
            xbc: draw(&[args.batch, length, channels], -1.0, 1.0)?, // (b, l, C)
            dt: draw(&[args.batch, length, args.heads], -1.0, 1.0)?, // (b, l, h)
            a_log: draw(&[args.heads], 0.0, 16_f32.ln())?,          // (h)
            d: draw(&[args.heads], 0.5, 1.5)?,                      // (h)
            dt_bias: draw(&[args.heads], -6.9, -2.2)?,              // (h)
        })
    }

    /// The same tensors on a device, with activations in `dtype`.
    fn to(&self, device: &Device, dtype: DType) -> Outcome<Self> {
        Ok(Self {
            xbc: self.xbc.to_device(device)?.to_dtype(dtype)?,
            dt: self.dt.to_device(device)?.to_dtype(dtype)?,
            a_log: self.a_log.to_device(device)?,
            d: self.d.to_device(device)?,
            dt_bias: self.dt_bias.to_device(device)?,
        })
    }

    fn input(&self, args: &BenchScanArgs) -> ScanInput<'_> {
        ScanInput {
            xbc: &self.xbc,
            dt: &self.dt,
            a_log: &self.a_log,
            d: &self.d,
            dt_bias: &self.dt_bias,
            groups: 1,
            d_state: args.d_state,
            chunk_size: args.chunk,
            lengths: None,
            initial: None,
        }
    }
}

fn measure(
    name: &'static str,
    form: Form,
    input: &ScanInput<'_>,
    truth: &Tensor,
    tokens: usize,
    length: usize,
) -> Outcome<Measured> {
    let clock = SystemClock::new();
    let (y, _) = scan_as(form, input)?;
    let y = y.to_device(truth.device())?;
    let difference = (y.to_dtype(truth.dtype())? - truth)?.abs()?.flatten_all()?.max(0)?;
    let difference = difference.to_dtype(DType::F32)?.to_scalar::<f32>()?;
    let begun = clock.now();
    let mut runs = 0;
    let took = loop {
        scan_as(form, input)?;
        input.xbc.device().synchronize()?;
        runs += 1;
        let took = clock.now().since(begun);
        if took >= MEASURE {
            break took;
        }
    };
    let tokens_per_second = tokens as f64 * f64::from(runs) / took.as_secs_f64();
    Ok(Measured {
        form: name,
        length,
        runs,
        tokens_per_second,
        // The caller fills these in when it knows the rooflines.
        flops_per_second: 0.0,
        share_of_square: 0.0,
        bytes_per_second: 0.0,
        share_of_copy: 0.0,
        difference,
    })
}
