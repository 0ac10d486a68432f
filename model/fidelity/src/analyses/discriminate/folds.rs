//! The choice of sessions to compare, and the fold in which each is held out.
//!
//! *Matched by label*: as many sessions of each label from one side as from the other, so that a different mix of
//! labels is not taken for a difference of traffic. *Paired*: sessions are held out as wholes, and of each label as
//! many of one side as of the other. Otherwise, for a held-out session, training has fewer sessions of its own side
//! with its label. A forest that recognises the label then guesses the other side, and is wrong more often than chance:
//! with three sessions per label and two real sets the area was 0.24. What is left of this effect, from groups within a
//! label, makes the area a little less than it should be and never finds a difference that is not there. (Pairing each
//! session with the one most like it does the opposite: whatever little the two samples differ by then points the same
//! way in every pair, and half the tests between equal sets find a difference.) *Grouped*: sessions that have exactly
//! the same features are in one fold: verbatim copies must count as equal.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::input::session::CapturedSession;
use crate::side::Side;

/// Sessions chosen from both sides.
pub(super) struct Chosen<'a> {
    /// Of the first side and of the second, as many of each label.
    pub(super) sessions: [Vec<&'a CapturedSession>; 2],
    /// Number of the label of each session, the same on both sides.
    pub(super) labels: Vec<usize>,
    /// Labels that only one side has; their sessions are left out.
    pub(super) left_out: Vec<String>,
    /// No label is on both sides, so labels were not heeded.
    pub(super) unmatched: bool,
}

/// Up to `limit` sessions a side.
pub(super) fn choose<'a>(
    first: &'a Side,
    second: &'a Side,
    limit: usize,
    rng: &mut ChaCha8Rng,
) -> Chosen<'a> {
    let of = |side: &'a Side, heed: bool| {
        let mut by_label = BTreeMap::<Option<&str>, Vec<&'a CapturedSession>>::new();
        for session in side.sessions() {
            by_label.entry(session.label.as_deref().filter(|_| heed)).or_default().push(session);
        }
        by_label
    };
    let (mut a, mut b) = (of(first, true), of(second, true));
    let unmatched = !a.keys().any(|label| b.contains_key(label));
    if unmatched {
        (a, b) = (of(first, false), of(second, false));
    }
    let one_sided = |a: &BTreeMap<Option<&str>, _>, b: &BTreeMap<Option<&str>, _>| -> Vec<String> {
        a.keys().filter(|l| !b.contains_key(*l)).map(|l| l.unwrap_or("(no label)").to_owned()).collect()
    };
    let left_out = [one_sided(&a, &b), one_sided(&b, &a)].concat();
    let labels = a.keys().filter(|label| b.contains_key(*label)).count();
    let each = (limit / labels.max(1)).max(1);
    let mut sessions = [Vec::new(), Vec::new()];
    let mut numbers = Vec::new();
    for (number, (label, mut of_first)) in a.into_iter().enumerate() {
        let Some(mut of_second) = b.remove(&label) else { continue };
        let n = of_first.len().min(of_second.len()).min(each);
        for (chosen, of_side) in sessions.iter_mut().zip([&mut of_first, &mut of_second]) {
            of_side.shuffle(rng);
            chosen.extend_from_slice(&of_side[..n]);
        }
        numbers.resize(sessions[0].len(), number);
    }
    Chosen { sessions, labels: numbers, left_out, unmatched }
}

/// A session while folds are dealt.
#[derive(Clone, Debug)]
pub(super) struct Dealt<'a> {
    /// Is it of the second side?
    pub(super) second: bool,
    /// Number of its label.
    pub(super) label: usize,
    /// What it is like.
    pub(super) features: &'a [f64],
}

