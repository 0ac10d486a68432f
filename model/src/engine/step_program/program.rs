//! The kernels of one step, in order, with their launch geometry: the header comments of `model/kernels` say why.

use super::{Decoding, Region};
use crate::engine::launch::Float;

/// A parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer to a region.
    Region(Region),
    /// `int`.
    Int(i32),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// File of `model/kernels`, without its ending.
    pub module: &'static str,
    /// Kernel.
    pub function: String,
    /// Blocks.
    pub grid: (u32, u32, u32),
    /// Threads a block.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Parameters in order.
    pub arguments: Vec<Argument>,
}

/// Where a matrix product reads and writes: `to (rows, n)` from `Region::Operand (rows, k)` and `weight (n, k)`.
struct Product {
    weight: Region,
    to: Region,
    n: usize,
    k: usize,
    add: bool,
}

/// Sizes fit: [`crate::network::config::ModelConfig::validate`] bounds them far below.
fn int(value: usize) -> Argument {
    Argument::Int(i32::try_from(value).unwrap_or(i32::MAX))
}

fn blocks(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Decoding {
    /// The launches of a step of `rows` rows, from tickets and draws to choices.
    pub fn program(&self, rows: usize) -> Vec<Launch> {
        let (d, e, j) = (self.cfg.d_model, self.cfg.d_inner(), self.cfg.d_in_proj());
        let mut all = vec![self.embed(rows)];
        for i in 0..self.cfg.n_layer {
            all.push(self.norm(rows, Region::Norm(i)));
            let weight = Region::InProj(i);
            all.push(self.product(rows, Product { weight, to: Region::Projected, n: j, k: d, add: false }));
            all.push(self.layer_step(rows, i));
            let weight = Region::OutProj(i);
            all.push(self.product(rows, Product { weight, to: Region::Stream, n: d, k: e, add: true }));
        }
        all.push(self.norm(rows, Region::FinalNorm));
        let weight = if self.cfg.tie_embeddings { Region::Embedding } else { Region::Head };
        all.push(self.product(rows, Product { weight, to: Region::Logits, n: self.vocab, k: d, add: false }));
        all.push(self.sample(rows));
        all
    }

    fn embed(&self, rows: usize) -> Launch {
        // A model without a table never reads it.
        let context = if self.cfg.context.is_some() { Region::Context } else { Region::Embedding };
        Launch {
            module: "embed",
            function: format!("embed_{}", self.types.weights.name()),
            grid: (blocks(rows), 1, 1),
            block: 128,
            shared: 0,
            arguments: vec![
                Argument::Region(Region::Tickets),
                Argument::Region(Region::Embedding),
                Argument::Region(context),
                Argument::Region(Region::Stream),
                int(self.cfg.context_fields()),
                int(self.cfg.d_model),
            ],
        }
    }

    fn norm(&self, rows: usize, weight: Region) -> Launch {
        Launch {
            module: "rms_norm",
            function: format!("rms_norm_{}", self.types.weights.name()),
            grid: (blocks(rows), 1, 1),
            block: 128,
            shared: 0,
            arguments: vec![
                Argument::Region(Region::Stream),
                Argument::Region(weight),
                Argument::Region(Region::Operand),
                int(self.cfg.d_model),
                Argument::Float(self.cfg.norm_eps as f32),
            ],
        }
    }

    fn product(&self, rows: usize, product: Product) -> Launch {
        let (function, tile, block) = match self.types.weights {
            // Any tile gives the same bits. Small ones keep more of the device busy where there are few rows.
            Float::F32 if rows <= 32 => ("matmul_f32_16", 16, 256),
            Float::F32 if rows <= 1024 => ("matmul_f32_64", 64, 256),
            Float::F32 => ("matmul_f32_128", 128, 256),
            Float::Bf16 => ("matmul_bf16", 64, 128),
        };
        Launch {
            module: "matmul",
            function: function.to_owned(),
            grid: (blocks(product.n.div_ceil(64)), blocks(rows.div_ceil(tile)), 1),
            block,
            shared: 0,
            arguments: vec![
                Argument::Region(Region::Operand),
                Argument::Region(product.weight),
                Argument::Region(product.to),
                int(rows),
                int(product.n),
                int(product.k),
                int(usize::from(product.add)),
            ],
        }
    }

    fn layer_step(&self, rows: usize, i: usize) -> Launch {
        let cfg = &self.cfg;
        let values = if cfg.headdim.is_multiple_of(4) { 4 } else { 1 };
        let (state, out) = (self.types.state.name(), self.types.weights.name());
        let regions = [
            Region::Projected,
            Region::Tail(i),
            Region::State(i),
            Region::Taps(i),
            Region::ConvBias(i),
            Region::DtBias(i),
            Region::A(i),
            Region::Skip(i),
            Region::GatedNorm(i),
            Region::Tickets,
            Region::Operand,
        ];
        let sizes = [
            cfg.d_inner(),
            cfg.nheads(),
            cfg.headdim,
            cfg.d_state,
            cfg.ngroups,
            cfg.d_conv,
            self.ticket_words(),
        ];
        let mut arguments: Vec<Argument> = regions.map(Argument::Region).to_vec();
        arguments.extend(sizes.map(int));
        arguments.extend([Argument::Float(cfg.norm_eps as f32), int(i)]);
        Launch {
            module: "layer_step",
            function: format!("layer_step_{state}_{out}_{values}"),
            grid: (blocks(rows), blocks(cfg.ngroups), 1),
            block: 128,
            shared: blocks(self.step_shared()),
            arguments,
        }
    }

    fn sample(&self, rows: usize) -> Launch {
        let policy = &self.policy;
        let regions = [
            Region::Logits,
            Region::Draws,
            Region::Tickets,
            Region::SampleWeights,
            Region::SampleIds,
            Region::Choices,
        ];
        let sizes = [
            rows,
            self.vocab,
            self.mask_words(),
            usize::from(self.looks_back()),
            self.ticket_words(),
            self.vocab.next_power_of_two(),
        ];
        let numbers = [policy.temperature, policy.top_p, policy.min_p, policy.eta, policy.repetition_penalty];
        let mut arguments: Vec<Argument> = regions.map(Argument::Region).to_vec();
        arguments.extend(sizes.map(int));
        arguments.extend(numbers.map(Argument::Double));
        arguments.push(int(policy.top_k.min(self.vocab)));
        Launch {
            module: "sample",
            function: "sample".to_owned(),
            grid: (blocks(rows.div_ceil(4)), 1, 1),
            block: 128,
            shared: 0,
            arguments,
        }
    }
}
