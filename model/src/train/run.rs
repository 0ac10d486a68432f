//! The training loop: start or resume, update, validate, save, stop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use netssm_tokens::codec::TokenKind;

use super::config::{Dtype, TrainConfig};
use super::data::Dataset;
use super::evaluate::{Extent, Held, Losses, evaluate};
use super::events::{End, Event, Progress, Reporter};
use super::params::Params;
use super::resume::{self, RunState};
use super::schedule::Schedule;
use super::shards::Shards;
use super::start::{Origin, Start, begin, lock};
use super::stopwatch::Stopwatch;
use super::streams::{Dropout, Streams};
use super::{TrainError, events::LOG_FILE};
use crate::checkpoint::{Checkpoint, FORMAT, Manifest, TrainFacts, files};
use crate::lm::{Engine, Mamba2};
use crate::optim::{AdamW, Applied};

/// Updates in a row without a finite gradient after which a run counts as diverged. A single one is an outlier batch:
/// it is skipped and leaves the optimiser unchanged.
const MAX_SKIPPED: u32 = 10;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps made, including those of earlier processes.
    pub step: u64,
    /// Why it ended.
    pub end: End,
    /// The newest checkpoint.
    pub last: PathBuf,
    /// The checkpoint with the lowest validation loss. `None` if there was no validation.
    pub best: Option<PathBuf>,
    /// The last validation over all sessions. `None` if there was none.
    pub losses: Option<Losses>,
}

/// Trains on `data` into the directory `out`. It checks `stop` between steps and during validations.
///
/// # Errors
/// [`TrainError`]: nothing to train on, a configuration that cannot be used, a directory that does not fit the request,
/// a run that diverged, or an operation that failed.
pub fn train(
    data: Dataset<'_>,
    config: &TrainConfig,
    out: &Path,
    start: Start,
    device: &Device,
    stop: &AtomicBool,
    progress: &mut dyn Progress,
) -> Result<Outcome, TrainError> {
    config.validate()?;
    let begun = Stopwatch::start();
    std::fs::create_dir_all(out).map_err(TrainError::io("create", out))?;
    let _lock = lock(out)?;
    let newest = resume::steps(out)?.pop();
    if newest.is_some() && !matches!(start, Start::Resume) {
        return Err(TrainError::Exists { path: out.to_owned() });
    }
    let (data, origin) = begin(data, config, start, newest, device)?;
    let config = origin.from.as_ref().map_or(config, |(_, state)| &state.config).clone();
    Run::new(&data, config, out, origin, (device, stop), Reporter::open(out, progress)?)?.go(begun)
}

/// Sets the number format in which a run's model computes.
fn compute_in(model: &mut Mamba2, dtype: Dtype) -> Result<(), TrainError> {
    match dtype {
        Dtype::F32 => Ok(()),
        Dtype::Bf16 if model.device().is_cpu() => {
            Err(TrainError::Config("run.dtype: expected \"f32\" on the cpu, got \"bf16\"".into()))
        }
        Dtype::Bf16 => Ok(model.set_engine(Engine::Kernels(dtype.into()))?),
    }
}

/// A run in progress.
struct Run<'r> {
    data: &'r Dataset<'r>,
    out: &'r Path,
    device: &'r Device,
    stop: &'r AtomicBool,
    reporter: Reporter<'r>,
    params: Params,
    model: Mamba2,
    optim: AdamW,
    shards: Shards,
    streams: Streams<'r>,
    schedule: Schedule,
    state: RunState,
    skipped: u32,
    saved: Option<PathBuf>,
    /// Tokens per second, smoothed.
    rate: Option<f64>,
}

