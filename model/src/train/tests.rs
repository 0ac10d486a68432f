//! Runs over a few synthetic sessions: a run learns, resumes bit for bit, fine-tunes, stops and refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use netssm_tokens::codec::flow::{FlowCodec, Parameters};
use netssm_tokens::codec::{BytesCodec, Codec, Form, FrameRef, SessionEnd, Vocab, Width};
use netssm_tokens::timing::TimingTable;

use super::evaluate::Held;
use super::*;
use crate::checkpoint::Checkpoint;

/// Sessions of packets that count up from the label's own first byte: easy to learn.
fn dataset(labels: &[&str], sessions: usize) -> Dataset<'static> {
    let vocab = Vocab::new(labels).unwrap();
    let session = |i: usize| {
        let label = labels[i % labels.len()];
        let mut tokens = vec![vocab.label(label).unwrap()];
        let packets = 3 + i % 4;
        for packet in 0..packets {
            tokens.extend((0..9).map(|k| ((i % labels.len()) * 40 + packet + k) as u16));
            tokens.extend(vocab.packet());
        }
        tokens.extend(vocab.end());
        Sequence { label: label.to_string(), tokens: Cow::Owned(tokens), packets: packets as u64 }
    };
    Dataset {
        codec: BytesCodec::new(vocab.clone(), Width::Variable, Form::Raw).id(),
        timing: TimingTable::learn(BTreeMap::from([(labels[0].to_owned(), vec![1_000, 2_000])])),
        train: (0..sessions).map(session).collect(),
        val: (0..6).map(session).collect(),
        about: "counting".into(),
        vocab,
    }
}

/// The same in the flow codec, whose decoders give side information: datagrams between two hosts.
fn flows(labels: &[&str], sessions: usize) -> Dataset<'static> {
    let codec = FlowCodec::new(Vocab::flow(labels).unwrap(), Parameters::default()).unwrap();
    let session = |i: usize| {
        let label = labels[i % labels.len()];
        let (mut encoder, mut tokens) = (codec.encoder(label).unwrap(), Vec::new());
        let packets = 12 + i % 4;
        for packet in 0..packets {
            let (from, to) = if packet % 2 == 0 { (1u8, 2u8) } else { (2, 1) };
            let ports = if packet % 2 == 0 { [0x9c, 0x40, 0, 53] } else { [0, 53, 0x9c, 0x40] };
            let payload = 20 + (i % labels.len()) as u8 * 40;
            let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0, 0x45, 0, 0, 28 + payload];
            frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, from, 10, 1, 0, to]);
            frame.extend(ports.into_iter().chain([0, 8 + payload, 0, 0]));
            frame.resize(frame.len() + usize::from(payload), 0);
            let time_ns = packet as i64 * 3_000_000;
            let wire_len = frame.len() as u32;
            encoder.push(FrameRef { time_ns, wire_len, bytes: &frame }, &mut tokens).unwrap();
        }
        encoder.finish(SessionEnd::Ended, &mut tokens);
        Sequence { label: label.to_string(), tokens: Cow::Owned(tokens), packets: packets as u64 }
    };
    Dataset {
        codec: codec.id(),
        timing: TimingTable::default(),
        train: (0..sessions).map(session).collect(),
        val: (0..6).map(session).collect(),
        about: "datagrams".into(),
        vocab: codec.vocab().clone(),
    }
}

fn config(steps: u64) -> TrainConfig {
    TrainConfig::parse(&format!(
        "[model]\nd_model = 16\nn_layer = 2\nd_state = 8\nheaddim = 8\n\
         [data]\nbatch = 4\nbptt = 16\n\
         [schedule]\nlr = 0.02\nmin_lr = 0.002\nwarmup = 3\n\
         [run]\nsteps = {steps}\nthreads = 2\ncheckpoint_every = 1000\n\
         [eval]\nevery = 0"
    ))
    .unwrap()
}

fn go(
    data: Dataset<'_>,
    config: &TrainConfig,
    out: &Path,
    start: Start,
) -> Result<(Outcome, Vec<Event>), TrainError> {
    let mut events = Vec::new();
    let stop = AtomicBool::new(false);
    let outcome =
        train(data, config, out, start, &Device::Cpu, &stop, &mut |e: &Event| events.push(e.clone()))?;
    Ok((outcome, events))
}

fn losses(events: &[Event]) -> Vec<f64> {
    events.iter().filter_map(|e| if let Event::Step { loss, .. } = e { Some(*loss) } else { None }).collect()
}

