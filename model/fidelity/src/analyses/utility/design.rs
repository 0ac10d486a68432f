//! The design of the experiment: the labels that can be used, the split of their sessions, and the sessions that a
//! mixing rate replaces.
//!
//! Within each label, sessions of both sides are shuffled and parted into training and held-out ones. The training set
//! of a label has `n` sessions at every rate, `n` being what the side with fewer has to train on: at rate r, `r n` of
//! the real ones are replaced with synthetic ones, as the paper does, so that rates differ in nothing but that. Smaller
//! rates replace a part of what larger ones do. Held-out sessions are the same at all rates and never trained on.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Options;
use crate::input::session::CapturedSession;
use crate::side::Side;

/// What is mixed into the real training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Synthetic sessions.
    Synthetic,
    /// Sessions of the second real set: what a perfect generator would give.
    Floor,
}

/// A label whose sessions take no part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    /// The label.
    pub label: String,
    /// Why.
    pub why: String,
}

/// Sessions of a label, by number in [`Design::sessions`].
struct OfLabel {
    real: Vec<u32>,
    synthetic: Vec<u32>,
    floor: Vec<u32>,
}

/// What is compared.
pub(super) struct Design<'a> {
    /// Labels in order.
    pub(super) labels: Vec<String>,
    /// All sessions that take part.
    pub(super) sessions: Vec<&'a CapturedSession>,
    /// By session: its label.
    pub(super) label_of: Vec<u16>,
    pub(super) left_out: Vec<LeftOut>,
    /// Every label has a session of the floor.
    pub(super) has_floor: bool,
    of_label: Vec<OfLabel>,
}

/// One split.
pub(super) struct Split {
    /// By label: sessions to train on, real, synthetic and of the floor.
    train: Vec<[Vec<u32>; 3]>,
    pub(super) test_real: Vec<u32>,
    pub(super) test_synthetic: Vec<u32>,
}

impl<'a> Design<'a> {
    pub(super) fn new(
        real: &'a Side,
        synthetic: &'a Side,
        floor: Option<&'a Side>,
        options: &Options,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let by_label = |side: &'a Side| {
            let mut by = BTreeMap::<&'a str, Vec<&'a CapturedSession>>::new();
            let labelled = side.sessions().iter().filter_map(|s| Some((s.label.as_deref()?, s)));
            labelled.for_each(|(label, session)| by.entry(label).or_default().push(session));
            by
        };
        let sides = [by_label(real), by_label(synthetic), floor.map(by_label).unwrap_or_default()];
        let count = |side: usize, label: &str| sides[side].get(label).map_or(0, Vec::len);
        let mut left_out = Vec::new();
        let mut out = |label: &str, why: String| left_out.push(LeftOut { label: label.to_owned(), why });
        let mut labels: Vec<&str> = Vec::new();
        let all: std::collections::BTreeSet<&str> =
            sides[..2].iter().flat_map(|side| side.keys().copied()).collect();
        for label in all {
            let (real, synthetic) = (count(0, label), count(1, label));
            if real.min(synthetic) < 2 {
                out(
                    label,
                    format!(
                        "{real} real and {synthetic} synthetic session(s), at least 2 of each are needed"
                    ),
                );
            } else {
                labels.push(label);
            }
        }
        if labels.len() > options.labels {
            labels.sort_by_key(|label| std::cmp::Reverse(count(0, label)));
            for label in labels.split_off(options.labels) {
                out(label, format!("more than {} labels, and this one has few sessions", options.labels));
            }
            labels.sort_unstable();
        }
        let each = (options.sessions / labels.len().max(1)).clamp(4, options.sessions_per_label.max(4));
        let has_floor = floor.is_some() && labels.iter().all(|label| count(2, label) > 0);
        let (mut sessions, mut label_of, mut of_label) = (Vec::new(), Vec::new(), Vec::new());
        for (number, label) in labels.iter().enumerate() {
            let mut take = |side: usize| {
                let mut of = sides[side].get(label).cloned().unwrap_or_default();
                of.shuffle(&mut rng);
                of.truncate(each);
                let first = sessions.len() as u32;
                sessions.extend(of);
                label_of.resize(sessions.len(), number as u16);
                (first..sessions.len() as u32).collect::<Vec<u32>>()
            };
            let (real, synthetic) = (take(0), take(1));
            let floor = if has_floor { take(2) } else { Vec::new() };
            of_label.push(OfLabel { real, synthetic, floor });
        }
        let labels = labels.into_iter().map(str::to_owned).collect();
        Self { labels, sessions, label_of, left_out, has_floor, of_label }
    }

    /// The split of a repeat.
    pub(super) fn split(&self, repeat: usize, options: &Options) -> Split {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream(1 + repeat as u64);
        let mut split = Split { train: Vec::new(), test_real: Vec::new(), test_synthetic: Vec::new() };
        for of in &self.of_label {
            let mut part = |sessions: &[u32], test: Option<&mut Vec<u32>>| {
                let mut sessions = sessions.to_vec();
                sessions.shuffle(&mut rng);
                if let Some(test) = test {
                    let held_out = (sessions.len() as f64 * options.held_out).round() as usize;
                    test.extend(sessions.drain(..held_out.clamp(1, sessions.len() - 1))); // a label has 2 or more
                }
                sessions
            };
            let real = part(&of.real, Some(&mut split.test_real));
            let synthetic = part(&of.synthetic, Some(&mut split.test_synthetic));
            let floor = part(&of.floor, None);
            split.train.push([real, synthetic, floor]);
        }
        split
    }
}

