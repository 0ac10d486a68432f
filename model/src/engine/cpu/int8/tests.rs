//! Every kernel of this processor against plain whole-number sums, and the products against f32.

use super::pack::MAX_INPUTS;
use super::*;
use crate::network::masks::Masks;
use crate::network::masks::testing::wanted_does_not_depend_on_the_rest;

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (s >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// What the product is defined as: sums in 64 bits, scaled as the kernels scale.
fn plain(x: &[f32], w: &[f32], inputs: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for x in x.chunks_exact(inputs) {
        let (x, x_scale) = quantise::weights(x);
        for w in w.chunks_exact(inputs) {
            let (w, w_scale) = quantise::weights(w);
            let sum: i64 = x.iter().zip(&w).map(|(&x, &w)| i64::from(x) * i64::from(w)).sum();
            out.push(sum as f32 * x_scale * w_scale);
        }
    }
    out
}

fn multiply(kernel: Kernel, x: &[f32], w: &[f32], inputs: usize, wanted: &Masks) -> Vec<f32> {
    let outputs = w.len() / inputs;
    let mut out = vec![0f32; x.len() / inputs * outputs];
    let packed = Packed::new(w, outputs, inputs, kernel).unwrap();
    packed.multiply_wanted(x, &mut out, false, wanted, (&mut vec![], &mut Rows::default()));
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_kernel_gives_the_bits_of_the_plain_sum_for_every_shape() {
    let names: Vec<&str> = Kernel::available().map(Kernel::name).collect();
    assert_eq!((Kernel::best().name(), names.last()), (names[0], Some(&"portable")));
    for rows in 1..=33 {
        for (inputs, outputs) in [(1, 1), (3, 17), (4, 32), (7, 33), (63, 31), (66, 40), (192, 65)] {
            let (x, w) = (numbers(rows * inputs, rows as u32), numbers(inputs * outputs, 2));
            let truth = bits(&plain(&x, &w, inputs));
            for kernel in Kernel::available() {
                let got = bits(&multiply(kernel, &x, &w, inputs, &Masks::default()));
                assert!(got == truth, "{}: {rows} rows, {inputs} to {outputs}", kernel.name());
            }
        }
    }
}

#[test]
fn results_are_added_where_that_is_asked_for() {
    let (x, w) = (numbers(5 * 30, 8), numbers(30 * 45, 9));
    for kernel in Kernel::available() {
        let mut out = vec![0.5f32; 5 * 45];
        let packed = Packed::new(&w, 45, 30, kernel).unwrap();
        packed.multiply_wanted(&x, &mut out, true, &Masks::default(), (&mut vec![], &mut Rows::default()));
        let sums: Vec<f32> = plain(&x, &w, 30).iter().map(|value| 0.5 + value).collect();
        assert_eq!(bits(&out), bits(&sums), "{}", kernel.name());
    }
}

#[test]
fn the_longest_sums_of_the_largest_levels_are_exact_and_longer_ones_are_refused() {
    let inputs = MAX_INPUTS;
    for sign in [1.0, -1.0] {
        let (x, w) = (vec![3.0; inputs], vec![sign * 2.0; inputs]);
        let truth = sign * 127.0 * 127.0 * inputs as f32 * (3.0 / 127.0) * (2.0 / 127.0);
        for kernel in Kernel::available() {
            assert_eq!(multiply(kernel, &x, &w, inputs, &Masks::default()), [truth], "{}", kernel.name());
        }
    }
    let long = vec![1.0; inputs + 1];
    let error = Packed::new(&long, 1, inputs + 1, Kernel::best()).unwrap_err().to_string();
    assert!(error.starts_with("inputs of an int8 product: expected at most"), "{error}");
}

#[test]
fn the_error_of_an_output_is_within_half_a_level_of_each_factor() {
    for (inputs, outputs, seed) in [(16, 40, 1), (192, 64, 2), (384, 33, 3)] {
        let (x, w) = (numbers(9 * inputs, seed), numbers(inputs * outputs, seed + 10));
        let got = multiply(Kernel::best(), &x, &w, inputs, &Masks::default());
        for (r, x) in x.chunks_exact(inputs).enumerate() {
            let x_half = f64::from(quantise::weights(x).1) / 2.0;
            for (o, w) in w.chunks_exact(inputs).enumerate() {
                let w_half = f64::from(quantise::weights(w).1) / 2.0;
                let pairs = || x.iter().zip(w).map(|(&x, &w)| (f64::from(x), f64::from(w)));
                let exact: f64 = pairs().map(|(x, w)| x * w).sum();
                let bound: f64 =
                    pairs().map(|(x, w)| x.abs() * w_half + w.abs() * x_half + x_half * w_half).sum();
                let error = (f64::from(got[r * outputs + o]) - exact).abs();
                assert!(error <= bound * 1.000_01, "{error} above {bound}");
                // In practice roundings cancel: far below the bound, or something is biased.
                assert!(error <= bound * 0.5, "{error} near {bound}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let (inputs, outputs) = (67, 130);
    let (x, w) = (numbers(23 * inputs, 3), numbers(inputs * outputs, 4));
    for kernel in Kernel::available() {
        let all = bits(&multiply(kernel, &x, &w, inputs, &Masks::default()));
        for rows in 1..12 {
            for from in 0..23 - rows {
                let some = multiply(
                    kernel,
                    &x[from * inputs..(from + rows) * inputs],
                    &w,
                    inputs,
                    &Masks::default(),
                );
                let same = bits(&some) == all[from * outputs..(from + rows) * outputs];
                assert!(same, "{}: {rows} rows from {from}", kernel.name());
            }
        }
    }
}

#[test]
fn what_is_wanted_does_not_depend_on_what_is_not() {
    let (x, w) = (numbers(19 * 67, 5), numbers(67 * 130, 6));
    for kernel in Kernel::available() {
        wanted_does_not_depend_on_the_rest(|wanted| multiply(kernel, &x, &w, 67, wanted));
    }
}

#[test]
fn rows_of_zeros_are_zero_and_what_is_not_finite_stays_so() {
    let w = numbers(20 * 40, 7);
    let mut x = numbers(3 * 20, 8);
    x[..20].fill(0.0);
    x[25] = f32::NAN;
    x[45] = f32::INFINITY;
    for kernel in Kernel::available() {
        let out = multiply(kernel, &x, &w, 20, &Masks::default());
        assert!(out[..40].iter().all(|&value| value == 0.0));
        assert!(out[40..].iter().all(|value| value.is_nan()), "{}", kernel.name());
        let mut bad = w.clone();
        bad[77] = f32::NEG_INFINITY;
        let error = Packed::new(&bad, 40, 20, kernel).unwrap_err().to_string();
        assert_eq!(error, "weights of an int8 product: expected finite values, got -inf");
    }
}
