//! A two-sample test by a classifier: whether a random forest can tell synthetic flows and sessions from real ones, and
//! by which features.
//!
//! Real and synthetic cases get the labels 0 and 1. A forest is trained on four fifths of the sessions and judges the
//! rest, in turn, so that every case has a score from a forest that has not seen its session (`folds`). The area under
//! the ROC curve of these scores (`auc`) is the chance that a synthetic case looks more synthetic than a real one: 0.5
//! if the two cannot be told apart by these features, 1 if always. The interval is a bootstrap over sessions, because
//! flows of a session are not independent. The features that matter are found by shuffling the values of one feature
//! among held-out cases (permutation importance). The floor is the same test between two real sets.
//!
//! Below 0.5, held-out sessions are like sessions *of the other side* more than like their own: near copies, or labels
//! with few sessions each (`folds` says why). Exact copies are kept in one part and come out as 0.5. The interval
//! leaves out how far the forests would be others had they been trained on other sessions: of 24 tests between equal
//! sets of 40 sessions it held 0.5 in 21, their mean was 0.50.
//!
//! Limits: the features are those of `fidelity::features`, without addresses and without payload; a forest that finds
//! nothing proves nothing. A difference that is plain in one field is enough for an area of 1, however small it is to a
//! user: read the clues, not only the area. Sessions cut at different lengths differ in length.
//!
//! Sources: D. Lopez-Paz, M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017; L. Breiman, "Random forests",
//! 2001.

mod chapter;
mod folds;
mod test;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

pub use self::test::{Clue, Told};

use self::folds::Dealt;
use self::test::Cases;
use crate::analyses::features;
use crate::input::session::CapturedSession;
use crate::side::Side;

/// How the test is made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Parts that sessions are dealt to; fewer where a side has fewer sessions. Default 5.
    pub folds: usize,
    /// Trees of a forest. Default 100.
    pub trees: usize,
    /// Most sessions of a side; others are left out at random. Default 300.
    pub sessions: usize,
    /// Most flows of a session, drawn at random. Default 40.
    pub flows_per_session: usize,
    /// Most flows of a side: takes fewer of each session where there are many. Default 2,000.
    pub flows: usize,
    /// Resamplings of the interval. Default 1,000.
    pub bootstraps: usize,
    /// How often each feature is shuffled. Default 2.
    pub permutations: usize,
    /// Features named in the report; all are in the JSON. Default 12.
    pub clues: usize,
    /// Seed of all random draws. Default 1.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folds: 5,
            trees: 100,
            sessions: 300,
            flows_per_session: 40,
            flows: 2000,
            bootstraps: 1000,
            permutations: 2,
            clues: 12,
            seed: 1,
        }
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Discriminate {
    /// How it was made.
    pub options: Options,
    /// Real against synthetic.
    pub synthetic: Pair,
    /// Real against the second real set.
    pub floor: Option<Pair>,
}

/// Two sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Labels that only one side has; their sessions are left out.
    pub left_out: Vec<String>,
    /// No label is on both sides, so all sessions were compared whatever their label.
    pub unmatched: bool,
    /// Sessions of each side that were compared: as many of each label on both.
    pub sessions: u64,
    /// Flows of the real side that were compared.
    pub flows_real: u64,
    /// Flows of the other side.
    pub flows_other: u64,
    /// Whether sessions are told apart; `None` with a reason in `missing`.
    pub by_session: Option<Told>,
    /// Whether flows are.
    pub by_flow: Option<Told>,
    /// Why there is no result.
    pub missing: Vec<String>,
}

/// Compares `synthetic` with `real`, and `floor` too if there is one.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> Discriminate {
    Discriminate {
        options: options.clone(),
        synthetic: pair(real, synthetic, options, true),
        floor: floor.map(|floor| pair(real, floor, options, false)),
    }
}

