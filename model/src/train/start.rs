//! Where a run begins: fresh weights, a checkpoint to fine-tune, or the run's own newest checkpoint. Every check of
//! these against the configuration and the corpus is here.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use candle_core::Device;

use super::TrainError;
use super::config::TrainConfig;
use super::data::Dataset;
use super::params::Params;
use super::resume::{self, RunState};
use crate::checkpoint::Checkpoint;

/// Where a run begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// New weights; the output directory must not hold a run.
    Fresh,
    /// The newest checkpoint in the output directory. A fresh start if there is none.
    Resume,
    /// The weights of a checkpoint and a new optimiser: fine-tuning. Labels of the corpus that the checkpoint lacks
    /// extend its vocabulary.
    Init(Box<Checkpoint>),
}

/// Locks the run directory against a second run. The kernel releases the lock when this process ends, however it ends.
pub(super) fn lock(out: &Path) -> Result<File, TrainError> {
    let path = out.join(".lock");
    let file = File::create(&path).map_err(TrainError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::Busy { path: out.to_owned() }),
        Err(TryLockError::Error(source)) => Err(TrainError::Io { action: "lock", path, source }),
    }
}

/// What a run starts from.
pub(super) struct Origin {
    pub(super) params: Params,
    /// Sha256 of the weights that a fine-tuning began with.
    pub(super) init: Option<String>,
    /// The checkpoint that the run resumes, and its run state.
    pub(super) from: Option<(PathBuf, RunState)>,
}

/// The initial weights, and the data in their alphabet.
pub(super) fn begin<'a>(
    data: Dataset<'a>,
    config: &TrainConfig,
    start: Start,
    newest: Option<(u64, PathBuf)>,
    device: &Device,
) -> Result<(Dataset<'a>, Origin), TrainError> {
    let codec_fits = |checkpoint: &Checkpoint, data: &Dataset<'_>| {
        let (theirs, ours) = (&checkpoint.manifest().codec, &data.codec);
        if theirs == ours {
            return Ok(());
        }
        Err(TrainError::CodecMismatch { checkpoint: theirs.to_string(), corpus: ours.to_string() })
    };
    match (start, newest) {
        (Start::Resume, Some((_, path))) => {
            let checkpoint = Checkpoint::open(&path)?;
            codec_fits(&checkpoint, &data)?;
            let mut data = data.onto(checkpoint.manifest().vocab.clone())?;
            data.timing = checkpoint.manifest().timing.clone();
            let mut state = resume::read(&path)?;
            check_resume(&path, &state, &checkpoint, &data, config)?;
            let threads = state.config.run.threads;
            state.config = config.clone();
            state.config.run.threads = threads;
            let params = Params::new(checkpoint.config().clone(), checkpoint.weights(), device)?;
            let init = state.init.clone();
            Ok((data, Origin { params, init, from: Some((path, state)) }))
        }
        (Start::Init(checkpoint), _) => {
            codec_fits(&checkpoint, &data)?;
            let old = &checkpoint.manifest().vocab;
            let mut data = data.onto(old.clone())?;
            let mut timing = checkpoint.manifest().timing.clone();
            timing.merge(&data.timing);
            data.timing = timing;
            let params = Params::extended(
                checkpoint.config(),
                checkpoint.weights(),
                (old, &data.vocab),
                data.open_codec()?.context(),
                config.run.seed,
                device,
            )?;
            Ok((data, Origin { params, init: Some(checkpoint.sha256().to_owned()), from: None }))
        }
        (Start::Fresh | Start::Resume, _) => {
            let params = Params::fresh(
                config.model.config(data.vocab.size(), data.open_codec()?.context())?,
                config.run.seed,
                device,
            )?;
            Ok((data, Origin { params, init: None, from: None }))
        }
    }
}

/// Checks that a resumed run continues the same run.
fn check_resume(
    path: &Path,
    state: &RunState,
    checkpoint: &Checkpoint,
    data: &Dataset<'_>,
    config: &TrainConfig,
) -> Result<(), TrainError> {
    let refuse = |what: String| Err(TrainError::Resume { path: path.to_owned(), what });
    let old = &state.config;
    let fixed = [
        ("[model]", format!("{:?}", old.model), format!("{:?}", config.model)),
        ("[data]", format!("{:?}", old.data), format!("{:?}", config.data)),
        ("[optimizer]", format!("{:?}", old.optimizer), format!("{:?}", config.optimizer)),
        ("run.seed", old.run.seed.to_string(), config.run.seed.to_string()),
        ("run.dtype", format!("{:?}", old.run.dtype), format!("{:?}", config.run.dtype)),
    ];
    // With --init the checkpoint gave the model's shape, so the model section is not compared.
    for (name, old, new) in fixed.iter().skip(usize::from(state.init.is_some())) {
        if old != new {
            return refuse(format!("{name} changed: expected {old}, got {new}"));
        }
    }
    if config.run.threads != 0 && config.run.threads != state.threads {
        return refuse(format!("run.threads: expected {}, got {}", state.threads, config.run.threads));
    }
    if checkpoint.manifest().vocab.size() != data.vocab.size() {
        return refuse(format!(
            "the corpus has labels that the run does not know ({})",
            data.vocab.labels()[checkpoint.labels().len()..].join(", ")
        ));
    }
    if state.fingerprint != data.fingerprint() {
        return refuse("the corpus is not the one that the run began with".into());
    }
    Ok(())
}
