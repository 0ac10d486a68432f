//! Utility on drawn sessions: what the curves and gains of good and of wrong synthetic sessions are.

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
    assert_eq!(good.levels.iter().map(|level| level.name).collect::<Vec<_>>(), ["application", "service"]);
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
    let two = |n| Side::of([one("x", n), one("y", n)].iter().flat_map(|s| s.sessions().to_vec()).collect());
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
