//! How many tokens and packets a second does the model generate, by batch size?

use std::ops::ControlFlow;
use std::time::Duration;

use netssm_model::generate::{GenerateOptions, Generated, Generator, Limit, SessionRequest, Stats};
use netssm_model::precision::Precision;
use netssm_replay::clock::{Clock, MonoTime, SystemClock};
use serde::Serialize;

use crate::cli::bench::BenchGenerateArgs;
use crate::commands::tell;
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
    /// The instructions that the products use.
    kernel: &'static str,
    threads: usize,
    packets_per_session: u64,
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
}

/// Runs the command.
pub(super) fn run(args: &BenchGenerateArgs) -> Outcome {
    let policy = args.sampling.policy()?;
    let checkpoint = models::open_either(&args.model.checkpoint(), args.model.width)?;
    let device = device::open(args.model.device)?;
    let label = match &args.label {
        Some(label) => label.clone(),
        None => checkpoint.labels().first().cloned().unwrap_or_default(),
    };
    let threads = device::threads(args.model.threads)?;
    let sizes = if args.batches.is_empty() { vec![args.model.batch] } else { args.batches.clone() };
    let mut kernel = "";
    let mut batches = Vec::new();
    for batch in sizes {
        let options = GenerateOptions {
            policy,
            batch: usize::from(batch),
            device: device.clone(),
            precision: args.model.precision,
            // What the packets' times are does not matter here, only that a model without any can be measured.
            gap: Some(Duration::ZERO),
            ..GenerateOptions::default()
        };
        let mut generator = Generator::new(&checkpoint, options).map_err(Failure::config)?;
        generator.check_label(&label).map_err(Failure::usage)?;
        kernel = generator.kernel();
        batches.push(threads.install(|| measure(&mut generator, &label, batch, args))?);
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
        batches,
    };
    tell(args.json, &report, |r| {
        let mut text = format!(
            "model {:.12} on {} in {} ({}), {} threads, label {}, sessions of {} packets\n{:>6} {:>12} {:>12}\n",
            r.model,
            r.device,
            r.precision,
            r.kernel,
            r.threads,
            r.label,
            r.packets_per_session,
            "batch",
            "tokens/s",
            "packets/s"
        );
        for m in &r.batches {
            text += &format!("{:>6} {:>12.0} {:>12.1}\n", m.batch, m.tokens_per_second, m.packets_per_second);
        }
        text
    })
}

/// Generates sessions for the time that was asked for. The clock starts with the first step, when all rows are live:
/// prompts and the packing of weights come before it.
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
    })
}
