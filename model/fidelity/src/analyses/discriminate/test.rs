//! One two-sample test: cases of two sides, a forest that has not seen the case it judges, and how well it does.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::Options;
use crate::analyses::classify::{Forest, Matrix};
use crate::analyses::features::{Feature, NONE};
use crate::stats::{Ranked, auc};

/// How well cases are told apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// Out-of-fold area under the ROC curve: 0.5 not at all, 1 always.
    pub auc: f64,
    /// Lower end of the 95 % interval, from a bootstrap over sessions.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The interval lies above 0.5.
    pub apart: bool,
    /// Folds that the sessions were dealt to.
    pub folds: u64,
    /// Features by how much the forest needs them, most first; empty for the floor.
    pub gave_away: Vec<Clue>,
}

/// A feature and what it gives away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clue {
    /// Its name.
    pub feature: String,
    /// Unit of its values.
    pub unit: &'static str,
    /// How much lower the out-of-fold area is if the feature's values are shuffled among the cases of a fold. Redundant
    /// features share this importance, because the forest can replace one by the other.
    pub drop: f64,
    /// Area of the feature alone, taken the way round that is above 0.5.
    pub alone: f64,
    /// Median of the first side's values, of those that have one.
    pub real: Option<f64>,
    /// Median of the second side's.
    pub other: Option<f64>,
}

/// Cases of both sides.
pub(super) struct Cases<'a> {
    pub(super) features: &'a [Feature],
    pub(super) rows: Vec<Vec<f64>>,
    /// By case: is it of the second side?
    pub(super) second: Vec<bool>,
    /// By case: its session, numbered over both sides.
    pub(super) session: Vec<usize>,
    /// By session: its fold.
    pub(super) fold_of: &'a [usize],
    /// By session: is it of the second side?
    pub(super) session_second: &'a [bool],
}

/// A held-out part and the forest that judges it; `None` where the rest has cases of one side only.
struct Fold {
    held_out: Vec<u32>,
    forest: Option<Forest>,
}

/// The score of a forest that cannot separate the sides.
const UNKNOWN: f64 = 0.5;

impl Cases<'_> {
    /// Runs the test; `None` if a side has no case. `clues`: also computes the importance of the features.
    pub(super) fn tell(&self, options: &Options, clues: bool, seed: u64) -> Option<Told> {
        let matrix = Matrix::new(self.rows.len(), self.features.len(), |row, column| self.rows[row][column]);
        let folds = self.fold_of.iter().max().map_or(0, |last| last + 1);
        let fitted: Vec<Fold> =
            (0..folds).into_par_iter().map(|fold| self.fit(&matrix, fold, options, seed)).collect();
        let mut scores = vec![UNKNOWN; self.rows.len()];
        for fold in &fitted {
            let of: Vec<f64> =
                fold.held_out.par_iter().map(|&row| fold.score(|column| matrix.rank(row, column))).collect();
            fold.held_out.iter().zip(of).for_each(|(&row, score)| scores[row as usize] = score);
        }
        let ranked = Ranked::new(&scores, &self.second);
        let area = ranked.area(|_| 1.0)?;
        let (low, high) = self.interval(&ranked, area, options, seed);
        let gave_away = if clues { self.clues(&matrix, &fitted, area, options, seed) } else { Vec::new() };
        Some(Told { auc: area, low, high, apart: low > 0.5, folds: folds as u64, gave_away })
    }

    fn fit(&self, matrix: &Matrix, fold: usize, options: &Options, seed: u64) -> Fold {
        let (held_out, train): (Vec<u32>, Vec<u32>) =
            (0..self.rows.len() as u32).partition(|&row| self.fold_of[self.session[row as usize]] == fold);
        let labels: Vec<u16> = self.second.iter().map(|&second| u16::from(second)).collect();
        let second = train.iter().filter(|&&row| self.second[row as usize]).count();
        let both = second > 0 && second < train.len() && matrix.columns() > 0;
        let seed = seed.wrapping_add(fold as u64);
        let forest = both.then(|| Forest::fit(matrix, &train, &labels, 2, options.trees, seed));
        Fold { held_out, forest }
    }

    /// Percentiles of the area over resampled sessions, each side by itself. The forests stay as they are: what is
    /// measured is how far the answer depends on which sessions were there to be judged.
    fn interval(&self, ranked: &Ranked, area: f64, options: &Options, seed: u64) -> (f64, f64) {
        let sides = [false, true].map(|side| {
            let of = |&session: &usize| self.session_second[session] == side;
            (0..self.session_second.len()).filter(of).collect::<Vec<usize>>()
        });
        let mut areas: Vec<f64> = (0..options.bootstraps)
            .into_par_iter()
            .filter_map(|number| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(1_000_000 + number as u64);
                let mut times = vec![0_u32; self.session_second.len()];
                for side in &sides {
                    side.iter().for_each(|_| times[side[rng.random_range(0..side.len())]] += 1);
                }
                ranked.area(|case| f64::from(times[self.session[case]]))
            })
            .collect();
        areas.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * areas.len().saturating_sub(1) as f64).round() as usize;
            areas.get(place).copied().unwrap_or(area)
        };
        (at(0.025), at(0.975))
    }

    fn clues(&self, matrix: &Matrix, folds: &[Fold], area: f64, options: &Options, seed: u64) -> Vec<Clue> {
        let drop = |column: usize| {
            let mut sum = 0.0;
            for again in 0..options.permutations {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(2_000_000 + (column * options.permutations + again) as u64);
                let mut scores = vec![UNKNOWN; self.rows.len()];
                for fold in folds {
                    let mut dealt = fold.held_out.clone();
                    dealt.shuffle(&mut rng);
                    for (&row, &other) in fold.held_out.iter().zip(&dealt) {
                        let from = |asked: u32| if asked as usize == column { other } else { row };
                        scores[row as usize] = fold.score(|asked| matrix.rank(from(asked), asked));
                    }
                }
                sum += area - auc(&scores, &self.second).unwrap_or(area);
            }
            sum / options.permutations.max(1) as f64
        };
        let mut clues: Vec<Clue> = (0..matrix.columns())
            .into_par_iter()
            .map(|column| {
                let source = matrix.source(column);
                let values: Vec<f64> = (0..self.rows.len()).map(|row| matrix.value(row, column)).collect();
                let alone = auc(&values, &self.second).unwrap_or(UNKNOWN);
                let median = |side: bool| {
                    let mut of: Vec<f64> = values
                        .iter()
                        .zip(&self.second)
                        .filter(|(value, second)| **second == side && **value != NONE)
                        .map(|(value, _)| *value)
                        .collect();
                    of.sort_unstable_by(f64::total_cmp);
                    of.get(of.len().saturating_sub(1) / 2).copied()
                };
                Clue {
                    feature: self.features[source].name.clone(),
                    unit: self.features[source].unit,
                    drop: drop(column),
                    alone: alone.max(1.0 - alone),
                    real: median(false),
                    other: median(true),
                }
            })
            .collect();
        clues.sort_by(|a, b| b.drop.total_cmp(&a.drop).then(b.alone.total_cmp(&a.alone)));
        clues
    }
}

impl Fold {
    /// How sure the forest is that a case is of the second side, 0 to 1.
    fn score(&self, rank: impl Fn(u32) -> u32) -> f64 {
        self.forest.as_ref().map_or(UNKNOWN, |forest| forest.shares_with(rank)[1])
    }
}