impl<'r> Run<'r> {
    fn new(
        data: &'r Dataset<'r>,
        config: TrainConfig,
        out: &'r Path,
        Origin { params, init, from }: Origin,
        (device, stop): (&'r Device, &'r AtomicBool),
        reporter: Reporter<'r>,
    ) -> Result<Self, TrainError> {
        let d = &config.data;
        let window = if d.bptt == 0 { d.sequence_length } else { d.bptt };
        let sessions = data.train.iter().map(|s| &*s.tokens);
        let mut streams = Streams::new(sessions, (d.batch, window, d.sequence_length), config.run.seed)
            .ok_or(TrainError::NothingToTrain)?
            .with_context(data.open_codec()?, params.config.context, d.context_dropout)
            .with_dropout(Dropout {
                p: d.label_dropout,
                token: data.vocab.unlabelled(),
                labels: (0..data.vocab.size() as u32)
                    .map(|id| matches!(data.vocab.kind(id), TokenKind::Label(_)))
                    .collect(),
            })
            .interleaved(d.interleave);
        let threads = match (&from, config.run.threads) {
            (Some((_, state)), _) => state.threads,
            // One shard is enough to keep a GPU busy.
            (None, _) if !device.is_cpu() => 1,
            (None, 0) => std::thread::available_parallelism().map_or(1, usize::from).min(d.batch),
            (None, n) => n.min(d.batch),
        };
        let mut model = params.model()?;
        compute_in(&mut model, config.run.dtype)?;
        let longest = data.train.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
        model.check_room((d.batch, window.min(longest)), streams.turns())?;
        let vars = params.parameters.vars().iter().map(|(n, v)| (n.clone(), v.clone()));
        let mut optim = AdamW::new(vars, config.optimizer.adamw())?;
        let mut shards = Shards::new(&params.config, (d.batch, streams.turns()), threads, device)?;
        let total = match config.run.steps {
            0 => streams.windows_in(config.run.epochs) / d.accumulate as u64,
            n => n,
        };
        let s = &config.schedule;
        let schedule = Schedule { peak: s.lr, floor: s.min_lr, warmup: s.warmup, total };
        let (state, saved) = match from {
            Some((path, state)) => {
                resume::restore(&path, &state, &mut optim, &mut shards)?;
                if !streams.seek(state.cursor.clone()) {
                    let what = "the data position is not one of this corpus".into();
                    return Err(TrainError::Resume { path, what });
                }
                (state, Some(path))
            }
            None => {
                let state = RunState {
                    windows: 0,
                    step: 0,
                    updates: 0,
                    tokens: 0,
                    cursor: streams.cursor().clone(),
                    best: None,
                    stale: 0,
                    threads,
                    fingerprint: data.fingerprint(),
                    init,
                    config,
                };
                (state, None)
            }
        };
        Ok(Self {
            data,
            out,
            device,
            stop,
            reporter,
            params,
            model,
            optim,
            shards,
            streams,
            schedule,
            state,
            skipped: 0,
            saved,
            rate: None,
        })
    }

    fn go(mut self, begun: Stopwatch) -> Result<Outcome, TrainError> {
        let path = self.out.join("config.toml");
        files::write(&path, self.state.config.to_toml()?.as_bytes())?;
        self.announce()?;
        let mut losses = None;
        let end = loop {
            if self.stop.load(Ordering::Relaxed) {
                break End::Stopped;
            }
            if self.state.step >= self.schedule.total {
                break End::Finished;
            }
            self.step()?;
            let (step, run, eval) = (self.state.step, &self.state.config.run, &self.state.config.eval);
            let save = step.is_multiple_of(run.checkpoint_every);
            let patience = eval.patience;
            if eval.every > 0 && step.is_multiple_of(eval.every) && step < self.schedule.total {
                self.validate()?;
                if patience > 0 && self.state.stale >= patience {
                    break End::Patience;
                }
            }
            if save && self.newest() != Some(step) {
                self.save()?;
            }
        };
        if end != End::Stopped {
            self.validate()?;
        }
        if self.newest() != Some(self.state.step) {
            self.save()?;
        }
        if end != End::Stopped {
            losses = self.validate_best()?;
        }
        let seconds = begun.seconds();
        self.reporter.report(&Event::End { step: self.state.step, reason: end, seconds })?;
        Ok(Outcome {
            step: self.state.step,
            end,
            last: resume::step_path(self.out, self.state.step),
            best: self.state.best.map(|(step, _)| resume::step_path(self.out, step)),
            losses,
        })
    }

