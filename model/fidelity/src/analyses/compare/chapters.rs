//! The comparison for readers: what was read, the rows by what they are about, and the labels.

use std::collections::BTreeMap;

use super::{Compared, Distance, Report, Value};
use crate::page::{Chapter, Item, Table, number};
use crate::rows::collect::Row;
use crate::side::About;

/// Rows that belong together, by the beginning of their names, and which of them are plotted.
struct Group {
    title: &'static str,
    about: &'static str,
    rows: &'static [&'static str],
    plots: &'static [&'static str],
}

const GROUPS: [Group; 4] = [
    Group {
        title: "Time",
        about: "When packets come: the gaps between them as distributions (gap), and what a distribution of gaps cannot say: \
                whether short follows short (lag1), how packets bunch (burst), how many bytes pass over time (throughput).",
        rows: &["gap.", "lag1.", "burst.", "throughput."],
        plots: &[
            "gap.session.forward",
            "gap.session.backward",
            "lag1.all",
            "burst.packets",
            "burst.bytes",
            "throughput.1s",
        ],
    },
    Group {
        title: "Sizes and volume",
        about: "How long packets are on the wire, and how much a session holds.",
        rows: &["size.", "session."],
        plots: &["size.forward", "size.backward", "session.bytes", "session.duration"],
    },
    Group {
        title: "Flows",
        about: "Two-way five-tuples of a session: how many, how large, how they lie beside each other in time.",
        rows: &["flows."],
        plots: &[
            "flows.packets",
            "flows.bytes",
            "flows.duration",
            "flows.concurrent",
            "flows.start",
            "flows.run",
        ],
    },
    Group {
        title: "TCP order",
        about: "Whether connections open and count as RFC 9293 says. Real captures lose and reorder packets too: compare with the \
                real column, not with 100 %.",
        rows: &["handshake.", "order."],
        plots: &[],
    },
];

/// What is shown of every label: row and heading.
const BY_LABEL: [(&str, &str); 9] = [
    ("gap.session.forward", "gap >"),
    ("gap.session.backward", "gap <"),
    ("lag1.all", "lag 1"),
    ("burst.bytes", "burst"),
    ("size.all", "size"),
    ("flows.session", "flows"),
    ("flows.packets", "flow pkts"),
    ("handshake.completed", "handshake"),
    ("order.flows", "order"),
];

const DISTANCES: &str = "Values are compared by the Kolmogorov-Smirnov distance (0 the same, 1 apart) and the earth mover's distance \
                         (EMD, in the row's unit), shares by the difference synthetic less real. Floor: the second real set against \
                         the first, as good as it gets. Labels: the mean of the distances by label.";

impl Report {
    /// What was read, the rows in groups, and the labels.
    pub fn chapters(&self) -> Vec<Chapter> {
        let mut chapters = vec![self.captures()];
        chapters.extend(GROUPS.iter().map(|group| self.group(group)));
        chapters.extend((!self.labels.is_empty()).then(|| self.by_label()));
        chapters
    }

    fn captures(&self) -> Chapter {
        let sides = [
            ("real", Some(&self.real)),
            ("synthetic", Some(&self.synthetic)),
            ("floor", self.floor.as_ref()),
        ];
        let mut notes = Vec::new();
        let mut rows = Vec::new();
        for (name, about) in sides.into_iter().filter_map(|(name, about)| Some((name, about?))) {
            let found = &about.found;
            let counts = [found.captures, found.sessions, found.packets, found.labels.len() as u64];
            let others = [found.unassigned, about.cut_segments, found.faults.len() as u64];
            let cells = counts.into_iter().chain(others).map(|count| count.to_string());
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
            notes.extend(
                found.faults.iter().map(|(path, why)| format!("{name}: damaged: {}: {why}", path.display())),
            );
            notes.extend(found.unlabelled.iter().map(|path| format!("{name}: no label: {}", path.display())));
        }
        for (side, labels) in [("real", &self.only_real), ("synthetic", &self.only_synthetic)] {
            if !labels.is_empty() {
                notes.push(format!("labels on the {side} side only: {}", labels.join(", ")));
            }
        }
        if self.max_packets > 0 {
            notes.push(format!("Looked at the first {} packets of each session.", self.max_packets));
        }
        let head =
            ["side", "captures", "sessions", "packets", "labels", "left out", "cut segments", "damaged"];
        let table =
            Table { caption: "What was read".to_owned(), head: head.map(str::to_owned).to_vec(), rows };
        let mut items = vec![Item::Table(table)];
        items.extend((!notes.is_empty()).then(|| Item::Text(notes.join("\n"))));
        Chapter {
            title: "Captures".to_owned(),
            about: "Left out: packets in no session of the label file beside their capture. Cut segments: TCP segments without a \
                    whole fixed header, which no measure of TCP sees."
                .to_owned(),
            verdict: String::new(),
            items,
        }
    }

