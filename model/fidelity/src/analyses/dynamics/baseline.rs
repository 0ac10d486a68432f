//! The random baseline of NetSSM's Table 5: values of a positively right-skewed law between the least and the largest
//! real value.
//!
//! The paper does not name the law. Here it is the beta distribution with parameters 1 and 4, stretched to that range:
//! most values near the least one, a fifth of the range in the mean, a skewness of 1.05. Whole numbers, as sizes in
//! bytes and counts are.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// As many values as the real sample has, sorted. `stream` makes samples of one seed independent. Empty of an empty
/// sample.
pub(super) fn right_skewed(real: &[f64], seed: u64, stream: u64) -> Vec<f64> {
    let (Some(&low), Some(&high)) = (real.first(), real.last()) else { return Vec::new() };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let mut values: Vec<f64> = real
        .iter()
        .map(|_| {
            let beta = 1.0 - (1.0 - random.random::<f64>()).powf(0.25); // the inverse of its distribution function
            (low + (high - low) * beta).round().clamp(low, high)
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_range_skewed_and_repeatable() {
        let real: Vec<f64> = (0..=2000).map(f64::from).collect();
        let random = right_skewed(&real, 7, 1);
        assert_eq!(random.len(), real.len());
        assert!(random.iter().all(|x| (0.0..=2000.0).contains(x)));
        let mean = random.iter().sum::<f64>() / random.len() as f64;
        assert!((mean - 400.0).abs() < 25.0, "{mean}");
        assert!(random[1000] < mean, "skewed to the right: the median is below the mean");
        assert_eq!(random, right_skewed(&real, 7, 1));
        assert_ne!(random, right_skewed(&real, 7, 2));
        assert_ne!(random, right_skewed(&real, 8, 1));
        assert!(right_skewed(&[], 7, 1).is_empty());
        assert_eq!(right_skewed(&[5.0, 5.0], 7, 1), [5.0, 5.0]);
    }
}
