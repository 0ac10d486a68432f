//! Packet times for codecs that carry none: gaps drawn per label from the corpus' inter-arrival distribution.
//!
//! `prepare` collects the gaps between the packets of a session and keeps, per label, their quantiles; a checkpoint
//! stores the table. [`TimingTable::draw`] inverts that distribution. The drawn gaps depend neither on the packets nor
//! on each other, so bursts and round trips are lost. A session with such gaps must say so
//! ([`Timing::Drawn`](netssm_wire::session::Timing::Drawn)).

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// Equal steps of probability between the stored quantiles. With 128 the last step holds 0.8 % of the gaps, finer than
/// what one of the smaller labels has samples for.
const STEPS: usize = 128;

/// Inter-arrival quantiles per label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingTable {
    labels: BTreeMap<String, Gaps>,
}

/// The distribution of one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GapsFile", into = "GapsFile")]
struct Gaps {
    samples: u64,
    /// Nanoseconds at the probabilities 0, 1/n, ... 1; at least two, never decreasing.
    quantiles: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GapsFile {
    samples: u64,
    quantiles_ns: Vec<u64>,
}

impl TryFrom<GapsFile> for Gaps {
    type Error = String;

    fn try_from(file: GapsFile) -> Result<Self, String> {
        if file.quantiles_ns.len() < 2 {
            return Err(format!("expected at least 2 quantiles, got {}", file.quantiles_ns.len()));
        }
        if let Some(at) = file.quantiles_ns.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(format!("quantile {} is below quantile {at}", at + 1));
        }
        Ok(Self { samples: file.samples, quantiles: file.quantiles_ns })
    }
}

impl From<Gaps> for GapsFile {
    fn from(gaps: Gaps) -> Self {
        Self { samples: gaps.samples, quantiles_ns: gaps.quantiles }
    }
}

impl Gaps {
    /// Nearest-rank quantiles of the samples, which must not be empty.
    fn learn(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let last = samples.len() - 1;
        let quantiles = (0..=STEPS).map(|step| samples[last * step / STEPS]).collect();
        Self { samples: samples.len() as u64, quantiles }
    }

    /// The quantile at `u` in 0..1. Between two stored quantiles it interpolates the logarithm, because gaps span nine
    /// orders of magnitude. One nanosecond is added so that zero has a logarithm.
    fn at(&self, u: f64) -> u64 {
        let position = u * (self.quantiles.len() - 1) as f64;
        let index = (position as usize).min(self.quantiles.len() - 2);
        let (low, high) = (self.quantiles[index], self.quantiles[index + 1]);
        let (from, to) = ((low as f64 + 1.0).ln(), (high as f64 + 1.0).ln());
        let value = (from + (to - from) * (position - index as f64)).exp() - 1.0;
        (value.round() as u64).clamp(low, high)
    }
}

impl TimingTable {
    /// Learns the table from the gaps, in nanoseconds, of each label. Labels without gaps are left out.
    pub fn learn(gaps: BTreeMap<String, Vec<u64>>) -> Self {
        let learned = gaps.into_iter().filter(|(_, gaps)| !gaps.is_empty());
        Self { labels: learned.map(|(label, gaps)| (label, Gaps::learn(gaps))).collect() }
    }

    /// A gap for the next packet of a session of `label`; `None` when nothing was learned for that label.
    pub fn draw(&self, label: &str, rng: &mut impl RngCore) -> Option<Duration> {
        let gaps = self.labels.get(label)?;
        Some(Duration::from_nanos(gaps.at(rng.random::<f64>())))
    }

    /// Whether gaps were learned for `label`.
    pub fn knows(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }

    /// The labels with gaps, in order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.keys().map(String::as_str)
    }

    /// Takes over the labels of `other`; where both know one, `other` wins. For fine-tuning on more labels.
    pub fn merge(&mut self, other: &TimingTable) {
        self.labels.extend(other.labels.clone());
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn table(gaps: Vec<u64>) -> TimingTable {
        TimingTable::learn(BTreeMap::from([("a".to_owned(), gaps)]))
    }

    #[test]
    fn draws_follow_the_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Half of the gaps are 1 microsecond, half 1 second.
        let table = table([vec![1_000; 500], vec![1_000_000_000; 500]].concat());
        let draws: Vec<_> = (0..4_000).map(|_| table.draw("a", &mut rng).expect("a is known")).collect();
        let short = draws.iter().filter(|d| **d == Duration::from_micros(1)).count();
        let long = draws.iter().filter(|d| **d == Duration::from_secs(1)).count();
        assert!(
            (1_900..2_100).contains(&short) && (1_900..2_100).contains(&long),
            "{short} short, {long} long"
        );
        assert!(draws.iter().all(|d| (Duration::from_micros(1)..=Duration::from_secs(1)).contains(d)));
    }

    #[test]
    fn same_seed_same_gaps_and_unknown_labels_have_none() {
        let table = table((0..10_000).map(|i| i * i).collect());
        let draw = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..50).map(|_| table.draw("a", &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_eq!(table.draw("b", &mut ChaCha8Rng::seed_from_u64(1)), None);
    }

    #[test]
    fn between_quantiles_it_moves_in_the_logarithm() {
        let gaps = Gaps { samples: 2, quantiles: vec![0, 99, 9_999] };
        assert_eq!((gaps.at(0.0), gaps.at(0.25), gaps.at(0.5), gaps.at(0.75)), (0, 9, 99, 999));
        assert!(gaps.at(0.999_999_999) <= 9_999);
    }

    #[test]
    fn one_gap_and_zero_gaps_work() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(table(vec![5]).draw("a", &mut rng), Some(Duration::from_nanos(5)));
        assert!(!table(vec![]).knows("a"));
    }

    #[test]
    fn a_table_that_goes_down_is_refused() {
        let text = r#"{"labels":{"a":{"samples":3,"quantiles_ns":[1,5,4]}}}"#;
        let error = serde_json::from_str::<TimingTable>(text).expect_err("decreasing").to_string();
        assert!(error.contains("quantile 2 is below quantile 1"), "{error}");
        let text = r#"{"labels":{"a":{"samples":3,"quantiles_ns":[1]}}}"#;
        assert!(serde_json::from_str::<TimingTable>(text).is_err());
    }
}
