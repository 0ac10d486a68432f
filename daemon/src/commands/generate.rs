//! `netssmd generate`: runs the daemon's pipeline on a virtual clock and writes one file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netssm_model::checkpoint::Checkpoint;
use netssm_model::generate::{ChainSpec, GenerateOptions, Generator, Stage, Stats, prompt_from_capture};
use netssm_model::precision::Precision;
use netssm_replay::clock::{Clock, SystemClock};
use netssm_replay::pace::Speed;
use netssm_replay::rewrite::{Allocator, Rewriter};
use netssm_wire::capture::find_captures;
use serde::Serialize;

use super::files::{CaptureFile, say_labels};
use super::{addresses, tell_beside};
use crate::app::Summary;
use crate::cli::generate::GenerateArgs;
use crate::cli::values::Start;
use crate::device;
use crate::exit::{self, Failure, Outcome};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::models;
use crate::pipeline::{
    Control, Engine, Event, Finished, Limits, Model, Outputs, Parts, Plan, Schedule, Timeline,
};
use crate::profile::{Arrivals, CheckpointChoice, Traffic};
use crate::progress::Progress;
use crate::signals::{self, Signal};

/// How many batches of sessions may be ahead of the file: one that is being generated, and one that waits for an
/// earlier session which takes longer.
const AHEAD: u64 = 2;

#[derive(Debug, Serialize)]
struct Report {
    out: PathBuf,
    /// `null` if the capture went into a pipe or a device.
    labels_file: Option<PathBuf>,
    model: String,
    /// The precision of the model's matmuls. Model, precision and seed together determine the capture.
    precision: Precision,
    seed: u64,
    sessions: u64,
    /// Sessions that the model did not end properly. The packets before that point are in the file.
    failed_sessions: u64,
    tokens: u64,
    packets_generated: u64,
    packets_written: u64,
    bytes_written: u64,
    seconds: f64,
    tokens_per_second: f64,
    packets_per_second: f64,
    /// Packets that needed at least one repair and were kept.
    packets_repaired: u64,
    repairs: BTreeMap<&'static str, u64>,
    /// Number of repairs, by label and kind.
    repairs_by_label: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Packets that were dropped, by reason.
    dropped: BTreeMap<&'static str, u64>,
}

/// Runs the command.
pub(crate) fn generate_capture(args: &GenerateArgs) -> Outcome {
    if !(args.rate > 0.0 && args.rate.is_finite()) {
        return Err(Failure::usage(format_args!("--rate is {}; expected a number above 0", args.rate)));
    }
    let plan = addresses::plan(&args.addresses)?;
    let out = CaptureFile::at(&args.out)?;
    let (model, name) = model(args)?;
    let traffic: Vec<Traffic> = args
        .label
        .iter()
        .map(|label| Traffic { label: Arc::from(label.as_str()), weight: 1.0, packets: packets(args) })
        .collect();
    let arrivals = Arrivals {
        rate: args.rate,
        max_concurrent: u64::MAX,
        limit: args.sessions,
        weights: traffic.iter().map(|t| t.weight).collect(),
    };
    let depth = AHEAD * u64::from(args.model.batch);
    let limits = Limits { traffic, depth, reuse: 1, seed: args.seed };
    let (guard, gate) = addresses::guard(&plan)?;
    let rewriter = Rewriter::new(plan, Allocator::new()).map_err(Failure::config)?;
    let outputs = Outputs::new(vec![out.open(guard)?]);
    let start = match args.start {
        Start::At(start) => start,
        Start::Now => SystemClock::new().wall(),
    };
    let (metrics, health) = (Metrics::new(), Arc::new(Health::default()));
    let clock = SystemClock::new();
    let begun = clock.now();
    let mut engine = Engine::start_generator(model, &limits, &metrics, &health, |pool| {
        pool.follow(Box::new(Schedule::labels(arrivals.clone(), args.seed, None)), depth);
    })?;
    signals::channel(engine.sender())?;
    let plan = Plan { arrivals, limits, speed: Speed::REAL_TIME, rewriter };
    engine.start_player(|pool, pulse| Parts {
        time: Timeline::from(start),
        pool,
        plan,
        outputs,
        gate,
        metrics,
        pulse,
        stop_after: None,
    })?;
    let stopped = watch(args, &engine);
    let Finished { played, generated, failure } = engine.finish()?;
    let seconds = clock.now().since(begun).as_secs_f64();
    if let Some(error) = failure {
        return Err(Failure::Run(error));
    }
    let Some(played) = played else { return Ok(()) };
    let summary = Summary::new("generate", &played, &generated);
    if let Some(failure) = Summary::failure(played.end) {
        return Err(failure.failure);
    }
    if stopped {
        let n = summary.sessions.finished;
        return Err(Failure::Run(anyhow::anyhow!("stopped after {n} of {} sessions", args.sessions)));
    }
    let report = report(args, out.labels(), &name, &summary, &generated, seconds);
    tell_beside(&out, args.json, &report, lines)
}