/// The fold of every session. Within a label, sessions with the same features stay together, and one of each side makes
/// a pair; pairs are dealt to the folds in which their label, and then all, has fewest sessions.
pub(super) fn assign(sessions: &[Dealt<'_>], folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let labels = sessions.iter().map(|session| session.label).max().map_or(0, |last| last + 1);
    let mut units: Vec<Vec<usize>> = (0..labels).flat_map(|label| pairs(sessions, label, rng)).collect();
    units.shuffle(rng);
    units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
    let mut fold_of = vec![0; sessions.len()];
    let mut of_label = vec![vec![0_usize; labels]; folds.max(1)];
    let mut all = vec![0_usize; folds.max(1)];
    for unit in units {
        let label = unit.first().map_or(0, |&session| sessions[session].label);
        let fold = (0..all.len()).min_by_key(|&fold| (of_label[fold][label], all[fold])).unwrap_or(0);
        unit.iter().for_each(|&session| fold_of[session] = fold);
        of_label[fold][label] += unit.len();
        all[fold] += unit.len();
    }
    fold_of
}

/// What is dealt as one of a label: as many sessions of one side as of the other, as far as there are.
fn pairs(sessions: &[Dealt<'_>], label: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut twins = BTreeMap::<Vec<u64>, Vec<usize>>::new();
    for (number, session) in sessions.iter().enumerate().filter(|(_, session)| session.label == label) {
        twins.entry(session.features.iter().map(|v| v.to_bits()).collect()).or_default().push(number);
    }
    let (mut units, alone): (Vec<Vec<usize>>, Vec<Vec<usize>>) =
        twins.into_values().partition(|twins| twins.len() > 1);
    let mut alone: Vec<usize> = alone.concat();
    alone.sort_unstable(); // not by what the features are
    alone.shuffle(rng);
    units.sort_unstable();
    let (mut second, mut first): (Vec<usize>, Vec<usize>) =
        alone.into_iter().partition(|&number| sessions[number].second);
    for unit in &mut units {
        let seconds = unit.iter().filter(|&&number| sessions[number].second).count();
        let firsts = unit.len() - seconds;
        let (from, lacking) =
            if firsts > seconds { (&mut second, firsts - seconds) } else { (&mut first, seconds - firsts) };
        unit.extend(from.drain(..lacking.min(from.len())));
    }
    while !first.is_empty() || !second.is_empty() {
        units.push(first.pop().into_iter().chain(second.pop()).collect());
    }
    units
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::testing::Frames;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(3)
    }

    #[test]
    fn labels_are_matched_and_one_sided_ones_named() {
        let side = |labels: &[&str]| Side::of(labels.iter().map(|l| Frames::new().session(l)).collect());
        let (a, b) = (side(&["x", "x", "x", "y", "z"]), side(&["x", "y", "y", "w"]));
        let chosen = choose(&a, &b, 100, &mut rng());
        let labels = |of: &[&CapturedSession]| of.iter().filter_map(|s| s.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&chosen.sessions[0]), ["x", "y"]);
        assert_eq!(labels(&chosen.sessions[1]), ["x", "y"]);
        assert_eq!((chosen.left_out, chosen.unmatched), (vec!["z".to_owned(), "w".to_owned()], false));
        let (a, b) = (side(&["x", "x"]), side(&["y", "z", "z"]));
        let chosen = choose(&a, &b, 100, &mut rng());
        assert_eq!((chosen.sessions[0].len(), chosen.sessions[1].len(), chosen.unmatched), (2, 2, true));
        assert!(choose(&side(&[]), &b, 100, &mut rng()).sessions[0].is_empty());
    }

    #[test]
    fn folds_are_even_in_every_label_and_keep_twins_together() {
        // Two labels, 20 sessions of each on either side; the first 10 of a label have a twin on the other side.
        let number = |session: usize| if session % 20 < 10 { session % 40 } else { session };
        let features: Vec<[f64; 1]> = (0..80).map(|session| [number(session) as f64]).collect();
        let sessions: Vec<Dealt<'_>> = (0..80)
            .map(|at| Dealt { second: at >= 40, label: at % 40 / 20, features: &features[at] })
            .collect();
        let folds = assign(&sessions, 5, &mut rng());
        for session in (0..40).filter(|session| session % 20 < 10) {
            assert_eq!(folds[session], folds[session + 40]);
        }
        for (fold, label, second) in (0..20).map(|at| (at / 4, at / 2 % 2, at % 2 == 1)) {
            let of = |at: &usize| {
                folds[*at] == fold && sessions[*at].label == label && sessions[*at].second == second
            };
            assert_eq!((0..80).filter(of).count(), 4, "{fold} {label} {second}");
        }
        assert_eq!(assign(&sessions[..1], 0, &mut rng()), [0]);
        assert!(assign(&[], 5, &mut rng()).is_empty());
    }

    #[test]
    fn twins_of_one_side_are_made_even_with_others() {
        let sessions: Vec<Dealt<'_>> = (0..8)
            .map(|at| Dealt {
                second: at >= 4,
                label: 0,
                features: [&[1.0], &[2.0][..]][usize::from(at >= 2 && at != 7)],
            })
            .collect();
        // Twins: 0, 1 and 7; 2 to 6. Nobody is alone, so they stay as they are.
        let mut units = pairs(&sessions, 0, &mut rng());
        units.sort_unstable();
        assert_eq!(units, [vec![0, 1, 7], vec![2, 3, 4, 5, 6]]);
        let features: Vec<[f64; 1]> = [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|v| [v]).to_vec();
        let sessions: Vec<Dealt<'_>> =
            (0..8).map(|at| Dealt { second: at >= 4, label: 0, features: &features[at] }).collect();
        let units = pairs(&sessions, 0, &mut rng());
        assert_eq!(units.iter().map(Vec::len).collect::<Vec<_>>(), [6, 2]);
    }
}
