//! The IDS's view: what Suricata and Zeek say about the real and the synthetic captures, where they are installed.
//!
//! Both read one file per side, which [`merge`] writes. It holds the same sessions that all measures see, an hour
//! apart, so that packets of two sessions never count as one flow. The programs run offline and log into a temporary
//! folder, which is removed afterwards. A program that takes too long is killed. A program's failure is not an error of
//! the evaluation: the chapter reports it.

mod merge;
mod process;
mod suricata;
mod zeek;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use netssm_fidelity::Captures;
use netssm_fidelity::page::{Chapter, Item, Table};
use serde::Serialize;

/// What one program said about one side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Packets that the program was given.
    packets: u64,
    /// Flows that it followed. 0 if it does not say.
    flows: u64,
    /// Everything that it counted, by kind and name.
    counts: BTreeMap<Kind, BTreeMap<String, u64>>,
}

/// A kind of count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Invalid packets, and events of the decoders.
    Decoder,
    /// Events while following TCP streams.
    Stream,
    /// States of flows at their end.
    FlowState,
    /// Flows by application protocol.
    Application,
    /// Alerts by signature.
    Alert,
    /// Zeek's weird events by name.
    Weird,
}

impl Kind {
    /// Title of the kind's table, and whether its counts are shares of flows. Otherwise they are per 1,000 packets.
    fn about(self) -> (&'static str, bool) {
        match self {
            Self::Decoder => ("decoder: invalid packets and events", false),
            Self::Stream => ("events of TCP streams", false),
            Self::FlowState => ("flows by state at their end", true),
            Self::Application => ("flows by application protocol", true),
            Self::Alert => ("alerts by signature", false),
            Self::Weird => ("weird.log by name", false),
        }
    }
}

impl Verdict {
    fn count(&self, kind: Kind, name: &str) -> u64 {
        self.counts.get(&kind).and_then(|names| names.get(name)).copied().unwrap_or(0)
    }

    fn add(&mut self, kind: Kind, name: &str, count: u64) {
        if count > 0 {
            *self.counts.entry(kind).or_default().entry(name.to_owned()).or_default() += count;
        }
    }
}

/// One program and what it said about each side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Judge {
    name: &'static str,
    version: String,
    sides: BTreeMap<&'static str, Verdict>,
}

/// What all programs said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ids {
    judges: Vec<Judge>,
    /// Programs that are not installed, did not end in time or failed.
    notes: Vec<String>,
}

/// One program: a function that gives its version if it is installed, and one that runs it on a capture.
struct Program {
    name: &'static str,
    version: fn() -> Option<String>,
    judge: fn(&Asked<'_>) -> Result<Verdict, String>,
}

const PROGRAMS: [Program; 2] = [
    Program { name: "Suricata", version: suricata::version, judge: suricata::judge },
    Program { name: "Zeek", version: zeek::version, judge: zeek::judge },
];

/// The input of one run of a program.
struct Asked<'a> {
    capture: &'a Path,
    /// Number of packets in the capture.
    packets: u64,
    /// An empty folder for the program's logs.
    logs: &'a Path,
    rules: Option<&'a Path>,
    limit: Duration,
    stop: &'a dyn Fn() -> bool,
}

