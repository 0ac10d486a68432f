//! A decision tree for classes: CART with Gini impurity, grown until leaves are pure or cannot be parted.
//!
//! At each node `tries` columns are drawn; if none of them parts the node's rows, more are, as scikit-learn does. Of
//! the places between two neighbouring values of a column all are tried, and the first one with the least impurity is
//! taken: `x <= middle of the two` goes left.
//!
//! Source: L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", 1984.

use rand::Rng;

use super::matrix::{Column, Matrix};

/// The class with the largest share, of equal ones the first.
pub(crate) fn argmax(shares: &[f64]) -> u16 {
    let mut best = 0;
    for (class, share) in shares.iter().enumerate() {
        if *share > shares[best] {
            best = class;
        }
    }
    best as u16
}

#[derive(Debug)]
enum Node {
    /// Ranks up to and with `at` go to node `left`, others to the one after it.
    Split { column: u32, at: u32, left: u32 },
    /// Shares of classes begin at this place of `leaves`.
    Leaf { from: u32 },
}

/// A tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<f64>,
    classes: usize,
}

/// A place to split a node at.
#[derive(Clone, Copy, Debug)]
struct Place {
    column: u32,
    /// Neighbouring ranks of the node's rows; the split lies between.
    ranks: (u32, u32),
    /// Sum over both sides of the sum of squared class counts, divided by the side's rows: largest where Gini is least.
    score: f64,
}

/// Counts of classes on both sides of a place that moves from left to right.
#[derive(Default)]
struct Sides {
    left: Vec<u64>,
    right: Vec<u64>,
    /// Rows and sum of squared counts of each side; whole numbers, so exact.
    rows: [u64; 2],
    squares: [u64; 2],
}

impl Sides {
    /// Moves the place to the left of all rows.
    fn reset(&mut self, counts: &[u64]) {
        self.left.clear();
        self.left.resize(counts.len(), 0);
        self.right.clear();
        self.right.extend_from_slice(counts);
        self.rows = [0, counts.iter().sum()];
        self.squares = [0, counts.iter().map(|n| n * n).sum()];
    }

    fn pass(&mut self, class: usize, rows: u64) {
        self.squares[0] += (2 * self.left[class] + rows) * rows;
        self.squares[1] -= (2 * self.right[class] - rows) * rows;
        self.left[class] += rows;
        self.right[class] -= rows;
        self.rows[0] += rows;
        self.rows[1] -= rows;
    }

    fn score(&self) -> f64 {
        self.squares[0] as f64 / self.rows[0] as f64 + self.squares[1] as f64 / self.rows[1] as f64
    }
}

impl Tree {
    /// Of some rows (a row may occur more than once; they are reordered) and the classes of all rows of the matrix.
    pub(crate) fn fit(
        matrix: &Matrix,
        rows: &mut [u32],
        labels: &[u16],
        classes: usize,
        tries: usize,
        rng: &mut impl Rng,
    ) -> Self {
        let mut tree = Self { nodes: vec![Node::Leaf { from: 0 }], leaves: Vec::new(), classes };
        let mut columns: Vec<u32> = (0..matrix.columns() as u32).collect();
        let mut scratch = Scratch::default();
        let mut open = vec![(0, 0, rows.len())]; // node, and its rows
        while let Some((node, from, to)) = open.pop() {
            let rows = &mut rows[from..to];
            let mut counts = vec![0_u64; classes];
            rows.iter().for_each(|&row| counts[usize::from(labels[row as usize])] += 1);
            let mut best = None::<Place>;
            if counts.iter().filter(|n| **n > 0).count() > 1 {
                for drawn in 0..columns.len() {
                    if drawn >= tries && best.is_some() {
                        break;
                    }
                    let other = rng.random_range(drawn..columns.len());
                    columns.swap(drawn, other);
                    let column = columns[drawn];
                    let place = scratch.best(matrix.column(column), column, rows, labels, &counts);
                    if let Some(place) = place
                        && best.is_none_or(|best| place.score > best.score)
                    {
                        best = Some(place);
                    }
                }
            }
            let Some(place) = best else {
                tree.nodes[node] = Node::Leaf { from: tree.leaves.len() as u32 };
                let all = rows.len().max(1) as f64;
                tree.leaves.extend(counts.iter().map(|&n| n as f64 / all));
                continue;
            };
            let column = matrix.column(place.column);
            let at = place.at(column);
            let parted = part(rows, |row| column.ranks[row as usize] <= at);
            let left = tree.nodes.len();
            tree.nodes[node] = Node::Split { column: place.column, at, left: left as u32 };
            tree.nodes.extend([Node::Leaf { from: 0 }, Node::Leaf { from: 0 }]);
            open.extend([(left + 1, from + parted, to), (left, from, from + parted)]);
        }
        tree
    }

    /// Shares of classes in the leaf of a row, whose ranks `rank(column)` gives.
    pub(crate) fn shares(&self, rank: impl Fn(u32) -> u32) -> &[f64] {
        let mut node = 0;
        loop {
            match self.nodes[node] {
                Node::Split { column, at, left } => node = left as usize + usize::from(rank(column) > at),
                Node::Leaf { from } => return &self.leaves[from as usize..from as usize + self.classes],
            }
        }
    }
}

