//! What a token costs: arithmetic and memory traffic, from a model's sizes. docs/benchmarks.md has the formulas in words.
//!
//! Letters as in the model crate: L layers, D width, E = 2 D inside, H heads of P, G groups, N state, K taps, V vocabulary,
//! F fields of side information. A multiply-add is two FLOP.

use netssm_model::network::config::ModelConfig;
use netssm_model::precision::Precision;
use serde::Serialize;

use super::roofline::Shape;

/// What decoding one token costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct TokenCost {
    /// The products into and out of the blocks: `L (2 D (2 E + 2 G N + H) + 2 E D)`.
    pub product_flops: u64,
    /// The product with the head, if every logit is wanted: `2 D V`. A grammar leaves most of it out.
    pub head_flops_at_most: u64,
    /// The recurrence: five operations a state value, `5 L E N`.
    pub state_flops: u64,
    /// Convolution `2 L K (E + 2 G N)` and side information `2 F D`.
    pub other_flops: u64,
    /// State read and written: `2 L (E N + (K - 1) (E + 2 G N))` values of four bytes, or of two in a bf16 state.
    pub state_bytes: u64,
    /// Rows of side information read: `4 F D`.
    pub side_bytes: u64,
    /// The blocks' weights, which each thread reads once a step whatever the rows of the batch.
    pub weight_bytes_a_step: u64,
}

impl TokenCost {
    pub(super) fn decode(cfg: &ModelConfig, precision: Precision) -> Self {
        let (l, d, e, n, k) = (cfg.n_layer, cfg.d_model, cfg.d_inner(), cfg.d_state, cfg.d_conv);
        let weights = l * d * (cfg.d_in_proj() + e);
        let (bytes_a_weight, bytes_a_value) = match precision {
            Precision::F32 => (4, 4),
            Precision::Int8 => (1, 4),
            Precision::Bf16 => (2, 4),
            Precision::Bf16State => (2, 2),
        };
        Self {
            product_flops: 2 * weights as u64,
            head_flops_at_most: (2 * d * cfg.vocab_size) as u64,
            state_flops: (5 * l * e * n) as u64,
            other_flops: (2 * l * k * cfg.conv_dim() + 2 * cfg.context_fields() * d) as u64,
            state_bytes: (2 * bytes_a_value * l * (e * n + (k - 1) * cfg.conv_dim())) as u64,
            side_bytes: (4 * cfg.context_fields() * d) as u64,
            weight_bytes_a_step: (bytes_a_weight * weights) as u64,
        }
    }

    /// Bytes a token moves in a batch of so many rows on so many threads; a GPU is one.
    pub(super) fn bytes(&self, batch: usize, threads: usize) -> f64 {
        let reads = self.weight_bytes_a_step as f64 * threads.min(batch) as f64;
        (self.state_bytes + self.side_bytes) as f64 + reads / batch.max(1) as f64
    }
}

/// The products of a step of so many rows, without the head's.
pub(super) fn shapes(cfg: &ModelConfig, rows: usize) -> [Shape; 2] {
    let (d, e) = (cfg.d_model, cfg.d_inner());
    [Shape { rows, inputs: d, outputs: cfg.d_in_proj() }, Shape { rows, inputs: e, outputs: d }]
}

/// FLOP of a token of the selective scan by the recurrence, skip included: `5 E N + 2 E`. The chunked form does more.
pub(super) fn scan_flops(inner: usize, state: usize) -> f64 {
    (5 * inner * state + 2 * inner) as f64
}

/// Bytes that a token of the scan has to move in f32: x, B, C and the steps in, y out. The state stays in a cache.
pub(super) fn scan_bytes(inner: usize, state: usize, heads: usize) -> f64 {
    4.0 * (2 * inner + 2 * state + heads) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_model_costs_what_the_formulas_say() {
        let cfg = ModelConfig {
            d_model: 256,
            n_layer: 3,
            vocab_size: 1064,
            d_state: 32,
            headdim: 64,
            ..Default::default()
        };
        let cost = TokenCost::decode(&cfg, Precision::F32);
        assert_eq!(cost.product_flops, 3 * (2 * 256 * 1096 + 2 * 512 * 256));
        assert_eq!(cost.head_flops_at_most, 2 * 256 * 1064);
        assert_eq!(cost.state_flops, 5 * 3 * 512 * 32);
        assert_eq!(cost.state_bytes, 8 * 3 * (512 * 32 + 3 * 576));
        assert_eq!(cost.weight_bytes_a_step, 2 * cost.product_flops);
        assert_eq!(
            TokenCost::decode(&cfg, Precision::Int8).weight_bytes_a_step * 4,
            cost.weight_bytes_a_step
        );
        // One row keeps one thread busy; sixteen rows share what two threads read.
        let state = (cost.state_bytes + cost.side_bytes) as f64;
        assert_eq!(cost.bytes(1, 2), state + cost.weight_bytes_a_step as f64);
        assert_eq!(cost.bytes(16, 2), state + cost.weight_bytes_a_step as f64 / 8.0);
    }
}
