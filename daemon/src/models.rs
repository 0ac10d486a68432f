//! Finds and opens a checkpoint: a directory that the user names, or the model that ships with the program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use netssm_model::checkpoint::{Checkpoint, MANIFEST_FILE};
use netssm_model::generate::{GenerateOptions, Generator};
use netssm_tokens::codec::Width;

use crate::device;
use crate::exit::{Failure, Outcome};
use crate::pipeline;
use crate::profile::{self, CheckpointChoice};

/// Name of the shipped model's directory below a `models` directory.
const DEFAULT: &str = "default";

/// The directory of a checkpoint.
///
/// # Errors
/// If the shipped model is not found. The text lists the places that were searched.
pub(crate) fn locate(choice: &CheckpointChoice) -> Result<PathBuf, String> {
    match choice {
        CheckpointChoice::Path(path) => Ok(path.clone()),
        CheckpointChoice::Builtin => find(&places()),
    }
}

/// The labels of a checkpoint, to check a profile.
///
/// # Errors
/// Why the checkpoint cannot be read, as text.
pub(crate) fn labels(choice: &CheckpointChoice) -> Result<Option<Vec<String>>, String> {
    let dir = locate(choice)?;
    let checkpoint = Checkpoint::open(&dir).map_err(|error| Failure::config(error).to_string())?;
    Ok(Some(checkpoint.labels().to_vec()))
}

/// Opens and verifies a checkpoint.
///
/// # Errors
/// A configuration error that says what is wrong with it. To try again would not help.
pub(crate) fn open(choice: &CheckpointChoice) -> Outcome<Checkpoint> {
    let dir = locate(choice).map_err(|error| Failure::Config(anyhow::anyhow!(error)))?;
    Checkpoint::open(&dir).map_err(Failure::config)
}

/// Like [`open`]. If a packet `width` is given, it opens a directory of NetSSM's own training instead.
///
/// # Errors
/// As [`open`], and a usage error for a width with a netssmd checkpoint, which knows its codec.
pub(crate) fn open_either(choice: &CheckpointChoice, width: Option<Width>) -> Outcome<Checkpoint> {
    let Some(width) = width else { return open(choice) };
    let dir = locate(choice).map_err(|error| Failure::Config(anyhow::anyhow!(error)))?;
    if dir.join(MANIFEST_FILE).exists() {
        return Err(Failure::usage(format_args!(
            "--width is for directories without {MANIFEST_FILE}, and {} has it",
            dir.display()
        )));
    }
    Checkpoint::open_netssm(&dir, width).map_err(Failure::config)
}

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Hex sha256 of the weights.
    pub sha256: String,
    /// Codec with its parameters, as text.
    pub codec: String,
    /// Labels that the model knows.
    pub labels: Vec<String>,
}

/// Opens the checkpoint of a profile and makes it ready to generate on its device.
///
/// # Errors
/// A configuration error if checkpoint or device cannot be used.
pub(crate) fn load(model: &profile::Model, labels: &[&str]) -> Outcome<(pipeline::Model, Facts)> {
    let checkpoint = open(&model.checkpoint)?;
    let device = device::open(model.device)?;
    let manifest = checkpoint.manifest();
    let facts = Facts {
        sha256: checkpoint.sha256().to_owned(),
        codec: manifest.codec.to_string(),
        labels: checkpoint.labels().to_vec(),
    };
    tracing::info!(
        checkpoint = %checkpoint.path().display(),
        sha256 = facts.sha256,
        codec = facts.codec,
        labels = facts.labels.join(","),
        device = device::describe(&device),
        precision = model.precision.as_str(),
        "model loaded"
    );
    let options = GenerateOptions {
        policy: model.policy,
        batch: model.batch,
        device,
        precision: model.precision,
        ..GenerateOptions::default()
    };
    let generator = Generator::new(&checkpoint, options).map_err(Failure::config)?;
    for label in labels {
        generator.check_label(label).map_err(Failure::config)?;
    }
    let threads = device::threads(model.threads)?;
    Ok((pipeline::Model { generator, threads, tokens: None, prompts: HashMap::new() }, facts))
}

/// The `models` directories to search, the most specific first.
fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    places.extend(std::env::var_os("NETSSMD_MODELS").map(PathBuf::from));
    if let Ok(program) = std::env::current_exe()
        && let Some(prefix) = program.parent().and_then(Path::parent)
    {
        places.push(prefix.join("share/netssmd/models"));
    }
    places.push("/usr/share/netssmd/models".into());
    // The source tree, so that `cargo run` works without an installation.
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/models"));
    places
}

fn find(places: &[PathBuf]) -> Result<PathBuf, String> {
    let candidates: Vec<PathBuf> = places.iter().map(|place| place.join(DEFAULT)).collect();
    candidates.iter().find(|dir| dir.join("netssm.json").is_file()).cloned().ok_or_else(|| {
        let list: Vec<String> = candidates.iter().map(|dir| dir.display().to_string()).collect();
        format!(
            "the built-in model is not installed: no netssm.json in {}; set NETSSMD_MODELS to the directory \
             that holds default/",
            list.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_the_model_wins() {
        let tmp = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| tmp.path().join(name));
        for dir in [&b, &c] {
            std::fs::create_dir_all(dir.join("default")).unwrap();
            std::fs::write(dir.join("default/netssm.json"), "{}").unwrap();
        }
        assert_eq!(find(&[a, b.clone(), c]), Ok(b.join("default")));
    }

    #[test]
    fn when_it_is_nowhere_every_place_is_named() {
        let error = find(&["/nowhere/a".into(), "/nowhere/b".into()]).unwrap_err();
        assert!(error.contains("/nowhere/a/default, /nowhere/b/default"), "{error}");
    }

    #[test]
    fn a_named_directory_is_taken_as_it_is() {
        assert_eq!(locate(&CheckpointChoice::parse("x/y")), Ok(PathBuf::from("x/y")));
    }
}
