//! The kernels of training, and whole passes of them, against the CPU's code.
//!
//! The scan is compared with the plain loop in f64 and, for its gradient, with the chunked form's autograd in f64
//! (itself checked by finite differences in `parity_scan.rs`); whole models with the CPU's fused gradients.

use crate::emulated::{self, Kernels, close};
use crate::emulated_pass::Emulated;
use crate::support::scan_input;
use candle_core::{DType, Device, Tensor, Var};
use netssm_model::engine::launch::Float;
use netssm_model::engine::scan::{Form, ScanInput, scan_as};
use netssm_model::engine::train_pass::{self, Backend, ScanBuffers, Sizes};
use netssm_model::lm::Mamba2;
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::init_weights;
use netssm_model::network::input::IGNORE;
use netssm_model::network::input::Input;
use netssm_model::network::params::Params;
use netssm_model::network::state::LayerState;
use netssm_tokens::context::ContextShape;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A scan's sizes.
#[derive(Debug, Clone, Copy)]
struct Shape {
    b: usize,
    l: usize,
    h: usize,
    p: usize,
    g: usize,
    n: usize,
}

const SHAPES: [Shape; 8] = [
    Shape { b: 1, l: 1, h: 1, p: 32, g: 1, n: 16 },
    Shape { b: 1, l: 63, h: 2, p: 64, g: 1, n: 16 },
    Shape { b: 3, l: 64, h: 2, p: 32, g: 2, n: 32 },
    Shape { b: 1, l: 65, h: 2, p: 64, g: 2, n: 64 },
    Shape { b: 1, l: 129, h: 1, p: 64, g: 1, n: 128 },
    Shape { b: 3, l: 200, h: 4, p: 32, g: 2, n: 64 },
    Shape { b: 2, l: 97, h: 3, p: 10, g: 1, n: 5 },
    Shape { b: 1, l: 70, h: 2, p: 64, g: 1, n: 136 },
];

/// Ragged lengths, format, tolerance.
const FORMS: [(bool, Float, f32); 3] =
    [(true, Float::F32, 1e-4), (false, Float::Bf16, 1e-2), (true, Float::Bf16, 1e-2)];

impl Shape {
    fn sizes(&self, float: Float) -> Sizes {
        let cfg = ModelConfig {
            d_model: self.h * self.p,
            expand: 1,
            headdim: self.p,
            ngroups: self.g,
            d_state: self.n,
            ..ModelConfig::default()
        };
        Sizes::new(&cfg, (self.b, self.l), float).expect("fits")
    }
}

/// What a scan reads, as f32 values that are bf16 values too, so that both formats have the same input.
struct Scan {
    shape: Shape,
    xbc: Vec<f32>,
    dt: Vec<f32>,
    a_log: Vec<f32>,
    skip: Vec<f32>,
    dt_bias: Vec<f32>,
    initial: Vec<f32>, // (b, h, n, p)
    above: Vec<f32>,   // gradient of y
    lengths: Vec<usize>,
}

impl Scan {
    fn new(shape: Shape, ragged: bool) -> Self {
        let Shape { b, l, h, p, g, n } = shape;
        let mut rng = ChaCha8Rng::seed_from_u64((l * n) as u64);
        let mut draw = |len: usize, low: f32, high: f32| -> Vec<f32> {
            (0..len).map(|_| emulated::from_bf16(emulated::to_bf16(rng.random_range(low..high)))).collect()
        };
        let (xbc, dt) = (draw(b * l * (h * p + 2 * g * n), -1.0, 1.0), draw(b * l * h, -4.0, 2.0));
        let (a_log, skip, dt_bias) = (draw(h, 0.0, 2.77), draw(h, -1.0, 1.0), draw(h, -1.0, 1.0));
        let (initial, above) = (draw(b * h * n * p, -1.0, 1.0), draw(b * l * h * p, -1.0, 1.0));
        let lengths = (0..b).map(|i| if ragged { (l * (i + 1) / (b + 1)).saturating_sub(i) } else { l });
        Self { shape, xbc, dt, a_log, skip, dt_bias, initial, above, lengths: lengths.collect() }
    }

