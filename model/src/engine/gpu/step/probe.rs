//! Single steps with their logits: for comparing a GPU with the CPU, and for measuring.

use candle_core::{Device, Tensor};

use super::super::{Attempt, CudaError};
use super::{GpuModel, GpuStream, StepOptions};
use crate::engine::step_program::stream::StepStream;
use crate::engine::step_program::{
    DITHER, FLAGS, FRESH, ROW_INPUT_WORDS, Region, SILENT, SLOT, TOKEN, Types,
};
use crate::error::{Error, Result};
use crate::network::config::ModelConfig;
use crate::network::params::Params;
use crate::sample::Policy;

/// Rows of one model on the GPU, stepped one token at a time.
pub struct Probe {
    stream: GpuStream,
    rows: usize,
    steps: u32,
}

impl Probe {
    /// `rows` rows of a model, whose parameters may be on any device, stepped on the GPU `device`.
    ///
    /// # Errors
    /// As [`crate::generate::Generator::new`].
    pub fn new(
        device: &Device,
        (cfg, params): (&ModelConfig, &Params<Tensor>),
        types: Types,
        rows: usize,
    ) -> Result<Self> {
        let options = StepOptions { batches: 1, rows, types, policy: Policy::default() };
        let vocab = cfg.vocab_size;
        let mut streams = options.streams(device, &[GpuModel { cfg, params, vocab }])?;
        let stream = streams.pop().ok_or_else(|| Error::input("streams", "one", "none"))?;
        Ok(Self { stream, rows, steps: 0 })
    }

    /// Feeds each row its token with the side information `(rows, fields)` beside it, and returns the logits
    /// `(rows, vocabulary)`. Rows in `fresh` begin anew, in the first step all do.
    ///
    /// # Errors
    /// [`Error::Input`] for as many tokens as there are no rows, [`Error::Cuda`].
    pub fn step(&mut self, tokens: &[u32], context: &[u32], fresh: &[usize]) -> Result<Vec<f32>> {
        let (words, rows) = (self.stream.program().row_input_words(), self.rows);
        let fields = words - ROW_INPUT_WORDS;
        if tokens.len() != rows || context.len() != rows * fields {
            let got = format!("{} and {}", tokens.len(), context.len());
            return Err(Error::input("tokens and context", format!("{rows} and {}", rows * fields), got));
        }
        let first = self.steps == 0;
        let steps = self.steps;
        let inputs = self.stream.inputs(rows)?;
        for (row, row_input) in inputs.row_inputs.chunks_exact_mut(words).enumerate() {
            row_input.fill(0);
            row_input[SLOT] = row as u32;
            row_input[FLAGS] = SILENT;
            if first || row >= rows || fresh.contains(&row) {
                row_input[FLAGS] |= FRESH;
            }
            row_input[DITHER] = steps.wrapping_mul(0x9e37_79b9).wrapping_add(row as u32);
            if row < rows {
                row_input[TOKEN] = tokens[row];
                row_input[ROW_INPUT_WORDS..].copy_from_slice(&context[row * fields..(row + 1) * fields]);
            }
        }
        self.steps += 1;
        self.stream.start()?;
        self.stream.finish(&mut Vec::new())?;
        self.stream.read(Region::Logits, rows * self.stream.program().vocab())
    }
}

impl GpuStream {
    /// The first `len` floats of a region, when nothing is in flight.
    fn read(&self, region: Region, len: usize) -> Result<Vec<f32>> {
        let bytes = self
            .bytes(region)
            .ok_or_else(|| CudaError::NoKernel { module: "decode", function: format!("{region:?}") })?;
        let bytes = self.cuda_stream().clone_dtoh(bytes).to("copy from the device")?;
        self.cuda_stream().synchronize().to("copy from the device")?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().take(len).map(|&word| f32::from_le_bytes(word)).collect())
    }
}
