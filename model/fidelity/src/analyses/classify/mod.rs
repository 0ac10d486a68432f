//! The classifiers that [`utility`](crate::analyses::utility) and [`discriminate`](crate::analyses::discriminate)
//! train: decision tree, random forest, support vector machine.
//!
//! Definitions and defaults are scikit-learn's, because results that are compared with come from it: trees of Gini
//! impurity grown until their leaves are pure, forests of 100 trees on bootstrap samples with the root of the number of
//! columns tried a split, an SVM with a Gaussian kernel, C = 1, gamma "scale", one against one. A test compares
//! accuracies on the sets of `tests/fidelity/classifiers.py`.
//!
//! The SVM is smartcore's. Its trees and forests are not used: as of 0.7.0 they pass over a place to split where the
//! two rows beside it have the same class, which is only right where values differ from row to row. On header bits and
//! counts it misses splits: on the set "bits, two classes" its forest is right in 0.78 of the cases, scikit-learn's in
//! 0.89.
//!
//! All random draws come from a seed, and the number of threads changes nothing.

mod forest;
mod matrix;
mod score;
mod svm;
mod tree;

pub(crate) use self::forest::Forest;
pub(crate) use self::matrix::Matrix;
pub(crate) use self::score::{accuracy, macro_f1};
pub(crate) use self::svm::{Distances, Svm};
pub(crate) use self::tree::{Tree, argmax};

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Spread {
        mean: f64,
        std: f64,
    }

    #[derive(Deserialize)]
    struct Expected {
        accuracy: Spread,
        macro_f1: Spread,
    }

    /// A data set with scikit-learn's results.
    #[derive(Deserialize)]
    struct Set {
        name: String,
        x: Vec<Vec<f64>>,
        y: Vec<u16>,
        tree: Expected,
        forest: Expected,
        svm: Expected,
    }

    #[derive(Deserialize)]
    struct Sets {
        sets: Vec<Set>,
    }

    const SEEDS: u64 = 20;

    #[test]
    fn tree_forest_and_svm_are_as_accurate_as_scikit_learn_s() {
        let Sets { sets } =
            serde_json::from_str(include_str!("../../../../../tests/fidelity/classifiers.json"))
                .expect("sets");
        assert_eq!(sets.len(), 5);
        for set in sets {
            let half = set.x.len() / 2;
            let classes = usize::from(*set.y.iter().max().expect("a class")) + 1;
            let matrix = Matrix::new(set.x.len(), set.x[0].len(), |row, column| set.x[row][column]);
            let train: Vec<u32> = (0..half as u32).collect();
            let test: Vec<u32> = (half as u32..set.x.len() as u32).collect();
            let truth: Vec<u16> = test.iter().map(|&row| set.y[row as usize]).collect();
            let mean = |guess: &dyn Fn(u64) -> Vec<u16>| {
                let of: Vec<_> =
                    (0..SEEDS).map(guess).map(|g| (accuracy(&truth, &g), macro_f1(&truth, &g))).collect();
                let n = of.len() as f64;
                (of.iter().map(|s| s.0).sum::<f64>() / n, of.iter().map(|s| s.1).sum::<f64>() / n)
            };
            let tree = mean(&|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let tree =
                    Tree::fit(&matrix, &mut train.clone(), &set.y, classes, matrix.columns(), &mut rng);
                test.iter().map(|&row| argmax(tree.shares(|column| matrix.rank(row, column)))).collect()
            });
            let forest = mean(&|seed| {
                let forest = Forest::fit(&matrix, &train, &set.y, classes, 100, seed);
                test.iter().map(|&row| argmax(&forest.shares(&matrix, row))).collect()
            });
            let distances = Distances::of(&matrix);
            let svm = mean(&|seed| Svm::fit(&distances, &train, &set.y, classes, seed).predict(&test));
            // Two means over 20 seeds each: within 1 point, or four times what their standard errors explain. The SVM
            // draws nothing that matters: within a row or two of 150 to 200.
            for (what, got, expected, least) in [
                ("tree", tree, &set.tree, 0.01),
                ("forest", forest, &set.forest, 0.01),
                ("svm", svm, &set.svm, 0.015),
            ] {
                for (got, expected) in [(got.0, &expected.accuracy), (got.1, &expected.macro_f1)] {
                    let tolerance = (4.0 * expected.std * (2.0 / SEEDS as f64).sqrt()).max(least);
                    assert!(
                        (got - expected.mean).abs() <= tolerance,
                        "{}: {what}: {got} instead of {} ± {tolerance}",
                        set.name,
                        expected.mean
                    );
                }
            }
        }
    }
}
