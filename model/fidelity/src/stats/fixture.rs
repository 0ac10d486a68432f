//! The answers of SciPy that the tests of this folder compare with, and how near is near.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Fixture {
    pub(super) pairs: Vec<Pair>,
    pub(super) discrete: Vec<Discrete>,
    pub(super) kde: Vec<KdeCase>,
}

/// Two sorted samples.
#[derive(Deserialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) a: Vec<f64>,
    pub(super) b: Vec<f64>,
    pub(super) anderson: Option<Anderson>,
    /// Distribution function of `a`.
    pub(super) ecdf: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
pub(super) struct Anderson {
    pub(super) statistic: f64,
    pub(super) significance: f64,
}

#[derive(Deserialize)]
pub(super) struct Discrete {
    pub(super) name: String,
    pub(super) p: Vec<f64>,
    pub(super) q: Vec<f64>,
    /// `null`: infinite.
    pub(super) kl: Option<f64>,
    pub(super) kl_smoothed: f64,
    pub(super) js_distance: f64,
    pub(super) total_variation: f64,
    pub(super) hellinger: f64,
}

#[derive(Deserialize)]
pub(super) struct KdeCase {
    pub(super) name: String,
    pub(super) sample: Vec<f64>,
    pub(super) bandwidth: f64,
    pub(super) at: Vec<f64>,
    pub(super) density: Vec<f64>,
}

pub(super) fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../../../tests/fidelity/statistics.json")).expect("a fixture")
}

pub(super) fn near(name: &str, got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{name}: {got}, {expected}");
}
