//! A whole model decoded by the emulated kernels, from the same list of launches that a GPU gets.

use std::cell::RefCell;
use std::collections::BTreeMap;

use netssm_model::engine::step_program::{self, Region, StepProgram, Types};
use netssm_model::lm::Mamba2;
use netssm_model::sample::Policy;

use crate::emulated::{Buffer, Kernels};

pub(crate) struct Emulated<'k> {
    kernels: &'k Kernels,
    pub(crate) program: StepProgram,
    memory: BTreeMap<Region, Buffer>,
}

impl<'k> Emulated<'k> {
    /// Packs the model and makes room for `rows` rows and `slots` slots; state was never written, so it is NaN.
    pub(crate) fn new(
        kernels: &'k Kernels,
        model: &Mamba2,
        types: Types,
        policy: Policy,
        slots: usize,
    ) -> Self {
        let program =
            StepProgram::new(model.config(), types, policy, model.config().vocab_size).expect("fits");
        let mut memory = BTreeMap::new();
        for (region, bytes) in step_program::pack(model.config(), model.params(), types).expect("packs") {
            memory.insert(region, Buffer::of(&bytes));
        }
        for region in program.state() {
            memory.insert(region, Buffer::unwritten::<u8>(program.bytes(region, 0, slots)));
        }
        Self { kernels, program, memory }
    }

    /// Steps `rows` rows and gives their choices' words; logits lie in [`Self::logits`].
    pub(crate) fn step(&mut self, rows: usize, row_inputs: &[u32], draws: &[u64]) -> Vec<u32> {
        for region in self.program.batch() {
            let bytes = self.program.bytes(region, rows, 0);
            self.memory.insert(region, Buffer::unwritten::<u8>(bytes));
        }
        self.memory.insert(Region::RowInputs, Buffer::of(row_inputs));
        self.memory.insert(Region::Draws, Buffer::of(draws));
        for launch in self.program.launches(rows) {
            let memory = RefCell::new(&mut self.memory);
            let take = |region| memory.borrow_mut().remove(&region).expect("allocated");
            let put = |(region, buffer)| drop(memory.borrow_mut().insert(region, buffer));
            self.kernels.launch_of(&launch, |a, b| a == b, take, put);
        }
        self.memory[&Region::Choices].values()
    }

    /// `(rows, vocabulary)` of the last step.
    pub(crate) fn logits(&self) -> Vec<f32> {
        self.memory[&Region::Logits].values()
    }
}
