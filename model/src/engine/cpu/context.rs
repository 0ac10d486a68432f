//! Side information on the CPU: the rows of the table that are added to the model's input, and the table's gradient.

use crate::engine::simd::math;
use crate::engine::simd::vectorized;
use crate::network::context::{HIDDEN, scale};

/// Adds to each row of `x (n, d)` the rows of `table` that `ids (n, fields)` name, times [`scale`].
pub(crate) fn add(x: &mut [f32], table: &[f32], ids: &[u32], (fields, d): (usize, usize)) {
    if fields > 0 {
        add_rows(x, table, ids, fields, d);
    }
}

vectorized! {
    fn add_rows<'a>(x: &'a mut [f32], table: &'a [f32], ids: &'a [u32], fields: usize, d: usize) {
        for (x, ids) in x.chunks_exact_mut(d).zip(ids.chunks_exact(fields)) {
            let scale = scale(ids);
            for &id in ids.iter().filter(|&&id| id != HIDDEN) {
                math::add_scaled(x, &table[id as usize * d..(id as usize + 1) * d], scale);
            }
        }
    }
}

/// The gradient of [`add`] by the table, added to `out`.
pub(crate) fn add_gradient(grad: &[f32], out: &mut [f32], ids: &[u32], (fields, d): (usize, usize)) {
    if fields > 0 {
        add_rows_gradient(grad, out, ids, fields, d);
    }
}

vectorized! {
    fn add_rows_gradient<'a>(grad: &'a [f32], out: &'a mut [f32], ids: &'a [u32], fields: usize, d: usize) {
        for (grad, ids) in grad.chunks_exact(d).zip(ids.chunks_exact(fields)) {
            let scale = scale(ids);
            for &id in ids.iter().filter(|&&id| id != HIDDEN) {
                math::add_scaled(&mut out[id as usize * d..(id as usize + 1) * d], grad, scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_and_gradients_come_back() {
        let table = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        let mut x = [0.5; 4];
        let ids = [0, 2, 1, 1, 0, 2, 1, 1];
        add(&mut x, &table, &ids, (4, 2));
        assert_eq!(x, [61.0, 121.5, 61.0, 121.5]);
        add(&mut x, &[], &[], (0, 2));
        assert_eq!(x, [61.0, 121.5, 61.0, 121.5]);
        let mut out = [0.0; 6];
        add_gradient(&[1.0, 2.0, 3.0, 4.0], &mut out, &ids, (4, 2));
        assert_eq!(out, [2.0, 3.0, 4.0, 6.0, 2.0, 3.0]);
    }

    #[test]
    fn what_is_hidden_counts_as_the_mean_of_what_is_not() {
        let table = [1.0, 2.0, 3.0];
        let sum = |ids: &[u32]| {
            let mut x = [0.0];
            add(&mut x, &table, ids, (ids.len(), 1));
            x[0]
        };
        assert_eq!(sum(&[0, 1, 1, 2]), 4.0);
        assert_eq!(sum(&[0, HIDDEN, HIDDEN, 2]), 4.0);
        assert_eq!(sum(&[HIDDEN; 4]), 0.0);
        let mut out = [0.0; 3];
        add_gradient(&[1.0], &mut out, &[0, HIDDEN, HIDDEN, 2], (4, 1));
        assert_eq!(out, [1.0, 0.0, 1.0]);
    }
}
