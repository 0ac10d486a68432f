//! A table of numbers for trees: by column, with every value replaced by its rank among the distinct values of the
//! column.
//!
//! Trees only compare values of one column, so ranks are all they need to find a split; the values themselves say where
//! between two ranks the split lies. Columns that are constant or repeat another one are removed: they add nothing to a
//! tree and only time to an SVM. Duplicates are also removed from the random choice of columns, because two header bits
//! that are equal in all packets are one fact.

use std::collections::BTreeMap;

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    /// Which of the columns given it is.
    source: usize,
    /// By row: its value's place in `distinct`.
    pub(super) ranks: Vec<u32>,
    /// Its values, ascending.
    pub(super) distinct: Vec<f64>,
}

/// A table without constant and repeated columns.
#[derive(Debug)]
pub(crate) struct Matrix {
    rows: usize,
    columns: Vec<Column>,
}

impl Matrix {
    /// Of `columns` columns whose values `value(row, column)` gives. Values that are not finite count as -1, "there is
    /// none".
    pub(crate) fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let mut kept = Vec::<Column>::new();
        let mut seen = BTreeMap::<Vec<u32>, Vec<usize>>::new();
        for source in 0..columns {
            let of = |row| Some(value(row, source)).filter(|v: &f64| v.is_finite()).unwrap_or(-1.0) + 0.0;
            let values: Vec<f64> = (0..rows).map(of).collect();
            let mut distinct = values.clone();
            distinct.sort_unstable_by(f64::total_cmp);
            distinct.dedup();
            if distinct.len() < 2 {
                continue;
            }
            let ranks: Vec<u32> = values.iter().map(|v| distinct.partition_point(|d| d < v) as u32).collect();
            let same = seen.entry(ranks.clone()).or_default();
            if same.iter().any(|&other| kept[other].distinct == distinct) {
                continue;
            }
            same.push(kept.len());
            kept.push(Column { source, ranks, distinct });
        }
        Self { rows, columns: kept }
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns that are left.
    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Which of the columns given a column is.
    pub(crate) fn source(&self, column: usize) -> usize {
        self.columns[column].source
    }

    /// Rank of a value in its column.
    pub(crate) fn rank(&self, row: u32, column: u32) -> u32 {
        self.columns[column as usize].ranks[row as usize]
    }

    /// A value.
    pub(crate) fn value(&self, row: usize, column: usize) -> f64 {
        let column = &self.columns[column];
        column.distinct[column.ranks[row] as usize]
    }

    pub(super) fn column(&self, column: u32) -> &Column {
        &self.columns[column as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_and_repeated_columns_go_and_values_come_back() {
        let rows = [[1.0, 7.0, 1.0, f64::NAN, -0.0], [3.0, 7.0, 3.0, 2.0, 0.0], [2.0, 7.0, 2.0, 2.0, -0.0]];
        let matrix = Matrix::new(3, 5, |row, column| rows[row][column]);
        assert_eq!((matrix.rows(), matrix.columns()), (3, 2));
        assert_eq!((matrix.source(0), matrix.source(1)), (0, 3));
        let column = |c| (0..3).map(|row| matrix.value(row, c)).collect::<Vec<_>>();
        assert_eq!((column(0), column(1)), (vec![1.0, 3.0, 2.0], vec![-1.0, 2.0, 2.0]));
        assert_eq!((matrix.rank(1, 0), matrix.rank(2, 0)), (2, 1));
        assert_eq!(Matrix::new(0, 5, |_, _| 0.0).columns(), 0);
    }
}