#[test]
fn it_learns_and_reports() {
    let tmp = tempfile::tempdir().unwrap();
    let mut config = config(60);
    config.eval.every = 20;
    config.run.checkpoint_every = 25;
    config.run.keep = 1;
    let (outcome, events) = go(dataset(&["a", "b"], 10), &config, tmp.path(), Start::Fresh).unwrap();
    let steps = losses(&events);
    assert_eq!(steps.len(), 60);
    assert!(steps[0] > 5.0, "starts near ln 264: {}", steps[0]);
    assert!(steps[50..].iter().sum::<f64>() / 10.0 < 1.0, "{:?}", &steps[50..]);
    assert_eq!((outcome.step, outcome.end), (60, End::Finished));
    let whole = outcome.losses.unwrap();
    assert!(whole.whole && whole.total.per_token < 1.0, "{whole:?}");
    assert_eq!(whole.total.sessions, 6);
    assert_eq!(whole.groups.keys().collect::<Vec<_>>(), ["a", "b"]);
    let a = whole.groups["a"];
    let per_packet = a.per_token * a.tokens as f64 / a.packets as f64;
    assert!((a.per_packet - per_packet).abs() < 1e-9);
    // `best` is a link, its manifest has the losses over everything, and one other checkpoint is kept.
    let best = Checkpoint::open(&tmp.path().join("best")).unwrap();
    let told = best.manifest().training.nats_per_token.unwrap();
    assert!((told - whole.total.per_token).abs() < 1e-12);
    assert_eq!(best.manifest().training.data, "counting");
    assert!(resume::steps(tmp.path()).unwrap().len() <= 2);
    // The log has the same events, one per line.
    let log = std::fs::read_to_string(tmp.path().join(LOG_FILE)).unwrap();
    let read: Vec<Event> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(read.len(), events.len());
    // A number that is read from JSON may differ in its last bit.
    assert!(losses(&read).iter().zip(&steps).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(
        TrainConfig::parse(&std::fs::read_to_string(tmp.path().join("config.toml")).unwrap()).unwrap(),
        config
    );
}

#[test]
fn ten_steps_and_ten_more_are_twenty() {
    let tmp = tempfile::tempdir().unwrap();
    let (straight, broken) = (tmp.path().join("straight"), tmp.path().join("broken"));
    let mut config = config(20);
    config.data.label_dropout = 0.3;
    config.data.accumulate = 2;
    same_in_two_parts(&config, &|| dataset(&["a", "b", "c"], 9), &straight, &broken);
    // With side information: a resumed run must restore the position of its decoders.
    config.data.interleave = 2;
    config.data.context_dropout = 0.3;
    let (straight, broken) = (tmp.path().join("straight flows"), tmp.path().join("broken flows"));
    same_in_two_parts(&config, &|| flows(&["a", "b", "c"], 9), &straight, &broken);
    let trained = Checkpoint::open(&broken.join("best")).unwrap();
    assert_eq!(trained.config().context, trained.codec().context());
    let table = &trained.weights()["backbone.context.weight"];
    assert!(table.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.1, "it has learned");
}

/// Twenty steps in one process give the same as ten and ten.
fn same_in_two_parts(
    config: &TrainConfig,
    data: &dyn Fn() -> Dataset<'static>,
    straight: &Path,
    broken: &Path,
) {
    let (one, events) = go(data(), config, straight, Start::Fresh).unwrap();

    // The same run stops after the tenth step and is resumed.
    let stop = AtomicBool::new(false);
    let mut first = Vec::new();
    let mut watch = |e: &Event| {
        first.push(e.clone());
        if matches!(e, Event::Step { step: 10, .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let outcome = train(data(), config, broken, Start::Fresh, &Device::Cpu, &stop, &mut watch).unwrap();
    assert_eq!((outcome.step, outcome.end), (10, End::Stopped));
    let (two, second) = go(data(), config, broken, Start::Resume).unwrap();
    assert_eq!(two.step, 20);
    assert_eq!([losses(&first), losses(&second)].concat(), losses(&events));
    for file in ["model.safetensors", "resume/optimizer.safetensors", "resume/carry.safetensors"] {
        let (a, b) =
            (std::fs::read(one.last.join(file)).unwrap(), std::fs::read(two.last.join(file)).unwrap());
        assert!(!a.is_empty() && a == b, "{file} differs after the resumption");
    }
}

#[test]
fn shards_change_rounding_and_nothing_else() {
    let tmp = tempfile::tempdir().unwrap();
    let mut config = config(12);
    let mut run = |threads| {
        config.run.threads = threads;
        let out = tmp.path().join(threads.to_string());
        losses(&go(dataset(&["a", "b"], 10), &config, &out, Start::Fresh).unwrap().1)
    };
    let (one, three) = (run(1), run(3));
    for (a, b) in one.iter().zip(&three) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn fine_tuning_adds_labels_and_starts_from_the_weights() {
    let tmp = tempfile::tempdir().unwrap();
    let base = tmp.path().join("base");
    go(dataset(&["a", "b"], 10), &config(60), &base, Start::Fresh).unwrap();
    let checkpoint = Checkpoint::open(&base.join("best")).unwrap();
    // "b" has another id in this corpus, "c" is new.
    let tuned = tmp.path().join("tuned");
    let start = Start::Init(Box::new(checkpoint.clone()));
    let (outcome, events) = go(dataset(&["b", "c"], 10), &config(8), &tuned, start).unwrap();
    assert!(losses(&events)[0] < 4.5, "starts from what is known: {:?}", losses(&events)[0]);
    let result = Checkpoint::open(&outcome.last).unwrap();
    assert_eq!(result.labels(), ["a", "b", "c"]);
    assert_eq!(result.manifest().training.init.as_deref(), Some(checkpoint.sha256()));
    assert!(result.manifest().timing.knows("a") && result.manifest().timing.knows("b"));
    // A resumed fine-tuning continues too.
    let (more, _) = go(dataset(&["b", "c"], 10), &config(10), &tuned, Start::Resume).unwrap();
    assert_eq!(more.step, 10);
    let other = Dataset {
        codec: BytesCodec::new(Vocab::new(&["a"]).unwrap(), Width::Fixed(94), Form::Raw).id(),
        ..dataset(&["a"], 4)
    };
    let error = go(other, &config(2), &tmp.path().join("x"), Start::Init(Box::new(checkpoint))).unwrap_err();
    assert!(error.to_string().contains("the corpus has bytes/1"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join("run");
    let base = config(2);
    go(dataset(&["a"], 4), &base, &out, Start::Fresh).unwrap();
    let message = |data, config: &TrainConfig, start| go(data, config, &out, start).unwrap_err().to_string();
    assert!(message(dataset(&["a"], 4), &base, Start::Fresh).contains("already holds a run"));
    let mut other = base.clone();
    other.data.batch = 3;
    assert!(message(dataset(&["a"], 4), &other, Start::Resume).contains("[data] changed"));
    let mut other = base.clone();
    other.run.threads = 1;
    assert!(message(dataset(&["a"], 4), &other, Start::Resume).contains("run.threads: expected 2, got 1"));
    assert!(
        message(dataset(&["a"], 5), &base, Start::Resume).contains("not the one that the run began with")
    );
    assert!(message(dataset(&["a", "z"], 4), &base, Start::Resume).contains("(z)"));
    let other = Dataset {
        codec: BytesCodec::new(Vocab::new(&["a"]).unwrap(), Width::Fixed(94), Form::Raw).id(),
        ..dataset(&["a"], 4)
    };
    let text = message(other, &base, Start::Resume);
    assert!(text.contains("checkpoint has codec bytes/1 form=raw width=variable"), "{text}");
    assert!(text.contains("corpus has bytes/1 form=raw width=94"), "{text}");
    let mut odd = base.clone();
    odd.model.headdim = 7;
    let error = go(dataset(&["a"], 4), &odd, &tmp.path().join("y"), Start::Fresh).unwrap_err();
    assert!(error.to_string().contains("headdim"), "{error}");
    let second = tmp.path().join("busy");
    let mut inside = None;
    let mut watch = |_: &Event| {
        let other = go(dataset(&["a"], 4), &base, &second, Start::Fresh);
        inside.get_or_insert(other.unwrap_err().to_string());
    };
    let stop = AtomicBool::new(false);
    train(dataset(&["a"], 4), &base, &second, Start::Fresh, &Device::Cpu, &stop, &mut watch).unwrap();
    assert!(inside.unwrap().contains("in use by another training run"));
    let empty = Dataset { train: vec![], ..dataset(&["a"], 4) };
    let error = go(empty, &base, &tmp.path().join("z"), Start::Fresh).unwrap_err();
    assert!(matches!(error, TrainError::NothingToTrain), "{error}");
    // A run does not resume from a checkpoint that was cut short.
    let last = resume::steps(&out).unwrap().pop().unwrap().1;
    let path = last.join("resume/optimizer.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let text = message(dataset(&["a"], 4), &base, Start::Resume);
    assert!(text.contains("optimizer.safetensors") && text.contains("not a whole"), "{text}");
}

#[test]
fn validation_stops_a_run_that_no_longer_improves() {
    let tmp = tempfile::tempdir().unwrap();
    let mut config = config(400);
    // This rate destroys the model after it has learned: the loss on validation must rise.
    config.schedule.lr = 1.0;
    config.schedule.min_lr = 1.0;
    config.eval.every = 5;
    config.eval.patience = 3;
    let (outcome, _) = go(dataset(&["a"], 4), &config, tmp.path(), Start::Fresh).unwrap();
    assert_eq!(outcome.end, End::Patience);
    assert!(outcome.step < 400, "{}", outcome.step);
}

#[test]
fn validation_is_the_same_however_it_is_cut() {
    use crate::lm::Mamba2;
    let data = dataset(&["a", "b"], 2);
    let config = config(1).model.config(data.vocab.size(), None).unwrap();
    let model = Mamba2::init(&config, 5, &Device::Cpu).unwrap();
    let never = AtomicBool::new(false);
    let codec = data.open_codec().unwrap();
    let run = |data: &Dataset<'_>, extent, threads| {
        let held = Held { sessions: &data.val, codec: codec.as_ref() };
        evaluate(&model, &held, &BTreeMap::new(), extent, threads, &never).unwrap().unwrap()
    };
    let whole = run(&data, Extent::WHOLE, 1);
    assert!(whole.whole);
    assert_eq!(run(&data, Extent::WHOLE, 3), whole);
    // The reference: one session at a time, one token at a time.
    let mut nats = 0.0;
    for session in &data.val {
        let mut state = model.zero_state(1).unwrap();
        for pair in session.tokens.windows(2) {
            let logits = model.step(&[u32::from(pair[0])], &mut state).unwrap();
            nats +=
                f64::from(crate::engine::cpu::loss::token_nats(&logits, &[u32::from(pair[1])]).unwrap()[0]);
        }
    }
    let tokens: usize = data.val.iter().map(|s| s.tokens.len() - 1).sum();
    assert_eq!(whole.total.tokens, tokens as u64);
    assert_eq!(whole.total.packets, data.val.iter().map(|s| s.packets).sum::<u64>());
    assert!((whole.total.per_token - nats / tokens as f64).abs() < 1e-5);
    // A prefix of 20 tokens holds two delimiters of each session.
    let cut = run(&data, Extent { prefix: 20, ..Extent::WHOLE }, 2);
    assert_eq!((cut.whole, cut.total.sessions, cut.total.tokens, cut.total.packets), (false, 6, 120, 12));
    let few = run(&data, Extent { tokens: 1, ..Extent::WHOLE }, 2);
    assert_eq!((few.whole, few.total.sessions, few.groups.len()), (false, 2, 2));
}

#[test]
fn validation_reads_what_decoders_say() {
    use crate::lm::Mamba2;
    let data = flows(&["a", "b"], 2);
    let codec = data.open_codec().unwrap();
    let config = config(1).model.config(data.vocab.size(), codec.context()).unwrap();
    let mut weights = crate::network::init::init_weights(&config, 5, &Device::Cpu).unwrap();
    let table = weights.get_mut("backbone.context.weight").unwrap();
    *table = candle_core::Tensor::rand(-0.1f32, 0.1, table.shape(), &Device::Cpu).unwrap();
    let model = Mamba2::load(&config, &weights).unwrap();
    let never = AtomicBool::new(false);
    let run = |extent, threads| {
        let held = Held { sessions: &data.val, codec: codec.as_ref() };
        evaluate(&model, &held, &BTreeMap::new(), extent, threads, &never).unwrap().unwrap().total
    };
    let whole = run(Extent::WHOLE, 1);
    assert_eq!(run(Extent::WHOLE, 3), whole);
    let mut nats = 0.0;
    for session in &data.val {
        let (mut state, mut decoder) = (model.zero_state(1).unwrap(), codec.decoder(0));
        for pair in session.tokens.windows(2) {
            let _ = decoder.push(pair[0].into());
            let mut context = Vec::new();
            decoder.context(&mut context);
            let logits = model.step_with_context(&[u32::from(pair[0])], &context, &mut state).unwrap();
            nats +=
                f64::from(crate::engine::cpu::loss::token_nats(&logits, &[u32::from(pair[1])]).unwrap()[0]);
        }
    }
    let tokens: usize = data.val.iter().map(|s| s.tokens.len() - 1).sum();
    assert!((whole.per_token - nats / tokens as f64).abs() < 1e-5);
    // Without a delimiter, the same part of the packets is counted as of the tokens.
    let parts = data.val.iter().map(|s| (s.packets as f64 * 21.0 / s.tokens.len() as f64).round() as u64);
    assert_eq!(run(Extent { prefix: 20, ..Extent::WHOLE }, 2).packets, parts.sum::<u64>());
}
