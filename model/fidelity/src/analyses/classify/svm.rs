//! A support vector machine with a Gaussian kernel, C = 1 and gamma "scale" (1 / (columns x variance)), one against
//! one.
//!
//! The machine of two classes is smartcore's. Votes are counted here: smartcore takes any of the classes that have most
//! votes, and we want the same one every time (the first, as libsvm does). The kernel needs nothing but distances
//! between rows, which are computed once and serve every training set: what smartcore sees of a row is its number.
//!
//! Source: C.-C. Chang, C.-J. Lin, "LIBSVM: a library for support vector machines", ACM TIST 2 (2011).

use std::sync::Arc;

use rayon::prelude::*;
use smartcore::error::Failed;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::svm::Kernel;
use smartcore::svm::svc::{SVC, SVCParameters};

use super::matrix::Matrix;

/// Squared Euclidean distances between the rows of a matrix, and what gamma needs.
#[derive(Debug)]
pub(crate) struct Distances {
    squared: Arc<Vec<f32>>,
    rows: usize,
    columns: usize,
    /// By row: sum and sum of squares of its values.
    sums: Vec<(f64, f64)>,
}

impl Distances {
    /// Between all rows.
    pub(crate) fn of(matrix: &Matrix) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let values: Vec<Vec<f32>> = (0..rows)
            .into_par_iter()
            .map(|row| (0..columns).map(|column| matrix.value(row, column) as f32).collect())
            .collect();
        let squared = values
            .par_iter()
            .flat_map_iter(|a| values.iter().map(|b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()))
            .collect();
        let sum = |row: &Vec<f32>| {
            row.iter().fold((0.0, 0.0), |(sum, squares), &v| {
                (sum + f64::from(v), squares + f64::from(v) * f64::from(v))
            })
        };
        Self { squared: Arc::new(squared), rows, columns, sums: values.iter().map(sum).collect() }
    }

    /// 1 / (columns x variance of the training values); 1 if they do not vary.
    fn gamma(&self, train: &[u32]) -> f64 {
        let n = (train.len() * self.columns) as f64;
        let of = |part: fn(&(f64, f64)) -> f64| {
            train.iter().map(|&row| part(&self.sums[row as usize])).sum::<f64>() / n
        };
        let (mean, squares) = (of(|sums| sums.0), of(|sums| sums.1));
        let variance = squares - mean * mean;
        if variance > 0.0 { 1.0 / (self.columns as f64 * variance) } else { 1.0 }
    }
}

/// `exp(-gamma x squared distance)` of two rows by number.
#[derive(Debug)]
struct Gaussian {
    squared: Arc<Vec<f32>>,
    rows: usize,
    gamma: f64,
}

impl Kernel for Gaussian {
    fn apply(&self, a: &Vec<f64>, b: &Vec<f64>) -> Result<f64, Failed> {
        // Row numbers are whole and far below 2^53.
        let row = |of: &[f64]| of.first().map_or(0, |number| *number as usize);
        let squared = self.squared.get(row(a) * self.rows + row(b)).copied().unwrap_or(f32::MAX);
        Ok((-self.gamma * f64::from(squared)).exp())
    }
}

type Parameters = SVCParameters<f64, i32, DenseMatrix<f64>, Vec<i32>>;

/// What is needed to fit and ask: machines of two classes borrow their training rows, so they are made where they are
/// asked.
pub(crate) struct Svm<'a> {
    distances: &'a Distances,
    /// Training rows by class.
    classes: Vec<Vec<u32>>,
    gamma: f64,
    seed: u64,
}

impl<'a> Svm<'a> {
    /// Of some rows and the classes of all rows.
    pub(crate) fn fit(
        distances: &'a Distances,
        train: &[u32],
        labels: &[u16],
        classes: usize,
        seed: u64,
    ) -> Self {
        let mut by_class = vec![Vec::new(); classes];
        train.iter().for_each(|&row| by_class[usize::from(labels[row as usize])].push(row));
        Self { distances, classes: by_class, gamma: distances.gamma(train), seed }
    }

    /// Classes of rows.
    pub(crate) fn predict(&self, rows: &[u32]) -> Vec<u16> {
        let there: Vec<usize> = (0..self.classes.len()).filter(|&c| !self.classes[c].is_empty()).collect();
        let pairs: Vec<(usize, usize)> =
            there.iter().flat_map(|&a| there.iter().filter(move |&&b| a < b).map(move |&b| (a, b))).collect();
        let votes: Vec<Option<Vec<bool>>> =
            pairs.par_iter().map(|&(a, b)| self.second_of_two(a, b, rows)).collect();
        let mut polls = vec![vec![0.0; self.classes.len()]; rows.len()];
        for (&(a, b), votes) in pairs.iter().zip(&votes) {
            let Some(votes) = votes else { continue };
            polls.iter_mut().zip(votes).for_each(|(poll, &second)| poll[if second { b } else { a }] += 1.0);
        }
        if let (&[only], true) = (&there[..], pairs.is_empty()) {
            polls.iter_mut().for_each(|poll| poll[only] = 1.0);
        }
        polls.iter().map(|poll| super::argmax(poll)).collect()
    }

    /// Whether rows are of class `b` rather than `a`. `None` where smartcore finds no machine.
    fn second_of_two(&self, a: usize, b: usize, rows: &[u32]) -> Option<Vec<bool>> {
        let numbers = |rows: &[u32]| {
            let rows: Vec<Vec<f64>> = rows.iter().map(|&row| vec![f64::from(row)]).collect();
            DenseMatrix::from_2d_vec(&rows).ok()
        };
        let train = [&self.classes[a][..], &self.classes[b][..]].concat();
        let truth: Vec<i32> = (0..train.len()).map(|at| i32::from(at >= self.classes[a].len())).collect();
        let kernel = Gaussian {
            squared: Arc::clone(&self.distances.squared),
            rows: self.distances.rows,
            gamma: self.gamma,
        };
        let parameters = Parameters::default().with_c(1.0).with_seed(Some(self.seed)).with_kernel(kernel);
        let (train, asked) = (numbers(&train)?, numbers(rows)?);
        let machine = SVC::fit(&train, &truth, &parameters).ok()?;
        let sides = machine.decision_function(&asked).ok()?;
        Some(sides.iter().map(|side| *side > 0.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_apart_are_told_and_one_class_is_itself() {
        let value = |row: usize, _| if row < 4 { row as f64 } else { 100.0 + row as f64 };
        let matrix = Matrix::new(8, 1, value);
        let distances = Distances::of(&matrix);
        let labels = [0, 0, 0, 0, 2, 2, 2, 2];
        let svm = Svm::fit(&distances, &[0, 1, 4, 5], &labels, 3, 1);
        assert_eq!(svm.predict(&[2, 3, 6, 7]), [0, 0, 2, 2]);
        assert_eq!(Svm::fit(&distances, &[4, 5], &labels, 3, 1).predict(&[0, 7]), [2, 2]);
        assert_eq!(Svm::fit(&distances, &[0, 4], &labels, 3, 1).predict(&[1, 6]), [0, 2]);
        assert!(svm.predict(&[]).is_empty());
    }
}