impl Split {
    /// Training sessions at a rate in percent.
    pub(super) fn training(&self, source: Source, percent: u8) -> Vec<u32> {
        let mut out = Vec::new();
        for [real, synthetic, floor] in &self.train {
            let other = match source {
                Source::Synthetic => synthetic,
                Source::Floor => floor,
            };
            let n = real.len().min(other.len());
            let replaced = (n as f64 * f64::from(percent) / 100.0).round() as usize;
            out.extend_from_slice(&real[..n - replaced]);
            out.extend_from_slice(&other[..replaced]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Frames;

    fn side(labels: &[(&str, usize)]) -> Side {
        let sessions =
            labels.iter().flat_map(|&(label, n)| (0..n).map(move |_| Frames::new().session(label)));
        Side::of(sessions.collect())
    }

    #[test]
    fn rates_replace_real_sessions_and_never_train_on_what_is_held_out() {
        let (real, synthetic) =
            (side(&[("a", 14), ("b", 10), ("c", 1), ("d", 5)]), side(&[("a", 20), ("b", 10), ("c", 5)]));
        let floor = side(&[("a", 3), ("b", 9)]);
        let options = Options::default();
        let design = Design::new(&real, &synthetic, Some(&floor), &options);
        assert_eq!(design.labels, ["a", "b"]);
        assert_eq!(design.left_out.iter().map(|out| &out.label[..]).collect::<Vec<_>>(), ["c", "d"]);
        assert!(design.left_out[0].why.contains("1 real and 5 synthetic"), "{}", design.left_out[0].why);
        assert!(design.has_floor);
        let split = design.split(0, &options);
        // Held out: 30 % of 14, 10 and of 20, 10; left to train on: 10 and 7 of the real ones.
        assert_eq!((split.test_real.len(), split.test_synthetic.len()), (4 + 3, 6 + 3));
        // Numbers: label a has 14 + 20 + 3 sessions, then b.
        let is_real = |session: &u32| *session < 14 || (37..47).contains(session);
        let held_out: BTreeSet<u32> = split.test_real.iter().chain(&split.test_synthetic).copied().collect();
        for percent in (0..=100).step_by(10) {
            let train = split.training(Source::Synthetic, percent);
            assert_eq!(train.len(), 17);
            assert!(train.iter().all(|session| !held_out.contains(session)));
            let real = train.iter().filter(|session| is_real(session)).count();
            assert!(
                (real as f64 - 17.0 * (1.0 - f64::from(percent) / 100.0)).abs() <= 1.0,
                "{percent}: {real}"
            );
        }
        assert_eq!(split.training(Source::Floor, 100).len(), 3 + 7);
        assert_ne!(design.split(1, &options).test_real, split.test_real);
    }

    #[test]
    fn caps_hold_and_nothing_is_no_design() {
        let many: Vec<(String, usize)> = (0..9).map(|at| (format!("l{at}"), 30 + at)).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|(label, n)| (&label[..], *n)).collect();
        let side = side(&many);
        let options = Options { labels: 5, sessions: 50, ..Options::default() };
        let design = Design::new(&side, &side, None, &options);
        assert_eq!((design.labels.len(), design.sessions.len(), design.has_floor), (5, 100, false));
        assert_eq!(design.labels[0], "l4");
        assert!(Design::new(&Side::default(), &side, None, &options).labels.is_empty());
    }
}
