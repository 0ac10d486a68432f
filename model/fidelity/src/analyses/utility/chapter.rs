//! Downstream utility as a chapter of the report: the curves of Figure 2, and all numbers.

use super::{Classifier, Level, MixCurve, Point, RATES, Source, Spread, Tested, Utility};
use crate::page::{Axis, Chapter, Curve, Item, Plot, Style, Table};

impl Utility {
    /// For the report.
    pub fn chapter(&self) -> Chapter {
        let mut items = Vec::new();
        for level in &self.levels {
            items.push(Item::Plot(plot(level)));
            items.push(Item::Text(says(level)));
            items.push(Item::Table(table(level, "accuracy", |point| point.accuracy)));
            items.push(Item::Table(table(level, "macro F1", |point| point.macro_f1)));
        }
        items.extend(self.missing.iter().map(|why| Item::Text(format!("Not measured: {why}."))));
        if !self.left_out.is_empty() {
            let out: Vec<String> =
                self.left_out.iter().map(|out| format!("{} ({})", out.label, out.why)).collect();
            items.push(Item::Text(format!("Labels left out: {}.", out.join("; "))));
        }
        if self.unlabelled > 0 {
            items.push(Item::Text(format!("{} session(s) without a label take no part.", self.unlabelled)));
        }
        Chapter {
            title: "Downstream utility".to_owned(),
            about: format!(
                "What a classifier learns from synthetic sessions in place of real ones (NetSSM, section 5.2). It reads the header \
                 bits of the first {} packets of a session and names its label. At each mixing rate that share of its real \
                 training sessions is replaced with synthetic ones. Mean of {} splits by session, with their standard deviation.",
                self.options.packets, self.options.repeats
            ),
            verdict: self.verdict(),
            items,
        }
    }

    fn verdict(&self) -> String {
        if self.levels.is_empty() {
            return format!("no result: {}", self.missing.join("; "));
        }
        let of = |level: &Level| {
            let curve = level.forest(Source::Synthetic, Tested::Real, true)?;
            let (first, last) = (curve.points.first()?, curve.points.last()?);
            let floor = level.forest(Source::Floor, Tested::Real, true).and_then(|curve| curve.points.last());
            let floor = floor.map_or_else(String::new, |last| format!(" (floor {:.2})", last.accuracy.mean));
            Some(format!(
                "{} of {}: a forest trained on synthetic sessions finds {:.2} of real ones{floor}, trained on real ones {:.2}",
                level.name,
                level.classes.len(),
                last.accuracy.mean,
                first.accuracy.mean
            ))
        };
        self.levels.iter().filter_map(of).collect::<Vec<_>>().join("; ")
    }
}

impl Level {
    fn forest(&self, source: Source, tested: Tested, first_packet: bool) -> Option<&MixCurve> {
        self.curves.iter().find(|curve| {
            curve.classifier == Classifier::Forest
                && curve.mixed_in == source
                && curve.tested_on == tested
                && curve.first_packet == first_packet
        })
    }
}

fn plot(level: &Level) -> Plot {
    let curve = |name: &str, source, tested, first_packet, style| {
        let curve = level.forest(source, tested, first_packet)?;
        let points = curve.points.iter().map(|p| (f64::from(p.percent), p.accuracy.mean)).collect();
        Some(Curve { name: name.to_owned(), style, points })
    };
    let curves = [
        curve("on real", Source::Synthetic, Tested::Real, true, Style::Marks),
        curve("on real, without the first packet", Source::Synthetic, Tested::Real, false, Style::Line),
        curve("on synthetic", Source::Synthetic, Tested::Synthetic, true, Style::Marks),
        curve(
            "on synthetic, without the first packet",
            Source::Synthetic,
            Tested::Synthetic,
            false,
            Style::Line,
        ),
        curve("on real, second real set mixed in (floor)", Source::Floor, Tested::Real, true, Style::Line),
    ];
    let axis = |label: &str| Axis { label: label.to_owned(), log: false };
    Plot {
        caption: format!("Accuracy of a random forest by mixing rate, {} level", level.name),
        x: axis("synthetic sessions in the training set, %"),
        y: axis("accuracy"),
        curves: curves.into_iter().flatten().collect(),
    }
}

