//! Area under the ROC curve: how often a case of the second side scores higher than one of the first, ties counted
//! half.
//!
//! 0.5: the score says nothing; 1: it parts the sides; 0: it parts them the wrong way round. Exact, by ranks: it is the
//! Mann-Whitney statistic divided by the number of pairs.
//!
//! Source: J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a ROC curve", Radiology 143 (1982).

/// Cases in the order of their scores, so that the area can be had for many weightings.
#[derive(Debug)]
pub struct Ranked {
    /// Case and whether it is of the second side; cases of equal score in a group.
    groups: Vec<Vec<(u32, bool)>>,
}

impl Ranked {
    /// Of scores and sides by case.
    pub fn new(scores: &[f64], second: &[bool]) -> Self {
        let mut order: Vec<u32> = (0..scores.len().min(second.len()) as u32).collect();
        let score = |case: u32| scores[case as usize];
        order.sort_by(|&a, &b| score(a).total_cmp(&score(b)));
        let groups = order
            .chunk_by(|&a, &b| score(a) == score(b))
            .map(|cases| cases.iter().map(|&case| (case, second[case as usize])).collect())
            .collect();
        Self { groups }
    }

    /// The area where each case counts `weight(case)` times; `None` if a side has none.
    pub fn area(&self, weight: impl Fn(usize) -> f64) -> Option<f64> {
        let (mut below, mut pairs, mut all_second) = (0.0, 0.0, 0.0);
        for group in &self.groups {
            let (mut first, mut second) = (0.0, 0.0);
            for &(case, is_second) in group {
                *(if is_second { &mut second } else { &mut first }) += weight(case as usize);
            }
            pairs += second * (below + first / 2.0);
            below += first;
            all_second += second;
        }
        (below > 0.0 && all_second > 0.0).then(|| pairs / (below * all_second))
    }
}

/// The area of scores where each case counts once.
pub fn auc(scores: &[f64], second: &[bool]) -> Option<f64> {
    Ranked::new(scores, second).area(|_| 1.0)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        score: Vec<f64>,
        y: Vec<u8>,
        auc: f64,
    }

    #[derive(Deserialize)]
    struct Cases {
        auc: Vec<Case>,
    }

    #[test]
    fn areas_are_scikit_learn_s() {
        let Cases { auc: cases } =
            serde_json::from_str(include_str!("../../../../tests/fidelity/classifiers.json")).expect("cases");
        assert_eq!(cases.len(), 4);
        for case in cases {
            let second: Vec<bool> = case.y.iter().map(|y| *y == 1).collect();
            let area = auc(&case.score, &second).expect("both sides");
            assert!((area - case.auc).abs() < 1e-12, "{area} {}", case.auc);
        }
    }

    #[test]
    fn small_areas_are_exact_and_weights_count_as_repeats() {
        let second = [false, false, true, true];
        assert_eq!(auc(&[1.0, 2.0, 3.0, 4.0], &second), Some(1.0));
        assert_eq!(auc(&[4.0, 3.0, 2.0, 1.0], &second), Some(0.0));
        assert_eq!(auc(&[5.0; 4], &second), Some(0.5));
        assert_eq!(auc(&[1.0, 3.0, 2.0, 3.0], &second), Some(0.625));
        assert_eq!((auc(&[], &[]), auc(&[1.0], &[true])), (None, None));
        let weighted = Ranked::new(&[1.0, 3.0, 2.0, 3.0], &second).area(|case| [2.0, 1.0, 0.0, 1.0][case]);
        assert_eq!(weighted, auc(&[1.0, 1.0, 3.0, 3.0], &[false, false, false, true]));
    }
}