/// Runs every installed program on every side.
///
/// # Errors
/// If captures cannot be listed or temporary files cannot be written.
pub(super) fn ask(
    sides: &[(&'static str, Captures)],
    rules: Option<&Path>,
    limit: Duration,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<Ids> {
    let mut ids = Ids::default();
    let mut programs = Vec::new();
    for program in &PROGRAMS {
        match (program.version)() {
            Some(version) => {
                programs.push(program);
                ids.judges.push(Judge { name: program.name, version, ..Judge::default() });
            }
            None => ids.notes.push(format!("{} is not installed, so it was not asked.", program.name)),
        }
    }
    if programs.is_empty() {
        return Ok(ids);
    }
    for (side, captures) in sides {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let capture = folder.path().join("sessions.pcap");
        let packets = merge::sessions(captures, &capture)
            .with_context(|| format!("write the {side} sessions for an IDS"))?;
        if packets == 0 {
            // With an empty capture, Suricata would wait a minute for a packet before it gives up.
            ids.notes.push(format!("The {side} captures have no packet to show to an IDS."));
            continue;
        }
        for (program, judge) in programs.iter().zip(&mut ids.judges) {
            let logs = folder.path().join(program.name);
            std::fs::create_dir(&logs).context("make a temporary folder")?;
            let asked = Asked { capture: &capture, packets, logs: &logs, rules, limit, stop };
            match (program.judge)(&asked) {
                Ok(verdict) => drop(judge.sides.insert(side, verdict)),
                Err(why) => ids.notes.push(format!("{} on the {side} captures: {why}", program.name)),
            }
        }
    }
    Ok(ids)
}

impl Ids {
    /// The chapter of the report.
    pub(super) fn chapter(&self) -> Chapter {
        let mut items: Vec<Item> = Vec::new();
        if !self.notes.is_empty() {
            items.push(Item::Text(self.notes.join("\n")));
        }
        items.extend(self.judges.iter().flat_map(Judge::tables).map(Item::Table));
        let verdicts: Vec<String> = self.judges.iter().filter_map(Judge::verdict).collect();
        Chapter {
            title: "The IDS's view".to_owned(),
            about: "What intrusion detection systems make of the sessions that were compared, put one after the other. Packets that \
                    a capture has cut count as invalid on whichever side has them. Flows are the program's own, with its timeouts."
                .to_owned(),
            verdict: if verdicts.is_empty() { "no IDS was asked".to_owned() } else { verdicts.join("; ") },
            items,
        }
    }
}

/// The sides, in the order of the table's columns.
const SIDES: [&str; 3] = ["real", "synthetic", "floor"];

impl Judge {
    fn tables(&self) -> Vec<Table> {
        let sides: Vec<(&str, &Verdict)> =
            SIDES.iter().filter_map(|side| Some((*side, self.sides.get(side)?))).collect();
        let kinds: BTreeSet<Kind> =
            sides.iter().flat_map(|(_, verdict)| verdict.counts.keys().copied()).collect();
        let table = |kind: Kind| {
            let (what, of_flows) = kind.about();
            let names: BTreeSet<&String> = sides
                .iter()
                .filter_map(|(_, verdict)| verdict.counts.get(&kind))
                .flat_map(BTreeMap::keys)
                .collect();
            let cell = |verdict: &Verdict, name: &str| {
                let count = verdict.count(kind, name);
                let (whole, times) =
                    if of_flows { (verdict.flows, 100.0) } else { (verdict.packets, 1000.0) };
                let unit = if of_flows { " %" } else { "" };
                if whole == 0 {
                    return count.to_string();
                }
                format!("{count} ({:.1}{unit})", count as f64 * times / whole as f64)
            };
            let row = |name: &String| {
                let cells = sides.iter().map(|(_, verdict)| cell(verdict, name));
                std::iter::once(name.clone()).chain(cells).collect()
            };
            let per = if of_flows { "share of flows" } else { "per 1,000 packets" };
            Table {
                caption: format!("{} {}, {what}: count and {per}", self.name, self.version),
                head: std::iter::once("")
                    .chain(sides.iter().map(|(side, _)| *side))
                    .map(str::to_owned)
                    .collect(),
                rows: names.into_iter().map(row).collect(),
            }
        };
        kinds.into_iter().map(table).collect()
    }

    /// The verdict: invalid packets or weird events per 1,000 packets, real and synthetic.
    fn verdict(&self) -> Option<String> {
        let share = |side: &str| {
            let verdict = self.sides.get(side)?;
            let weirds: u64 = verdict.counts.get(&Kind::Weird).map_or(0, |names| names.values().sum());
            let odd = verdict.count(Kind::Decoder, suricata::INVALID) + weirds;
            Some(odd as f64 * 1000.0 / verdict.packets.max(1) as f64)
        };
        let what = if self.name == "Zeek" { "weirds" } else { "invalid packets" };
        let (real, synthetic) = (share("real")?, share("synthetic")?);
        Some(format!("{}: {what} per 1,000: {real:.1} real, {synthetic:.1} synthetic", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_stand_beside_each_other() {
        let mut real = Verdict { packets: 2000, flows: 10, ..Verdict::default() };
        real.add(Kind::Decoder, suricata::INVALID, 4);
        real.add(Kind::FlowState, "closed", 5);
        let synthetic = Verdict { packets: 500, flows: 0, ..Verdict::default() };
        let sides = BTreeMap::from([("real", real), ("synthetic", synthetic)]);
        let judge = Judge { name: "Suricata", version: "7".into(), sides };
        let ids = Ids { judges: vec![judge], notes: vec!["Zeek is not installed".into()] };
        let chapter = ids.chapter();
        assert_eq!(chapter.verdict, "Suricata: invalid packets per 1,000: 2.0 real, 0.0 synthetic");
        let [Item::Text(_), Item::Table(decoder), Item::Table(states)] = &chapter.items[..] else {
            panic!("{:?}", chapter.items)
        };
        assert_eq!(decoder.rows, [["invalid packets", "4 (2.0)", "0 (0.0)"]]);
        assert_eq!(states.rows, [["closed", "5 (50.0 %)", "0"]]);
        assert_eq!(states.head, ["", "real", "synthetic"]);
    }

    #[test]
    fn a_side_without_packets_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let sides = [("real", Captures::of(vec![dir.path().to_owned()]))];
        let ids = ask(&sides, None, Duration::from_secs(1), &|| false).expect("temporary files");
        let told = ids.notes.iter().any(|note| note.contains("no packet"));
        assert_eq!(told, !ids.judges.is_empty(), "{:?}", ids.notes);
    }

    #[test]
    fn without_a_program_the_chapter_says_so() {
        let ids =
            Ids { judges: Vec::new(), notes: vec!["Suricata is not installed, so it was not asked.".into()] };
        assert_eq!(ids.chapter().verdict, "no IDS was asked");
        assert!(format!("{:?}", ids.chapter().items).contains("not installed"));
    }
}
