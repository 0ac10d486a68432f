//! The scan's three forms against one another: the plain f64 loop, the chunked tensor operations, the fused recurrence.
//!
//! Chain of trust: finite differences of the plain loop check the chunked form's autograd in f64; that checks the fused
//! form's hand-written gradient in f32. Tolerances are relative to the largest magnitude of the tensor compared.

mod support;

use candle_core::{DType, Device, Tensor, Var};
use netssm_model::engine::cpu::loss::{cross_entropy, token_nats};
use netssm_model::engine::scan::{Form, ScanInput, scan, scan_as};
use netssm_model::lm::{Engine, Mamba2};
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::init_weights;
use netssm_model::network::input::IGNORE;
use netssm_model::network::input::{Input, Prompt};
use netssm_model::network::state::State;
use netssm_model::network::weights::Parameters;
use netssm_tokens::context::ContextShape;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::scan_input;

/// One scan's sizes: batch, length, heads, channels, groups, state, chunk.
#[derive(Debug, Clone, Copy)]
struct Size {
    b: usize,
    l: usize,
    h: usize,
    p: usize,
    g: usize,
    n: usize,
    q: usize,
}

/// Arguments in the order xbc, dt, a_log, d, dt_bias, and the initial state, in f64.
struct Args {
    size: Size,
    vars: Vec<Tensor>,
    initial: Tensor,
    lengths: Option<Vec<usize>>,
}

