//! Generation on a GPU: what is asked of it, and the pipeline over its lanes.

use std::ops::ControlFlow;

use super::{GenerateError, Generated, Generator, SessionRequest, Stats, pipeline};
use crate::engine::gpu::step::{Order, Plan};
use crate::engine::launch::Float;
use crate::engine::step_program::Types;
use crate::error::Error;
use crate::precision::Precision;

fn plan(generator: &Generator) -> Result<Plan, GenerateError> {
    let types = match generator.options.precision {
        Precision::F32 => Types::default(),
        Precision::Bf16 => Types { weights: Float::Bf16, state: Float::F32 },
        Precision::Bf16State => Types { weights: Float::Bf16, state: Float::Bf16 },
        Precision::Int8 => {
            return Err(Error::input("precision on a GPU", "f32, bf16 or bf16-state", "int8").into());
        }
    };
    let (batches, rows) = pipeline::shape(generator.options.batch);
    Ok(Plan { batches, rows, types, policy: generator.options.policy })
}

fn orders(generator: &Generator) -> Vec<Order<'_>> {
    let vocab = generator.codec.vocab().size();
    let stages = generator.stages.iter();
    stages
        .map(|super::StageModel { model, .. }| Order { cfg: model.config(), params: model.params(), vocab })
        .collect()
}

/// Whether the device runs the kernels and has room for the models and the batch.
pub(super) fn check(generator: &Generator) -> Result<(), GenerateError> {
    Ok(plan(generator)?.check(&generator.options.device, &orders(generator))?)
}

/// As [`Generator::run`].
pub(super) fn run(
    generator: &Generator,
    requests: &mut dyn Iterator<Item = SessionRequest>,
    sink: &mut dyn FnMut(Generated),
    observe: &mut dyn FnMut(&Stats) -> ControlFlow<()>,
) -> Result<Stats, GenerateError> {
    let lanes = plan(generator)?.lanes(&generator.options.device, &orders(generator))?;
    pipeline::run(generator, lanes, requests, sink, observe)
}
