//! Two kinds of models: a small one that has learned short UDP exchanges, and untrained ones.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use netssm_tokens::codec::{BytesCodec, Form, FrameRef, SessionEnd, Vocab, Width};

use super::*;
use crate::checkpoint::{FORMAT, Manifest, TrainFacts};
use crate::engine::cpu::packed;
use crate::network::config::ModelConfig;
use crate::network::init::init_weights;
use crate::network::weights::Weights;
use crate::train::{Dataset, Event, Sequence, Start, TrainConfig, train};

/// A UDP frame of `wire_len` bytes from or to the client at 192.168.1.2.
fn frame(to_server: bool, client_port: u16, payload: u16) -> Vec<u8> {
    let (client, server) = ([192, 168, 1, 2], [151, 101, 1, 69]);
    let (macs, ips) = if to_server { ([1, 2], [client, server]) } else { ([2, 1], [server, client]) };
    let ports = if to_server { [client_port, 443] } else { [443, client_port] };
    let mut out = vec![2, 0, 0, 0, 0, macs[1], 2, 0, 0, 0, 0, macs[0], 8, 0];
    out.extend([0x45, 0]);
    out.extend((28 + payload).to_be_bytes());
    out.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    out.extend(ips.concat());
    out.extend(ports.iter().flat_map(|p| p.to_be_bytes()));
    out.extend((8 + payload).to_be_bytes());
    out.extend([0, 0]);
    out.resize(out.len() + usize::from(payload), 0xaa);
    out
}

fn exchange(packets: usize, i: usize) -> Vec<Vec<u8>> {
    let sizes = [40, 1200, 64];
    (0..packets).map(|k| frame(k % 2 == 0, 50_000 + i as u16, sizes[(k + i) % 3])).collect()
}

fn refs(frames: &[Vec<u8>]) -> impl Iterator<Item = FrameRef<'_>> {
    frames.iter().map(|f| FrameRef { time_ns: 0, wire_len: f.len() as u32, bytes: f })
}

fn codec() -> BytesCodec {
    BytesCodec::new(Vocab::new(&["call", "web"]).unwrap(), Width::Variable, Form::Canonical)
}

/// A trained checkpoint, made once for all tests.
pub(super) fn trained() -> &'static Checkpoint {
    static CHECKPOINT: OnceLock<Checkpoint> = OnceLock::new();
    CHECKPOINT.get_or_init(|| {
        let codec = codec();
        let sequence = |i: usize| {
            let label = ["call", "web"][i % 2];
            let frames = exchange(4 + i % 3, i);
            let mut encoder = codec.encoder(label).unwrap();
            let mut tokens = Vec::new();
            for frame in refs(&frames) {
                encoder.push(frame, &mut tokens).unwrap();
            }
            encoder.finish(SessionEnd::Ended, &mut tokens);
            Sequence { label: label.into(), tokens: Cow::Owned(tokens), packets: frames.len() as u64 }
        };
        let data = Dataset {
            codec: codec.id(),
            vocab: codec.vocab().clone(),
            timing: TimingTable::learn(BTreeMap::from([("call".to_owned(), vec![1_000, 5_000, 9_000])])),
            train: (0..12).map(sequence).collect(),
            val: vec![],
            about: String::new(),
        };
        let config = TrainConfig::parse(
            "[model]\nd_model = 32\nn_layer = 2\nd_state = 16\nheaddim = 16\n\
             [data]\nbatch = 6\nbptt = 128\n[schedule]\nlr = 0.02\nwarmup = 5\n[run]\nsteps = 80\nthreads = 1",
        );
        let tmp = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        let mut quiet = |_: &Event| {};
        let outcome =
            train(data, &config.unwrap(), tmp.path(), Start::Fresh, &Device::Cpu, &stop, &mut quiet).unwrap();
        Checkpoint::open(&outcome.last).unwrap()
    })
}

/// A checkpoint of an untrained model.
fn untrained(dir: &Path, form: Form, change: impl Fn(&mut Weights)) -> Checkpoint {
    let vocab = Vocab::new(&["call"]).unwrap();
    let config = ModelConfig {
        d_model: 16,
        n_layer: 1,
        d_state: 8,
        headdim: 8,
        vocab_size: vocab.size(),
        ..ModelConfig::default()
    };
    let mut weights = init_weights(&config, 1, &Device::Cpu).unwrap();
    change(&mut weights);
    let manifest = Manifest {
        format: FORMAT,
        codec: BytesCodec::new(vocab.clone(), Width::Variable, form).id(),
        vocab,
        timing: TimingTable::default(),
        training: TrainFacts::default(),
        weights_sha256: String::new(),
    };
    Checkpoint::save(dir, &config, manifest, &weights).unwrap();
    Checkpoint::open(dir).unwrap()
}