    fn announce(&mut self) -> Result<(), TrainError> {
        let d = &self.state.config.data;
        let longest = self.data.train.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
        let longest = longest.min(d.sequence_length);
        let note = if d.bptt == 0 || d.bptt >= longest {
            "gradients reach back to each session's first token".to_string()
        } else {
            format!(
                "truncated back-propagation: gradients reach back at most {} tokens, the carried state to \
                 the session's first of up to {longest}",
                d.bptt
            )
        };
        self.reporter.report(&Event::Start {
            step: self.state.step,
            of: self.schedule.total,
            parameters: self.params.config.parameters(),
            tokens_per_epoch: self.streams.tokens(),
            threads: self.state.threads,
            note,
        })
    }

    /// One update: forward and backward over `accumulate` windows, then the optimiser.
    fn step(&mut self) -> Result<(), TrainError> {
        let begun = Stopwatch::start();
        let config = &self.state.config;
        let accumulate = config.data.accumulate;
        let mut windows = Vec::with_capacity(accumulate);
        for _ in 0..accumulate {
            self.state.windows += 1;
            windows.push(self.streams.next());
        }
        let valid: usize = windows.iter().map(super::streams::Window::valid).sum();
        let positions: usize = windows.iter().map(|w| w.inputs.len()).sum();
        let mut loss = 0.0;
        for window in &windows {
            let share = window.valid() as f64 / valid.max(1) as f64;
            for shard in self.shards.gradients(&self.model, window)? {
                let weight = share * shard.weight;
                loss += weight * shard.loss;
                self.optim.accumulate(&shard.gradients, weight)?;
            }
        }
        let lr = self.schedule.rate(self.state.step);
        let Applied { norm, applied } = self.optim.apply(lr, config.optimizer.clip)?;
        self.skipped = if applied { 0 } else { self.skipped + 1 };
        self.state.step += 1;
        self.state.updates = self.optim.steps();
        self.state.tokens += valid as u64;
        self.state.cursor = self.streams.cursor().clone();
        if self.skipped >= MAX_SKIPPED {
            return Err(TrainError::Diverged { step: self.state.step, updates: self.skipped });
        }
        let rate = valid as f64 / begun.seconds();
        let rate = self.rate.map_or(rate, |old| old + 0.05 * (rate - old));
        self.rate = Some(rate);
        let left = self.schedule.total.saturating_sub(self.state.step) as f64;
        self.reporter.report(&Event::Step {
            step: self.state.step,
            of: self.schedule.total,
            loss,
            lr,
            grad_norm: applied.then_some(norm),
            tokens: self.state.tokens,
            padding: 1.0 - valid as f64 / positions.max(1) as f64,
            tokens_per_s: rate,
            epoch: self.state.cursor.epoch,
            eta_s: left * valid as f64 / rate,
        })
    }

    /// Validates, reports, and saves a checkpoint if it is the best so far.
    fn validate(&mut self) -> Result<Option<Losses>, TrainError> {
        if self.data.val.is_empty() {
            return Ok(None);
        }
        let begun = Stopwatch::start();
        let config = &self.state.config;
        let mut model = self.params.frozen()?;
        compute_in(&mut model, config.run.dtype)?;
        let losses = evaluate(
            &model,
            &Held { sessions: &self.data.val, codec: self.data.open_codec()?.as_ref() },
            &config.eval.groups,
            Extent { prefix: config.eval.prefix, tokens: config.eval.tokens, seed: config.run.seed },
            self.state.threads,
            self.stop,
        )?;
        let Some(losses) = losses.filter(|l| l.total.tokens > 0) else { return Ok(None) };
        let nats = losses.total.per_token;
        let best = nats.is_finite() && self.state.best.is_none_or(|(_, old)| nats < old);
        self.state.stale = if best { 0 } else { self.state.stale + 1 };
        self.reporter.report(&Event::Eval {
            step: self.state.step,
            total: losses.total,
            groups: losses.groups.clone(),
            whole: losses.whole,
            best,
            seconds: begun.seconds(),
        })?;
        if best {
            self.state.best = Some((self.state.step, nats));
            self.save_with(Some(&losses))?;
        }
        Ok(Some(losses))
    }

