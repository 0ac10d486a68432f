//! The chapter of the report: one table a question, two plots, and in words what has no value and why.

use super::change::Change;
use super::identifiers::{IdentifierKind, Identifiers};
use super::neighbours::{Level, Near, Neighbours};
use super::runs::{Equality, Runs, Shared};
use super::{Memorising, Place};
use crate::page::{Axis, Chapter, Curve, Item, Plot, Style, Table};

/// Findings that the page shows; the JSON has more.
const SHOWN: usize = 30;

/// Where there is no value.
const NONE: &str = "-";

pub(super) fn chapter(result: &Memorising) -> Chapter {
    let mut items = vec![Item::Text(basis(result))];
    identifiers(&result.identifiers, &mut items);
    runs(&result.runs, &mut items);
    neighbours(result, &mut items);
    change(result, &mut items);
    Chapter {
        title: "Learning or memorising".to_owned(),
        about: "How much of the training captures comes back: identifiers of theirs, runs of their packets, sessions that \
                keep close to one of theirs, and the packets of the capture that a generation began with. What held-out real \
                sessions have in common with training stands beside, since that much is normal."
            .to_owned(),
        verdict: verdict(result),
        items,
    }
}

fn table(caption: &str, head: &[&str], rows: Vec<Vec<String>>) -> Item {
    let head = head.iter().map(|&title| title.to_owned()).collect();
    Item::Table(Table { caption: caption.to_owned(), head, rows })
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn judged(copied: Option<bool>) -> String {
    match copied {
        Some(true) => "copied",
        Some(false) => "no",
        None => "not judged",
    }
    .to_owned()
}

fn place(place: &Place) -> String {
    let label = place.label.as_deref().map_or(String::new(), |label| format!("{label}, "));
    format!("{label}session {}, packet {}", place.session, place.packet)
}

fn basis(result: &Memorising) -> String {
    let basis = &result.basis;
    let mut text = if basis.training_given {
        format!("Judged against the {} sessions of the training captures.", basis.training)
    } else {
        format!(
            "Judged against the {} sessions of the real side, as no training captures were given: that says something \
             of memorising only if the generator was trained on them.",
            basis.training
        )
    };
    if basis.held_out == 0 {
        text.push_str(
            " There are no held-out real sessions: give captures that are not in training as the real side or the floor. \
             Without them only identifiers and exact copies are judged.",
        );
    } else {
        text.push_str(&format!(" Held-out real sessions: {}", basis.held_out));
        if basis.in_training > 0 {
            text.push_str(&format!(", without {} that training has too", basis.in_training));
        }
        text.push('.');
    }
    if basis.synthetic == 0 {
        text.push_str(" There is no synthetic session, so nothing can be found.");
    }
    text.push_str(" Sessions and packets are numbered from 0, sessions in order of path.");
    text
}

fn verdict(result: &Memorising) -> String {
    let identifiers = match result.identifiers.found {
        0 => "no identifier of training found".to_owned(),
        1 => "1 identifier of training found".to_owned(),
        found => format!("{found} identifiers of training found"),
    };
    let mut parts = vec![identifiers];
    for runs in &result.runs {
        let len = |side: &Shared| side.longest.as_ref().map_or(0, |run| run.packets);
        let held_out =
            runs.held_out.as_ref().map_or(String::new(), |side| format!(" (held-out {})", len(side)));
        match runs.equality {
            Equality::Exact => parts.push(format!("longest exact run {}{held_out}", len(&runs.synthetic))),
            Equality::Shape => parts.push(format!("in shape {}{held_out}", len(&runs.synthetic))),
            Equality::ShapeTime | Equality::ShapeNews => {}
        }
    }
    for level in &result.neighbours {
        if let (Level::Sessions, Some(relative)) = (level.level, level.relative) {
            parts.push(format!("sessions {relative:.2} times as far from training as held-out ones"));
        }
    }
    let copied = result.runs.iter().any(|runs| runs.copied == Some(true))
        || result.neighbours.iter().any(|level| level.copied == Some(true));
    if copied {
        parts.push("copies".to_owned());
    }
    parts.join("; ")
}

fn identifiers(found: &Identifiers, items: &mut Vec<Item>) {
    let kind = |kind| match kind {
        IdentifierKind::Mac => "MAC addresses",
        IdentifierKind::Ipv4 => "IPv4 addresses",
        IdentifierKind::Ipv6 => "IPv6 addresses",
        IdentifierKind::Name => "names",
    };
    let rows = found.counts.iter().map(|count| {
        vec![
            kind(count.kind).to_owned(),
            count.training.to_string(),
            count.synthetic.to_string(),
            count.held_out.map_or(NONE.to_owned(), |n| n.to_string()),
        ]
    });
    items.push(table(
        "Different identifiers of training, and how many of them occur; must be none in the synthetic captures",
        &["kind", "training", "in synthetic", "in held-out"],
        rows.collect(),
    ));
    if found.counts.iter().all(|count| count.training == 0) {
        items.push(Item::Text("Training has no identifier, so none can be found.".to_owned()));
    }
    if !found.not_understood.is_empty() {
        let entries = found.not_understood.join(", ");
        items.push(Item::Text(format!("Allowed, but not understood as address, prefix or name: {entries}.")));
    }
    if found.gate() {
        return;
    }
    let rows = found.findings.iter().take(SHOWN).map(|finding| {
        let spot = finding.places.first();
        vec![
            finding.value.clone(),
            finding.packets.to_string(),
            spot.map_or(String::new(), |spot| spot.field.clone()),
            spot.map_or(String::new(), |spot| place(&spot.place)),
        ]
    });
    items.push(table(
        "Identifiers of training in the synthetic captures. This makes the report as confidential as they are",
        &["value", "packets", "first in", "of"],
        rows.collect(),
    ));
    if found.found > SHOWN {
        items.push(Item::Text(format!("{} more are not shown.", found.found - SHOWN)));
    }
}

fn runs(all: &[Runs], items: &mut Vec<Item>) {
    let name = |equality| match equality {
        Equality::Exact => "exact bytes",
        Equality::Shape => "shape",
        Equality::ShapeTime => "shape and time",
        Equality::ShapeNews => "shape without repeats",
    };
    let mut rows = Vec::new();
    for runs in all {
        let sides = [("synthetic", Some(&runs.synthetic)), ("held-out", runs.held_out.as_ref())];
        for (side, shared) in sides.into_iter().filter_map(|(side, shared)| Some((side, shared?))) {
            let longest = shared.longest.as_ref();
            rows.push(vec![
                format!("{}, {side}", name(runs.equality)),
                longest.map_or("0".to_owned(), |run| run.packets.to_string()),
                longest.map_or(NONE.to_owned(), |run| run.kinds.to_string()),
                number(shared.by_session.map(|s| s.p50), 1),
                percent(shared.covered),
                format!("{} of {}", shared.whole, shared.sessions),
                if side == "synthetic" { judged(runs.copied) } else { String::new() },
            ]);
        }
    }
    items.push(table(
        "Packets in a row that a training session has too",
        &[
            "equality",
            "longest",
            "different ones in it",
            "longest, median of sessions",
            "packets in runs",
            "whole sessions",
            "copied",
        ],
        rows,
    ));
    for runs in all {
        if let Some(run) = &runs.synthetic.longest {
            items.push(Item::Text(format!(
                "Longest run, {}: {} packets from {}; in training from {}.",
                name(runs.equality),
                run.packets,
                place(&run.at),
                place(&run.from)
            )));
        }
    }
    if let Some(shape) = all.iter().find(|runs| runs.equality == Equality::Shape) {
        let mut curves = Vec::new();
        if let Some(held_out) = &shape.held_out {
            curves.push(steps("held-out", &held_out.values));
        }
        curves.push(steps("synthetic", &shape.synthetic.values));
        items.push(distribution("Longest run of each session, same shape", "packets", curves));
    }
}

fn neighbours(result: &Memorising, items: &mut Vec<Item>) {
    if result.neighbours.is_empty() {
        let text =
            "Training has fewer than two sessions, and too few flows, so there are no neighbours to look at.";
        items.push(Item::Text(text.to_owned()));
        return;
    }
    let mut rows = Vec::new();
    for level in &result.neighbours {
        let name = match level.level {
            Level::Sessions => "sessions",
            Level::Flows => "flows",
        };
        let sides = [("synthetic", Some(&level.synthetic)), ("held-out", level.held_out.as_ref())];
        for (side, near) in sides.into_iter().filter_map(|(side, near)| Some((side, near?))) {
            let ours = side == "synthetic";
            rows.push(vec![
                format!("{name}, {side}"),
                near.asked.to_string(),
                number(near.distance.map(|s| s.p50), 3),
                if ours { number(level.relative, 2) } else { String::new() },
                number(near.ratio.map(|s| s.p50), 3),
                percent(near.close),
                percent(near.twins),
                if ours { judged(level.copied) } else { String::new() },
            ]);
        }
    }
    items.push(table(
        "Distance to the nearest of training, in standard deviations, and its ratio to that of the second nearest",
        &["of", "asked", "distance, median", "relative", "ratio, median", "ratio below 0.5", "twins", "copied"],
        rows,
    ));
    for level in &result.neighbours {
        items.push(plot(level));
        if !level.furthest.is_empty() {
            let off = level.furthest.iter().map(|off| format!("{} {:.1}", off.coordinate, off.deviations));
            let what = if level.level == Level::Sessions { "sessions" } else { "flows" };
            items.push(Item::Text(format!(
                "Where synthetic {what} are furthest from the mean of training, in standard deviations: {}.",
                off.collect::<Vec<_>>().join("; ")
            )));
        }
        if level.coordinates.is_empty() {
            items.push(Item::Text("All of training is one point: no distance means anything.".to_owned()));
        }
    }
}

fn plot(level: &Neighbours) -> Item {
    let curve = |name: &str, near: &Near| steps(name, &near.ratios);
    let mut curves: Vec<Curve> = level.held_out.iter().map(|near| curve("held-out", near)).collect();
    curves.push(curve("synthetic", &level.synthetic));
    let what = match level.level {
        Level::Sessions => "Nearest over second nearest distance, sessions",
        Level::Flows => "Nearest over second nearest distance, flows",
    };
    distribution(what, "ratio", curves)
}

fn distribution(caption: &str, x: &str, curves: Vec<Curve>) -> Item {
    let axis = |label: &str| Axis { label: label.to_owned(), log: false };
    Item::Plot(Plot { caption: caption.to_owned(), x: axis(x), y: axis("share of at most that"), curves })
}

/// The distribution function of a sorted sample, in at most about 500 steps.
fn steps(name: &str, sorted: &[f64]) -> Curve {
    let every = sorted.len().div_ceil(500).max(1);
    let n = sorted.len() as f64;
    let points = sorted.iter().enumerate().filter(|(i, _)| (i + 1) % every == 0 || i + 1 == sorted.len());
    Curve {
        name: name.to_owned(),
        style: Style::Steps,
        points: points.map(|(i, &value)| (value, (i + 1) as f64 / n)).collect(),
    }
}

fn change(result: &Memorising, items: &mut Vec<Item>) {
    let Some(change) = &result.change else {
        let text = "Change against the seed's capture: not measured, as no captures that the generation began with were \
                    given, or none has the label of a session.";
        items.push(Item::Text(text.to_owned()));
        return;
    };
    items.push(Item::Text(about_change("Synthetic", change)));
    let held_out = result.change_held_out.as_ref();
    if let Some(held_out) = held_out {
        items.push(Item::Text(about_change("Held-out", held_out)));
    }
    let rows = change.fields.iter().map(|row| {
        let other = held_out.and_then(|change| change.fields.iter().find(|other| other.field == row.field));
        let value = |compared: u64, value: f64, digits| number((compared > 0).then_some(value), digits);
        let share = |compared: u64, value: f64| percent((compared > 0).then_some(value));
        vec![
            row.field.to_owned(),
            row.compared.to_string(),
            row.only_one.to_string(),
            share(row.compared, row.differs),
            value(row.compared, row.change, 2),
            other.map_or(NONE.to_owned(), |row| share(row.compared, row.differs)),
            other.map_or(NONE.to_owned(), |row| value(row.compared, row.change, 2)),
        ]
    });
    items.push(table(
        "Change of header fields against the packet at the same place of the seed's capture (NAIC'24, appendix B.2, Table 2)",
        &["field", "pairs", "only one has it", "differs", "average change", "held-out: differs", "held-out: average change"],
        rows.collect(),
    ));
}

fn about_change(side: &str, change: &Change) -> String {
    format!(
        "{side} against the seed's capture: {} sessions, {} pairs of packets; {:.2} identical packets a session; of the others \
         {} of the header bytes differ.",
        change.sessions,
        change.packets,
        change.identical,
        percent(change.differing_bytes)
    )
}
