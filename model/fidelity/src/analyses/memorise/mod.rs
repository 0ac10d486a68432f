//! Learning or memorising: how much of its training captures a generator reproduces.
//!
//! There are four questions. Each is also asked of held-out real sessions, because independent real sessions have much
//! in common too:
//! 1. [`change`]: field by field, how far are the packets from those of the capture that the generation began with?
//!    (NAIC'24 paper, section 5.2 "Learning versus memorization" and appendix B.2, Table 2.)
//! 2. [`runs`]: how many packets in a row occur in the same order in a training session?
//! 3. [`neighbours`]: is a session, or a flow, closer to one of training than real ones are to each other?
//! 4. [`identifiers`]: does an address or a name of training occur? Must be none: [`Memorising::gate`].
//!
//! All are judged against [`Options::training`] if it is given, and else against the real side, as if the generator had
//! been trained on it. *Held-out* are the sessions of the real side that are not in training, or, if there is none,
//! those of the floor. A recording that occurs in both counts as training.

pub mod change;
mod chapter;
mod features;
mod fields;
mod held_out;
pub mod identifiers;
pub mod neighbours;
pub mod runs;
mod suffix;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::change::Change;
use self::held_out::Numbered;
use self::identifiers::Identifiers;
use self::neighbours::Neighbours;
use self::runs::Runs;
use crate::input::session::CapturedSession;
use crate::page::Chapter;
use crate::side::Side;

/// Options of the analysis. The reason for each default is at its field.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The captures that the generator was trained on. Default: none, the real side stands for them.
    pub training: Option<&'a Side>,
    /// The captures that generation began with (`generate --prompt`), for [`change`]. One session: the seed of every
    /// synthetic one; several: the k-th of a label is the seed of its k-th synthetic session, round and round. Default:
    /// none.
    pub prompts: Option<&'a Side>,
    /// Packets of a session that are compared with the seed's. Default: 100, as in the NAIC'24 paper.
    pub compared: usize,
    /// Runs of fewer packets never count as copied. Default: 16, about as many as a handshake, a DNS exchange and
    /// background traffic have together.
    pub min_run: u32,
    /// A run counts as copied if it is this many times as long as those of held-out sessions. Default: 2, because a
    /// longest run grows with the number of sessions, which may differ between sides.
    pub factor: f64,
    /// Fewest packets of a flow that is compared with its neighbours. Default: 4, as shorter ones are all alike.
    pub flow_packets: u32,
    /// Flows of a side that look for neighbours; of more, this many are drawn. Default: 4,000 (0.8 % standard error).
    pub flows: usize,
    /// Training flows that are looked at; of more, this many are drawn. Default: 50,000.
    pub training_flows: usize,
    /// Identifiers that do not count: an address, a prefix (`10.0.0.0/8`), a MAC, a name, a name's end
    /// (`.example.org`). Say here what prefixes the synthetic addresses are drawn from if training uses them too.
    /// Default: none.
    pub allow: Vec<String>,
    /// Findings that are listed; all are counted. Default: 200.
    pub listed: usize,
    /// Seed of what is drawn. Default: 1.
    pub seed: u64,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            training: None,
            prompts: None,
            compared: 100,
            min_run: 16,
            factor: 2.0,
            flow_packets: 4,
            flows: 4000,
            training_flows: 50_000,
            allow: Vec::new(),
            listed: 200,
            seed: 1,
        }
    }
}

/// Where a packet is. Numbers count from 0; that of the session is its place in [`Side::sessions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Label of the session.
    pub label: Option<String>,
    /// Number of the session.
    pub session: usize,
    /// Number of the packet in it.
    pub packet: usize,
}

impl Place {
    fn of((number, session): (usize, &CapturedSession), packet: usize) -> Self {
        Self { label: session.label.clone(), session: number, packet }
    }
}

/// The sets of sessions that are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Basis {
    /// Training captures were given; otherwise the real side stands for them.
    pub training_given: bool,
    /// Sessions of training.
    pub training: usize,
    /// Synthetic sessions.
    pub synthetic: usize,
    /// Held-out real sessions.
    pub held_out: usize,
    /// Sessions of the held-out side that are left out as they are in training.
    pub in_training: usize,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memorising {
    /// What was compared with what.
    pub basis: Basis,
    /// Against the seed's capture; `None` without [`Options::prompts`] or without a pair.
    pub change: Option<Change>,
    /// The same of held-out sessions in place of the synthetic ones.
    pub change_held_out: Option<Change>,
    /// Copied runs of packets, one entry an equality.
    pub runs: Vec<Runs>,
    /// Nearest neighbours: sessions, then flows. Empty where training has fewer than two.
    pub neighbours: Vec<Neighbours>,
    /// Identifiers of training.
    pub identifiers: Identifiers,
}

impl Memorising {
    /// Whether no identifier of training was found.
    pub fn gate(&self) -> bool {
        self.identifiers.gate()
    }

    /// The chapter of the report.
    pub fn chapter(&self) -> Chapter {
        chapter::chapter(self)
    }
}

/// Compares the synthetic side with what it was trained on. Linear in packets but for sorting; about 40 bytes a packet
/// of all sides together.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options<'_>) -> Memorising {
    let training = held_out::numbered(options.training.unwrap_or(real));
    let asked = held_out::numbered(synthetic);
    let (held_out, in_training) = held_out::held_out(&training, real, floor);
    let seeds = options.prompts.map(held_out::numbered).unwrap_or_default();
    let against = |side: &[Numbered<'_>]| change::change(&seeds, side, options.compared);
    let (runs, (neighbours, identifiers)) = rayon::join(
        || runs::runs(&training, &asked, &held_out, options),
        || {
            (
                neighbours::neighbours(&training, &asked, &held_out, options),
                identifiers::identifiers(&training, &asked, &held_out, options),
            )
        },
    );
    Memorising {
        basis: Basis {
            training_given: options.training.is_some(),
            training: training.len(),
            synthetic: asked.len(),
            held_out: held_out.len(),
            in_training,
        },
        change: against(&asked),
        change_held_out: against(&held_out),
        runs,
        neighbours,
        identifiers,
    }
}
