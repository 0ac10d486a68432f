//! The cost of one token: arithmetic and memory traffic, computed from the sizes of a model. docs/benchmarks.md
//! explains the formulas in words.
//!
//! Letters are as in the model crate: L layers, width D, inner width E = 2 D, H heads of size P, G groups, state size
//! N, K convolution taps, vocabulary size V, F fields of side information. One multiply-add counts as two FLOP.

use netssm_model::ModelConfig;
use netssm_model::precision::Precision;
use serde::Serialize;

use super::roofline::Shape;

/// The cost of decoding one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct TokenCost {
    /// FLOP of the matmuls into and out of the blocks: `L (2 D (2 E + 2 G N + H) + 2 E D)`.
    pub product_flops: u64,
    /// FLOP of the matmul with the head if every logit is computed: `2 D V`. With a grammar most logits are not
    /// computed.
    pub head_flops_at_most: u64,
    /// FLOP of the recurrence: five operations per state value, `5 L E N`.
    pub state_flops: u64,
    /// FLOP of the convolution, `2 L K (E + 2 G N)`, and of the side information, `2 F D`.
    pub other_flops: u64,
    /// Bytes of state read and written: `2 L (E N + (K - 1) (E + 2 G N))` values, of four bytes each, or of two with a
    /// bf16 state.
    pub state_bytes: u64,
    /// Bytes of side-information rows read: `4 F D`.
    pub side_bytes: u64,
    /// Bytes of the blocks' weights. Each thread reads them once per step, whatever the number of rows in the batch.
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

    /// Bytes that one token moves with this batch size and number of threads. A GPU counts as one thread.
    pub(super) fn bytes(&self, batch: usize, threads: usize) -> f64 {
        let reads = self.weight_bytes_a_step as f64 * threads.min(batch) as f64;
        (self.state_bytes + self.side_bytes) as f64 + reads / batch.max(1) as f64
    }
}

/// Shapes of the matmuls in one block for this many rows. The head is not among them.
pub(super) fn shapes(cfg: &ModelConfig, rows: usize) -> [Shape; 2] {
    let (d, e) = (cfg.d_model, cfg.d_inner());
    [Shape { rows, inputs: d, outputs: cfg.d_in_proj() }, Shape { rows, inputs: e, outputs: d }]
}

/// FLOP per token of the selective scan by the recurrence, with the skip connection: `5 E N + 2 E`. The chunked form
/// does more.
pub(super) fn scan_flops(inner: usize, state: usize) -> f64 {
    (5 * inner * state + 2 * inner) as f64
}

/// Bytes per token that the scan must move in f32: x, B, C and the time steps in, y out. The state stays in a cache.
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
        // One row keeps one thread busy. Sixteen rows share the weights that two threads read.
        let state = (cost.state_bytes + cost.side_bytes) as f64;
        assert_eq!(cost.bytes(1, 2), state + cost.weight_bytes_a_step as f64);
        assert_eq!(cost.bytes(16, 2), state + cost.weight_bytes_a_step as f64 / 8.0);
    }
}