impl Place {
    /// The last rank that goes left. The split is halfway between two values, and rows that the tree has not seen may
    /// lie on either side of it.
    fn at(&self, column: &Column) -> u32 {
        let (low, high) = (column.distinct[self.ranks.0 as usize], column.distinct[self.ranks.1 as usize]);
        let middle = low + (high - low) / 2.0;
        let between = &column.distinct[self.ranks.0 as usize..self.ranks.1 as usize];
        // At least 1: the low value itself is not above the middle.
        self.ranks.0 + (between.partition_point(|value| *value <= middle).max(1) - 1) as u32
    }
}

/// Puts rows for which it holds first, in order neither before nor after; says how many they are.
fn part(rows: &mut [u32], holds: impl Fn(u32) -> bool) -> usize {
    let mut first = 0;
    for at in 0..rows.len() {
        if holds(rows[at]) {
            rows.swap(first, at);
            first += 1;
        }
    }
    first
}

/// Memory that is used again for every column.
#[derive(Default)]
struct Scratch {
    /// Counts by rank and class.
    table: Vec<u32>,
    /// Rank and class of rows.
    keys: Vec<u64>,
    sides: Sides,
}

impl Scratch {
    /// The best place of a column; `None` if all rows have one value.
    fn best(
        &mut self,
        column: &Column,
        number: u32,
        rows: &[u32],
        labels: &[u16],
        counts: &[u64],
    ) -> Option<Place> {
        let Self { table, keys, sides } = self;
        sides.reset(counts);
        let mut best = None::<Place>;
        let mut before = None::<u32>;
        let mut visit = |sides: &Sides, rank: u32| {
            if let Some(before) = before.replace(rank) {
                let score = sides.score();
                if best.is_none_or(|best| score > best.score) {
                    best = Some(Place { column: number, ranks: (before, rank), score });
                }
            }
        };
        let classes = counts.len();
        // Columns with few values, bits above all, are counted; others are sorted.
        if column.distinct.len() * classes <= 2 * rows.len() + 64 {
            table.clear();
            table.resize(column.distinct.len() * classes, 0);
            for &row in rows {
                let at = column.ranks[row as usize] as usize * classes;
                table[at + usize::from(labels[row as usize])] += 1;
            }
            for (rank, of_rank) in table.chunks_exact(classes).enumerate() {
                if of_rank.iter().all(|n| *n == 0) {
                    continue;
                }
                visit(sides, rank as u32);
                for (class, &n) in of_rank.iter().enumerate().filter(|(_, n)| **n > 0) {
                    sides.pass(class, u64::from(n));
                }
            }
        } else {
            let key =
                |row: u32| u64::from(column.ranks[row as usize]) << 16 | u64::from(labels[row as usize]);
            keys.clear();
            keys.extend(rows.iter().map(|&row| key(row)));
            keys.sort_unstable();
            let mut last = None;
            for &key in &*keys {
                let rank = (key >> 16) as u32;
                if last.replace(rank) != Some(rank) {
                    visit(sides, rank);
                }
                sides.pass((key & 0xffff) as usize, 1);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn fit(rows: &[&[f64]], labels: &[u16], of: &[u32]) -> (Matrix, Tree) {
        let matrix = Matrix::new(rows.len(), rows[0].len(), |row, column| rows[row][column]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let tree = Tree::fit(&matrix, &mut of.to_vec(), labels, 2, matrix.columns(), &mut rng);
        (matrix, tree)
    }

    #[test]
    fn the_split_lies_halfway_and_sees_values_of_rows_that_were_not_there() {
        // Rows 0 to 3 train: 1, 2 against 10, 12. Halfway between 2 and 10 is 6.
        let rows: [&[f64]; 6] = [&[1.0], &[2.0], &[10.0], &[12.0], &[5.9], &[6.1]];
        let (matrix, tree) = fit(&rows, &[0, 0, 1, 1, 0, 0], &[0, 1, 2, 3]);
        let guess = |row| argmax(tree.shares(|column| matrix.rank(row, column)));
        assert_eq!((0..6).map(guess).collect::<Vec<_>>(), [0, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn a_split_between_rows_of_one_class_is_found_where_values_repeat() {
        // Value 0 is mostly class 0, value 1 mostly class 1, and the last and first rows there have the same class.
        let rows: [&[f64]; 8] = [&[0.0], &[0.0], &[0.0], &[0.0], &[1.0], &[1.0], &[1.0], &[1.0]];
        let (matrix, tree) = fit(&rows, &[0, 0, 0, 1, 1, 0, 1, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(tree.shares(|column| matrix.rank(0, column)), [0.75, 0.25]);
        assert_eq!(tree.shares(|column| matrix.rank(7, column)), [0.25, 0.75]);
    }

    #[test]
    fn exclusive_or_needs_a_split_that_gains_nothing() {
        let rows: [&[f64]; 4] = [&[0.0, 0.0], &[0.0, 1.0], &[1.0, 0.0], &[1.0, 1.0]];
        let labels = [0, 1, 1, 0];
        let (matrix, tree) = fit(&rows, &labels, &[0, 1, 2, 3]);
        let guess = |row| argmax(tree.shares(|column| matrix.rank(row, column)));
        assert_eq!((0..4).map(guess).collect::<Vec<_>>(), labels);
    }

    #[test]
    fn rows_that_cannot_be_parted_or_are_none_make_a_leaf() {
        let (matrix, tree) = fit(&[&[1.0], &[1.0]], &[0, 1], &[0, 1]);
        assert_eq!(tree.shares(|column| matrix.rank(0, column)), [0.5, 0.5]);
        let (_, empty) = fit(&[&[1.0], &[2.0]], &[0, 1], &[]);
        assert_eq!(argmax(empty.shares(|_| 0)), 0);
    }
}