    /// y, the state after it `(b, h, n, p)`, and gradients of xbc, dt, a_log, skip, dt_bias, all in f64.
    fn truth(&self, form: Form) -> Vec<Vec<f32>> {
        let Shape { b, l, h, p, g, n } = self.shape;
        let var = |values: &[f32], dims: &[usize]| {
            let wide = Tensor::from_slice(values, dims, &Device::Cpu).expect("values");
            Var::from_tensor(&wide.to_dtype(DType::F64).expect("f64")).expect("a variable")
        };
        let vars = [
            var(&self.xbc, &[b, l, h * p + 2 * g * n]),
            var(&self.dt, &[b, l, h]),
            var(&self.a_log, &[h]),
            var(&self.skip, &[h]),
            var(&self.dt_bias, &[h]),
        ];
        let initial = var(&self.initial, &[b, h, n, p]).transpose(2, 3).expect("transposed");
        let input = ScanInput {
            lengths: Some(&self.lengths),
            initial: Some(&initial.contiguous().expect("contiguous")),
            ..scan_input(vars.iter().map(|var| var.as_tensor()), (g, n), 32)
        };
        let (y, after) = scan_as(form, &input).expect("a scan");
        let values = |t: &Tensor| {
            t.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>()).expect("values")
        };
        let after = after.transpose(2, 3).and_then(|t| t.contiguous()).expect("transposed");
        let mut out = vec![values(&y), values(&after)];
        if form == Form::Chunked {
            let above = var(&self.above, &[b, l, h * p]);
            let store = (y * above.as_tensor()).and_then(|t| t.sum_all()?.backward()).expect("gradients");
            out.extend(vars.iter().map(|var| values(store.get(var).expect("a gradient"))));
        }
        out
    }
}

/// The same on the kernels, forward or backward.
fn run(kernels: &Kernels, scan: &Scan, float: Float, backward: bool) -> Vec<Vec<f32>> {
    let k = Emulated::new(kernels);
    let (sizes, Shape { b, l, h, p, g, n }) = (scan.shape.sizes(float), scan.shape);
    let (xbc, rows) = (k.of(&scan.xbc, float), k.of(&scan.dt, float));
    let [a_log, skip, dt_bias, initial] =
        [&scan.a_log, &scan.skip, &scan.dt_bias, &scan.initial].map(|values| k.of(values, Float::F32));
    let lengths: Vec<u32> = scan.lengths.iter().map(|&len| len as u32).collect();
    let lengths = k.upload_u32("lengths", &lengths).expect("room");
    let input = ScanBuffers {
        xbc: &xbc,
        rows: &rows,
        width: h,
        at: 0,
        a_log: &a_log,
        skip: &skip,
        dt_bias: &dt_bias,
        lengths: &lengths,
        initial: Some(&initial),
    };
    let after = k.alloc("after", Float::F32, b * h * n * p).expect("room");
    if !backward {
        let y = train_pass::scan(&k, &sizes, &input, Some(&after)).expect("a scan");
        return vec![k.values_of(&y, float), k.values_of(&after, Float::F32)];
    }
    let grad_rows = k.alloc("steps", float, b * l * h).expect("room");
    let above = k.of(&scan.above, float);
    let [x, bc, heads] =
        train_pass::scan_gradient(&k, &sizes, &input, &above, &grad_rows).expect("a gradient");
    let (x, bc, heads) =
        (k.values_of(&x, float), k.values_of(&bc, Float::F32), k.values_of(&heads, Float::F32));
    let (e, width, parts) = (h * p, 2 * g * n, bc.len() / (b * l * 2 * g * n));
    let per_group = parts / g;
    let mut xbc = vec![];
    for row in 0..b * l {
        xbc.extend(&x[row * e..(row + 1) * e]);
        for column in 0..width {
            let group = column / n % g;
            let part = |part| bc[(part * b * l + row) * width + column];
            xbc.push((group * per_group..(group + 1) * per_group).map(part).sum());
        }
    }
    let head = |kind: usize| heads[kind * h..(kind + 1) * h].to_vec();
    vec![xbc, k.values_of(&grad_rows, float), head(1), head(2), head(0)]
}

