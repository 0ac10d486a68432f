//! How much faster are the products of a decoded token in eight bits than in f32?
//!
//! The three products of the shipped model's shapes, by rows side by side, on one thread; f32 is the baseline. The
//! outputs of the last one are also measured with the few that a grammar leaves. Throughput is in multiply-adds; where
//! few outputs are wanted, in those that all would take. Run with `cargo bench -p netssm-model --bench matmuls`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netssm_model::engine::cpu::packed::{PackedMatrix, Scratch, kernel};
use netssm_model::network::masks::Masks;
use netssm_model::precision::Precision;

/// Name, outputs, inputs.
const SHAPES: [(&str, usize, usize); 3] =
    [("in_proj", 1096, 256), ("out_proj", 256, 512), ("head", 1064, 256)];

/// Values between -1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1009) as f32) / 504.5 - 1.0).collect()
}

fn bench(c: &mut Criterion) {
    for precision in [Precision::F32, Precision::Int8] {
        eprintln!("{precision}: {}", kernel(precision));
    }
    for (name, outputs, inputs) in SHAPES {
        let mut group = c.benchmark_group(name);
        for rows in [1, 8, 32] {
            group.throughput(Throughput::Elements((rows * outputs * inputs) as u64));
            let (x, w) = (numbers(rows * inputs), numbers(outputs * inputs));
            let mut out = vec![0f32; rows * outputs];
            // 40 outputs that lie side by side, elsewhere for every row.
            let masks: Vec<[u64; 17]> = (0..rows)
                .map(|row| std::array::from_fn(|word| if word == row % 16 { (1 << 40) - 1 } else { 0 }))
                .collect();
            let (mut few, mut scratch) = (Masks::default(), Scratch::default());
            few.clear(outputs);
            masks.iter().for_each(|mask| few.push(Some(&mask[..])));
            for precision in [Precision::F32, Precision::Int8] {
                let product = PackedMatrix::new(precision, &w, outputs, inputs).expect("finite weights");
                group.bench_function(BenchmarkId::new(precision.as_str(), rows), |b| {
                    b.iter(|| product.multiply(black_box(&x), &mut out, false, &mut scratch));
                });
                if name == "head" {
                    group.bench_function(BenchmarkId::new(format!("{precision}_wanted"), rows), |b| {
                        b.iter(|| {
                            product.multiply_wanted(black_box(&x), &mut out, false, &few, &mut scratch);
                        });
                    });
                }
            }
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