pub(super) fn request(id: u64, limit: Limit) -> SessionRequest {
    SessionRequest { id, label: "call".into(), seed: 1000 + id, limit, prompt: None }
}

pub(super) fn options(batch: usize) -> GenerateOptions {
    GenerateOptions { batch, ..GenerateOptions::default() }
}

/// Runs requests and gives the sessions in the order of their ids.
pub(super) fn run(generator: &mut Generator, requests: Vec<SessionRequest>) -> (Vec<Generated>, Stats) {
    let mut out = Vec::new();
    let mut requests = requests.into_iter();
    let stats =
        generator.run(&mut requests, &mut |g| out.push(g), &mut |_| ControlFlow::Continue(())).unwrap();
    out.sort_by_key(|g| g.id);
    (out, stats)
}

#[test]
fn a_session_does_not_depend_on_its_batch() {
    let limits = [3u64, 9, 1, 6, 4, 12, 2, 5];
    let requests = || (0..8).map(|i| request(i, Limit::Packets(limits[i as usize]))).collect::<Vec<_>>();
    let forced = |batch| GenerateOptions { ignore_end: true, ..options(batch) };
    let mut alone = Generator::new(trained(), forced(1)).unwrap();
    let (one, stats) = run(&mut alone, requests());
    assert_eq!((stats.sessions, stats.live), (8, 0));
    for batch in [3, 8] {
        let mut together = Generator::new(trained(), forced(batch)).unwrap();
        let mut reversed = requests();
        reversed.reverse();
        let (many, _) = run(&mut together, reversed);
        for (a, b) in one.iter().zip(&many) {
            assert_eq!(a.session, b.session, "batch {batch}, session {}", a.id);
        }
    }
    for (generated, limit) in one.iter().zip(limits) {
        assert_eq!(generated.session.packets.len() as u64, limit);
        assert_eq!(generated.ending, Ending::Limit);
        generated.session.check().unwrap();
    }
    assert_ne!(one[1].session.packets[..3], one[5].session.packets[..3], "seeds differ, sessions differ");
    assert_eq!(stats.counts.packets, limits.iter().sum::<u64>());
    let repairs = &stats.repairs["call"];
    assert_eq!(repairs.packets() - repairs.dropped(), stats.counts.packets);
}

#[test]
fn in_eight_bits_a_session_depends_on_its_seed_alone() {
    let eight = |batch| GenerateOptions { precision: Precision::Int8, ignore_end: true, ..options(batch) };
    let requests = || (0..8).map(|i| request(i, Limit::Packets(3 + i))).collect::<Vec<_>>();
    let mut alone = Generator::new(trained(), eight(1)).unwrap();
    let (one, _) = run(&mut alone, requests());
    for (batch, threads) in [(1, 1), (3, 1), (3, 2), (8, 1), (8, 3)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut generator = Generator::new(trained(), eight(batch)).unwrap();
        let (many, _) = pool.install(|| run(&mut generator, requests()));
        for (a, b) in one.iter().zip(&many) {
            assert_eq!(a.session, b.session, "batch {batch}, {threads} threads, session {}", a.id);
        }
    }
    for (generated, packets) in one.iter().zip(3..) {
        assert_eq!((generated.session.packets.len(), generated.ending), (packets, Ending::Limit));
        generated.session.check().unwrap();
    }
    let mut full = Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(8) }).unwrap();
    let (full, _) = run(&mut full, requests());
    assert!(full.iter().zip(&one).any(|(a, b)| a.session != b.session), "another precision, other sessions");
    assert_eq!(alone.kernel(), packed::kernel(Precision::Int8));
}

