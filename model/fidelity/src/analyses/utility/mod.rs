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
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::analyses::features::made::{self, CAMERA, TrafficKind, WEB};
    use crate::testing::Frames;

    fn options() -> Options {
        Options { trees: 20, repeats: 2, ..Options::default() }
    }

    /// Sessions of three labels; label `n` has the kind of label `n + shift`.
    fn side(n: usize, seed: u64, shift: usize, mut change: impl FnMut(&mut Frames, &mut ChaCha8Rng)) -> Side {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kinds = [WEB, CAMERA, TrafficKind { answer: 700, ..WEB }];
        let session = |number: usize| {
            let label = ["iot/x", "iot/y", "web/z"][number % 3];
            let mut frames = made::session(&mut rng, kinds[(number + shift) % 3]);
            change(&mut frames, &mut rng);
            frames.session(label)
        };
        Side::of((0..n).map(session).collect())
    }

    fn curve(level: &Level, tested: Tested, source: Source) -> &MixCurve {
        level
            .curves
            .iter()
            .find(|c| {
                c.classifier == Classifier::Forest
                    && c.first_packet
                    && c.tested_on == tested
                    && c.mixed_in == source
            })
            .expect("a curve")
    }

    #[test]
    fn good_synthetic_sessions_teach_as_well_as_real_ones_and_wrong_ones_do_not() {
        let real = side(45, 1, 0, |_, _| {});
        let good = analyse(&real, &side(45, 2, 0, |_, _| {}), Some(&side(30, 3, 0, |_, _| {})), &options());
        assert_eq!(
            good.levels.iter().map(|level| level.name).collect::<Vec<_>>(),
            ["application", "service"]
        );
        assert_eq!(good.levels[1].classes, ["iot", "web"]);
        assert_eq!(good.levels[0].curves.len(), 3 * 4 + 1);
        for source in [Source::Synthetic, Source::Floor] {
            let on_real = curve(&good.levels[0], Tested::Real, source);
            assert_eq!(on_real.points.len(), 11);
            let mean = on_real.points.iter().map(|point| point.accuracy.mean).sum::<f64>() / 11.0;
            assert!(mean > 0.8 && on_real.points[10].accuracy.mean > 0.7, "{on_real:?}");
        }
        // Labels turned round: what it says of real sessions is wrong at 100 %, and right of synthetic ones.
        let wrong = analyse(&real, &side(45, 2, 1, |_, _| {}), None, &options());
        let at = |tested, percent: usize| {
            curve(&wrong.levels[0], tested, Source::Synthetic).points[percent / 10].accuracy.mean
        };
        assert!(
            at(Tested::Real, 0) > 0.8 && at(Tested::Real, 100) < 0.2,
            "{} {}",
            at(Tested::Real, 0),
            at(Tested::Real, 100)
        );
        assert!(at(Tested::Synthetic, 100) > 0.8 && at(Tested::Synthetic, 0) < 0.2);
    }

    #[test]
    fn random_bytes_teach_nothing() {
        let real = side(30, 1, 0, |_, _| {});
        let found = analyse(&real, &side(30, 2, 0, made::random_bytes), None, &options());
        let on_real = curve(&found.levels[0], Tested::Real, Source::Synthetic);
        let (none, all) = (on_real.points[0].accuracy.mean, on_real.points[10].accuracy.mean);
        assert!(none > 0.7 && all < 0.5, "{none} {all}");
    }

    #[test]
    fn what_cannot_be_classified_is_named() {
        let one = |label: &str, n: usize| {
            let session = |_| {
                let mut frames = Frames::new();
                frames.arp(0);
                frames.session(label)
            };
            Side::of((0..n).map(session).collect())
        };
        let found = analyse(&one("x", 5), &one("x", 5), None, &Options::default());
        assert!(found.levels.is_empty() && found.missing[0].contains("only 'x'"), "{:?}", found.missing);
        let found = analyse(&Side::default(), &Side::default(), None, &Options::default());
        assert!(found.missing[0].contains("no label"), "{:?}", found.missing);
        assert!(found.chapter().verdict.contains("no result"), "{}", found.chapter().verdict);
        // Sessions of a packet, all the same, under two labels: no better than chance, and no panic.
        let two =
            |n| Side::of([one("x", n), one("y", n)].iter().flat_map(|s| s.sessions().to_vec()).collect());
        let found = analyse(&two(4), &two(2), Some(&one("x", 3)), &options());
        assert_eq!((found.levels.len(), found.missing.len()), (1, 2));
        let accuracies: Vec<f64> =
            found.levels[0].curves.iter().flat_map(|c| &c.points).map(|p| p.accuracy.mean).collect();
        assert!(accuracies.iter().all(|accuracy| *accuracy == 0.5), "{accuracies:?}");
    }

    #[test]
    fn devices_are_known_from_real_sessions_and_others_of_their_kind_teach_as_well() {
        let (Some(train), Some(val)) = (made::real("iot/train", 50), made::real("iot/val", 50)) else {
            return;
        };
        let options = Options { trees: 40, repeats: 2, ..Options::default() };
        let found = analyse(&train, &val, None, &options);
        assert_eq!(found.levels[0].classes.len(), 27);
        // Three sessions a device of the second set: two to train on, so few. Chance is 0.04.
        let curve = curve(&found.levels[0], Tested::Real, Source::Synthetic);
        let (none, all) = (curve.points[0].accuracy, curve.points[10].accuracy);
        assert!(none.mean > 0.45 && (none.mean - all.mean).abs() < 0.2, "{none:?} {all:?}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (real, other) = (side(12, 1, 0, |_, _| {}), side(12, 2, 0, |_, _| {}));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let options = Options { trees: 5, repeats: 1, ..Options::default() };
        let found = analyse(&real, &other, None, &options);
        assert_eq!(found, one.install(|| analyse(&real, &other, None, &options)));
        assert!(serde_json::to_string(&found).expect("plain values").contains("\"classifier\":\"forest\""));
    }

    #[test]
    fn the_best_rate_is_the_one_with_most_gain() {
        let point = |percent, mean| {
            let spread = Spread { mean, std: 0.0 };
            Point { percent, accuracy: spread, macro_f1: spread }
        };
        let best_of = |values: &[f64]| {
            best(&values.iter().enumerate().map(|(at, v)| point(10 * at as u8, *v)).collect::<Vec<_>>())
        };
        assert_eq!(best_of(&[0.5, 0.75, 0.625]), Some(Gain { percent: 10, accuracy: 0.25 }));
        assert_eq!((best_of(&[0.5, 0.5]), best_of(&[])), (None, None));
        assert_eq!(Spread::of(&[1.0, 3.0]), Spread { mean: 2.0, std: 1.0 });
    }
}
