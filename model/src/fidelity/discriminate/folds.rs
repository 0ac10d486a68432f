//! Which sessions are compared, and in which part of them each is held out.
//!
//! *Matched by label*: as many sessions of each label from one side as from the other, so that a different mix of labels is not
//! taken for a difference of traffic. *Grouped*: a session is held out as a whole, and with it every session that has exactly
//! its features. Else a forest that has seen the copy of a held-out session, on the other side, would call the session by
//! the copy's side and be wrong every time: verbatim copies must come out as what they are here, the same.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::session::Session;
use super::super::side::Side;

/// Sessions chosen from both sides.
pub(super) struct Chosen<'a> {
    /// Of the first side and of the second, as many of each label.
    pub(super) sessions: [Vec<&'a Session>; 2],
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
        let mut by_label = BTreeMap::<Option<&str>, Vec<&'a Session>>::new();
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
    for (label, mut of_first) in a {
        let Some(mut of_second) = b.remove(&label) else { continue };
        let n = of_first.len().min(of_second.len()).min(each);
        for (chosen, of_side) in sessions.iter_mut().zip([&mut of_first, &mut of_second]) {
            of_side.shuffle(rng);
            chosen.extend_from_slice(&of_side[..n]);
        }
    }
    Chosen { sessions, left_out, unmatched }
}

/// The fold of every session, from its side and features: folds have about as many sessions of each side, and sessions with
/// the same features are in one.
pub(super) fn assign(
    second: &[bool],
    features: &[Vec<f64>],
    folds: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<usize> {
    let mut twins = BTreeMap::<Vec<u64>, Vec<usize>>::new();
    for (session, features) in features.iter().enumerate() {
        twins.entry(features.iter().map(|v| v.to_bits()).collect()).or_default().push(session);
    }
    let mut groups: Vec<Vec<usize>> = twins.into_values().collect();
    groups.sort_unstable(); // by first session: not by what the features are
    groups.shuffle(rng);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut fold_of = vec![0; features.len()];
    let mut counts = vec![[0_usize; 2]; folds.max(1)];
    for group in groups {
        let mut of = [0; 2];
        group.iter().for_each(|&session| of[usize::from(second[session])] += 1);
        let full = |fold: usize| counts[fold][0] * of[0].min(1) + counts[fold][1] * of[1].min(1);
        let fold = (0..counts.len()).min_by_key(|&fold| full(fold)).unwrap_or(0);
        group.iter().for_each(|&session| fold_of[session] = fold);
        counts[fold][0] += of[0];
        counts[fold][1] += of[1];
    }
    fold_of
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::super::testing::Frames;
    use super::*;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(3)
    }

    #[test]
    fn labels_are_matched_and_one_sided_ones_named() {
        let side = |labels: &[&str]| Side::of(labels.iter().map(|l| Frames::new().session(l)).collect());
        let (a, b) = (side(&["x", "x", "x", "y", "z"]), side(&["x", "y", "y", "w"]));
        let chosen = choose(&a, &b, 100, &mut rng());
        let labels = |of: &[&Session]| of.iter().filter_map(|s| s.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&chosen.sessions[0]), ["x", "y"]);
        assert_eq!(labels(&chosen.sessions[1]), ["x", "y"]);
        assert_eq!((chosen.left_out, chosen.unmatched), (vec!["z".to_owned(), "w".to_owned()], false));
        let (a, b) = (side(&["x", "x"]), side(&["y", "z", "z"]));
        let chosen = choose(&a, &b, 100, &mut rng());
        assert_eq!((chosen.sessions[0].len(), chosen.sessions[1].len(), chosen.unmatched), (2, 2, true));
        assert!(choose(&side(&[]), &b, 100, &mut rng()).sessions[0].is_empty());
    }

    #[test]
    fn folds_are_even_and_keep_twins_together() {
        let second: Vec<bool> = (0..40).map(|session| session >= 20).collect();
        // Session n of one side is the copy of session n of the other.
        let features: Vec<Vec<f64>> = (0..40).map(|session| vec![f64::from(session % 20)]).collect();
        let folds = assign(&second, &features, 5, &mut rng());
        for session in 0..20 {
            assert_eq!(folds[session], folds[session + 20]);
        }
        for fold in 0..5 {
            assert_eq!(folds.iter().filter(|f| **f == fold).count(), 8);
        }
        let apart: Vec<Vec<f64>> = (0..40).map(|session| vec![f64::from(session)]).collect();
        let folds = assign(&second, &apart, 5, &mut rng());
        for fold in 0..5 {
            assert_eq!((0..20).filter(|&s| folds[s] == fold).count(), 4);
            assert_eq!((20..40).filter(|&s| folds[s] == fold).count(), 4);
        }
        assert_eq!(assign(&[true], &[vec![1.0]], 0, &mut rng()), [0]);
    }
}