/// Most packets of a session: the sum over all links of a chain, else the value of `--packets`.
fn packets(args: &GenerateArgs) -> u64 {
    match args.chain.as_slice() {
        [] => args.packets,
        links => links.iter().map(|link| link.packets).sum(),
    }
}

/// Opens the model that the arguments ask for. Gives it with its name.
fn model(args: &GenerateArgs) -> Outcome<(Model, String)> {
    let policy = args.sampling.policy()?;
    let stages = if args.chain.is_empty() {
        vec![Stage {
            checkpoint: models::open_either(&args.model.checkpoint(), args.model.width)?,
            packets: 0,
        }]
    } else {
        let open = |link: &crate::cli::values::Link| {
            let choice = CheckpointChoice::parse(&link.checkpoint.to_string_lossy());
            let checkpoint = models::open_either(&choice, args.model.width)?;
            Ok(Stage { checkpoint, packets: link.packets })
        };
        args.chain.iter().map(open).collect::<Outcome<Vec<_>>>()?
    };
    check_labels(args, &stages[0].checkpoint)?;
    let options = GenerateOptions {
        policy,
        batch: usize::from(args.model.batch),
        device: device::open(args.model.device)?,
        precision: args.model.precision,
        gap: args.gap,
        ..GenerateOptions::default()
    };
    let seed_packets = usize::try_from(args.chain_seed).unwrap_or(usize::MAX);
    let generator =
        Generator::chain(&ChainSpec { stages, seed_packets }, options).map_err(Failure::config)?;
    for label in &args.label {
        generator.check_label(label).map_err(Failure::config)?;
    }
    let prompts = prompts(args, &generator)?;
    let threads = device::threads(args.model.threads)?;
    let name = generator.name().to_owned();
    Ok((Model { generator, threads, tokens: args.tokens, prompts }, name))
}

/// The prompts of each label, in order of their paths.
fn prompts(args: &GenerateArgs, generator: &Generator) -> Outcome<HashMap<String, Vec<Arc<[u16]>>>> {
    let mut prompts: HashMap<String, Vec<Arc<[u16]>>> = HashMap::new();
    if args.prompt.is_empty() {
        return Ok(prompts);
    }
    let captures = find_captures(&args.prompt)?;
    for capture in &captures {
        let folder = capture.parent().and_then(Path::file_name).unwrap_or_default();
        let named = args.label.iter().find(|label| args.label.len() > 1 && folder == label.as_str());
        for label in named.map_or(args.label.as_slice(), std::slice::from_ref) {
            match prompt_from_capture(generator.codec().as_ref(), label, capture, args.prompt_packets) {
                Ok(prompt) => prompts.entry(label.clone()).or_default().push(prompt),
                // A single capture was named, so its error counts. Of several, one may be left out.
                Err(error) if captures.len() == 1 => return Err(error.into()),
                Err(error) => tracing::warn!(capture = %capture.display(), %error, "no prompt, left out"),
            }
        }
    }
    match args.label.iter().find(|label| !prompts.contains_key(*label)) {
        Some(label) => Err(Failure::Run(anyhow::anyhow!(
            "no prompt for the label \"{label}\" among {} captures of --prompt",
            captures.len()
        ))),
        None => Ok(prompts),
    }
}

