//! The two-sample test as a chapter of the report.

use super::{Clue, Discriminate, Pair, Told};
use crate::page::{Chapter, Item, Table};

impl Discriminate {
    /// For the report.
    pub fn chapter(&self) -> Chapter {
        let mut items = vec![Item::Table(self.areas())];
        for (name, pair) in [("synthetic", Some(&self.synthetic)), ("floor", self.floor.as_ref())] {
            items.extend(pair.into_iter().flat_map(|pair| remarks(name, pair)).map(Item::Text));
        }
        for (what, told) in [("sessions", &self.synthetic.by_session), ("flows", &self.synthetic.by_flow)] {
            // Of what is not told apart, the forest's clues are chance.
            if let Some(told) = told.as_ref().filter(|told| told.apart) {
                items.push(Item::Table(clues(what, &told.gave_away, self.options.clues)));
            }
        }
        Chapter {
            title: "Told apart by a classifier".to_owned(),
            about: "A random forest is asked whether a session, or a flow, that it has not seen is real or synthetic. The area under \
                    its ROC curve is the chance that a synthetic one looks more synthetic to it than a real one: 0.5 it cannot \
                    tell, 1 it always can. The interval (95 %) is a bootstrap over sessions. The floor is the same question about two \
                    real sets."
                .to_owned(),
            verdict: self.verdict(),
            items,
        }
    }

    fn verdict(&self) -> String {
        let part = |what: &str, told: &Option<Told>, floor: Option<&Told>| {
            let Some(told) = told else { return format!("{what}: no result") };
            let floor = floor.map_or_else(String::new, |floor| format!(", floor {:.2}", floor.auc));
            format!("{what} {}: AUC {}{floor}", word(told), area(told))
        };
        let floor = self.floor.as_ref();
        let sessions = floor.and_then(|floor| floor.by_session.as_ref());
        let flows = floor.and_then(|floor| floor.by_flow.as_ref());
        let clue = |told: &Option<Told>| {
            let first = told.as_ref().filter(|told| told.apart)?.gave_away.first()?;
            (first.drop > 0.0).then(|| first.feature.clone())
        };
        let mut by: Vec<String> =
            [clue(&self.synthetic.by_session), clue(&self.synthetic.by_flow)].into_iter().flatten().collect();
        by.dedup();
        let by = if by.is_empty() { String::new() } else { format!("; given away by {}", by.join(" and ")) };
        format!(
            "{}; {}{by}",
            part("sessions", &self.synthetic.by_session, sessions),
            part("flows", &self.synthetic.by_flow, flows)
        )
    }

    fn areas(&self) -> Table {
        let cell = |told: Option<&Told>| told.map_or_else(|| "none".to_owned(), area);
        let floor = self.floor.as_ref();
        let row = |what: &str, told: fn(&Pair) -> Option<&Told>, count: String| {
            vec![what.to_owned(), cell(told(&self.synthetic)), cell(floor.and_then(told)), count]
        };
        let pair = &self.synthetic;
        Table {
            caption: "Area under the ROC curve, with its 95 % interval; 0.5 is best".to_owned(),
            head: ["", "synthetic", "floor", "real and synthetic cases"].map(str::to_owned).to_vec(),
            rows: vec![
                row(
                    "sessions",
                    |pair| pair.by_session.as_ref(),
                    format!("{} and {}", pair.sessions, pair.sessions),
                ),
                row(
                    "flows",
                    |pair| pair.by_flow.as_ref(),
                    format!("{} and {}", pair.flows_real, pair.flows_other),
                ),
            ],
        }
    }
}

fn area(told: &Told) -> String {
    format!("{:.3} [{:.3}, {:.3}]", told.auc, told.low, told.high)
}

fn word(told: &Told) -> &'static str {
    if told.apart { "told apart" } else { "not told apart" }
}

fn remarks(name: &str, pair: &Pair) -> Vec<String> {
    let mut out: Vec<String> =
        pair.missing.iter().map(|why| format!("Real against {name}: {why}.")).collect();
    if pair.unmatched && pair.sessions > 0 {
        out.push(format!(
            "Real against {name}: no label is on both sides, so sessions were compared whatever their label."
        ));
    }
    if !pair.left_out.is_empty() {
        out.push(format!(
            "Real against {name}: left out, because one side only has them: {}.",
            pair.left_out.join(", ")
        ));
    }
    if (2..10).contains(&pair.sessions) {
        out.push(format!(
            "Real against {name}: with {} sessions a side the forest learns little and the interval is wide.",
            pair.sessions
        ));
    }
    let near = [&pair.by_session, &pair.by_flow].into_iter().flatten().any(|told| told.high < 0.5);
    if near {
        out.push(format!(
            "Real against {name}: an area below 0.5 says that held-out cases look like cases of the other side more than of \
             their own. Near copies do (see what is said of memorising); so do a few sessions of each of many labels, then the \
             floor is below 0.5 too."
        ));
    }
    out
}

fn clues(what: &str, clues: &[Clue], most: usize) -> Table {
    let cell = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), number);
    Table {
        caption: format!(
            "What gives {what} away: how far the area falls without the feature, the area that the feature has alone, medians"
        ),
        head: ["feature", "fall", "alone", "real", "synthetic", "unit"].map(str::to_owned).to_vec(),
        rows: clues
            .iter()
            .take(most)
            .map(|clue| {
                vec![
                    clue.feature.clone(),
                    format!("{:.3}", clue.drop),
                    format!("{:.3}", clue.alone),
                    cell(clue.real),
                    cell(clue.other),
                    clue.unit.to_owned(),
                ]
            })
            .collect(),
    }
}

/// Four digits or so.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, analyse};
    use super::*;
    use crate::side::Side;
    use crate::testing::Frames;

    #[test]
    fn the_chapter_says_what_there_is_and_why_not() {
        let side = |size: usize| {
            let session = |at: usize| {
                let mut frames = Frames::new();
                frames.udp(0, (40000, 53), size + at % 7);
                frames.udp(at as i64 * 3, (53, 40000), 100);
                frames.session("x")
            };
            Side::of((0..30).map(session).collect())
        };
        let found = analyse(&side(10), &side(500), Some(&side(10)), &Options::default());
        let chapter = found.chapter();
        assert!(
            chapter.verdict.contains("sessions told apart: AUC 1.000 [1.000, 1.000], floor 0.50"),
            "{}",
            chapter.verdict
        );
        assert_eq!(chapter.items.len(), 3);
        let Item::Table(table) = &chapter.items[2] else { panic!("a table") };
        assert_eq!((table.head.len(), table.rows[0].len(), table.rows.len()), (6, 6, 8));
        let nothing = analyse(&Side::of(Vec::new()), &side(10), None, &Options::default()).chapter();
        assert_eq!(nothing.verdict, "sessions: no result; flows: no result");
        assert!(matches!(&nothing.items[1], Item::Text(why) if why.contains("at least 2")));
        assert_eq!([0.0, 12.0, 0.125, 1234.5, 1.25].map(number), ["0", "12", "0.1250", "1234", "1.25"]);
    }
}
