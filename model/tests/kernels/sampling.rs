//! The sampler against the CPU's: given the same logits and the same number, the same token.

use netssm_model::engine::step_program::{Choice, SILENT, choices};
use netssm_model::sample::{Policy, Recent, SampleError, Sampler};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::emulated::{self, Argument, Buffer, Kernels, Launch};

/// A generator that has one number.
struct Drawn(u64);

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        self.0 as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill(self.0 as u8);
    }
}

/// One row to sample.
struct Row {
    logits: Vec<f32>,
    legal: Vec<u64>,
    recent: Vec<u32>,
    number: u64,
    silent: bool,
}

fn on_the_cpu(policy: Policy, row: &Row) -> Choice {
    let mut recent = Recent::default();
    row.recent.iter().for_each(|&token| recent.push(token, &policy));
    let mut sampler = Sampler::new(policy).expect("a good policy");
    (!row.silent).then(|| sampler.sample(&row.logits, Some(&row.legal), &recent, &mut Drawn(row.number)))
}

fn on_the_kernel(kernels: &Kernels, policy: Policy, rows: &[Row]) -> Vec<Choice> {
    let vocab = rows[0].logits.len();
    let (words, padded) = (vocab.div_ceil(64), vocab.next_power_of_two());
    let (mut logits, mut draws, mut row_inputs) = (vec![], vec![], vec![]);
    for row in rows {
        logits.extend_from_slice(&row.logits);
        draws.push(row.number);
        draws.extend_from_slice(&row.legal);
        if policy.looks_back() {
            let mut mask = vec![0u64; words];
            row.recent.iter().for_each(|&token| mask[token as usize / 64] |= 1 << (token % 64));
            draws.extend(mask);
        }
        row_inputs.extend([0, 0, if row.silent { SILENT } else { 0 }, 0, 77]);
    }
    let buffers = vec![
        Buffer::of(&logits),
        Buffer::of(&draws),
        Buffer::of(&row_inputs),
        Buffer::unwritten::<u64>(rows.len() * padded),
        Buffer::unwritten::<u32>(rows.len() * padded),
        Buffer::unwritten::<u32>(rows.len() * 3),
    ];
    let mut arguments: Vec<Argument<usize>> = (0..buffers.len()).map(Argument::Buffer).collect();
    let sizes = [rows.len(), vocab, words, usize::from(policy.looks_back()), 5, padded];
    arguments.extend(sizes.map(Argument::Int));
    let numbers = [policy.temperature, policy.top_p, policy.min_p, policy.eta, policy.repetition_penalty];
    arguments.extend(numbers.map(Argument::Double));
    arguments.push(Argument::Int(policy.top_k));
    let launch = Launch { grid: (rows.len().div_ceil(4) as u32, 1, 1), block: 128, shared: 0 };
    let after = kernels.launch("sample", launch, buffers, &arguments);
    choices(&after[5].values::<u32>(), vocab).collect()
}

fn row(rng: &mut ChaCha8Rng, vocab: usize) -> Row {
    // Halves, so that there are ties.
    let spread = rng.random_range(1..20);
    let logits = (0..vocab).map(|_| rng.random_range(-spread..spread) as f32 / 2.0).collect();
    let few = rng.random_bool(0.5);
    let legal = (0..vocab.div_ceil(64))
        .map(|_| if few { rng.random::<u64>() & rng.random::<u64>() } else { u64::MAX });
    Row {
        logits,
        legal: legal.collect(),
        recent: (0..8).map(|_| rng.random_range(0..vocab as u32)).collect(),
        number: rng.random(),
        silent: false,
    }
}

#[test]
fn the_same_number_gives_the_cpus_token() {
    let Some(kernels) = emulated::kernels() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let plain = Policy::default();
    let policies = [
        plain,
        Policy { temperature: 0.0, ..plain },
        Policy { temperature: 0.7, top_k: 5, ..plain },
        Policy { top_k: 1000, top_p: 0.9, ..plain },
        Policy { top_p: 0.5, ..plain },
        Policy { min_p: 0.1, ..plain },
        Policy { eta: 0.01, ..plain },
        Policy { temperature: 1.3, top_k: 12, top_p: 0.8, min_p: 0.02, eta: 1e-3, ..plain },
        Policy { repetition_penalty: 1.5, repetition_window: 8, min_p: 0.05, ..plain },
    ];
    for policy in policies {
        for vocab in [3, 64, 70, 300] {
            let rows: Vec<Row> = (0..9).map(|_| row(&mut rng, vocab)).collect();
            let want: Vec<Choice> = rows.iter().map(|row| on_the_cpu(policy, row)).collect();
            assert_eq!(on_the_kernel(kernels, policy, &rows), want, "{policy:?}, {vocab} tokens");
        }
    }
}

#[test]
fn what_cannot_be_chosen_from_is_said_row_by_row() {
    let Some(kernels) = emulated::kernels() else { return };
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut rows: Vec<Row> = (0..5).map(|_| row(&mut rng, 70)).collect();
    rows.iter_mut().for_each(|row| row.legal = vec![u64::MAX; 2]);
    rows[0].logits[69] = f32::NAN;
    rows[1].legal = vec![0; 2];
    rows[2].silent = true;
    // A logit that is not legal is not read.
    rows[3].logits[5] = f32::INFINITY;
    rows[3].legal[0] = !(1 << 5);
    let want: Vec<Choice> = rows.iter().map(|row| on_the_cpu(Policy::default(), row)).collect();
    let got = on_the_kernel(kernels, Policy::default(), &rows);
    assert!(
        matches!(got[0], Some(Err(SampleError::NotFinite { token: 69, value })) if value.is_nan()),
        "{got:?}"
    );
    assert_eq!(got[1..], want[1..]);
    assert_eq!(got[1], Some(Err(SampleError::NothingLegal { vocab: 70 })));
    assert!(got[2].is_none() && matches!(got[3], Some(Ok(_))));
}
