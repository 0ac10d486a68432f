//! Products of whole batches of rows, into memory that is there: what training multiplies with.
//!
//! candle's product, which is the same code (the `gemm` crate), gives its result in fresh memory that it fills with
//! zeros first.

#![allow(unsafe_code)]

use crate::engine::launch::Gemm;

/// Writes the product of row-major matrices into `to (m, n)`, or adds it to what is there: `a (m, k) b (k, n)`, with a
/// factor stored as its transpose where the form says so.
///
/// # Panics
/// If a matrix has another size.
pub(crate) fn gemm(
    form: Gemm,
    a: &[f32],
    b: &[f32],
    to: &mut [f32],
    (m, n, k): (usize, usize, usize),
    add: bool,
) {
    assert_eq!((a.len(), b.len(), to.len()), (m * k, k * n, m * n), "sizes of a product");
    // From one row to the next, and from one column to the next.
    let (a_rows, a_cols) = if form == Gemm::Tn { (1, m) } else { (k, 1) };
    let (b_rows, b_cols) = if form == Gemm::Nt { (1, k) } else { (n, 1) };
    let threads = match rayon::current_num_threads() {
        1 => gemm::Parallelism::None,
        threads => gemm::Parallelism::Rayon(threads),
    };
    let kept = if add { 1.0 } else { 0.0 };
    // SAFETY: a (m, k), b (k, n) and to (m, n) with these steps lie within the slices, as the assertion says; `to` is
    // borrowed alone; all three are initialised, and `to` is read only if it is added to.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            to.as_mut_ptr(),
            1,
            n.cast_signed(),
            add,
            a.as_ptr(),
            a_cols.cast_signed(),
            a_rows.cast_signed(),
            b.as_ptr(),
            b_cols.cast_signed(),
            b_rows.cast_signed(),
            kept,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_equals_the_plain_product() {
        let number = |i: usize, seed: usize| ((i * 37 + seed * 11) % 23) as f32 / 8.0 - 1.25;
        for (m, n, k) in [(1, 1, 1), (3, 5, 2), (17, 33, 40), (64, 16, 300), (2, 2, 0)] {
            let a: Vec<f32> = (0..m * k).map(|i| number(i, 1)).collect();
            let b: Vec<f32> = (0..k * n).map(|i| number(i, 2)).collect();
            let transposed = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
            };
            let (a_t, b_t) = (transposed(&a, m, k), transposed(&b, k, n));
            for (form, a_given, b_given) in [(Gemm::Nn, &a, &b), (Gemm::Nt, &a, &b_t), (Gemm::Tn, &a_t, &b)] {
                for add in [false, true] {
                    let before = if add { 0.5 } else { f32::NAN };
                    let mut to = vec![before; m * n];
                    gemm(form, a_given, b_given, &mut to, (m, n, k), add);
                    for (i, got) in to.iter().enumerate() {
                        let product: f64 =
                            (0..k).map(|x| f64::from(a[i / n * k + x]) * f64::from(b[x * n + i % n])).sum();
                        let want = product + if add { 0.5 } else { 0.0 };
                        let close = (f64::from(*got) - want).abs() <= 1e-4 * want.abs().max(1.0);
                        assert!(close, "{form:?} {m} {n} {k} {add}: {got} for {want}");
                    }
                }
            }
        }
    }
}
