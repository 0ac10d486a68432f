//! `netssmd bench generate`: how many tokens and packets per second the model generates at each batch size, and what
//! share that is of the machine's roofline.

use std::ops::ControlFlow;
use std::time::Duration;

use candle_core::{DType, Device};
use netssm_model::ModelConfig;
use netssm_model::generate::{GenerateOptions, Generated, Generator, Limit, SessionRequest, Stats};
use netssm_model::precision::Precision;
use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use serde::Serialize;

use super::cost::{TokenCost, shapes};
use super::{resident, roofline};
use crate::cli::bench::BenchGenerateArgs;
use crate::commands::{tell, train};
use crate::device;
use crate::exit::{Failure, Outcome};
use crate::models;
use crate::seeds::{Purpose, derive};

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    codec: String,
    label: String,
    device: &'static str,
    precision: Precision,
    /// The CPU instructions that compute the matmuls, or "cuda".
    kernel: &'static str,
    threads: usize,
    packets_per_session: u64,
    token: TokenCost,
    /// Bytes per second that the threads or the GPU copy. Read and written bytes both count.
    copy_bytes_per_second: f64,
    /// FLOP per second of the matrix library for a large square matmul, in f32, or in bf16 if that is the precision.
    square_flops: f64,
    /// The best rate of this program's own eight-bit matmuls. Only with `--precision int8`.
    int8_best_flops: Option<f64>,
    /// Peak memory of all batches. It is read before the rooflines are measured.
    peak_resident_bytes: Option<u64>,
    batches: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Measured {
    batch: u16,
    seconds: f64,
    tokens: u64,
    packets: u64,
    sessions: u64,
    tokens_per_second: f64,
    packets_per_second: f64,
    packets_dropped: u64,
    /// FLOP per second of the blocks' matmuls. No other arithmetic is counted.
    flops_per_second: f64,
    /// The roofline of these matmuls at this number of rows: the matrix library's rate, or with `--precision int8` the rate
    /// of this program's own matmuls.
    roof_flops: f64,
    share_of_roof: f64,
    share_of_square: f64,
    /// Bytes per second of state, side information and weights.
    bytes_per_second: f64,
    /// Above 1 if the state fits in a cache.
    share_of_copy: f64,
}

/// The most that the machine can do.
struct Rooflines {
    copy: f64,
    square: f64,
    /// The roof of the blocks' matmuls at each batch size.
    products: Vec<f64>,
    int8_best: Option<f64>,
}

impl Rooflines {
    fn measure(cfg: &ModelConfig, device: &Device, precision: Precision, sizes: &[u16]) -> Outcome<Self> {
        let dtype = match precision {
            Precision::F32 | Precision::Int8 => DType::F32,
            Precision::Bf16 | Precision::Bf16State => DType::BF16,
        };
        let eight_bits = precision == Precision::Int8;
        let products = sizes.iter().map(|&batch| {
            let shapes = shapes(cfg, usize::from(batch));
            if eight_bits { roofline::int8(&shapes) } else { roofline::product(device, dtype, &shapes) }
        });
        Ok(Self {
            products: products.collect::<Outcome<_>>()?,
            square: roofline::square(device, dtype)?,
            int8_best: eight_bits.then(|| roofline::int8_best(shapes(cfg, 1)[0])).transpose()?,
            copy: roofline::copy(device)?,
        })
    }
}

/// Runs the command.
pub(super) fn run(args: &BenchGenerateArgs) -> Outcome {
    let policy = args.sampling.policy()?;
    let mut checkpoint = models::open_either(&args.model.checkpoint(), args.model.width)?;
    if let Some(path) = &args.untrained {
        let sizes = train::configuration(path)?.model;
        let config = sizes.config(checkpoint.config().vocab_size, checkpoint.codec().context());
        checkpoint = checkpoint.untrained(config.map_err(Failure::config)?, 1).map_err(Failure::config)?;
    }
    let device = device::open(args.model.device)?;
    let label = match &args.label {
        Some(label) => label.clone(),
        None => checkpoint.labels().first().cloned().unwrap_or_default(),
    };
    let threads = device::threads(args.model.threads)?;
    let sizes = if args.batches.is_empty() { vec![args.model.batch] } else { args.batches.clone() };
    let mut kernel = "";
    let mut batches = Vec::new();
    for &batch in &sizes {
        let options = GenerateOptions {
            policy,
            batch: usize::from(batch),
            device: device.clone(),
            precision: args.model.precision,
            // Packet times do not matter here. A fixed gap lets a model without times be measured too.
            gap: Some(Duration::ZERO),
            ..GenerateOptions::default()
        };
        let mut generator = Generator::new(&checkpoint, options).map_err(Failure::config)?;
        generator.check_label(&label).map_err(Failure::usage)?;
        kernel = generator.kernel();
        batches.push(threads.install(|| measure(&mut generator, &label, batch, args))?);
    }
    // Read now, before the buffers of the rooflines count too.
    let peak_resident_bytes = resident::peak_bytes();
    let token = TokenCost::decode(checkpoint.config(), args.model.precision);
    let rooflines = || Rooflines::measure(checkpoint.config(), &device, args.model.precision, &sizes);
    let rooflines = threads.install(rooflines)?;
    let weights_read = if device.is_cpu() { threads.current_num_threads() } else { 1 };
    for (m, roofline) in batches.iter_mut().zip(&rooflines.products) {
        m.flops_per_second = m.tokens_per_second * token.product_flops as f64;
        m.roof_flops = *roofline;
        m.share_of_roof = m.flops_per_second / roofline;
        m.share_of_square = m.flops_per_second / rooflines.square;
        let bytes = token.bytes(usize::from(m.batch), weights_read);
        m.bytes_per_second = m.tokens_per_second * bytes;
        m.share_of_copy = m.bytes_per_second / rooflines.copy;
    }
    let report = Report {
        model: checkpoint.sha256().to_owned(),
        codec: checkpoint.manifest().codec.to_string(),
        label,
        device: device::describe(&device),
        precision: args.model.precision,
        kernel,
        threads: threads.current_num_threads(),
        packets_per_session: args.packets,
        token,
        copy_bytes_per_second: rooflines.copy,
        square_flops: rooflines.square,
        int8_best_flops: rooflines.int8_best,
        peak_resident_bytes,
        batches,
    };
    tell(args.json, &report, lines)
}

