//! Downstream utility: what a classifier learns from synthetic sessions in place of real ones.
//!
//! NetSSM's section 5.2 and Figure 2: classifiers are trained on real sessions of which 0, 10, ... 100 % are replaced
//! with synthetic ones, and tested on real and on synthetic sessions that were held out; for the application (the
//! label) and for the service that labels are grouped to; with and without the first packet, which generation may have
//! been given. `accuracy` is the share of held-out sessions whose label is found, `macro_f1` the mean over labels of
//! F1.
//!
//! What the paper leaves open and what is done here: a sample is a session, by the header bits of its first packets
//! (`fidelity::features`); training sets keep their size and their number of sessions a label at every rate; the split
//! is by session and made anew in each repeat, and numbers are the mean over repeats with their standard deviation. The
//! *floor* curve mixes in a second real set instead, which is what a perfect generator would give.
//!
//! How to read it: on real sessions, the curve should stay as high at 100 % as at 0 %. On synthetic ones, a high curve
//! at 0 % means that a classifier trained on real sessions works on synthetic ones too. A gain in between means that
//! synthetic sessions add information.

mod chapter;
mod design;
mod run;
mod services;

use serde::Serialize;

pub use self::design::{LeftOut, Source};
pub use self::run::{Classifier, Tested};
pub use self::services::Services;

use self::design::Design;
use self::run::{At, Classes, RATES, Score};
use crate::side::Side;

/// How it is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Packets of a session that classifiers see. Default 10.
    pub packets: usize,
    /// Splits. Default 3.
    pub repeats: usize,
    /// Share of a label's sessions that is held out, at least one. Default 0.3.
    pub held_out: f64,
    /// Most sessions of a label and side, drawn at random. Default 50.
    pub sessions_per_label: usize,
    /// Most sessions of a side: takes fewer of each label, down to 4, where there are many labels. Default 500.
    pub sessions: usize,
    /// Most labels, those with most real sessions. Default 60.
    pub labels: usize,
    /// Trees of a forest. Default 100.
    pub trees: usize,
    /// Which service labels belong to. Default: by the label's first part.
    #[serde(skip)]
    pub services: Services,
    /// Seed of all random draws. Default 1.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            packets: 10,
            repeats: 3,
            held_out: 0.3,
            sessions_per_label: 50,
            sessions: 500,
            labels: 60,
            trees: 100,
            services: Services::default(),
            seed: 1,
        }
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Utility {
    /// How it was measured.
    pub options: Options,
    /// Labels whose sessions take no part, and why.
    pub left_out: Vec<LeftOut>,
    /// Sessions without a label, which take no part.
    pub unlabelled: u64,
    /// By application and by service, if there are at least two classes.
    pub levels: Vec<Level>,
    /// What is not there, and why.
    pub missing: Vec<String>,
}

/// Results for one way of grouping labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// `application` or `service`.
    pub name: &'static str,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// Held-out real sessions of a split.
    pub tested_real: u64,
    /// Held-out synthetic sessions of a split.
    pub tested_synthetic: u64,
    /// All curves.
    pub curves: Vec<MixCurve>,
}

/// How good a classifier is by mixing rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixCurve {
    /// Which one.
    pub classifier: Classifier,
    /// Whether it sees the first packet of a session.
    pub first_packet: bool,
    /// What replaces real sessions.
    pub mixed_in: Source,
    /// What it is tested on.
    pub tested_on: Tested,
    /// Sessions of a training set.
    pub trained_on: u64,
    /// By rate.
    pub points: Vec<Point>,
    /// The rate with the largest gain in accuracy over rate 0, if one has any.
    pub best: Option<Gain>,
}

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Share of the training set that was replaced.
    pub percent: u8,
    /// Share of held-out sessions whose class is found.
    pub accuracy: Spread,
    /// Mean F1 over classes.
    pub macro_f1: Spread,
}

/// A number over repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the repeats themselves.
    pub std: f64,
}

/// The best of the rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Which one.
    pub percent: u8,
    /// Accuracy there less that at rate 0.
    pub accuracy: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        Self { mean, std: (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() }
    }
}