#[test]
fn sessions_end_by_their_token_and_carry_drawn_times() {
    let mut generator = Generator::new(trained(), options(4)).unwrap();
    let (sessions, _) = run(&mut generator, (0..8).map(|i| request(i, Limit::Packets(500))).collect());
    assert!(sessions.iter().any(|g| g.ending == Ending::EndToken), "{:?}", sessions[0].ending);
    for generated in &sessions {
        let packets = &generated.session.packets;
        assert_eq!(packets[0].time, Duration::ZERO);
        let gaps: Vec<_> = packets.windows(2).map(|p| (p[1].time - p[0].time).as_nanos()).collect();
        assert!(gaps.iter().all(|g| (1_000..=9_000).contains(g)), "{gaps:?}");
        assert_eq!(generated.session.origin.timing(), "drawn");
        assert_eq!(generated.session.origin.model(), trained().sha256());
        assert_eq!((generated.session.seed, &*generated.session.label), (1000 + generated.id, "call"));
    }
    let mut forced = Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(1) }).unwrap();
    let (cut, _) = run(&mut forced, vec![request(1, Limit::Tokens(60))]);
    assert_eq!((cut[0].counts.tokens, cut[0].ending), (60, Ending::Limit));
}

#[test]
fn a_seed_capture_begins_the_session() {
    let frames = exchange(2, 7);
    let prompt = prompt_from_frames(&codec(), "call", refs(&frames), 2).unwrap();
    let mut generator =
        Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(2) }).unwrap();
    let ask = |id| SessionRequest { prompt: Some(prompt.clone()), ..request(id, Limit::Packets(5)) };
    let (sessions, _) = run(&mut generator, vec![ask(0), ask(1)]);
    for generated in &sessions {
        let packets = &generated.session.packets;
        assert_eq!(packets.len(), 5);
        assert_eq!(packets[0].wire_len as usize, frames[0].len());
        assert_eq!(packets[1].wire_len as usize, frames[1].len());
        // Canonical form: none of the capture's addresses appear.
        assert!(packets.iter().all(|p| !p.header.windows(4).any(|w| w == [151, 101, 1, 69])));
    }
    assert_eq!(sessions[0].session.packets[..2].len(), 2);
    let wrong = SessionRequest { prompt: Some(vec![1, 2].into()), ..request(0, Limit::Packets(5)) };
    let error = generator.run(&mut [wrong].into_iter(), &mut |_| (), &mut |_| ControlFlow::Continue(()));
    assert!(error.unwrap_err().to_string().contains("does not begin with the token of 'call'"));
    let junk = [vec![0u8; 60]];
    let error = prompt_from_frames(&codec(), "call", refs(&junk), 2).unwrap_err().to_string();
    assert_eq!(error, "seed capture: none of 1 packets can be encoded (the first: ethertype)");
}

#[test]
fn a_chain_passes_the_session_on() {
    let stage = |packets| Stage { checkpoint: trained().clone(), packets };
    let spec = ChainSpec { stages: vec![stage(2), stage(3), stage(0)], seed_packets: 1 };
    let forced = |batch| GenerateOptions { ignore_end: true, ..options(batch) };
    let requests = || (0..4).map(|i| request(i, Limit::Packets(8 + i))).collect::<Vec<_>>();
    let (alone, _) = run(&mut Generator::chain(&spec, forced(1)).unwrap(), requests());
    let (together, stats) = run(&mut Generator::chain(&spec, forced(4)).unwrap(), requests());
    for (i, (a, b)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(a.session, b.session);
        assert_eq!(a.session.packets.len(), 8 + i);
        a.session.check().unwrap();
    }
    assert_eq!(stats.sessions, 4);
    // The stages really change: one model alone writes another session from the third packet on.
    let (single, _) = run(&mut Generator::new(trained(), forced(1)).unwrap(), requests());
    assert_eq!(single[0].session.packets[..2], alone[0].session.packets[..2]);
    assert_ne!(single[0].counts.tokens, 0);
    let bad = |stages| {
        Generator::chain(&ChainSpec { stages, seed_packets: 1 }, options(1)).err().unwrap().to_string()
    };
    assert_eq!(bad(vec![]), "generator: a chain needs at least one stage");
    assert_eq!(bad(vec![stage(0), stage(1)]), "generator: stage 1: expected at least 1 packet, got 0");
    let tmp = tempfile::tempdir().unwrap();
    let other = untrained(&tmp.path().join("m"), Form::Raw, |_| {});
    let text = bad(vec![stage(1), Stage { checkpoint: other, packets: 1 }]);
    assert!(text.contains("stage 2 has codec bytes/1 form=raw"), "{text}");
}