/// The report for people.
fn lines(r: &Report) -> String {
    let mut text = format!(
        "model {:.12} on {} in {} ({}), {} threads, label {}, sessions of {} packets\n",
        r.model, r.device, r.precision, r.kernel, r.threads, r.label, r.packets_per_session
    );
    let cost = &r.token;
    text += &format!(
        "a token: {:.2} MFLOP in the blocks' products (GFLOP/s below), {:.2} in the state, at most {:.2} in the head; {:.0} kB of \
         state\n",
        cost.product_flops as f64 / 1e6,
        cost.state_flops as f64 / 1e6,
        cost.head_flops_at_most as f64 / 1e6,
        cost.state_bytes as f64 / 1e3
    );
    text += &format!(
        "roofs: copy {:.1} GB/s, product of a large square {:.0} GFLOP/s",
        r.copy_bytes_per_second / 1e9,
        r.square_flops / 1e9
    );
    text += &r.int8_best_flops.map_or_else(String::new, |best| format!(", int8 {:.0}", best / 1e9));
    text += &format!(
        "\n{:>6} {:>12} {:>12} {:>10} {:>10} {:>8} {:>12} {:>8} {:>8}\n",
        "batch", "tokens/s", "packets/s", "GFLOP/s", "roof", "share", "of square", "GB/s", "of copy"
    );
    for m in &r.batches {
        text += &format!(
            "{:>6} {:>12.0} {:>12.1} {:>10.1} {:>10.1} {:>6.0} % {:>10.0} % {:>8.1} {:>6.0} %\n",
            m.batch,
            m.tokens_per_second,
            m.packets_per_second,
            m.flops_per_second / 1e9,
            m.roof_flops / 1e9,
            100.0 * m.share_of_roof,
            100.0 * m.share_of_square,
            m.bytes_per_second / 1e9,
            100.0 * m.share_of_copy
        );
    }
    text + &resident::words(r.peak_resident_bytes)
}

/// Generates sessions for `--seconds`. The clock starts with the first step, when all rows are live. So it leaves out
/// prompts and the packing of weights.
fn measure(
    generator: &mut Generator,
    label: &str,
    batch: u16,
    args: &BenchGenerateArgs,
) -> Outcome<Measured> {
    let clock = SystemClock::new();
    let limit = Duration::try_from_secs_f64(args.seconds)
        .map_err(|_| Failure::usage(format_args!("--seconds {}; expected a time", args.seconds)))?;
    let mut id = 0;
    let mut requests = std::iter::from_fn(|| {
        id += 1;
        Some(SessionRequest {
            id,
            label: label.to_owned(),
            seed: derive(1, Purpose::Session, label, id),
            limit: Limit::Packets(args.packets),
            prompt: None,
        })
    });
    let mut begun: Option<(MonoTime, Stats)> = None;
    let mut ended = None;
    let mut observe = |stats: &Stats| {
        let now = clock.now();
        let (start, _) = begun.get_or_insert_with(|| (now, stats.clone()));
        if now.since(*start) < limit {
            return ControlFlow::Continue(());
        }
        ended = Some((now.since(*start), stats.clone()));
        ControlFlow::Break(())
    };
    generator.run(&mut requests, &mut |_: Generated| {}, &mut observe)?;
    let (Some((_, first)), Some((took, last))) = (begun, ended) else {
        return Err(Failure::Run(anyhow::anyhow!("nothing was generated")));
    };
    let seconds = took.as_secs_f64();
    let tokens = last.counts.tokens - first.counts.tokens;
    let packets = last.counts.packets - first.counts.packets;
    Ok(Measured {
        batch,
        seconds,
        tokens,
        packets,
        sessions: last.sessions,
        tokens_per_second: tokens as f64 / seconds,
        packets_per_second: packets as f64 / seconds,
        packets_dropped: last.counts.drops.values().sum(),
        // The caller fills these in when it knows the rooflines.
        flops_per_second: 0.0,
        roof_flops: 0.0,
        share_of_roof: 0.0,
        share_of_square: 0.0,
        bytes_per_second: 0.0,
        share_of_copy: 0.0,
    })
}
