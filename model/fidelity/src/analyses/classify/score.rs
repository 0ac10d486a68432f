//! How good guesses are: accuracy and macro F1.

/// Share of guesses that are right, 0 to 1; 0 without any.
pub(crate) fn accuracy(truth: &[u16], guess: &[u16]) -> f64 {
    let right = truth.iter().zip(guess).filter(|(truth, guess)| truth == guess).count();
    right as f64 / truth.len().max(1) as f64
}

/// Mean over the classes, those of the truth and those guessed, of F1: `2 right / (guessed + there)`, 0 to 1. Classes
/// count alike, however many cases they have; scikit-learn's `f1_score(average="macro")`.
pub(crate) fn macro_f1(truth: &[u16], guess: &[u16]) -> f64 {
    let classes = truth.iter().chain(guess).max().map_or(0, |class| usize::from(*class) + 1);
    let mut right = vec![0_u32; classes];
    let mut cases = vec![0_u32; classes]; // guessed and there
    for (&truth, &guess) in truth.iter().zip(guess) {
        cases[usize::from(truth)] += 1;
        cases[usize::from(guess)] += 1;
        right[usize::from(truth)] += u32::from(truth == guess);
    }
    let f1: Vec<f64> = right
        .iter()
        .zip(&cases)
        .filter(|(_, cases)| **cases > 0)
        .map(|(&right, &cases)| 2.0 * f64::from(right) / f64::from(cases))
        .collect();
    f1.iter().sum::<f64>() / f1.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_cases_and_f1_classes() {
        let (truth, guess) = ([0, 0, 0, 1, 2], [0, 0, 1, 1, 0]);
        assert_eq!(accuracy(&truth, &guess), 0.6);
        // F1: 4/6, 2/3, 0/2.
        assert!((macro_f1(&truth, &guess) - (4.0 / 6.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!((accuracy(&[], &[]), macro_f1(&[], &[])), (0.0, 0.0));
    }
}