    /// Validates the best checkpoint on all sessions and writes the result into its manifest.
    fn validate_best(&mut self) -> Result<Option<Losses>, TrainError> {
        let Some((step, _)) = self.state.best else { return Ok(None) };
        let begun = Stopwatch::start();
        let path = resume::step_path(self.out, step);
        let checkpoint = Checkpoint::open(&path)?;
        let config = &self.state.config;
        let mut model = checkpoint.model(self.device)?;
        compute_in(&mut model, config.run.dtype)?;
        let losses = evaluate(
            &model,
            &Held { sessions: &self.data.val, codec: self.data.open_codec()?.as_ref() },
            &config.eval.groups,
            Extent::WHOLE,
            self.state.threads,
            self.stop,
        )?;
        let Some(losses) = losses else { return Ok(None) };
        self.reporter.report(&Event::Eval {
            step,
            total: losses.total,
            groups: losses.groups.clone(),
            whole: losses.whole,
            best: true,
            seconds: begun.seconds(),
        })?;
        let mut manifest = checkpoint.manifest().clone();
        manifest.training.nats_per_token = Some(losses.total.per_token);
        manifest.training.nats_per_packet = Some(losses.total.per_packet);
        manifest.write(&path)?;
        Ok(Some(losses))
    }

    fn newest(&self) -> Option<u64> {
        let path = self.saved.as_ref()?;
        (*path == resume::step_path(self.out, self.state.step)).then_some(self.state.step)
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.save_with(None)
    }

    /// Writes the checkpoint of this step, lets `best` point at it if it is the best, and deletes old ones.
    fn save_with(&mut self, losses: Option<&Losses>) -> Result<(), TrainError> {
        let path = resume::step_path(self.out, self.state.step);
        let manifest = Manifest {
            format: FORMAT,
            codec: self.data.codec.clone(),
            vocab: self.data.vocab.clone(),
            timing: self.data.timing.clone(),
            training: TrainFacts {
                steps: self.state.step,
                tokens: self.state.tokens,
                data: self.data.about.clone(),
                seed: self.state.config.run.seed,
                nats_per_token: losses.map(|l| l.total.per_token),
                nats_per_packet: losses.map(|l| l.total.per_packet),
                loss_curve: Some(LOG_FILE.to_owned()),
                init: self.state.init.clone(),
            },
            weights_sha256: String::new(),
        };
        let weights = self.params.weights();
        files::directory(&path, |dir| -> Result<(), TrainError> {
            Checkpoint::write_into(dir, &self.params.config, manifest, &weights)?;
            resume::write(dir, &self.state, &self.optim, &self.shards)
        })?;
        let best = self.state.best.map(|(step, _)| step);
        if best == Some(self.state.step) {
            point(&self.out.join("best"), &path)?;
        }
        self.saved = Some(path.clone());
        let mut kept = resume::steps(self.out)?;
        kept.retain(|(step, _)| best != Some(*step));
        let surplus = kept.len().saturating_sub(self.state.config.run.keep);
        for (_, old) in kept.into_iter().take(surplus) {
            std::fs::remove_dir_all(&old).map_err(TrainError::io("remove", &old))?;
        }
        self.reporter.report(&Event::Saved { step: self.state.step, path })
    }
}

/// Makes `link` point at `target`, a sibling. One rename replaces what it pointed at.
fn point(link: &Path, target: &Path) -> Result<(), TrainError> {
    let hidden = link.with_file_name(".best.tmp");
    match std::fs::remove_file(&hidden) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(TrainError::io("remove", &hidden)(e));
        }
        _ => {}
    }
    let name = target.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(name, &hidden).map_err(TrainError::io("link", &hidden))?;
    std::fs::rename(&hidden, link).map_err(TrainError::io("rename", &hidden))
}