#[test]
fn the_scan_is_the_plain_loops() {
    let Some(kernels) = emulated::kernels() else { return };
    for shape in SHAPES {
        for (ragged, float, tolerance) in FORMS {
            let scan = Scan::new(shape, ragged);
            let (got, want) = (run(kernels, &scan, float, false), scan.truth(Form::Reference));
            for (what, (got, want)) in ["y", "state"].into_iter().zip(got.iter().zip(&want)) {
                close(&format!("{what} of {shape:?} in {float:?}"), got, want, tolerance);
            }
        }
    }
}

#[test]
fn the_scans_gradient_is_autograds() {
    let Some(kernels) = emulated::kernels() else { return };
    for shape in SHAPES {
        for (ragged, float, tolerance) in FORMS {
            let scan = Scan::new(shape, ragged);
            let (got, want) = (run(kernels, &scan, float, true), scan.truth(Form::Chunked));
            let names = ["x B C", "dt", "a_log", "D", "dt_bias"];
            for (what, (got, want)) in names.into_iter().zip(got.iter().zip(&want[2..])) {
                close(&format!("gradient of {what} of {shape:?} in {float:?}"), got, want, tolerance);
            }
        }
    }
}

/// A model of two blocks: groups, channels a head, state.
fn small((g, p, n): (usize, usize, usize), tied: bool, context: bool) -> ModelConfig {
    ModelConfig {
        d_model: 48,
        expand: 2 * p.div_ceil(32),
        n_layer: 2,
        vocab_size: 27,
        d_state: n,
        headdim: p,
        ngroups: g,
        tie_embeddings: tied,
        conv_bias: !context,
        context: context.then_some(ContextShape { version: 1, fields: 3, rows: 9 }),
        ..ModelConfig::default()
    }
}

/// Tokens, side information, targets of a batch.
struct Batch {
    tokens: Vec<u32>,
    context: Vec<u32>,
    targets: Vec<u32>,
    lengths: Vec<usize>,
}

impl Batch {
    fn new(cfg: &ModelConfig, (b, l): (usize, usize), seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lengths: Vec<usize> = (0..b).map(|i| if i == 0 { l } else { rng.random_range(0..=l) }).collect();
        let mut token = || rng.random_range(0..cfg.vocab_size as u32);
        let tokens: Vec<u32> = (0..b * l).map(|_| token()).collect();
        let mut targets: Vec<u32> = (0..b * l).map(|_| token()).collect();
        for (row, &len) in lengths.iter().enumerate() {
            targets[row * l + len..(row + 1) * l].fill(IGNORE);
        }
        let mut id = || if rng.random_bool(0.2) { u32::MAX } else { rng.random_range(0..9) };
        let context = (0..b * l * cfg.context_fields()).map(|_| id()).collect();
        Self { tokens, context, targets, lengths }
    }
}

