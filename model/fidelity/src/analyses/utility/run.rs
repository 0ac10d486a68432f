//! Trains every classifier on every mix of every split, and gathers how right it is.

use rayon::prelude::*;
use serde::Serialize;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::Options;
use super::design::{Design, Source, Split};
use crate::analyses::classify::{Distances, Forest, Matrix, Svm, Tree, accuracy, argmax, macro_f1};
use crate::analyses::features::bits;

/// Mixing rates in percent.
pub(super) const RATES: [u8; 11] = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

/// A kind of classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Classifier {
    /// A decision tree.
    Tree,
    /// A random forest.
    Forest,
    /// A support vector machine.
    Svm,
}

impl Classifier {
    pub(super) const ALL: [Self; 3] = [Self::Forest, Self::Tree, Self::Svm];
}

/// What a classifier is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tested {
    /// Real sessions that were held out.
    Real,
    /// Synthetic ones that were held out.
    Synthetic,
}

/// Which curve a result belongs to, and at which place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) level: usize,
    pub(super) classifier: Classifier,
    pub(super) first_packet: bool,
    pub(super) source: Source,
    pub(super) tested: Tested,
    pub(super) percent: u8,
}

/// One result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) at: At,
    pub(super) trained_on: usize,
    pub(super) accuracy: f64,
    pub(super) macro_f1: f64,
}

/// A way of grouping labels: by label, the class.
pub(super) struct Classes {
    pub(super) of_label: Vec<u16>,
    pub(super) count: usize,
}

/// Header bits of all sessions.
struct View {
    first_packet: bool,
    matrix: Matrix,
    distances: Distances,
}

impl View {
    fn new(design: &Design<'_>, options: &Options, first_packet: bool) -> Self {
        let skip = usize::from(!first_packet);
        let packets = options.packets.saturating_sub(skip).max(1);
        let rows: Vec<Vec<i8>> =
            design.sessions.par_iter().map(|session| bits::row(session, skip, packets)).collect();
        let value = |row: usize, column: usize| f64::from(rows[row][column]);
        let matrix = Matrix::new(rows.len(), packets * bits::PACKET, value);
        Self { first_packet, distances: Distances::of(&matrix), matrix }
    }
}

/// One training set.
struct Job<'a> {
    view: &'a View,
    split: &'a Split,
    repeat: usize,
    source: Source,
    percent: u8,
}

/// All results, in an order that nothing but the options decides.
pub(super) fn run(design: &Design<'_>, levels: &[Classes], options: &Options) -> Vec<Score> {
    let views = [true, false].map(|first_packet| View::new(design, options, first_packet));
    let splits: Vec<Split> = (0..options.repeats).map(|repeat| design.split(repeat, options)).collect();
    let mut jobs = Vec::new();
    for (repeat, split) in splits.iter().enumerate() {
        for percent in RATES {
            let job = |view, source| Job { view, split, repeat, source, percent };
            jobs.extend(views.iter().map(|view| job(view, Source::Synthetic)));
            if design.has_floor {
                jobs.push(job(&views[0], Source::Floor));
            }
        }
    }
    jobs.par_iter()
        .flat_map_iter(|job| {
            levels.iter().enumerate().flat_map(|(level, classes)| job.run(design, level, classes, options))
        })
        .collect()
}

impl Job<'_> {
    fn run(&self, design: &Design<'_>, level: usize, classes: &Classes, options: &Options) -> Vec<Score> {
        let matrix = &self.view.matrix;
        let train = self.split.training(self.source, self.percent);
        let labels: Vec<u16> =
            design.label_of.iter().map(|&label| classes.of_label[usize::from(label)]).collect();
        let tests = [(Tested::Real, &self.split.test_real), (Tested::Synthetic, &self.split.test_synthetic)];
        let seed = options.seed.wrapping_add(1000 * (self.repeat as u64 + 1) + u64::from(self.percent));
        let mut out = Vec::new();
        let mut score = |classifier: Classifier, predict: &dyn Fn(&[u32]) -> Vec<u16>| {
            for (tested, rows) in tests {
                // The floor says what real sessions in place of synthetic ones would give, on real ones.
                if self.source == Source::Floor && tested == Tested::Synthetic {
                    continue;
                }
                let truth: Vec<u16> = rows.iter().map(|&row| labels[row as usize]).collect();
                let guess = predict(rows);
                let at = At {
                    level,
                    classifier,
                    first_packet: self.view.first_packet,
                    source: self.source,
                    tested,
                    percent: self.percent,
                };
                out.push(Score {
                    at,
                    trained_on: train.len(),
                    accuracy: accuracy(&truth, &guess),
                    macro_f1: macro_f1(&truth, &guess),
                });
            }
        };
        let forest = Forest::fit(matrix, &train, &labels, classes.count, options.trees, seed);
        score(Classifier::Forest, &|rows| {
            rows.iter().map(|&row| argmax(&forest.shares(matrix, row))).collect()
        });
        if self.source == Source::Floor {
            return out;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tries = matrix.columns();
        let tree = Tree::fit(matrix, &mut train.clone(), &labels, classes.count, tries, &mut rng);
        score(Classifier::Tree, &|rows| {
            rows.iter().map(|&row| argmax(tree.shares(|column| matrix.rank(row, column)))).collect()
        });
        let svm = Svm::fit(&self.view.distances, &train, &labels, classes.count, seed);
        score(Classifier::Svm, &|rows| svm.predict(rows));
        out
    }
}
