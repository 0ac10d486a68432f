//! Replay profiles: from TOML text to values that the program can use.
//!
//! [`raw`] has the keys and their defaults. [`parse`] reads them and finds every mistake of form. [`check`] checks the
//! values against each other and against the labels of the model, and makes a [`validated`] profile. None of them opens
//! a socket or a device. Only [`Profile::load`] touches the system: it reads the file, and asks for the labels of the
//! model.

mod check;
mod parse;
mod problem;
mod raw;
mod validated;

use std::path::Path;

use problem::Collector;
pub(crate) use problem::{Problem, Problems};
pub(crate) use raw::{RawModel, RawSchedule, RawTraffic};
pub(crate) use validated::{
    Arrivals, CheckpointChoice, DeviceChoice, Interface, Model, MtuChoice, Outputs, Pcap, Profile, Sends,
    Traffic,
};

/// Gives the labels of a model for a value of the `checkpoint` key, or `None` if labels do not matter. Its error is
/// shown at that key.
pub(crate) type Labels<'a> = &'a dyn Fn(&CheckpointChoice) -> Result<Option<Vec<String>>, String>;

/// Accepts any label. For commands that use a profile's addresses only.
pub(crate) fn any_label(_: &CheckpointChoice) -> Result<Option<Vec<String>>, String> {
    Ok(None)
}

/// The address plan of a profile without `[addresses]`.
pub(crate) fn default_addresses() -> netssm_replay::rewrite::AddressPlan {
    let mut problems = Collector::new(Path::new("defaults"), "");
    check::addresses(&raw::RawAddresses::default(), &mut problems)
        .expect("the defaults are valid: a test checks them")
}

impl Profile {
    /// Reads and checks a profile file.
    ///
    /// # Errors
    /// All problems of the profile at once.
    pub(crate) fn load(file: &Path, labels: Labels<'_>) -> Result<Profile, Problems> {
        let text = std::fs::read_to_string(file).map_err(|error| Problems {
            file: file.to_owned(),
            list: vec![Problem {
                place: None,
                what: format!("cannot read the profile: {error}"),
                help: "give the path of a TOML file".into(),
            }],
        })?;
        Self::from_text(file, &text, labels)
    }

    /// Checks the text of a profile. `file` is only for messages.
    ///
    /// # Errors
    /// All problems of the profile at once.
    pub(crate) fn from_text(file: &Path, text: &str, labels: Labels<'_>) -> Result<Profile, Problems> {
        let mut problems = Collector::new(file, text);
        let profile = match parse::parse(text, &mut problems) {
            Some(parsed) if parsed.complete => check::validate(&parsed.raw, labels, &mut problems),
            _ => None,
        };
        problems.finish()?;
        Ok(profile.expect("without a problem there is a profile"))
    }
}

#[cfg(test)]
mod tests;