/// Loss and gradients of two calls, the second with the state of the first, on the kernels and on the CPU.
fn model(kernels: &Kernels, cfg: &ModelConfig, (b, l): (usize, usize), float: Float, tolerance: f32) {
    let k = Emulated::new(kernels);
    let tensors = init_weights(cfg, 7, &Device::Cpu).expect("weights");
    let truth = Mamba2::load(cfg, &tensors).expect("a model");
    let mut state = truth.zero_state(b).expect("a state");
    let flat = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
    let weights = Params::by_name(cfg, |name| k.upload_f32("weights", &flat(&tensors[name]))).expect("room");
    let sizes = Sizes::new(cfg, (b, l), float).expect("fits");
    let mut carried: Vec<LayerState<_>> = (0..cfg.n_layer)
        .map(|_| LayerState {
            conv: k.zeros("tails", b * (cfg.d_conv - 1) * cfg.conv_dim()).expect("room"),
            ssm: k.zeros("states", b * cfg.d_inner() * cfg.d_state).expect("room"),
        })
        .collect();
    let what = format!("{:?} in {float:?}", (cfg.ngroups, cfg.headdim, cfg.d_state));
    for call in 0..2 {
        let batch = Batch::new(cfg, (b, l), call);
        let tokens = Tensor::from_slice(&batch.tokens, (b, l), &Device::Cpu).expect("tokens");
        let input = Input { tokens: &tokens, context: &batch.context };
        let lengths = Some(&batch.lengths[..]);
        let (nats, want) =
            truth.loss_and_gradients(input, &batch.targets, lengths, Some(&mut state)).expect("gradients");
        let input = train_pass::Input {
            tokens: &batch.tokens,
            context: &batch.context,
            fields: cfg.context_fields(),
            lengths: &batch.lengths,
        };
        let (got, gradients) =
            train_pass::loss_and_gradient(&k, &sizes, &weights, &input, &batch.targets, &mut carried)
                .expect("gradients");
        assert!((got - nats).abs() < f64::from(tolerance) * nats, "{what}: {got}, expected {nats}");
        let places = gradients.places(cfg).named();
        assert_eq!(places.len(), want.len());
        for (name, place) in places {
            let want = flat(&want[&name]);
            let got = &k.values_of(place.buffer, Float::F32)[place.at..place.at + want.len()];
            close(&format!("call {call} of {what}: gradient of {name}"), got, &want, tolerance);
        }
    }
}

#[test]
fn a_model_of_every_shape_learns_as_on_the_cpu() {
    let Some(kernels) = emulated::kernels() else { return };
    model(kernels, &small((1, 32, 16), true, false), (1, 65), Float::F32, 1e-3);
    model(kernels, &small((3, 32, 32), false, true), (3, 20), Float::F32, 1e-3);
    model(kernels, &small((1, 64, 128), true, true), (1, 70), Float::F32, 1e-3);
    model(kernels, &small((1, 32, 16), true, true), (2, 33), Float::Bf16, 5e-2);
}

#[test]
fn a_pass_takes_the_memory_that_was_said() {
    let Some(kernels) = emulated::kernels() else { return };
    let (cfg, shape) = (small((3, 32, 32), false, true), (2, 70));
    let tensors = init_weights(&cfg, 7, &Device::Cpu).expect("weights");
    let batch = Batch::new(&cfg, shape, 3);
    let flat = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values");
    for float in [Float::F32, Float::Bf16] {
        let k = Emulated::new(kernels);
        let weights =
            Params::by_name(&cfg, |name| k.upload_f32("weights", &flat(&tensors[name]))).expect("room");
        let sizes = Sizes::new(&cfg, shape, float).expect("fits");
        let zero = |_| LayerState {
            conv: k.zeros("tails", shape.0 * (cfg.d_conv - 1) * cfg.conv_dim()).expect("room"),
            ssm: k.zeros("states", shape.0 * cfg.d_inner() * cfg.d_state).expect("room"),
        };
        let mut carried: Vec<_> = (0..cfg.n_layer).map(zero).collect();
        let input = train_pass::Input {
            tokens: &batch.tokens,
            context: &batch.context,
            fields: cfg.context_fields(),
            lengths: &batch.lengths,
        };
        train_pass::loss_and_gradient(&k, &sizes, &weights, &input, &batch.targets, &mut carried)
            .expect("gradients");
        let own = 2 * cfg.parameters() * 4;
        let (most, said) = (k.counted.most.get(), sizes.memory() + own);
        assert!(most <= said, "{most} bytes in use, at most {said} said");
        assert!(said < most * 3 / 2, "{said} bytes said, {most} in use");
    }
}
