//! Options of `prepare`.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::codec::{CodecChoice, CodecId, Vocab};
use crate::error::DataError;

/// What one session of the corpus is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SplitBy {
    /// Everything that a capture holds, flows interleaved (NetSSM section 5.3).
    #[default]
    Sessions,
    /// One flow by five-tuple (NetSSM section 5.1).
    Flows,
}

/// Which part of each flow is kept, for phase-specific fine-tuning (NetSSM section 5.1.1). Needs [`SplitBy::Flows`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// All of it.
    #[default]
    All,
    /// SYN, SYN-ACK, ACK.
    Handshake,
    /// The packets between. A flow without a captured handshake is all data.
    Data,
    /// From the first FIN or RST on.
    Teardown,
}

/// Text forms of the two enums above, for the command line and the corpus' record of how it was made.
macro_rules! names {
    ($type:ty, $what:literal: $($variant:ident = $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = DataError;

            fn from_str(text: &str) -> Result<Self, DataError> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    other => Err(DataError::Options(format!(
                        concat!($what, " '{}' is none of ", $($name, " "),+), other
                    ).trim_end().to_owned())),
                }
            }
        }
    };
}

names!(SplitBy, "split": Sessions = "sessions", Flows = "flows");
names!(Phase, "phase": All = "all", Handshake = "handshake", Data = "data", Teardown = "teardown");

/// Where the validation sessions come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Validation {
    /// This share of each label's files, 0 to below 1; at least one file of every label that has two.
    Fraction(f64),
    /// These files and folders.
    Inputs(Vec<PathBuf>),
}

/// What [`prepare`](super::prepare) reads and how. [`Default`] has all defaults.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// Captures to train on: files, or folders that are searched.
    pub inputs: Vec<PathBuf>,
    /// The label list, CSV with the columns `file,label`: a file name, a folder (`requet/`) or a pattern (`*`, `?`
    /// within a component, `**` across), compared with the end of the path; the first match wins, and `{folder}` in a
    /// label is the name of the file's folder. `None` labels each file by its folder's name.
    pub labels: Option<PathBuf>,
    /// Labels to rename after that. Several may become one.
    pub label_map: BTreeMap<String, String>,
    /// The corpus directory, which must not exist or be empty.
    pub out: PathBuf,
    /// Which codec, unless `extend` says so.
    pub codec: CodecChoice,
    /// Codec and vocabulary of a checkpoint to fine-tune on the corpus. The corpus uses this codec, and new labels are
    /// appended to the vocabulary.
    pub extend: Option<(CodecId, Vocab)>,
    /// Default: sessions.
    pub split: SplitBy,
    /// Default: all.
    pub phase: Phase,
    /// Default: a tenth of the files.
    pub validation: Validation,
    /// Largest number of packets of a session. Later packets are left out, and the session then has no end token.
    /// Default: no limit.
    pub max_packets: Option<u64>,
    /// Least number of packets of a session. Shorter ones are left out. Default: 2, as in NetSSM.
    pub min_packets: u64,
    /// A gap longer than this ends a session and starts another. Default: 10 minutes.
    pub gap: Option<Duration>,
    /// Seed of the choice of validation files.
    pub seed: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            labels: None,
            label_map: BTreeMap::new(),
            out: PathBuf::from("corpus"),
            codec: CodecChoice::default(),
            extend: None,
            split: SplitBy::Sessions,
            phase: Phase::All,
            validation: Validation::Fraction(0.1),
            max_packets: None,
            min_packets: 2,
            gap: Some(Duration::from_secs(600)),
            seed: 0,
        }
    }
}

impl PrepareOptions {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |reason: &str| Err(DataError::Options(reason.to_owned()));
        if self.inputs.is_empty() {
            return wrong("no input is given");
        }
        if self.phase != Phase::All && self.split != SplitBy::Flows {
            return wrong("a phase is a part of a flow: it needs the split by flows");
        }
        if self.max_packets.is_some_and(|max| max < self.min_packets.max(1)) {
            return wrong("the packet limit is below the least number of packets");
        }
        match self.validation {
            Validation::Fraction(fraction) if !(0.0..1.0).contains(&fraction) => {
                wrong("the validation share must be at least 0 and below 1")
            }
            _ => Ok(()),
        }
    }

    /// How the corpus was made, for `corpus.json`.
    pub(super) fn summary(&self) -> BTreeMap<String, String> {
        let none = || "none".to_owned();
        let validation = match &self.validation {
            Validation::Fraction(fraction) => fraction.to_string(),
            Validation::Inputs(_) => "its own captures".to_owned(),
        };
        BTreeMap::from([
            ("split".to_owned(), self.split.to_string()),
            ("phase".to_owned(), self.phase.to_string()),
            ("validation".to_owned(), validation),
            ("max_packets".to_owned(), self.max_packets.map_or_else(none, |max| max.to_string())),
            ("min_packets".to_owned(), self.min_packets.to_string()),
            ("gap_seconds".to_owned(), self.gap.map_or_else(none, |gap| gap.as_secs_f64().to_string())),
            ("seed".to_owned(), self.seed.to_string()),
        ])
    }
}
