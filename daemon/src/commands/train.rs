//! `netssmd train`: trains a model on a corpus and writes checkpoints.

use std::path::{Path, PathBuf};

use netssm_model::train::{self, Dataset, End, Event, Start, TrainConfig, TrainError};
use netssm_tokens::corpus::Corpus;
use serde::Serialize;

use super::tell;
use crate::cli::train::TrainArgs;
use crate::device;
use crate::exit::{Failure, Outcome};
use crate::models;
use crate::profile::CheckpointChoice;
use crate::progress::Progress;
use crate::signals::StopFlag;

#[derive(Debug, Serialize)]
struct Trained {
    end: End,
    step: u64,
    last: PathBuf,
    best: Option<PathBuf>,
    nats_per_token: Option<f64>,
    nats_per_packet: Option<f64>,
}

/// Reads a training configuration from a file.
pub(super) fn configuration(path: &Path) -> Outcome<TrainConfig> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::config(error).context(format!("read {}", path.display())))?;
    TrainConfig::parse(&text).map_err(|error| Failure::config(error).context(path.display().to_string()))
}

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Outcome {
    let mut config = match &args.config {
        None => TrainConfig::default(),
        Some(path) => configuration(path)?,
    };
    if let Some(steps) = args.steps {
        config.run.steps = steps;
    }
    let start = match &args.init {
        _ if args.resume => Start::Resume,
        None => Start::Fresh,
        Some(init) => Start::Init(Box::new(models::open(&CheckpointChoice::parse(init))?)),
    };
    let corpus = Corpus::open(&args.corpus).map_err(Failure::config)?;
    let device = device::open(args.device)?;
    let stop = StopFlag::install()?;
    let mut watcher = Watcher { progress: None, quiet: args.json, losses: None };
    let data = Dataset::from_corpus(&corpus);
    let outcome =
        train::train(data, &config, &args.out, start, &device, stop.as_atomic(), &mut |event: &Event| {
            watcher.event(event);
        })
        .map_err(classify)?;
    if let Some(progress) = &watcher.progress {
        progress.finish();
    }
    let trained = Trained {
        end: outcome.end,
        step: outcome.step,
        last: outcome.last,
        best: outcome.best,
        nats_per_token: watcher.losses.map(|(token, _)| token),
        nats_per_packet: watcher.losses.map(|(_, packet)| packet),
    };
    tell(args.json, &trained, |t| {
        let why = match t.end {
            End::Finished => "finished",
            End::Stopped => "stopped; --resume goes on",
            End::Patience => "validation did not improve any more",
        };
        let best = t.best.as_ref().map_or(String::new(), |best| format!(", best {}", best.display()));
        let loss = t.nats_per_token.zip(t.nats_per_packet).map_or(String::new(), |(token, packet)| {
            format!(", {token:.4} nats/token, {packet:.2} nats/packet")
        });
        format!("step {}: {why}; last {}{best}{loss}", t.step, t.last.display())
    })
}

/// Decides what the user must mend: the configuration, or the conditions of the run.
fn classify(error: TrainError) -> Failure {
    match error {
        // A checkpoint that does not fit the corpus will not fit it on a second try either.
        TrainError::Config { .. } | TrainError::CodecMismatch { .. } => Failure::config(error),
        other => Failure::Run(other.into()),
    }
}

/// Shows the events of a training run.
struct Watcher {
    progress: Option<Progress>,
    quiet: bool,
    /// Losses of the last validation: nats per token, nats per packet.
    losses: Option<(f64, f64)>,
}

impl Watcher {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Start { step, of, parameters, tokens_per_epoch, threads, note } => {
                let progress = Progress::new("train", "steps", *of, self.quiet);
                progress.say(&format!(
                    "from step {step} of {of}: {parameters} parameters, {tokens_per_epoch} tokens an epoch, {threads} \
                     threads; {note}"
                ));
                self.progress = Some(progress);
            }
            Event::Step { step, loss, lr, grad_norm, tokens_per_s, eta_s, .. } => {
                let norm = grad_norm.map_or("not finite".into(), |norm| format!("{norm:.2}"));
                let note = format!(
                    "loss {loss:.4}, lr {lr:.2e}, gradient {norm}, {tokens_per_s:.0} tokens/s, {:.0} min left",
                    eta_s / 60.0
                );
                if let Some(progress) = &mut self.progress {
                    progress.set(*step, &note);
                }
            }
            Event::Eval { step, total, groups, best, seconds, .. } => {
                self.losses = Some((total.per_token, total.per_packet));
                let groups: Vec<String> =
                    groups.iter().map(|(name, nats)| format!("{name} {:.4}", nats.per_token)).collect();
                self.say(&format!(
                    "step {step}: validation {:.4} nats/token, {:.2} nats/packet{}; {} ({seconds:.1} s)",
                    total.per_token,
                    total.per_packet,
                    if *best { ", the best so far" } else { "" },
                    groups.join(", ")
                ));
            }
            Event::Saved { step, path } => self.say(&format!("step {step}: saved {}", path.display())),
            Event::End { .. } => {}
        }
    }

    fn say(&self, line: &str) {
        if let Some(progress) = &self.progress {
            progress.say(line);
        }
    }
}
