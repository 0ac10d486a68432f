//! How does the memory of a training step grow with the length of what it reads, and how fast is it, with one thread
//! and two?
//!
//! One row of the shipped model's sizes, forward, backward and AdamW: memory should be linear in the length and time a
//! token the same. Each length runs in a process of its own, since what is asked of the system is the process's peak
//! (`VmHWM`). For the same tokens as 8 rows of 512, which is what training reads, see tests/tools/rivals.py. Run with
//! `cargo bench -p netssm-model --bench training`.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and tells")]

use std::process::Command;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use netssm_model::lm::Mamba2;
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::init_weights;
use netssm_model::network::weights::Parameters;
use netssm_model::optim::AdamW;
use netssm_model::train::TrainConfig;

const LENGTHS: [usize; 4] = [512, 2_048, 8_192, 32_768];
/// Steps go on for this long, two at least.
const MEASURE: Duration = Duration::from_secs(2);

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    if let (Some(length), Some(threads)) = (numbers.next(), numbers.next()) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| child(length));
        return;
    }
    println!(
        "{:>8} {:>8} {:>12} {:>14} {:>16}",
        "length", "threads", "tokens/s", "peak MB", "kB a token more"
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let mut before: Option<(usize, f64)> = None;
        for length in LENGTHS {
            let program = std::env::current_exe().expect("this program");
            let out = Command::new(program).args([length, threads].map(|n| n.to_string())).output();
            let out = out.expect("a child process");
            let text = String::from_utf8_lossy(&out.stdout);
            let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let &[rate, peak] = numbers.as_slice() else {
                panic!("the child failed: {}", String::from_utf8_lossy(&out.stderr));
            };
            let more = before.map_or("-".into(), |(shorter, less)| {
                format!("{:.1}", (peak - less) / (length - shorter) as f64 / 1e3)
            });
            println!("{length:>8} {threads:>8} {rate:>12.0} {:>14.1} {more:>16}", peak / 1e6);
            before = Some((length, peak));
        }
    }
}

/// Steps over one length; prints tokens a second and the peak of resident bytes.
fn child(length: usize) {
    let cfg = ModelConfig {
        d_model: 256,
        n_layer: 3,
        vocab_size: 1064,
        d_state: 32,
        headdim: 64,
        ..Default::default()
    };
    let weights = init_weights(&cfg, 1, &Device::Cpu).expect("weights");
    let parameters = Parameters::new(&weights).expect("variables");
    let mut optimizer = AdamW::new(parameters.vars().clone(), TrainConfig::default().optimizer.adamw())
        .expect("an optimizer");
    let token = |i: usize| (i * 7919 % cfg.vocab_size) as u32;
    let tokens = Tensor::from_iter((0..length).map(token), &Device::Cpu).expect("tokens");
    let tokens = tokens.reshape((1, length)).expect("a row");
    let targets: Vec<u32> = (1..=length).map(token).collect();
    let mut step = || {
        let model = Mamba2::load(&cfg, &parameters.tensors()).expect("a model");
        let (_, gradients) = model.loss_and_gradients(&tokens, &targets, None, None).expect("gradients");
        optimizer.accumulate(&gradients, 1.0).expect("gradients of the variables");
        let _ = optimizer.apply(1e-3, 1.0).expect("an update");
    };
    step();
    let begun = Instant::now();
    let mut steps = 0;
    while steps < 2 || begun.elapsed() < MEASURE {
        step();
        steps += 1;
    }
    let rate = f64::from(steps) * length as f64 / begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("{rate} {}", peak * 1024.0);
}