#[test]
fn a_model_that_only_writes_nonsense_ends_with_a_reason() {
    let tmp = tempfile::tempdir().unwrap();
    let raw = untrained(&tmp.path().join("raw"), Form::Raw, |_| {});
    let give = GenerateOptions { gap: Some(Duration::from_millis(1)), max_drops: 5, ..options(2) };
    let (out, stats) =
        run(&mut Generator::new(&raw, give.clone()).unwrap(), vec![request(0, Limit::Packets(50))]);
    assert_eq!(out[0].ending, Ending::OnlyDrops);
    assert_eq!(out[0].counts.drops.values().sum::<u64>(), 5);
    assert_eq!((stats.failed, stats.drops["call"]), (1, 5));
    let short = GenerateOptions { max_packet_tokens: 4, max_drops: u64::MAX, ..give.clone() };
    let (out, _) = run(&mut Generator::new(&raw, short).unwrap(), vec![request(3, Limit::Packets(50))]);
    assert_eq!(out[0].ending, Ending::Endless);
    // Weights so large that the logits are not finite.
    let huge = untrained(&tmp.path().join("huge"), Form::Raw, |w| {
        let norm = w.get_mut("backbone.norm_f.weight").unwrap();
        *norm = (norm.ones_like().unwrap() * 3e38).unwrap();
        let embedding = w.get_mut("backbone.embedding.weight").unwrap();
        *embedding = (&*embedding * 1e6).unwrap();
    });
    let (out, _) = run(&mut Generator::new(&huge, give).unwrap(), vec![request(0, Limit::Packets(50))]);
    assert!(matches!(out[0].ending, Ending::Logits(SampleError::NotFinite { .. })), "{:?}", out[0].ending);
    assert!(out[0].session.packets.is_empty());
}

#[test]
fn ten_thousand_packets_are_one_session() {
    let mut generator =
        Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(1) }).unwrap();
    let (out, stats) = run(&mut generator, vec![request(0, Limit::Packets(10_000))]);
    assert_eq!((out[0].session.packets.len(), out[0].ending), (10_000, Ending::Limit));
    assert_eq!(stats.counts.packets, 10_000);
    out[0].session.check().unwrap();
}

#[test]
fn labels_and_options_are_checked() {
    let mut generator = Generator::new(trained(), options(2)).unwrap();
    generator.check_label("call").unwrap();
    let unknown = generator.check_label("netflix").unwrap_err().to_string();
    assert!(unknown.contains("netflix") && unknown.contains("call, web"), "{unknown}");
    let untimed = generator.check_label("web").unwrap_err().to_string();
    assert_eq!(untimed, "no inter-arrival times were learned for label 'web': give a fixed gap (--gap)");
    let mut requests =
        [SessionRequest { label: "netflix".into(), ..request(0, Limit::Packets(1)) }].into_iter();
    assert!(generator.run(&mut requests, &mut |_| (), &mut |_| ControlFlow::Continue(())).is_err());
    let cold = GenerateOptions { policy: Policy { top_p: 0.0, ..Policy::default() }, ..options(1) };
    assert!(Generator::new(trained(), cold).err().unwrap().to_string().contains("top_p"));
    assert!(Generator::new(trained(), options(0)).err().unwrap().to_string().contains("batch"));
}

#[test]
fn requests_may_come_later_and_the_observer_may_stop() {
    let mut generator =
        Generator::new(trained(), GenerateOptions { ignore_end: true, ..options(2) }).unwrap();
    // One request at once, nothing for three calls, then another.
    let mut asked = 0;
    let mut requests = std::iter::from_fn(|| {
        asked += 1;
        match asked {
            1 => Some(request(0, Limit::Packets(3))),
            5 => Some(request(1, Limit::Packets(3))),
            _ => None,
        }
    });
    let mut ids = Vec::new();
    generator.run(&mut requests, &mut |g| ids.push(g.id), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(ids, [0, 1]);
    let mut steps = 0;
    let mut endless = (0..).map(|i| request(i, Limit::Packets(1_000_000)));
    let mut finished = 0;
    let stats = generator
        .run(&mut endless, &mut |_| finished += 1, &mut |stats| {
            steps += 1;
            assert!(stats.live <= 2);
            if steps == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((steps, finished, stats.live), (10, 0, 2));
    // Each of the two has its prompt's token, the token after it, and one token per step.
    assert_eq!(stats.counts.tokens, 2 * (2 + 10));
    fn is_send<T: Send>(_: &T) {}
    is_send(&generator);
}