fn check_labels(args: &GenerateArgs, checkpoint: &Checkpoint) -> Outcome {
    for (i, label) in args.label.iter().enumerate() {
        if !checkpoint.labels().contains(label) {
            let known = checkpoint.labels().join(", ");
            return Err(Failure::usage(format_args!(
                "the model does not know the label \"{label}\"; it knows {known}"
            )));
        }
        if args.label[..i].contains(label) {
            return Err(Failure::usage(format_args!("--label {label} is given twice")));
        }
    }
    Ok(())
}

/// Shows progress until the player has ended. A signal or the end of the generator cuts the player. Gives whether a
/// signal stopped the command.
fn watch(args: &GenerateArgs, engine: &Engine) -> bool {
    let (unit, total) = match args.tokens {
        Some(tokens) => ("tokens", tokens.saturating_mul(args.sessions)),
        None => ("packets", packets(args).saturating_mul(args.sessions)),
    };
    let mut progress = Progress::new(format!("generate {} sessions", args.sessions), unit, total, args.json);
    let mut stopped = false;
    loop {
        match engine.next_event(Duration::from_millis(200)) {
            Some(Event::PlayerEnded) => break,
            // Without a generator the player would wait for ever.
            Some(Event::GeneratorEnded) => engine.tell_player(Control::Cut),
            Some(Event::Signal(Signal::Stop)) if stopped => {
                exit::at_once("stopped at once by a second signal")
            }
            Some(Event::Signal(Signal::Stop)) => {
                stopped = true;
                engine.tell_player(Control::Cut);
            }
            Some(Event::Signal(Signal::Reload) | Event::ReloadRead) | None => {}
        }
        let stats = engine.stats();
        let done = if args.tokens.is_some() { stats.counts.tokens } else { stats.counts.packets };
        progress.set(done, &format!("{} sessions done, {} live", stats.sessions, stats.live));
    }
    progress.finish();
    stopped
}

fn report(
    args: &GenerateArgs,
    labels_file: Option<PathBuf>,
    model: &str,
    summary: &Summary,
    generated: &Stats,
    seconds: f64,
) -> Report {
    let mut repairs: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut by_label: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
    let mut repaired = 0;
    for (label, counts) in &generated.repairs {
        repaired += counts.repaired();
        for (kind, n) in counts.kinds() {
            *repairs.entry(kind.as_str()).or_default() += n;
            *by_label.entry(label.clone()).or_default().entry(kind.as_str()).or_default() += n;
        }
    }
    let mut dropped = summary.dropped.clone();
    for (reason, n) in &generated.counts.drops {
        *dropped.entry(reason.as_str()).or_default() += n;
    }
    let (frames, bytes) = summary.outputs.iter().fold((0, 0), |(f, b), o| (f + o.frames, b + o.bytes));
    let counts = &generated.counts;
    Report {
        out: args.out.clone(),
        labels_file,
        model: model.to_owned(),
        precision: args.model.precision,
        seed: args.seed,
        sessions: summary.sessions.finished,
        failed_sessions: generated.failed,
        tokens: counts.tokens,
        packets_generated: counts.packets,
        packets_written: frames,
        bytes_written: bytes,
        seconds,
        tokens_per_second: counts.tokens as f64 / seconds,
        packets_per_second: counts.packets as f64 / seconds,
        packets_repaired: repaired,
        repairs,
        repairs_by_label: by_label,
        dropped,
    }
}

fn lines(report: &Report) -> String {
    let list = |counts: Vec<(String, u64)>| {
        if counts.is_empty() {
            return "none".into();
        }
        counts.into_iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{}: {} sessions, {} packets, {} bytes; {}\n\
         {} tokens in {:.1} s: {:.0} tokens/s, {:.1} packets/s\n\
         repaired {} packets: {}\n\
         dropped: {}",
        report.out.display(),
        report.sessions,
        report.packets_written,
        report.bytes_written,
        say_labels(report.labels_file.as_deref()),
        report.tokens,
        report.seconds,
        report.tokens_per_second,
        report.packets_per_second,
        report.packets_repaired,
        list(report.repairs.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()),
        list(report.dropped.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()),
    )
}
