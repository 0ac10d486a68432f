//! Every reason for which a packet goes nowhere, from the model's output to the wire: the values of
//! `netssmd_dropped_packets_total{reason}` and of the `dropped` objects in reports.
//!
//! Three stages drop packets, and each crate names its own reasons. This module joins them, so that no name means two
//! things. docs/metrics.md lists them all; a test compares.

use netssm_replay::drop_reason::DropReason;
use netssm_tokens::repair::RepairDrop;

/// Why a packet went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PacketDrop {
    /// Repair could not make a legal frame of what the model wrote.
    Repair(RepairDrop),
    /// The rewriter made no frame of it, or an output did not deliver the frame.
    Replay(DropReason),
    /// Its session could not begin.
    SessionRefused,
}

impl PacketDrop {
    /// All reasons, in the order of a packet's way.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let repair = RepairDrop::ALL.into_iter().map(Self::Repair);
        repair.chain([Self::SessionRefused]).chain(DropReason::ALL.into_iter().map(Self::Replay))
    }

    /// Its name in metrics and reports, in snake case.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Repair(reason) => reason.as_str(),
            Self::Replay(reason) => reason.as_str(),
            Self::SessionRefused => "session_refused",
        }
    }

    /// What it means, as half a sentence without a full stop.
    #[cfg(test)]
    fn meaning(self) -> &'static str {
        match self {
            Self::Repair(reason) => reason.meaning(),
            Self::Replay(reason) => reason.meaning(),
            Self::SessionRefused => {
                "its session could not begin, for example because the prefixes have no free address"
            }
        }
    }
}

impl From<RepairDrop> for PacketDrop {
    fn from(reason: RepairDrop) -> Self {
        Self::Repair(reason)
    }
}

impl From<DropReason> for PacketDrop {
    fn from(reason: DropReason) -> Self {
        Self::Replay(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_name_means_one_thing_and_is_in_snake_case() {
        let mut names: Vec<&str> = PacketDrop::all().map(PacketDrop::as_str).collect();
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_'))
        );
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{names:?}");
    }

    #[test]
    fn the_metrics_page_lists_every_reason_with_its_meaning_and_no_other() {
        let page = include_str!("../../docs/metrics.md");
        let (_, after) = page.split_once("## Reasons of drops").expect("the page has the chapter");
        let chapter = after.split("\n## ").next().unwrap_or_default();
        let listed: BTreeMap<&str, &str> = chapter
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
            .collect();
        let known: BTreeMap<&str, &str> =
            PacketDrop::all().map(|why| (why.as_str(), why.meaning())).collect();
        assert_eq!(listed, known);
    }
}