/// Trains on mixes of `real` and `synthetic`, and of `real` and `floor` if there is one.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> Utility {
    let design = Design::new(real, synthetic, floor, options);
    let unlabelled = [real, synthetic].into_iter().flat_map(|side| side.sessions());
    let mut out = Utility {
        options: options.clone(),
        left_out: design.left_out.clone(),
        unlabelled: unlabelled.filter(|session| session.label.is_none()).count() as u64,
        levels: Vec::new(),
        missing: Vec::new(),
    };
    let services: Vec<String> = design.labels.iter().map(|label| options.services.of(label)).collect();
    let mut levels = Vec::new();
    match &design.labels[..] {
        [] => out.missing.push("no label has two sessions on both sides: nothing to classify".to_owned()),
        [only] => out
            .missing
            .push(format!("only '{only}' has two sessions on both sides: a classifier needs two labels")),
        labels => levels.push(("application", classes(labels))),
    }
    if !levels.is_empty() {
        let by_service = classes(&services);
        match by_service.0.len() {
            1 => out
                .missing
                .push(format!("all labels are of one service, '{}': no service level", services[0])),
            n if n == design.labels.len() => out.missing.push(
                "every label is a service of its own: the service level is the application level (a list of \
                 `label,service` groups them)"
                    .to_owned(),
            ),
            _ => levels.push(("service", by_service)),
        }
        if floor.is_some() && !design.has_floor {
            out.missing.push("the floor has not a session of every label: no curve for it".to_owned());
        }
    }
    if levels.is_empty() {
        return out;
    }
    let (names, classes): (Vec<_>, Vec<_>) =
        levels.into_iter().map(|(name, (of, classes))| ((name, of), classes)).unzip();
    let scores = run::run(&design, &classes, options);
    let split = design.split(0, options);
    out.levels = names
        .into_iter()
        .enumerate()
        .map(|(number, (name, classes))| Level {
            name,
            classes,
            tested_real: split.test_real.len() as u64,
            tested_synthetic: split.test_synthetic.len() as u64,
            curves: curves(number, &scores),
        })
        .collect();
    out
}

/// Classes of labels, given by label: their names in order, and which one each label has.
fn classes(of_label: &[String]) -> (Vec<String>, Classes) {
    let mut names = of_label.to_vec();
    names.sort_unstable();
    names.dedup();
    let place = |name: &String| names.binary_search(name).unwrap_or(0) as u16;
    let of_label = of_label.iter().map(place).collect();
    let count = names.len();
    (names, Classes { of_label, count })
}

fn curves(level: usize, scores: &[Score]) -> Vec<MixCurve> {
    let mut out = Vec::new();
    for classifier in Classifier::ALL {
        for (source, tested) in [
            (Source::Synthetic, Tested::Real),
            (Source::Synthetic, Tested::Synthetic),
            (Source::Floor, Tested::Real),
        ] {
            for first_packet in [true, false] {
                let mut trained_on = 0;
                let points: Vec<Point> = RATES
                    .iter()
                    .filter_map(|&percent| {
                        let at = At { level, classifier, first_packet, source, tested, percent };
                        let there: Vec<&Score> = scores.iter().filter(|score| score.at == at).collect();
                        trained_on = there.first()?.trained_on as u64;
                        let spread = |part: fn(&Score) -> f64| {
                            Spread::of(&there.iter().map(|score| part(score)).collect::<Vec<_>>())
                        };
                        let (accuracy, macro_f1) = (spread(|s| s.accuracy), spread(|s| s.macro_f1));
                        Some(Point { percent, accuracy, macro_f1 })
                    })
                    .collect();
                if points.is_empty() {
                    continue;
                }
                let best = best(&points);
                out.push(MixCurve {
                    classifier,
                    first_packet,
                    mixed_in: source,
                    tested_on: tested,
                    trained_on,
                    points,
                    best,
                });
            }
        }
    }
    out
}

fn best(points: &[Point]) -> Option<Gain> {
    let (zero, rest) = points.split_first()?;
    let gain = |point: &Point| point.accuracy.mean - zero.accuracy.mean;
    let best = rest.iter().reduce(|best, point| if gain(point) > gain(best) { point } else { best })?;
    (gain(best) > 0.0).then(|| Gain { percent: best.percent, accuracy: gain(best) })
}

#[cfg(test)]
mod tests;
