//! A step of a batch allocates nothing: counted by the allocator, with the masks, the sampling and the threads of
//! generation.

use std::alloc::System;

use candle_core::Device;
use netssm_model::lm::{Mamba2, Stepped};
use netssm_model::network::config::ModelConfig;
use netssm_model::precision::Precision;
use netssm_model::sample::{Policy, Recent, Sampler};
use netssm_tokens::context::ContextShape;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const VOCABULARY: usize = 300;
const FIELDS: usize = 3;

/// A row that draws each token from the half of the vocabulary that the token before allows.
struct Row {
    token: u32,
    context: [u32; FIELDS],
    mask: [u64; VOCABULARY.div_ceil(64)],
    sampler: Sampler,
    rng: ChaCha8Rng,
}

impl Row {
    fn new(seed: u64) -> Self {
        Self {
            token: seed as u32 % VOCABULARY as u32,
            context: [0, 1, 2],
            mask: [0x5555_5555_5555_5555; _],
            sampler: Sampler::new(Policy { top_p: 0.95, ..Policy::default() }).expect("a policy"),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Stepped for Row {
    fn token(&self) -> u32 {
        self.token
    }

    fn context(&self) -> &[u32] {
        &self.context
    }

    fn wanted(&self) -> Option<&[u64]> {
        // Some rows want everything, as those without a grammar do.
        (!self.token.is_multiple_of(7)).then_some(&self.mask)
    }

    fn take(&mut self, logits: &[f32]) {
        let legal = (!self.token.is_multiple_of(7)).then_some(&self.mask[..]);
        self.token =
            self.sampler.sample(logits, legal, &Recent::default(), &mut self.rng).expect("finite logits");
        self.context[0] = self.token % 5;
        self.mask = self.mask.map(|word| word.rotate_left(self.token % 3));
    }
}

#[test]
fn a_step_allocates_nothing() {
    let cfg = ModelConfig {
        d_model: 64,
        n_layer: 2,
        vocab_size: VOCABULARY,
        d_state: 16,
        headdim: 32,
        context: Some(ContextShape { version: 1, fields: FIELDS, rows: 8 }),
        ..Default::default()
    };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    // In the pool, as the generator is: a call from outside waits in a queue, whose blocks rayon allocates.
    threads.install(|| {
        for precision in [Precision::F32, Precision::Int8] {
            let mut model = Mamba2::init(&cfg, 1, &Device::Cpu).expect("a model");
            model.set_precision(precision).expect("on the cpu");
            // The largest batch first: smaller ones, odd ones and one of a row use its memory.
            for batch in [65, 64, 33, 2, 1] {
                let mut state = model.zero_state(batch).expect("a state");
                let mut rows: Vec<Row> = (0..batch as u64).map(Row::new).collect();
                let mut steps = |n: usize| {
                    (0..n).for_each(|_| model.step_each(&mut rows, &mut state).expect("a step"));
                };
                // Packs the weights; every row has once wanted everything.
                steps(100);
                let region = Region::new(ALLOCATOR);
                steps(200);
                let stats = region.change();
                let count = stats.allocations + stats.reallocations + stats.deallocations;
                assert_eq!(count, 0, "{precision}, {batch} rows: {stats:?}");
            }
        }
    });
}
