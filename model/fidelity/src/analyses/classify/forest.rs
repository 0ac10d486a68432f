//! A random forest: trees on bootstrap samples, each split on the best of a few columns drawn at random.
//!
//! The shares of classes are the mean over the trees' leaves, as scikit-learn's `predict_proba` has them.
//!
//! Source: L. Breiman, "Random forests", Machine Learning 45 (2001).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::matrix::Matrix;
use super::tree::Tree;

/// A forest.
#[derive(Debug)]
pub(crate) struct Forest {
    trees: Vec<Tree>,
    classes: usize,
}

impl Forest {
    /// Of some rows and the classes of all rows of the matrix. Every tree draws from a stream of its own, so the number
    /// of threads changes nothing.
    pub(crate) fn fit(
        matrix: &Matrix,
        rows: &[u32],
        labels: &[u16],
        classes: usize,
        trees: usize,
        seed: u64,
    ) -> Self {
        let tries = matrix.columns().isqrt().max(1);
        let tree = |number: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number as u64);
            let mut sample: Vec<u32> =
                (0..rows.len()).map(|_| rows[rng.random_range(0..rows.len())]).collect();
            Tree::fit(matrix, &mut sample, labels, classes, tries, &mut rng)
        };
        Self { trees: (0..trees).into_par_iter().map(tree).collect(), classes }
    }

    /// Shares of classes for a row of the matrix.
    pub(crate) fn shares(&self, matrix: &Matrix, row: u32) -> Vec<f64> {
        self.shares_with(|column| matrix.rank(row, column))
    }

    /// Shares of classes for a row whose ranks `rank(column)` gives.
    pub(crate) fn shares_with(&self, rank: impl Fn(u32) -> u32) -> Vec<f64> {
        let mut sum = vec![0.0; self.classes];
        for tree in &self.trees {
            sum.iter_mut().zip(tree.shares(&rank)).for_each(|(sum, share)| *sum += share);
        }
        let trees = self.trees.len().max(1) as f64;
        sum.iter_mut().for_each(|sum| *sum /= trees);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_forest_on_any_number_of_threads() {
        let value = |row: usize, column: usize| ((row * 7 + column * 13) % 11) as f64;
        let matrix = Matrix::new(60, 5, value);
        let labels: Vec<u16> = (0..60).map(|row| (row * row % 3) as u16).collect();
        let rows: Vec<u32> = (0..40).collect();
        let shares = |seed| {
            let forest = Forest::fit(&matrix, &rows, &labels, 3, 20, seed);
            (0..60).map(|row| forest.shares(&matrix, row)).collect::<Vec<_>>()
        };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(shares(5), one.install(|| shares(5)));
        assert_ne!(shares(5), shares(6));
        assert!(shares(5).iter().all(|of| (of.iter().sum::<f64>() - 1.0).abs() < 1e-9));
    }
}
