//! A comparison as lines for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use netssm_model::fidelity::{About, Compared, Distance, Report, Value};

/// What is shown of every label: row and heading.
const BY_LABEL: [(&str, &str); 7] = [
    ("gap.session.forward", "gap >"),
    ("gap.session.backward", "gap <"),
    ("size.all", "size"),
    ("flows.session", "flows"),
    ("flows.packets", "flow pkts"),
    ("handshake.completed", "handshake"),
    ("order.flows", "order"),
];

/// The report for people.
pub(super) fn lines(report: &Report) -> String {
    let mut text = String::new();
    for (name, about) in [
        ("real", Some(&report.real)),
        ("synthetic", Some(&report.synthetic)),
        ("floor", report.floor.as_ref()),
    ] {
        if let Some(about) = about {
            side(&mut text, name, about);
        }
    }
    if report.max_packets > 0 {
        let _ = writeln!(text, "first {} packets of each session", report.max_packets);
    }
    for (side, labels) in [("real", &report.only_real), ("synthetic", &report.only_synthetic)] {
        if !labels.is_empty() {
            let _ = writeln!(text, "labels on the {side} side only: {}", labels.join(", "));
        }
    }
    overall(&mut text, report);
    by_label(&mut text, report);
    text
}

fn side(text: &mut String, name: &str, about: &About) {
    let found = &about.found;
    let _ = writeln!(
        text,
        "{name}: {} captures, {} sessions, {} packets, {} labels",
        found.captures,
        found.sessions,
        found.packets,
        found.labels.len()
    );
    for (path, why) in &found.faults {
        let _ = writeln!(text, "  damaged: {}: {why}", path.display());
    }
    for path in &found.unlabelled {
        let _ = writeln!(text, "  no label: {}", path.display());
    }
    for (what, n) in [
        ("packets in no session of the label file, left out", found.unassigned),
        ("TCP segments with a cut header", about.cut_segments),
    ] {
        if n > 0 {
            let _ = writeln!(text, "  {what}: {n}");
        }
    }
}

fn overall(text: &mut String, report: &Report) {
    let _ = writeln!(
        text,
        "\n{:<22} {:<20} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>10}",
        "over all labels",
        "of",
        "median",
        "synthetic",
        "mean",
        "synthetic",
        "distance",
        "floor",
        "labels",
        "EMD"
    );
    for row in &report.rows {
        let Some(compared) = report.overall.get(row.name) else { continue };
        let ((median, mean), (other_median, other_mean)) =
            (center(compared.real), center(compared.synthetic));
        let emd = match compared.distance {
            Some(Distance::Sample { emd, .. }) => number(Some(emd)),
            _ => String::new(),
        };
        let labels = report.label_mean.get(row.name).and_then(|mean| mean.distance);
        let _ = writeln!(
            text,
            "{:<22} {:<20} {median:>10} {other_median:>10} {mean:>10} {other_mean:>10} {:>8} {:>8} {:>8} {emd:>10}",
            row.name,
            row.unit,
            distance(compared.distance),
            distance(compared.floor_distance),
            labels.map_or("-".to_owned(), |mean| format!("{mean:.3}")),
        );
    }
    let _ = writeln!(
        text,
        "distance: Kolmogorov-Smirnov for values, difference for shares; floor: the second real side; labels: mean of the \
         distances by label"
    );
}

fn by_label(text: &mut String, report: &Report) {
    if report.labels.is_empty() {
        return;
    }
    let _ = write!(text, "\n{:<22} {:>12}", "distance by label", "sessions");
    for (_, heading) in BY_LABEL {
        let _ = write!(text, " {heading:>9}");
    }
    text.push('\n');
    for (label, rows) in &report.labels {
        let sessions = |about: &About| about.found.labels.get(label).copied().unwrap_or(0);
        let both = format!("{}/{}", sessions(&report.real), sessions(&report.synthetic));
        let _ = write!(text, "{label:<22} {both:>12}");
        for (row, _) in BY_LABEL {
            let _ = write!(text, " {:>9}", distance(of(rows, row)));
        }
        text.push('\n');
    }
}

fn of(rows: &BTreeMap<&'static str, Compared>, row: &str) -> Option<Distance> {
    rows.get(row).and_then(|row| row.distance)
}

/// Median and mean of a sample; of cases the share, in place of the mean.
fn center(value: Option<Value>) -> (String, String) {
    match value {
        Some(Value::Sample(summary)) => (number(Some(summary.p50)), number(Some(summary.mean))),
        Some(Value::Share { share, .. }) => (String::new(), format!("{:.2} %", share * 100.0)),
        None => (String::new(), number(None)),
    }
}

fn distance(distance: Option<Distance>) -> String {
    match distance {
        Some(Distance::Sample { ks, .. }) => format!("{ks:.3}"),
        Some(Distance::Share { difference }) => format!("{difference:+.3}"),
        None => "-".to_owned(),
    }
}

/// Three or four digits that matter.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(x) if x.abs() >= 1000.0 => format!("{x:.0}"),
        Some(x) if x.abs() >= 10.0 => format!("{x:.1}"),
        Some(x) if x.abs() >= 0.01 => format!("{x:.3}"),
        Some(x) => format!("{x:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let texts: Vec<_> =
            [0.0, 0.000_02, 0.5, 12.345, 123_456.7].into_iter().map(|x| number(Some(x))).collect();
        assert_eq!(texts, ["0", "2.0e-5", "0.500", "12.3", "123457"]);
    }

    #[test]
    fn shares_stand_where_means_do() {
        assert_eq!(center(None), (String::new(), "-".to_owned()));
        assert_eq!(distance(Some(Distance::Share { difference: -0.25 })), "-0.250");
    }
}