fn says(level: &Level) -> String {
    let mut out = format!(
        "{} level: {} classes, {} training sessions, tested on {} real and {} synthetic ones.",
        capital(level.name),
        level.classes.len(),
        level.curves.first().map_or(0, |curve| curve.trained_on),
        level.tested_real,
        level.tested_synthetic
    );
    for (name, tested) in [("real", Tested::Real), ("synthetic", Tested::Synthetic)] {
        let Some(curve) = level.forest(Source::Synthetic, tested, true) else { continue };
        out += &match curve.best {
            Some(best) => format!(
                " Tested on {name}, the forest gains most over real training sessions alone at {} %: {:+.3}.",
                best.percent, best.accuracy
            ),
            None => {
                format!(" Tested on {name}, the forest gains at no rate over real training sessions alone.")
            }
        };
    }
    if let Some(floor) = level.forest(Source::Floor, Tested::Real, true) {
        out += &format!(" The floor's training sets have {} sessions.", floor.trained_on);
    }
    out
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn table(level: &Level, what: &str, value: fn(&Point) -> Spread) -> Table {
    let name = |curve: &MixCurve| {
        let classifier = match curve.classifier {
            Classifier::Tree => "tree",
            Classifier::Forest => "forest",
            Classifier::Svm => "SVM",
        };
        let tested = match (curve.mixed_in, curve.tested_on) {
            (Source::Floor, _) => "real, floor mixed in",
            (_, Tested::Real) => "real",
            (_, Tested::Synthetic) => "synthetic",
        };
        let first = if curve.first_packet { "" } else { ", without first packet" };
        format!("{classifier} on {tested}{first}")
    };
    let cell = |spread: Spread| format!("{:.2} ±{:.2}", spread.mean, spread.std);
    let mut head = vec![String::new()];
    head.extend(RATES.map(|percent| format!("{percent} %")));
    Table {
        caption: format!(
            "{} level, {what} by share of synthetic sessions in the training set",
            capital(level.name)
        ),
        head,
        rows: level
            .curves
            .iter()
            .map(|curve| {
                let mut row = vec![name(curve)];
                row.extend(curve.points.iter().map(|point| cell(value(point))));
                row
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, analyse};
    use super::*;
    use crate::side::Side;
    use crate::testing::Frames;

    #[test]
    fn the_chapter_has_the_figure_the_gain_and_all_numbers() {
        let side = || {
            let session = |at: usize| {
                let mut frames = Frames::new();
                frames.udp(0, (40000, 53), if at.is_multiple_of(2) { 30 } else { 300 });
                frames.udp(9, (40000, 53), 60);
                frames.session(["a", "b"][at % 2])
            };
            Side::of((0..16).map(session).collect())
        };
        let options = Options { trees: 10, repeats: 1, ..Options::default() };
        let chapter = analyse(&side(), &side(), Some(&side()), &options).chapter();
        assert_eq!(
            chapter.verdict,
            "application of 2: a forest trained on synthetic sessions finds 1.00 of real ones (floor 1.00), trained on real ones 1.00"
        );
        let Item::Plot(plot) = &chapter.items[0] else { panic!("a plot") };
        assert_eq!(plot.curves.iter().map(|curve| curve.points.len()).collect::<Vec<_>>(), [11; 5]);
        let Item::Text(text) = &chapter.items[1] else { panic!("a text") };
        assert!(text.starts_with("Application level: 2 classes, 12 training sessions, tested on 4 real and 4 synthetic ones. Tested on real, the forest gains at no rate"), "{text}");
        let Item::Table(table) = &chapter.items[2] else { panic!("a table") };
        assert_eq!((table.head.len(), table.rows.len(), table.rows[0].len()), (12, 13, 12));
        assert!(matches!(&chapter.items[4], Item::Text(why) if why.contains("service of its own")));
    }
}