fn pair(first: &Side, second: &Side, options: &Options, clues: bool) -> Pair {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let chosen = folds::choose(first, second, options.sessions, &mut rng);
    let n = chosen.sessions[0].len();
    let mut out = Pair {
        left_out: chosen.left_out,
        unmatched: chosen.unmatched,
        sessions: n as u64,
        flows_real: 0,
        flows_other: 0,
        by_session: None,
        by_flow: None,
        missing: Vec::new(),
    };
    if n < 2 {
        out.missing.push(format!("{n} session(s) a side that can be compared: at least 2 are needed"));
        return out;
    }
    let sessions: Vec<&CapturedSession> = chosen.sessions.concat();
    let session_second: Vec<bool> = (0..sessions.len()).map(|session| session >= n).collect();
    let rows: Vec<Vec<f64>> = sessions.par_iter().map(|session| features::session::row(session)).collect();
    let dealt: Vec<Dealt<'_>> = rows
        .iter()
        .enumerate()
        .map(|(at, features)| Dealt { second: session_second[at], label: chosen.labels[at % n], features })
        .collect();
    let fold_of = folds::assign(&dealt, options.folds.clamp(2, n), &mut rng);
    let names = features::session::features();
    let cases = Cases {
        features: &names,
        rows,
        second: session_second.clone(),
        session: (0..sessions.len()).collect(),
        fold_of: &fold_of,
        session_second: &session_second,
    };
    out.by_session = cases.tell(options, clues, options.seed);
    let each = options.flows_per_session.min(options.flows / n).max(1);
    let drawn: Vec<Vec<u32>> = sessions
        .iter()
        .map(|session| {
            let mut flows: Vec<u32> = (0..session.flows.len() as u32).collect();
            let (some, _) = flows.partial_shuffle(&mut rng, each);
            some.sort_unstable();
            some.to_vec()
        })
        .collect();
    let of_flows: Vec<Vec<Vec<f64>>> = sessions
        .par_iter()
        .zip(&drawn)
        .map(|(session, flows)| features::flow::rows(session, flows))
        .collect();
    let session: Vec<usize> =
        of_flows.iter().enumerate().flat_map(|(session, rows)| rows.iter().map(move |_| session)).collect();
    let second: Vec<bool> = session.iter().map(|&session| session_second[session]).collect();
    out.flows_other = second.iter().filter(|second| **second).count() as u64;
    out.flows_real = second.len() as u64 - out.flows_other;
    let names = features::flow::features();
    let cases = Cases {
        features: &names,
        rows: of_flows.concat(),
        second,
        session,
        fold_of: &fold_of,
        session_second: &session_second,
    };
    out.by_flow = cases.tell(options, clues, options.seed.wrapping_add(100));
    if out.by_flow.is_none() {
        out.missing.push("a side has no flow in the sessions compared".to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyses::features::made::{self, CAMERA, WEB};
    use crate::testing::Frames;

    fn options() -> Options {
        Options { trees: 60, bootstraps: 300, permutations: 1, ..Options::default() }
    }

    /// `n` sessions of two labels, each changed by `change`.
    fn side(n: usize, seed: u64, mut change: impl FnMut(&mut Frames, &mut ChaCha8Rng)) -> Side {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let session = |number: usize| {
            let (kind, label) = if number.is_multiple_of(2) { (WEB, "web") } else { (CAMERA, "camera") };
            let mut frames = made::session(&mut rng, kind);
            change(&mut frames, &mut rng);
            frames.session(label)
        };
        Side::of((0..n).map(session).collect())
    }

    fn same(n: usize, seed: u64) -> Side {
        side(n, seed, |_, _| {})
    }

    #[test]
    fn sessions_of_one_kind_are_not_told_apart() {
        let found = analyse(&same(60, 1), &same(60, 2), None, &options());
        for told in [&found.synthetic.by_session, &found.synthetic.by_flow] {
            let told = told.as_ref().expect("a result");
            assert!((told.auc - 0.5).abs() < 0.13 && told.low <= 0.5 && told.high >= 0.5, "{told:?}");
            assert!(!told.apart);
        }
        assert_eq!((found.synthetic.sessions, found.synthetic.missing.len()), (60, 0));
    }

    #[test]
    fn copies_are_not_told_apart() {
        let found = analyse(&same(30, 1), &same(30, 1), Some(&same(30, 5)), &options());
        let of = |told: &Option<Told>| told.as_ref().map(|t| (t.auc, t.apart)).expect("a result");
        assert_eq!(of(&found.synthetic.by_session), (0.5, false));
        let (auc, apart) = of(&found.synthetic.by_flow);
        assert!((auc - 0.5).abs() < 0.02 && !apart, "{auc}");
        assert!(!of(&found.floor.expect("a floor").by_flow).1);
    }

    #[test]
    fn gaps_drawn_one_by_one_are_told_by_features_of_time() {
        let found = analyse(&same(30, 1), &side(30, 2, made::shuffle_gaps), None, &options());
        let told = found.synthetic.by_session.expect("a result");
        assert!(told.apart && told.auc > 0.95, "{told:?}");
        assert!(
            told.gave_away[..3].iter().all(|clue| clue.feature.contains("gap")),
            "{:?}",
            &told.gave_away[..3]
        );
        let told = found.synthetic.by_flow.expect("a result");
        assert!(told.apart && told.auc > 0.8, "{} {}", told.auc, told.low);
    }

    #[test]
    fn random_bytes_are_told_and_have_no_flows() {
        let found = analyse(&same(20, 1), &side(20, 2, made::random_bytes), None, &options());
        let told = found.synthetic.by_session.expect("a result");
        assert!(told.apart && told.auc > 0.99 && told.low > 0.9, "{} {}", told.auc, told.low);
        assert!(found.synthetic.flows_real > 100);
    }

    #[test]
    fn too_little_is_named() {
        let empty = Side::of(Vec::new());
        let found = analyse(&empty, &same(4, 1), Some(&empty), &options());
        assert_eq!((found.synthetic.by_session, found.synthetic.missing.len()), (None, 1));
        assert!(found.floor.expect("a floor").by_flow.is_none());
        // One packet a session, and no flow at all on one side.
        let one = |count: usize, arp: bool| {
            let session = |at: usize| {
                let mut frames = Frames::new();
                if arp {
                    frames.arp(at as i64)
                } else {
                    frames.udp(at as i64, (40000, 53), at)
                }
                frames.session("x")
            };
            Side::of((0..count).map(session).collect())
        };
        let found = analyse(&one(6, false), &one(6, true), None, &options());
        assert!(found.synthetic.by_session.expect("a result").auc.is_finite());
        assert_eq!((found.synthetic.by_flow, found.synthetic.missing.len()), (None, 1));
        let found = analyse(&one(6, true), &one(6, true), None, &options());
        assert_eq!(found.synthetic.by_session.expect("a result").auc, 0.5);
        let found = analyse(&one(6, false), &one(6, false), None, &options());
        assert_eq!(found.synthetic.by_flow.expect("a result").auc, 0.5);
        assert!(analyse(&one(2, false), &one(3, false), None, &options()).synthetic.by_flow.is_some());
    }

    #[test]
    fn real_sessions_are_not_told_from_their_copies_and_devices_of_a_kind_not_from_themselves() {
        let (Some(train), Some(val)) = (made::real("iot/train", 300), made::real("iot/val", 300)) else {
            return;
        };
        let found = analyse(&train, &val, Some(&train), &Options { sessions: 1000, ..options() });
        let copies = found.floor.expect("a floor");
        assert_eq!(copies.by_session.map(|told| (told.auc, told.apart)), Some((0.5, false)));
        let told = found.synthetic.by_session.expect("a result");
        assert!(told.auc < 0.7, "{told:?}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (real, other) = (same(10, 1), side(10, 2, made::shuffle_gaps));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let found = analyse(&real, &other, None, &options());
        assert_eq!(found, one.install(|| analyse(&real, &other, None, &options())));
        assert!(serde_json::to_string(&found).expect("plain values").contains("\"by_flow\":{\"auc\":"));
    }
}