    fn group(&self, group: &Group) -> Chapter {
        let of_group = |row: &&&'static Row| group.rows.iter().any(|prefix| row.name.starts_with(prefix));
        let rows: Vec<&Row> = self.rows.iter().filter(of_group).copied().collect();
        let compared = |row: &Row| self.overall.get(row.name).cloned().unwrap_or_default();
        let definitions: Vec<String> =
            rows.iter().map(|row| format!("{} ({}): {}", row.name, row.unit, row.about)).collect();
        let head = [
            "row",
            "of",
            "median",
            "synthetic",
            "mean",
            "synthetic",
            "distance",
            "floor",
            "labels",
            "floor",
            "EMD",
            "floor",
        ];
        let caption = "Over all labels: real beside synthetic, and how far apart they are".to_owned();
        let lines = rows.iter().map(|row| self.line(row, &compared(row))).collect();
        let mut items =
            vec![Item::Table(Table { caption, head: head.map(str::to_owned).to_vec(), rows: lines })];
        for row in rows.iter().filter(|row| group.plots.contains(&row.name)) {
            let Some(curves) = self.curves.get(row.name) else { continue };
            let caption = format!("{}: {}", row.name, row.about);
            items.push(Item::Plot(curves.plot(caption, &format!("{} ({})", row.name, row.unit))));
        }
        Chapter {
            title: group.title.to_owned(),
            about: format!("{} {DISTANCES}\n{}", group.about, definitions.join("\n")),
            verdict: verdict(rows.iter().map(|row| (row.name, compared(row)))),
            items,
        }
    }

    fn line(&self, row: &Row, compared: &Compared) -> Vec<String> {
        let ((median, mean), (other_median, other_mean)) =
            (center(compared.real), center(compared.synthetic));
        let labels = self.label_mean.get(row.name).copied().unwrap_or_default();
        let emd = |distance| match distance {
            Some(Distance::Sample { emd, .. }) => number(Some(emd)),
            _ => String::new(),
        };
        let mean_of = |mean: Option<f64>| mean.map_or("-".to_owned(), |mean| format!("{mean:.3}"));
        vec![
            row.name.to_owned(),
            row.unit.to_owned(),
            median,
            other_median,
            mean,
            other_mean,
            distance(compared.distance),
            distance(compared.floor_distance),
            mean_of(labels.distance),
            mean_of(labels.floor),
            emd(compared.distance),
            emd(compared.floor_distance),
        ]
    }

    fn by_label(&self) -> Chapter {
        let sessions = |about: &About, label: &str| about.found.labels.get(label).copied().unwrap_or(0);
        let row = |(label, rows): (&String, &BTreeMap<&'static str, Compared>)| {
            let both = format!("{}/{}", sessions(&self.real, label), sessions(&self.synthetic, label));
            let distances =
                BY_LABEL.iter().map(|(row, _)| distance(rows.get(row).and_then(|row| row.distance)));
            [label.clone(), both].into_iter().chain(distances).collect()
        };
        let head = ["label", "sessions"].into_iter().chain(BY_LABEL.map(|(_, heading)| heading));
        let table = Table {
            caption: "Distance of a few rows by label; sessions: real/synthetic".to_owned(),
            head: head.map(str::to_owned).collect(),
            rows: self.labels.iter().map(row).collect(),
        };
        let columns = BY_LABEL.map(|(row, heading)| format!("{heading}: {row}")).join("; ");
        Chapter {
            title: "Labels".to_owned(),
            about: format!(
                "Sessions of the same label against each other. With few sessions of a label the distances are large on any \
                 data. report.json has every row. {columns}."
            ),
            verdict: String::new(),
            items: vec![Item::Table(table)],
        }
    }
}

