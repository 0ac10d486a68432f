//! Which form of the scan is the fastest on this machine, forward alone and with its gradient?
//!
//! The plain loop is the baseline; the chunked form is what a GPU would run; the fused recurrence is what the CPU runs.
//! Throughput is in tokens. Run with `cargo bench -p netssm-model --bench scan`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use candle_core::{DType, Device, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netssm_model::engine::scan::{Form, scan_as};
use support::scan_input;

const BATCH: usize = 2;
const LENGTH: usize = 512;

struct Shape {
    name: &'static str,
    heads: usize,
    headdim: usize,
    d_state: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "d192_p32_n32", heads: 12, headdim: 32, d_state: 32 },
    Shape { name: "d256_p64_n32", heads: 8, headdim: 64, d_state: 32 },
    Shape { name: "d256_p64_n128", heads: 8, headdim: 64, d_state: 128 },
];

/// Values between -1 and 1 that no form finds easier than others.
fn filled(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919 % 1009) as f32) / 504.5 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("the count is the shape's")
}

fn vars(shape: &Shape) -> Vec<Var> {
    let (h, p, n) = (shape.heads, shape.headdim, shape.d_state);
    [vec![BATCH, LENGTH, h * p + 2 * n], vec![BATCH, LENGTH, h], vec![h], vec![h], vec![h]]
        .iter()
        .map(|s| Var::from_tensor(&filled(s)).expect("f32 on the cpu"))
        .collect()
}

fn run(form: Form, shape: &Shape, vars: &[Tensor]) -> Tensor {
    let input = scan_input(vars, (1, shape.d_state), 64);
    scan_as(form, &input).expect("the shapes fit").0
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    group.sample_size(10).throughput(Throughput::Elements((BATCH * LENGTH) as u64));
    for shape in &SHAPES {
        let vars = vars(shape);
        let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let plain: Vec<Tensor> =
            tracked.iter().map(|t| t.detach().to_dtype(DType::F32).expect("f32")).collect();
        for form in [Form::Reference, Form::Chunked, Form::Fused] {
            let id = format!("{form:?}").to_lowercase();
            group.bench_function(BenchmarkId::new(format!("forward_{id}"), shape.name), |b| {
                b.iter(|| black_box(run(form, shape, &plain)));
            });
            if form != Form::Reference {
                group.bench_function(BenchmarkId::new(format!("gradient_{id}"), shape.name), |b| {
                    b.iter(|| {
                        let loss = run(form, shape, &tracked).sum_all().expect("a scalar");
                        black_box(loss.backward().expect("every form but the reference has one"))
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
