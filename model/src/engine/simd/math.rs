//! Scalar functions and reductions that the compiler can vectorise.
//!
//! Everything here is `inline(always)`, so that it is compiled inside the caller's `pulp` dispatch with that
//! instruction set. Products and sums that should fuse say `mul_add`: Rust does not contract them by itself.

/// Lanes of the partial sums: one AVX-512 vector, two AVX2 vectors.
const LANES: usize = 16;

/// `exp(x)` with a relative error below 2e-7; inputs are held to the range where the result is a normal number.
///
/// Range reduction by a multiple of ln 2 in two parts and a polynomial of degree 6 (Cephes `expf`); no branches, so
/// that it vectorises, which the library's function does not.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
    let x = x.clamp(-87.3, 88.3);
    let t = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let k = t - ROUND;
    let r = k.mul_add(-0.693_359_4, x);
    let r = k.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    let scale = f32::from_bits((t.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    p * scale
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `ln(1 + exp(x))` without overflow and without loss for small results.
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// Sum of `a[i] * b[i]`, in a fixed order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (ac, bc) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (ar, br) = (ac.remainder(), bc.remainder());
    for (x, y) in ac.zip(bc) {
        for i in 0..LANES {
            acc[i] = x[i].mul_add(y[i], acc[i]);
        }
    }
    for (i, (x, y)) in ar.iter().zip(br).enumerate() {
        acc[i] = x.mul_add(*y, acc[i]);
    }
    tree_sum(acc)
}

/// Sum of `a[i] * b[i] * c[i]`, in a fixed order.
#[inline(always)]
pub(crate) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let n = a.len().min(b.len()).min(c.len());
    let (a, b, c) = (&a[..n], &b[..n], &c[..n]);
    let whole = n / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (x, y, z) = (&a[at..at + LANES], &b[at..at + LANES], &c[at..at + LANES]);
        for i in 0..LANES {
            acc[i] = (x[i] * y[i]).mul_add(z[i], acc[i]);
        }
    }
    for i in whole..n {
        acc[i - whole] = (a[i] * b[i]).mul_add(c[i], acc[i - whole]);
    }
    tree_sum(acc)
}

/// Sum of the values, in a fixed order.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..LANES {
            acc[i] += x[i];
        }
    }
    for (i, x) in rest.iter().enumerate() {
        acc[i] += x;
    }
    tree_sum(acc)
}

/// The largest value; minus infinity of none.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut acc = [f32::NEG_INFINITY; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..LANES {
            acc[i] = if x[i] > acc[i] { x[i] } else { acc[i] };
        }
    }
    let mut max = f32::NEG_INFINITY;
    for x in rest.iter().chain(&acc) {
        max = if *x > max { *x } else { max };
    }
    max
}

#[inline(always)]
fn tree_sum(mut acc: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            acc[i] += acc[i + width];
        }
        width /= 2;
    }
    acc[0]
}

/// `y[i] += scale * a[i]`, rounded twice as two tensor operations round, so that every engine has the same bits.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], a: &[f32], scale: f32) {
    for (y, a) in y.iter_mut().zip(a) {
        *y += scale * a;
    }
}

/// `y[i] += a[i]`.
#[inline(always)]
pub(crate) fn add_to(y: &mut [f32], a: &[f32]) {
    for (y, a) in y.iter_mut().zip(a) {
        *y += a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_over_its_whole_range() {
        let mut worst = 0f64;
        for i in -873_000..883_000 {
            let x = i as f32 * 1e-4;
            let truth = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - truth).abs() / truth);
        }
        assert!(worst < 2e-7, "worst relative error {worst:e}");
        assert!(exp(-1e30) < 1.5e-38 && exp(f32::NEG_INFINITY) >= 0.0);
        assert!(exp(1e30).is_finite());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn softplus_keeps_both_ends() {
        assert_eq!(softplus(30.0), 30.0);
        assert!((softplus(-20.0) - 2.061_153_6e-9).abs() < 1e-15);
        assert!((softplus(0.0) - std::f32::consts::LN_2).abs() < 1e-7);
    }

    #[test]
    fn dots_agree_with_the_plain_sum_for_every_remainder() {
        for n in 0..50 {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0).collect();
            let plain: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), plain);
            assert_eq!(dot3(&a, &b, &vec![2.0; n]), 2.0 * plain);
            assert_eq!(sum(&a), a.iter().sum::<f32>());
            assert_eq!(max(&b), b.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