/// Mean distance of the rows, and the row with the largest one.
fn verdict(rows: impl Iterator<Item = (&'static str, Compared)>) -> String {
    let sizes: Vec<(&str, f64, Option<f64>)> = rows
        .filter_map(|(name, row)| {
            Some((name, row.distance?.size(), row.floor_distance.map(|floor| floor.size())))
        })
        .collect();
    let Some(farthest) = sizes.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return "nothing that both sides have".to_owned();
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let floors: Vec<f64> = sizes.iter().filter_map(|row| row.2).collect();
    let beside = |floor: Option<f64>| floor.map_or(String::new(), |floor| format!(" (floor {floor:.3})"));
    format!(
        "mean distance {:.3}{} over {} rows; farthest: {} {:.3}{}",
        mean(sizes.iter().map(|row| row.1).collect()),
        beside((!floors.is_empty()).then(|| mean(floors))),
        sizes.len(),
        farthest.0,
        farthest.1,
        beside(farthest.2)
    )
}

/// Median and mean of a sample; of cases the share, in place of the mean.
fn center(value: Option<Value>) -> (String, String) {
    match value {
        Some(Value::Sample(summary)) => (number(Some(summary.p50)), number(Some(summary.mean))),
        Some(Value::Share { share, .. }) => (String::new(), format!("{:.2} %", share * 100.0)),
        None => (String::new(), number(None)),
    }
}

/// A distance in a cell: unsigned of samples, signed of shares.
pub(crate) fn distance(distance: Option<Distance>) -> String {
    match distance {
        Some(Distance::Sample { ks, .. }) => format!("{ks:.3}"),
        Some(Distance::Share { difference }) => format!("{difference:+.3}"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyses::compare::compare;
    use crate::rows::rows;
    use crate::side::Side;
    use crate::testing::Frames;

    fn side(labels: &[&str], step_us: i64) -> Side {
        let session = |label: &&str| {
            let mut frames = Frames::new();
            frames.handshake(0, 50001);
            (1..20).for_each(|i| frames.tcp(i * step_us, (443, 50001), "A", (501, 101), 100));
            frames.session(label)
        };
        Side::of(labels.iter().map(session).collect())
    }

    #[test]
    fn every_row_is_in_one_chapter() {
        for row in rows() {
            let in_groups = |group: &&Group| group.rows.iter().any(|prefix| row.name.starts_with(prefix));
            assert_eq!(GROUPS.iter().filter(in_groups).count(), 1, "{}", row.name);
        }
        let plotted =
            GROUPS.iter().flat_map(|group| group.plots).chain(BY_LABEL.iter().map(|(name, _)| name));
        for name in plotted {
            assert!(rows().any(|row| row.name == *name), "{name}");
        }
    }

    #[test]
    fn chapters_tell_rows_labels_and_the_farthest() {
        let (real, synthetic) = (side(&["a", "b"], 1000), side(&["a", "<c>"], 90_000));
        let report = compare(&real, &synthetic, Some(&real), 7);
        let chapters = report.chapters();
        let titles: Vec<_> = chapters.iter().map(|chapter| chapter.title.as_str()).collect();
        assert_eq!(titles, ["Captures", "Time", "Sizes and volume", "Flows", "TCP order", "Labels"]);
        assert!(chapters[1].verdict.contains("farthest: ") && chapters[1].verdict.contains("(floor 0.000)"));
        assert!(chapters[2].verdict.contains("session.duration 1.000"), "{}", chapters[2].verdict);
        let notes = format!("{:?}", chapters[0]);
        assert!(notes.contains("synthetic side only: <c>") && notes.contains("first 7 packets"), "{notes}");
        let plots = chapters[1].items.iter().filter(|item| matches!(item, Item::Plot(_))).count();
        assert_eq!(plots, 6);
    }

    #[test]
    fn sides_without_packets_have_chapters() {
        let empty = Side::of(vec![Frames::new().session("a")]);
        let report = compare(&empty, &empty, None, 0);
        let chapters = report.chapters();
        assert_eq!(chapters[1].verdict, "nothing that both sides have");
        let page = crate::page::html("x", &[], &chapters);
        assert!(page.contains("Nothing to draw"));
        assert_eq!(center(None), (String::new(), "-".to_owned()));
        assert_eq!(distance(Some(Distance::Share { difference: -0.25 })), "-0.250");
    }
}
