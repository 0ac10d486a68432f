//! Nearest neighbours: is a synthetic session, or flow, closer to one of training than real ones are?
//!
//! Sessions and flows are points (the coordinates are listed in the result), standardised with mean and standard
//! deviation of training; a coordinate that hardly varies in training (deviation below 0.02: two percent, two points)
//! is left out. Distance is Euclid's. Of each point asked:
//! * *distance* to the nearest of training, in standard deviations; 0 is a twin;
//! * *ratio* of that to the distance to the second nearest, 0 to 1. A value well below 1 points to one session of
//!   training, and a value near 1 to none. If both distances are 0, it is 1. In many dimensions it is high for two
//!   random neighbours, so the share below 0.5 is the telling number.
//!
//! The *relative distance* is the median distance of the synthetic side divided by that of held-out sessions. It is 1
//! for a perfect generator, near 0 for one that copies, and above 1 for one that misses the data; *furthest* names the
//! coordinates that it misses. The number is uncertain for few sessions: with a dozen, 0.7 or 1.4 may mean 1.
//!
//! Source: Z. Zhao et al., "CTAB-GAN", ACML 2021 (distance to closest record and nearest neighbour distance ratio as
//! measures of privacy of synthetic tables). The thresholds are ours.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::Options;
use super::features;
use super::held_out::Numbered;
use crate::stats::{self, Summary};

/// A ratio below this points at one record.
const CLOSE: f64 = 0.5;

/// A coordinate with a smaller deviation does not separate sessions, and dividing by it would exaggerate. For example,
/// if all sessions but one were cut to the same number of packets, the shorter one would be hundreds of deviations
/// away.
const LEAST_DEVIATION: f64 = 0.02;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Whole sessions.
    Sessions,
    /// Flows of at least [`Options::flow_packets`] packets.
    Flows,
}

/// How near one side is to training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// Points asked.
    pub asked: usize,
    /// Distance to the nearest of training, standard deviations.
    pub distance: Option<Summary>,
    /// That over the distance to the second nearest.
    pub ratio: Option<Summary>,
    /// Share of ratios below 0.5.
    pub close: Option<f64>,
    /// Share of points with a twin in training.
    pub twins: Option<f64>,
    /// All ratios, sorted.
    #[serde(skip)]
    pub(super) ratios: Vec<f64>,
}

/// A coordinate in which the synthetic side is off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Off {
    /// Which one.
    pub coordinate: &'static str,
    /// Median of the absolute distance from training's mean, standard deviations. About 0.7 where nothing is off.
    pub deviations: f64,
}

/// Neighbours at one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbours {
    /// What is compared.
    pub level: Level,
    /// Points of training.
    pub training: usize,
    /// Coordinates that vary in training.
    pub coordinates: Vec<&'static str>,
    /// The synthetic side.
    pub synthetic: Near,
    /// Held-out real sessions; `None` if there are none.
    pub held_out: Option<Near>,
    /// The coordinates in which the synthetic side is furthest from training's mean, at most three.
    pub furthest: Vec<Off>,
    /// Median distance, synthetic over held-out.
    pub relative: Option<f64>,
    /// Whether the synthetic side is too close to training: relative distance below one over [`Options::factor`], and
    /// more ratios below 0.5 than held-out sessions have. `None` without both.
    pub copied: Option<bool>,
}

