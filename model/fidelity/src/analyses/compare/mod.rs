//! Real against synthetic, row by row, over all sessions and by label, with the floor for comparison.
//!
//! *Overall* takes the sessions of all labels together, so it also depends on the mix of labels. *By label* compares
//! sessions of the same label, and the *label mean* is the plain mean of these distances over the labels that both
//! sides have. The *floor* is the same real set against a second real one: no generator can be expected to be closer.

mod chapters;
mod curves;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub(crate) use self::chapters::distance as shown;
use self::curves::Curves;
use crate::rows::collect::{Collected, Row, RowKind, Share};
use crate::rows::rows;
use crate::side::{About, Side};
use crate::stats::{Summary, emd, ks};

/// Version of the shape of [`Report`], and of the [`Evaluation`](crate::Evaluation) around it. Version 2 has analyses
/// besides the rows.
pub const FORMAT: u32 = 2;

/// The value of one side in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A sample in numbers.
    Sample(Summary),
    /// Cases.
    Share {
        /// How many.
        #[serde(flatten)]
        cases: Share,
        /// `hits / of`.
        share: f64,
    },
}

/// The distance of two sides in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Distance {
    /// Of two samples.
    Sample {
        /// Two-sample Kolmogorov-Smirnov distance, 0 to 1.
        ks: f64,
        /// Earth mover's distance, in the row's unit.
        emd: f64,
    },
    /// Of two shares.
    Share {
        /// The other side's share less the real one's, -1 to 1.
        difference: f64,
    },
}

impl Distance {
    /// One number from 0 (the same) to 1: the K-S distance, or how far the shares are apart.
    pub fn size(&self) -> f64 {
        match *self {
            Self::Sample { ks, .. } => ks,
            Self::Share { difference } => difference.abs(),
        }
    }
}

/// A row of the comparison. What has no value on a side is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// The real side.
    pub real: Option<Value>,
    /// The synthetic side.
    pub synthetic: Option<Value>,
    /// The second real side.
    pub floor: Option<Value>,
    /// Synthetic against real.
    pub distance: Option<Distance>,
    /// Second real against real.
    pub floor_distance: Option<Distance>,
}

/// A row's distance in the mean over labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LabelMean {
    /// Mean of [`Distance::size`] over the labels that have it.
    pub distance: Option<f64>,
    /// How many labels these are.
    pub labels: u64,
    /// The same for the floor.
    pub floor: Option<f64>,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    /// Packets of a session that were looked at; 0 = all.
    pub max_packets: u64,
    /// Definitions of all rows, in order.
    pub rows: Vec<&'static Row>,
    /// The real side.
    pub real: About,
    /// The synthetic side.
    pub synthetic: About,
    /// The second real side.
    pub floor: Option<About>,
    /// Labels that only the real side has.
    pub only_real: Vec<String>,
    /// Labels that only the synthetic side has.
    pub only_synthetic: Vec<String>,
    /// All sessions together, by row name.
    pub overall: BTreeMap<&'static str, Compared>,
    /// Mean over the labels of both sides, by row name.
    pub label_mean: BTreeMap<&'static str, LabelMean>,
    /// By label and row name, for labels of both sides.
    pub labels: BTreeMap<String, BTreeMap<&'static str, Compared>>,
    /// Distribution functions over all sessions, by row name; for the plots, and no part of the JSON.
    #[serde(skip)]
    pub(crate) curves: BTreeMap<&'static str, Curves>,
}

/// Compares `synthetic` with `real`, and `floor` too if there is one. `max_packets` is only recorded.
pub fn compare(real: &Side, synthetic: &Side, floor: Option<&Side>, max_packets: u64) -> Report {
    let names = |side: &Side| side.labels().map(str::to_owned).collect::<BTreeSet<String>>();
    let (of_real, of_synthetic) = (names(real), names(synthetic));
    let all = (real.together(), synthetic.together(), floor.map(Side::together));
    let overall = table(&all.0, Some(&all.1), all.2.as_ref());
    let labels: BTreeMap<_, _> = of_real
        .intersection(&of_synthetic)
        .filter_map(|label| {
            let floor = floor.and_then(|floor| floor.label(label));
            Some((label.clone(), table(real.label(label)?, synthetic.label(label), floor)))
        })
        .collect();
    Report {
        format: FORMAT,
        max_packets,
        rows: rows().collect(),
        real: real.about(),
        synthetic: synthetic.about(),
        floor: floor.map(Side::about),
        only_real: of_real.difference(&of_synthetic).cloned().collect(),
        only_synthetic: of_synthetic.difference(&of_real).cloned().collect(),
        label_mean: rows().map(|row| (row.name, label_mean(row, &labels))).collect(),
        overall,
        labels,
        curves: rows()
            .filter(|row| row.kind == RowKind::Sample)
            .map(|row| {
                let of = |side: &Collected| curves::ecdf(side.values(row));
                (row.name, Curves { real: of(&all.0), synthetic: of(&all.1), floor: all.2.as_ref().map(of) })
            })
            .collect(),
    }
}