fn draw(rng: &mut ChaCha8Rng, shape: &[usize], low: f64, high: f64) -> Tensor {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(low..high)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

impl Args {
    fn new(size: Size, seed: u64, ragged: bool) -> Self {
        let Size { b, l, h, p, g, n, .. } = size;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let vars = vec![
            draw(&mut rng, &[b, l, h * p + 2 * g * n], -1.0, 1.0),
            draw(&mut rng, &[b, l, h], -4.0, 2.0),
            draw(&mut rng, &[h], 0.0, 2.77),
            draw(&mut rng, &[h], -1.0, 1.0),
            draw(&mut rng, &[h], -1.0, 1.0),
        ];
        let initial = draw(&mut rng, &[b, h, p, n], -1.0, 1.0);
        let lengths = ragged.then(|| (0..b).map(|_| rng.random_range(0..=l)).collect());
        Self { size, vars, initial, lengths }
    }

    fn run(&self, form: Form, vars: &[Tensor], dtype: DType) -> (Tensor, Tensor) {
        let initial = self.initial.to_dtype(dtype).unwrap();
        let input = ScanInput {
            lengths: self.lengths.as_deref(),
            initial: Some(&initial),
            ..scan_input(vars, (self.size.g, self.size.n), self.size.q)
        };
        scan_as(form, &input).unwrap()
    }

    fn to(&self, dtype: DType) -> Vec<Tensor> {
        self.vars.iter().map(|t| t.to_dtype(dtype).unwrap()).collect()
    }

    /// Gradients of `sum(y * weight)`.
    fn gradients(&self, form: Form, dtype: DType, weight: &Tensor) -> Vec<Tensor> {
        let vars: Vec<Var> = self.to(dtype).iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let (y, _) = self.run(form, &tensors, dtype);
        let loss = (y * weight.to_dtype(dtype).unwrap()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        vars.iter().map(|v| gradients.get(v.as_tensor()).unwrap().clone()).collect()
    }

    fn weight(&self) -> Tensor {
        let Size { b, l, h, p, .. } = self.size;
        draw(&mut ChaCha8Rng::seed_from_u64(99), &[b, l, h * p], -1.0, 1.0)
    }
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest magnitude of `truth`.
fn off(got: &Tensor, truth: &Tensor) -> f64 {
    assert_eq!(got.dims(), truth.dims());
    let (got, truth) = (values(got), values(truth));
    let scale = truth.iter().fold(1e-6f64, |m, x| m.max(x.abs()));
    got.iter().zip(&truth).fold(0.0, |m, (a, b)| {
        let off = (a - b).abs() / scale;
        if off.is_nan() { f64::INFINITY } else { off.max(m) }
    })
}

const SIZES: [Size; 9] = [
    Size { b: 1, l: 1, h: 1, p: 1, g: 1, n: 1, q: 4 },
    Size { b: 2, l: 33, h: 4, p: 16, g: 2, n: 8, q: 16 },
    Size { b: 1, l: 100, h: 2, p: 64, g: 1, n: 32, q: 32 },
    Size { b: 3, l: 16, h: 3, p: 8, g: 3, n: 5, q: 16 },
    Size { b: 2, l: 47, h: 6, p: 32, g: 1, n: 16, q: 64 },
    Size { b: 1, l: 70, h: 2, p: 40, g: 2, n: 48, q: 7 },
    Size { b: 2, l: 65, h: 2, p: 7, g: 1, n: 64, q: 256 },
    Size { b: 1, l: 31, h: 1, p: 128, g: 1, n: 128, q: 8 },
    Size { b: 2, l: 20, h: 2, p: 80, g: 2, n: 3, q: 1 },
];

#[test]
fn all_forms_agree_with_the_plain_loop() {
    for (i, size) in SIZES.into_iter().enumerate() {
        for ragged in [false, true] {
            let args = Args::new(size, i as u64, ragged);
            let (y, s) = args.run(Form::Reference, &args.to(DType::F64), DType::F64);
            for (form, dtype, bound) in [
                (Form::Chunked, DType::F64, 1e-11),
                (Form::Chunked, DType::F32, 2e-5),
                (Form::Fused, DType::F32, 2e-5),
            ] {
                let (got_y, got_s) = args.run(form, &args.to(dtype), dtype);
                assert!(
                    off(&got_y, &y) < bound,
                    "{form:?} {dtype:?} y {size:?} {ragged}: {:e}",
                    off(&got_y, &y)
                );
                assert!(off(&got_s, &s) < bound, "{form:?} {dtype:?} state {size:?}: {:e}", off(&got_s, &s));
            }
        }
    }
}

#[test]
fn the_chunked_gradient_is_that_of_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (size, ragged) in [
        (Size { b: 2, l: 9, h: 2, p: 3, g: 1, n: 4, q: 4 }, false),
        (Size { b: 2, l: 9, h: 4, p: 2, g: 2, n: 3, q: 3 }, true),
    ] {
        let args = Args::new(size, 17, ragged);
        let weight = args.weight();
        let loss = |vars: &[Tensor]| -> f64 {
            let (y, _) = args.run(Form::Reference, vars, DType::F64);
            values(&(y * &weight).unwrap()).iter().sum()
        };
        let gradients = args.gradients(Form::Chunked, DType::F64, &weight);
        for (which, gradient) in gradients.iter().enumerate() {
            let gradient = values(gradient);
            let at = values(&args.vars[which]);
            for _ in 0..40 {
                let i = rng.random_range(0..at.len());
                let moved = |by: f64| {
                    let mut v = at.clone();
                    v[i] += by;
                    let mut vars = args.vars.clone();
                    vars[which] = Tensor::from_vec(v, args.vars[which].shape(), &Device::Cpu).unwrap();
                    loss(&vars)
                };
                let step = 1e-5;
                let slope = (moved(step) - moved(-step)) / (2.0 * step);
                assert!(
                    (slope - gradient[i]).abs() < 1e-7 * (1.0 + slope.abs()),
                    "argument {which} element {i} of {size:?}: {slope} and {}",
                    gradient[i]
                );
            }
        }
    }
}

#[test]
fn the_fused_gradient_is_the_chunked_one() {
    for (i, size) in SIZES.into_iter().enumerate() {
        for ragged in [false, true] {
            let args = Args::new(size, 100 + i as u64, ragged);
            let weight = args.weight();
            let truth = args.gradients(Form::Chunked, DType::F64, &weight);
            let got = args.gradients(Form::Fused, DType::F32, &weight);
            for (which, (got, truth)) in got.iter().zip(&truth).enumerate() {
                let off = off(got, truth);
                assert!(off < 1e-4, "argument {which} of {size:?} ragged {ragged}: {off:e}");
            }
        }
    }
}

#[test]
fn extreme_steps_neither_overflow_nor_give_nan() {
    for raw in [-80.0, 80.0] {
        let mut args = Args::new(Size { b: 1, l: 40, h: 2, p: 4, g: 1, n: 4, q: 16 }, 3, false);
        args.vars[1] = Tensor::full(raw, (1, 40, 2), &Device::Cpu).unwrap();
        let weight = args.weight();
        let (y, _) = args.run(Form::Reference, &args.to(DType::F64), DType::F64);
        for form in [Form::Chunked, Form::Fused] {
            let (got, _) = args.run(form, &args.to(DType::F32), DType::F32);
            assert!(off(&got, &y) < 1e-4, "{form:?} at {raw}: {:e}", off(&got, &y));
            for gradient in args.gradients(form, DType::F32, &weight) {
                assert!(values(&gradient).iter().all(|g| g.is_finite()), "{form:?} at {raw}");
            }
        }
    }
}

#[test]
fn a_scan_may_be_cut_anywhere() {
    let args = Args::new(Size { b: 2, l: 50, h: 2, p: 16, g: 1, n: 8, q: 16 }, 4, false);
    let vars = args.to(DType::F32);
    let (whole, end) = args.run(Form::Reference, &args.to(DType::F64), DType::F64);
    let mut state = args.initial.to_dtype(DType::F32).unwrap();
    let mut parts = vec![];
    for (from, len) in [(0, 1), (1, 30), (31, 19)] {
        let (xbc, dt) = (vars[0].narrow(1, from, len).unwrap(), vars[1].narrow(1, from, len).unwrap());
        let piece = [&xbc, &dt, &vars[2], &vars[3], &vars[4]];
        let input = ScanInput { initial: Some(&state), ..scan_input(piece, (1, 8), 16) };
        let (y, after) = scan(&input).unwrap();
        parts.push(y);
        state = after;
    }
    assert!(off(&Tensor::cat(&parts, 1).unwrap(), &whole) < 2e-5);
    assert!(off(&state, &end) < 2e-5);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let args = Args::new(Size { b: 2, l: 5, h: 4, p: 4, g: 2, n: 3, q: 4 }, 1, false);
    let v = &args.vars;
    let good = scan_input(v, (2, 3), 4);
    assert!(scan(&good).is_ok());
    let message = |input: &ScanInput<'_>| scan(input).unwrap_err().to_string();
    assert!(message(&ScanInput { groups: 3, ..good }).starts_with("scan channels"));
    assert!(message(&ScanInput { d_state: 14, ..good }).starts_with("scan channels"));
    assert!(message(&ScanInput { d: &v[1], ..good }).starts_with("scan d: expected [4], got [2, 5, 4]"));
    assert!(message(&ScanInput { lengths: Some(&[6, 1]), ..good }).starts_with("scan lengths"));
    assert!(message(&ScanInput { chunk_size: 0, ..good }).starts_with("scan chunk size"));
    assert!(message(&ScanInput { initial: Some(&v[0]), ..good }).starts_with("scan state"));
}

fn model_sizes() -> impl Strategy<Value = (ModelConfig, usize, u64)> {
    let heads = prop_oneof![Just((4usize, 1usize)), Just((2, 2)), Just((6, 3))];
    let sizes = (heads, prop_oneof![Just(4usize), Just(8), Just(16), Just(24)], 1usize..20, 2usize..6);
    let context =
        prop::option::of((1usize..5).prop_map(|fields| ContextShape { version: 1, fields, rows: 7 }));
    (sizes, any::<bool>(), any::<bool>(), context, 1usize..90, any::<u64>()).prop_map(
        |(((h, g), p, n, k), conv_bias, tie_embeddings, context, l, seed)| {
            let cfg = ModelConfig {
                d_model: h * p / 2,
                n_layer: 2,
                vocab_size: 11,
                d_state: n,
                d_conv: k,
                headdim: p,
                ngroups: g,
                chunk_size: 16,
                conv_bias,
                tie_embeddings,
                context,
                ..Default::default()
            };
            (cfg, l, seed)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whole models of drawn shapes: the fused engine's logits, state and gradients are the tensor engine's.
    #[test]
    fn the_fused_model_is_the_tensor_model((cfg, l, seed) in model_sizes()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = init_weights(&cfg, seed, &Device::Cpu).unwrap();
        if let Some(table) = weights.get_mut("backbone.context.weight") {
            *table = draw(&mut rng, &[7, cfg.d_model], -0.05, 0.05).to_dtype(DType::F32).unwrap();
        }
        let parameters = Parameters::new(&weights).unwrap();
        let fields = cfg.context_fields();
        let mut beside = |tokens: usize| -> Vec<u32> {
            (0..tokens * fields).map(|_| rng.random_range(0..7)).collect()
        };
        let (context, first, last) = (beside(2 * l), beside(2), beside(2));
        let tokens: Vec<u32> = (0..2 * l).map(|_| rng.random_range(0..11)).collect();
        let lengths = [l, rng.random_range(0..=l)];
        let targets: Vec<u32> = (0..2 * l)
            .map(|i| if i % l < lengths[i / l] { rng.random_range(0..11) } else { IGNORE })
            .collect();
        let tokens = Tensor::from_vec(tokens, (2, l), &Device::Cpu).unwrap();
        let input = Input { tokens: &tokens, context: &context };
        let mut results = vec![];
        for engine in [Engine::Fused, Engine::Tensors] {
            let mut model = Mamba2::load(&cfg, &parameters.tensors()).unwrap();
            model.set_engine(engine).unwrap();
            let mut state = model.zero_state(2).unwrap();
            model.step_with_context(&[3, 4], &first, &mut state).unwrap(); // so that the carried state is not zero
            let loss = model.loss(input, &targets, Some(&lengths), Some(&mut state)).unwrap();
            let next = model.step_with_context(&[1, 2], &last, &mut state).unwrap();
            results.push((loss.clone(), next, loss.backward().unwrap()));
        }
        let model = Mamba2::load(&cfg, &parameters.tensors()).unwrap();
        let mut state = model.zero_state(2).unwrap();
        model.step_with_context(&[3, 4], &first, &mut state).unwrap();
        let (direct_loss, direct) =
            model.loss_and_gradients(input, &targets, Some(&lengths), Some(&mut state)).unwrap();
        let direct_next = model.step_with_context(&[1, 2], &last, &mut state).unwrap();
        let [(loss, next, got), (true_loss, true_next, truth)] = &results[..] else { unreachable!() };
        prop_assert!((direct_loss - values(&true_loss.reshape(1).unwrap())[0]).abs() < 1e-4);
        prop_assert_eq!(values(&direct_next), values(next));
        prop_assert_eq!(direct.len(), parameters.vars().len());
        prop_assert!(off(&loss.reshape(1).unwrap(), &true_loss.reshape(1).unwrap()) < 1e-5);
        prop_assert!(off(next, true_next) < 1e-4);
        for (name, var) in parameters.vars() {
            let (got, truth) = (got.get(var.as_tensor()).unwrap(), truth.get(var.as_tensor()).unwrap());
            prop_assert!(off(got, truth) < 1e-3, "{}: {:e}", name, off(got, truth));
            prop_assert!(off(&direct[name], truth) < 1e-3, "{} direct: {:e}", name, off(&direct[name], truth));
        }
    }
}

/// A row of the table is added to the input, and nothing else: a plain model whose embedding has it in is the same.
#[test]
fn side_information_is_an_embedding_more_in_the_input() {
    let mut cfg = ModelConfig {
        d_model: 16,
        n_layer: 2,
        vocab_size: 11,
        d_state: 8,
        headdim: 8,
        tie_embeddings: false,
        context: Some(ContextShape { version: 1, fields: 2, rows: 3 }),
        ..Default::default()
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut weights = init_weights(&cfg, 3, &Device::Cpu).unwrap();
    let table = draw(&mut rng, &[3, 16], -0.05, 0.05).to_dtype(DType::F32).unwrap();
    weights.insert("backbone.context.weight".into(), table.clone());
    let conditioned = Mamba2::load(&cfg, &weights).unwrap();
    cfg.context = None;
    let embedding = weights["backbone.embedding.weight"].clone();
    weights.remove("backbone.context.weight");
    // Rows 0 and 2 beside every token.
    let more = ((table.get(0).unwrap() + table.get(2).unwrap()).unwrap() / 2f64.sqrt()).unwrap();
    weights.insert("backbone.embedding.weight".into(), embedding.broadcast_add(&more).unwrap());
    let plain = Mamba2::load(&cfg, &weights).unwrap();
    for engine in [Engine::Fused, Engine::Tensors] {
        let run = |model: &Mamba2, beside: &[u32]| {
            let mut model = model.clone();
            model.set_engine(engine).unwrap();
            let context = |n: usize| beside.repeat(n);
            let mut state = model.zero_state(2).unwrap();
            let long: Vec<u32> = (0..70).map(|i| i * 7 % 11).collect();
            let (short, many) = (context(3), context(70));
            let prompt =
                [Prompt { tokens: &[10, 3, 4], context: &short }, Prompt { tokens: &long, context: &many }];
            let first = model.prefill_prompts(&prompt, &mut state).unwrap();
            let stepped = model.step_with_context(&[1, 2], &context(2), &mut state).unwrap();
            let tokens = Tensor::from_vec(vec![4u32, 4, 9, 0, 1, 2], (2, 3), &Device::Cpu).unwrap();
            let input = Input { tokens: &tokens, context: &context(6) };
            [first, stepped, model.forward(input, None, Some(&mut state)).unwrap()]
        };
        for (got, truth) in run(&conditioned, &[0, 2]).iter().zip(&run(&plain, &[])) {
            assert!(off(got, truth) < 1e-5, "{engine:?}: {:e}", off(got, truth));
        }
    }
    // What does not fit is refused.
    let mut state = conditioned.zero_state(1).unwrap();
    let refused = |context: &[u32], state: &mut State| {
        conditioned.step_with_context(&[1], context, state).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], &mut state), "context: expected 2 rows for each of 1 tokens, got 0");
    assert_eq!(refused(&[0, 3], &mut state), "context: expected rows below the table's 3, got 3");
    assert!(plain.step_with_context(&[1], &[0], &mut state).is_err());
}

#[test]
fn cross_entropy_and_its_gradient_are_the_plain_ones() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let logits = draw(&mut rng, &[70, 33], -30.0, 30.0);
    let targets: Vec<u32> =
        (0..70).map(|i| if i % 9 == 4 { IGNORE } else { rng.random_range(0..33) }).collect();
    let run = |dtype: DType| {
        let var = Var::from_tensor(&logits.to_dtype(dtype).unwrap()).unwrap();
        let loss = cross_entropy(var.as_tensor(), &targets).unwrap();
        let gradient = loss.backward().unwrap().get(var.as_tensor()).unwrap().clone();
        (loss.reshape(1).unwrap(), gradient)
    };
    let (fused, plain) = (run(DType::F32), run(DType::F64));
    assert!(off(&fused.0, &plain.0) < 1e-6);
    assert!(off(&fused.1, &plain.1) < 1e-5);
    let rows = logits.to_vec2::<f64>().unwrap();
    let nats = token_nats(&logits, &targets).unwrap();
    let mut sum = 0.0;
    for ((row, &target), nats) in rows.iter().zip(&targets).zip(&nats) {
        let expected = if target == IGNORE {
            0.0
        } else {
            row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[target as usize]
        };
        assert!((f64::from(*nats) - expected).abs() < 1e-4);
        sum += expected;
    }
    let counted = targets.iter().filter(|&&t| t != IGNORE).count() as f64;
    assert!((values(&plain.0)[0] - sum / counted).abs() < 1e-9);
    assert!(cross_entropy(&logits, &[IGNORE; 70]).is_err());
    assert!(cross_entropy(&logits, &[33; 70]).unwrap_err().to_string().contains("below 33"));
}
