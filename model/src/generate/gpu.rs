//! Generation on a GPU: the checks before it, and the pipeline over its streams.

use std::ops::ControlFlow;

use super::{GenerateError, Generated, Generator, SessionRequest, Stats, pipeline};
use crate::engine::gpu::step::{GpuModel, StepOptions};
use crate::engine::launch::Float;
use crate::engine::step_program::Types;
use crate::error::Error;
use crate::precision::Precision;

fn options(generator: &Generator) -> Result<StepOptions, GenerateError> {
    let types = match generator.options.precision {
        Precision::F32 => Types::default(),
        Precision::Bf16 => Types { weights: Float::Bf16, state: Float::F32 },
        Precision::Bf16State => Types { weights: Float::Bf16, state: Float::Bf16 },
        Precision::Int8 => {
            return Err(Error::input("precision on a GPU", "f32, bf16 or bf16-state", "int8").into());
        }
    };
    let (batches, rows) = pipeline::shape(generator.options.batch);
    Ok(StepOptions { batches, rows, types, policy: generator.options.policy })
}

fn models(generator: &Generator) -> Vec<GpuModel<'_>> {
    let vocab = generator.codec.vocab().size();
    let stages = generator.stages.iter();
    stages
        .map(|super::StageModel { model, .. }| GpuModel {
            cfg: model.config(),
            params: model.params(),
            vocab,
        })
        .collect()
}

/// Checks that the device runs the kernels and has memory for the models and the batch.
pub(super) fn check(generator: &Generator) -> Result<(), GenerateError> {
    Ok(options(generator)?.check(&generator.options.device, &models(generator))?)
}

/// As [`Generator::run`].
pub(super) fn run(
    generator: &Generator,
    requests: &mut dyn Iterator<Item = SessionRequest>,
    sink: &mut dyn FnMut(Generated),
    observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let streams = options(generator)?.streams(&generator.options.device, &models(generator))?;
    pipeline::run(generator, streams, requests, sink, observe)
}
