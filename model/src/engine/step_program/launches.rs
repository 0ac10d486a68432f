//! The launches of one step in order. The header comments of `model/kernels` give the reasons for their geometry.

use super::{Region, StepProgram};
use crate::engine::launch::{Argument, Float, Launch};

/// Where a matrix product reads and writes: `to (rows, n)` from `Region::Operand (rows, k)` and `weight (n, k)`.
struct Matmul {
    weight: Region,
    to: Region,
    n: usize,
    k: usize,
    add: bool,
}

impl StepProgram {
    /// The launches of a step of `rows` rows, from row inputs and draws to choices.
    pub fn launches(&self, rows: usize) -> Vec<Launch<Region>> {
        let (d, e, j) = (self.cfg.d_model, self.cfg.d_inner(), self.cfg.d_in_proj());
        let mut all = vec![self.embed(rows)];
        for i in 0..self.cfg.n_layer {
            all.push(self.norm(rows, Region::Norm(i)));
            let weight = Region::InProj(i);
            all.push(self.matmul(rows, Matmul { weight, to: Region::Projected, n: j, k: d, add: false }));
            all.push(self.layer_step(rows, i));
            let weight = Region::OutProj(i);
            all.push(self.matmul(rows, Matmul { weight, to: Region::Stream, n: d, k: e, add: true }));
        }
        all.push(self.norm(rows, Region::FinalNorm));
        let weight = if self.cfg.tie_embeddings { Region::Embedding } else { Region::Head };
        all.push(self.matmul(rows, Matmul { weight, to: Region::Logits, n: self.vocab, k: d, add: false }));
        all.push(self.sample(rows));
        all
    }

    fn embed(&self, rows: usize) -> Launch<Region> {
        // A model without a table never reads it.
        let context = if self.cfg.context.is_some() { Region::Context } else { Region::Embedding };
        Launch {
            module: "embed",
            function: format!("embed_{}", self.types.weights.name()),
            grid: (rows, 1, 1),
            block: 128,
            shared: 0,
            arguments: vec![
                Argument::Buffer(Region::RowInputs),
                Argument::Buffer(Region::Embedding),
                Argument::Buffer(context),
                Argument::Buffer(Region::Stream),
                Argument::Int(self.cfg.context_fields()),
                Argument::Int(self.cfg.d_model),
            ],
        }
    }

    fn norm(&self, rows: usize, weight: Region) -> Launch<Region> {
        Launch {
            module: "rms_norm",
            function: format!("rms_norm_{}", self.types.weights.name()),
            grid: (rows, 1, 1),
            block: 128,
            shared: 0,
            arguments: vec![
                Argument::Buffer(Region::Stream),
                Argument::Buffer(weight),
                Argument::Buffer(Region::Operand),
                Argument::Int(self.cfg.d_model),
                Argument::Float(self.cfg.norm_eps as f32),
            ],
        }
    }

    fn matmul(&self, rows: usize, matmul: Matmul) -> Launch<Region> {
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
            grid: (matmul.n.div_ceil(64), rows.div_ceil(tile), 1),
            block,
            shared: 0,
            arguments: vec![
                Argument::Buffer(Region::Operand),
                Argument::Buffer(matmul.weight),
                Argument::Buffer(matmul.to),
                Argument::Int(rows),
                Argument::Int(matmul.n),
                Argument::Int(matmul.k),
                Argument::Int(usize::from(matmul.add)),
            ],
        }
    }

    fn layer_step(&self, rows: usize, i: usize) -> Launch<Region> {
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
            Region::RowInputs,
            Region::Operand,
        ];
        let sizes = [
            cfg.d_inner(),
            cfg.nheads(),
            cfg.headdim,
            cfg.d_state,
            cfg.ngroups,
            cfg.d_conv,
            self.row_input_words(),
        ];
        let mut arguments: Vec<Argument<Region>> = regions.map(Argument::Buffer).to_vec();
        arguments.extend(sizes.map(Argument::Int));
        arguments.extend([Argument::Float(cfg.norm_eps as f32), Argument::Int(i)]);
        Launch {
            module: "layer_step",
            function: format!("layer_step_{state}_{out}_{values}"),
            grid: (rows, cfg.ngroups, 1),
            block: 128,
            shared: self.step_shared(),
            arguments,
        }
    }

    fn sample(&self, rows: usize) -> Launch<Region> {
        let policy = &self.policy;
        let regions = [
            Region::Logits,
            Region::Draws,
            Region::RowInputs,
            Region::SampleWeights,
            Region::SampleIds,
            Region::Choices,
        ];
        let sizes = [
            rows,
            self.vocab,
            self.mask_words(),
            usize::from(self.looks_back()),
            self.row_input_words(),
            self.vocab.next_power_of_two(),
        ];
        let numbers = [policy.temperature, policy.top_p, policy.min_p, policy.eta, policy.repetition_penalty];
        let mut arguments: Vec<Argument<Region>> = regions.map(Argument::Buffer).to_vec();
        arguments.extend(sizes.map(Argument::Int));
        arguments.extend(numbers.map(Argument::Double));
        arguments.push(Argument::Int(policy.top_k.min(self.vocab)));
        Launch {
            module: "sample",
            function: "sample".to_owned(),
            grid: (rows.div_ceil(4), 1, 1),
            block: 128,
            shared: 0,
            arguments,
        }
    }
}