fn label_mean(row: &Row, labels: &BTreeMap<String, BTreeMap<&'static str, Compared>>) -> LabelMean {
    let rows = || labels.values().filter_map(|rows| rows.get(row.name));
    let mean = |distances: Vec<Distance>| {
        let n = distances.len();
        (n > 0).then(|| distances.iter().map(Distance::size).sum::<f64>() / n as f64)
    };
    let distances: Vec<_> = rows().filter_map(|row| row.distance).collect();
    LabelMean {
        labels: distances.len() as u64,
        distance: mean(distances),
        floor: mean(rows().filter_map(|row| row.floor_distance).collect()),
    }
}

fn table(
    real: &Collected,
    synthetic: Option<&Collected>,
    floor: Option<&Collected>,
) -> BTreeMap<&'static str, Compared> {
    let compared = |row: &Row| Compared {
        real: value(row, real),
        synthetic: synthetic.and_then(|side| value(row, side)),
        floor: floor.and_then(|side| value(row, side)),
        distance: synthetic.and_then(|side| distance(row, real, side)),
        floor_distance: floor.and_then(|side| distance(row, real, side)),
    };
    rows().map(|row| (row.name, compared(row))).collect()
}

pub(crate) fn value(row: &Row, side: &Collected) -> Option<Value> {
    match row.kind {
        RowKind::Sample => Summary::of(side.values(row)).map(Value::Sample),
        RowKind::Share => {
            let cases = side.cases(row);
            cases.value().map(|share| Value::Share { cases, share })
        }
    }
}

pub(crate) fn distance(row: &Row, real: &Collected, other: &Collected) -> Option<Distance> {
    match row.kind {
        RowKind::Sample => {
            let (real, other) = (real.values(row), other.values(row));
            Some(Distance::Sample { ks: ks(real, other)?, emd: emd(real, other)? })
        }
        RowKind::Share => {
            Some(Distance::Share { difference: other.cases(row).value()? - real.cases(row).value()? })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FidelityError;
    use crate::input::read::Captures;
    use crate::testing::Frames;

    /// A folder with one capture a label.
    fn side(sessions: &[(&str, Frames)]) -> Result<Side, FidelityError> {
        let dir = tempfile::tempdir().expect("a folder");
        for (i, (label, frames)) in sessions.iter().enumerate() {
            frames.write(&dir.path().join(label).join(format!("{i}.pcap")));
        }
        Side::measure(&Captures::of(vec![dir.path().to_owned()]), &())
    }

    fn session(step_us: i64, answered: bool) -> Frames {
        let mut frames = Frames::new();
        frames.tcp(0, (50001, 443), "S", (100, 0), 0);
        if answered {
            frames.tcp(step_us, (443, 50001), "SA", (500, 101), 0);
            frames.tcp(2 * step_us, (50001, 443), "A", (101, 501), 0);
        }
        frames
    }

    #[test]
    fn the_same_sessions_have_no_distance() {
        let sessions = [("a", session(10, true)), ("b", session(500, true))];
        let (real, synthetic) = (side(&sessions).expect("a side"), side(&sessions).expect("a side"));
        let report = compare(&real, &synthetic, Some(&real), 0);
        for (row, compared) in &report.overall {
            assert_eq!(compared.real, compared.synthetic, "{row}");
            for distance in [compared.distance, compared.floor_distance].into_iter().flatten() {
                assert_eq!(distance.size(), 0.0, "{row}");
            }
        }
        assert_eq!(report.labels.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(report.label_mean["gap.session.all"].labels, 2);
        assert!(report.overall["flows.session"].distance.is_some());
        let json = serde_json::to_value(&report).expect("plain values");
        assert_eq!(json["overall"]["size.all"]["distance"]["ks"], 0.0);
        assert_eq!(json["overall"]["handshake.completed"]["real"]["share"], 1.0);
        assert_eq!(json["real"]["sessions"], 2);
    }

    #[test]
    fn differences_show_in_their_rows_and_labels() {
        let real = side(&[("a", session(10, true)), ("b", session(10, true)), ("c", session(10, true))]);
        let synthetic =
            side(&[("a", session(10, true)), ("b", session(90, false)), ("d", session(10, true))]);
        let report = compare(&real.expect("a side"), &synthetic.expect("a side"), None, 0);
        assert_eq!((report.only_real, report.only_synthetic), (vec!["c".into()], vec!["d".into()]));
        let answered = |rows: &BTreeMap<_, Compared>| rows["handshake.completed"].distance.map(|d| d.size());
        assert_eq!(answered(&report.labels["a"]), Some(0.0));
        assert_eq!(answered(&report.labels["b"]), Some(1.0));
        assert_eq!(report.label_mean["handshake.completed"].distance, Some(0.5));
        let b = &report.labels["b"]["gap.session.all"];
        assert!(b.real.is_some() && b.synthetic.is_none() && b.distance.is_none(), "one packet has no gap");
    }

    #[test]
    fn sides_without_a_session_are_errors() {
        let dir = tempfile::tempdir().expect("a folder");
        let captures = Captures::of(vec![dir.path().to_owned()]);
        let text = Side::measure(&captures, &()).expect_err("nothing there").to_string();
        assert!(text.contains("no capture was found"), "{text}");
        std::fs::write(dir.path().join("a.pcap"), "nonsense").expect("written");
        let text = Side::measure(&captures, &()).expect_err("nothing in it").to_string();
        assert!(text.contains("a.pcap"), "{text}");
    }
}