/// Sessions and flows, those levels at which training has two points.
pub(super) fn neighbours(
    training: &[Numbered<'_>],
    synthetic: &[Numbered<'_>],
    held_out: &[Numbered<'_>],
    options: &Options<'_>,
) -> Vec<Neighbours> {
    let sessions = |side: &[Numbered<'_>]| -> Vec<Vec<f64>> {
        side.par_iter()
            .filter(|(_, session)| !session.packets.is_empty())
            .map(|(_, session)| features::session(session))
            .collect()
    };
    let flows = |side: &[Numbered<'_>], most: usize| -> Vec<Vec<f64>> {
        let each: Vec<_> =
            side.par_iter().map(|(_, session)| features::flows(session, options.flow_packets)).collect();
        draw(each.into_iter().flatten().collect(), most, options.seed)
    };
    let levels = [
        (
            Level::Sessions,
            &features::SESSION[..],
            [sessions(training), sessions(synthetic), sessions(held_out)],
        ),
        (
            Level::Flows,
            &features::FLOW[..],
            [
                flows(training, options.training_flows),
                flows(synthetic, options.flows),
                flows(held_out, options.flows),
            ],
        ),
    ];
    let levels = levels.into_iter();
    levels.filter_map(|(level, names, points)| at(level, names, points, options.factor)).collect()
}

/// At most `most` of them, drawn without repetition, in their order.
fn draw(all: Vec<Vec<f64>>, most: usize, seed: u64) -> Vec<Vec<f64>> {
    if all.len() <= most {
        return all;
    }
    let mut taken = index::sample(&mut ChaCha8Rng::seed_from_u64(seed), all.len(), most).into_vec();
    taken.sort_unstable();
    let mut all: Vec<Option<Vec<f64>>> = all.into_iter().map(Some).collect();
    taken.into_iter().filter_map(|i| all[i].take()).collect()
}

fn at(
    level: Level,
    names: &[&'static str],
    [training, synthetic, held_out]: [Vec<Vec<f64>>; 3],
    factor: f64,
) -> Option<Neighbours> {
    if training.len() < 2 {
        return None;
    }
    let space = Space::of(&training, names.len());
    let furthest = space.furthest(&synthetic, names);
    let synthetic = space.near(&synthetic);
    let held_out = (!held_out.is_empty()).then(|| space.near(&held_out));
    let median = |near: &Near| near.distance.map(|distance| distance.p50);
    let relative = held_out.as_ref().and_then(|held_out| {
        let (ours, theirs) = (median(&synthetic)?, median(held_out)?);
        (theirs > 0.0).then(|| ours / theirs)
    });
    let closer = held_out.as_ref().and_then(|held_out| Some(synthetic.close? > held_out.close?));
    Some(Neighbours {
        level,
        training: training.len(),
        coordinates: space.kept.iter().map(|&i| names[i]).collect(),
        copied: relative.zip(closer).map(|(relative, closer)| relative * factor < 1.0 && closer),
        relative,
        furthest,
        synthetic,
        held_out,
    })
}

/// Training, standardised.
struct Space {
    /// Coordinates that vary.
    kept: Vec<usize>,
    /// Mean and standard deviation of each that is kept.
    scale: Vec<(f64, f64)>,
    /// All points one after the other.
    points: Vec<f64>,
}

impl Space {
    fn of(training: &[Vec<f64>], dimensions: usize) -> Self {
        let n = training.len() as f64;
        let moments = |i: usize| {
            let mean = training.iter().map(|point| point[i]).sum::<f64>() / n;
            let variance = training.iter().map(|point| (point[i] - mean).powi(2)).sum::<f64>() / n;
            (mean, variance.sqrt())
        };
        let varies = |&(_, (_, deviation)): &(usize, (f64, f64))| deviation >= LEAST_DEVIATION;
        let (kept, scale) = (0..dimensions).map(|i| (i, moments(i))).filter(varies).unzip();
        let mut space = Self { kept, scale, points: Vec::new() };
        space.points = training.iter().flat_map(|point| space.standardise(point)).collect();
        space
    }

    fn standardise(&self, point: &[f64]) -> Vec<f64> {
        self.kept
            .iter()
            .zip(&self.scale)
            .map(|(&i, (mean, deviation))| (point[i] - mean) / deviation)
            .collect()
    }

    /// Squared distances to the nearest two.
    fn nearest(&self, point: &[f64]) -> (f64, f64) {
        let (mut first, mut second) = (f64::INFINITY, f64::INFINITY);
        let point = self.standardise(point);
        for other in self.points.chunks_exact(point.len().max(1)) {
            let mut distance = 0.0;
            // Most points are too far away after a few coordinates.
            for (a, b) in point.chunks(8).zip(other.chunks(8)) {
                distance += a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
                if distance >= second {
                    break;
                }
            }
            if distance < first {
                (first, second) = (distance, first);
            } else if distance < second {
                second = distance;
            }
        }
        (first, second)
    }

    /// The three coordinates that are furthest off in the median.
    fn furthest(&self, asked: &[Vec<f64>], names: &[&'static str]) -> Vec<Off> {
        let points: Vec<Vec<f64>> = asked.iter().map(|point| self.standardise(point)).collect();
        let off = |(place, &i): (usize, &usize)| {
            let mut all: Vec<f64> = points.iter().map(|point| point[place].abs()).collect();
            stats::sort(&mut all);
            Some(Off { coordinate: names[i], deviations: Summary::of(&all)?.p50 })
        };
        let mut all: Vec<Off> = self.kept.iter().enumerate().filter_map(off).collect();
        all.sort_by(|a, b| b.deviations.total_cmp(&a.deviations));
        all.truncate(3);
        all
    }

    fn near(&self, asked: &[Vec<f64>]) -> Near {
        // Where no coordinate varies, all of training is one point and nothing can be said.
        let found: Vec<(f64, f64)> = if self.kept.is_empty() {
            Vec::new()
        } else {
            asked.par_iter().map(|point| self.nearest(point)).collect()
        };
        let share = |count: usize| (!found.is_empty()).then(|| count as f64 / found.len() as f64);
        let ratio =
            |&(first, second): &(f64, f64)| if second > 0.0 { f64::sqrt(first / second) } else { 1.0 };
        let mut distances: Vec<f64> = found.iter().map(|(first, _)| first.sqrt()).collect();
        let mut ratios: Vec<f64> = found.iter().map(ratio).collect();
        stats::sort(&mut distances);
        stats::sort(&mut ratios);
        Near {
            asked: found.len(),
            distance: Summary::of(&distances),
            ratio: Summary::of(&ratios),
            close: share(ratios.iter().filter(|ratio| **ratio < CLOSE).count()),
            twins: share(distances.iter().filter(|distance| **distance < 1e-9).count()),
            ratios,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn distances_and_ratios_are_those_of_standardised_points() {
        // a: mean 2, deviation 2. b never varies. c: mean 0, deviation 1.
        let training =
            vec![vec![0.0, 5.0, -1.0], vec![4.0, 5.0, 1.0], vec![0.0, 5.0, 1.0], vec![4.0, 5.0, -1.0]];
        let asked = vec![vec![0.0, 9.0, -1.0], vec![1.0, 5.0, -1.0]];
        let got = at(Level::Sessions, &NAMES, [training, asked, vec![]], 2.0).expect("an answer");
        assert_eq!(got.coordinates, ["a", "c"]);
        // The first is a twin of the first: 0 over 2. The second: 0.5 to that, 1.5 to the fourth.
        let near = &got.synthetic;
        assert_eq!(near.distance.map(|d| (d.min, d.max)), Some((0.0, 0.5)));
        assert!(near.ratios[0] == 0.0 && (near.ratios[1] - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((near.close, near.twins, got.relative, got.copied), (Some(1.0), Some(0.5), None, None));
        // c is 1 off in both; a is 1 off in the first and 0.5 in the second.
        assert_eq!(got.furthest.iter().map(|off| off.coordinate).collect::<Vec<_>>(), ["c", "a"]);
        assert_eq!(got.furthest[1].deviations, 0.75);
    }

    #[test]
    fn copies_are_called_and_fresh_ones_are_not() {
        let noise = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 1009) as f64 / 1009.0;
        let points = |from: usize| -> Vec<Vec<f64>> {
            (from..from + 100).map(|i| (0..3).map(|k| noise(i, k)).collect()).collect()
        };
        let of = |asked| at(Level::Flows, &NAMES, [points(0), asked, points(300)], 2.0).expect("an answer");
        assert_eq!(of(points(0)).copied, Some(true));
        assert_eq!(of(points(0)).relative, Some(0.0));
        assert_eq!(of(points(500)).copied, Some(false));
        assert_eq!(of(vec![]).copied, None);
    }

    #[test]
    fn without_spread_or_points_there_is_no_value() {
        let same = vec![vec![1.0; 3]; 4];
        let got =
            at(Level::Flows, &NAMES, [same.clone(), same.clone(), same.clone()], 2.0).expect("an answer");
        assert_eq!((got.synthetic.asked, got.synthetic.ratio, got.copied), (0, None, None));
        assert_eq!(at(Level::Flows, &NAMES, [vec![vec![0.0; 3]], same.clone(), same], 2.0), None);
        // Two equal ones of training are as near as each other.
        let training = vec![vec![0.0; 3], vec![0.0; 3], vec![1.0; 3]];
        let got = at(Level::Flows, &NAMES, [training, vec![vec![0.0; 3]], vec![]], 2.0).expect("an answer");
        assert_eq!(got.synthetic.ratios, [1.0]);
    }

    #[test]
    fn drawing_keeps_order_and_depends_on_the_seed_only() {
        let all = || (0..50).map(|i| vec![f64::from(i)]).collect::<Vec<_>>();
        let some = draw(all(), 10, 1);
        assert!(some.len() == 10 && some.is_sorted_by(|a, b| a[0] < b[0]));
        assert_eq!(some, draw(all(), 10, 1));
        assert_ne!(some, draw(all(), 10, 2));
        assert_eq!(draw(all(), 50, 1), all());
    }
}
