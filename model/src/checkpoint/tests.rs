//! A checkpoint is written and read back. Then each test breaks a directory in one way.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use netssm_tokens::codec::{BytesCodec, Form, Vocab, Width};
use netssm_tokens::timing::TimingTable;

use super::*;
use crate::network::init::init_weights;

fn config(vocab: usize) -> ModelConfig {
    ModelConfig {
        d_model: 16,
        n_layer: 1,
        d_state: 8,
        headdim: 8,
        vocab_size: vocab,
        ..ModelConfig::default()
    }
}

fn manifest(vocab: Vocab) -> Manifest {
    Manifest {
        format: FORMAT,
        codec: BytesCodec::new(vocab.clone(), Width::Variable, Form::Canonical).id(),
        vocab,
        timing: TimingTable::learn(BTreeMap::from([("a".to_owned(), vec![5, 9])])),
        training: TrainFacts { steps: 7, data: "words".into(), ..TrainFacts::default() },
        weights_sha256: String::new(),
    }
}

fn saved(dir: &Path) -> String {
    let vocab = Vocab::new(&["a", "b"]).unwrap();
    let config = config(vocab.size());
    let weights = init_weights(&config, 1, &Device::Cpu).unwrap();
    Checkpoint::save(dir, &config, manifest(vocab), &weights).unwrap()
}

fn fails(dir: &Path, contains: &[&str]) {
    let message = Checkpoint::open(dir).unwrap_err().to_string();
    for part in contains {
        assert!(message.contains(part), "expected '{part}' in: {message}");
    }
}

/// Saves a checkpoint, changes one of its files as text, and opens it.
fn changed(file: &str, from: &str, to: &str, contains: &[&str]) {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("m");
    saved(&dir);
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{from} is not in {file}: {text}");
    std::fs::write(dir.join(file), text.replacen(from, to, 1)).unwrap();
    fails(&dir, contains);
}

#[test]
fn what_is_saved_is_opened() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("m");
    let hash = saved(&dir);
    let checkpoint = Checkpoint::open(&dir).unwrap();
    assert_eq!(checkpoint.sha256(), hash);
    assert_eq!(checkpoint.labels(), ["a", "b"]);
    assert_eq!(checkpoint.manifest().training.steps, 7);
    assert!(checkpoint.manifest().timing.knows("a"));
    assert_eq!(checkpoint.config(), &config(262));
    checkpoint.model(&Device::Cpu).unwrap();
    // Saving over a checkpoint replaces it as a whole. The same weights have the same hash.
    assert_eq!(saved(&dir), hash);
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 1);
}

#[test]
fn an_untrained_model_has_its_own_sizes_over_the_same_codec() {
    let tmp = tempfile::tempdir().unwrap();
    saved(&tmp.path().join("m"));
    let trained = Checkpoint::open(&tmp.path().join("m")).unwrap();
    let sizes = ModelConfig { d_model: 32, n_layer: 2, ..config(262) };
    let random = trained.untrained(sizes.clone(), 9).unwrap();
    assert_eq!((random.config(), random.manifest().training.steps), (&sizes, 0));
    assert_eq!((random.labels(), &random.manifest().codec), (trained.labels(), &trained.manifest().codec));
    random.model(&Device::Cpu).unwrap();
    let dir = tmp.path().join("r");
    let hash = Checkpoint::save(&dir, &sizes, random.manifest().clone(), random.weights()).unwrap();
    assert_eq!(random.sha256(), hash);
    let error = trained.untrained(config(100), 1).unwrap_err().to_string();
    assert!(error.contains("vocab_size") && error.contains("262") && error.contains("100"), "{error}");
}

#[test]
fn damage_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("m");
    fails(&dir, &["is not a checkpoint", "no netssm.json"]);
    saved(&dir);
    let path = dir.join(WEIGHTS_FILE);
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 5, 300, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        fails(&dir, &["model.safetensors", "not a whole safetensors file"]);
    }
    let mut flipped = whole.clone();
    let last = flipped.len() - 3;
    flipped[last] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    fails(&dir, &["model.safetensors: sha256 of the weights is", "expected"]);
    std::fs::remove_file(&path).unwrap();
    fails(&dir, &["cannot read", "model.safetensors"]);
}

#[test]
fn wrong_tensors_are_named() {
    let vocab = Vocab::new(&["a", "b"]).unwrap();
    let config = config(vocab.size());
    let save = |change: &dyn Fn(&mut Weights)| {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("m");
        let mut weights = init_weights(&config, 1, &Device::Cpu).unwrap();
        change(&mut weights);
        Checkpoint::save(&dir, &config, manifest(vocab.clone()), &weights).unwrap();
        Checkpoint::open(&dir).unwrap_err().to_string()
    };
    let name = "backbone.layers.0.mixer.D";
    let shape = save(&|w| {
        w.insert(name.into(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap());
    });
    assert!(
        shape.ends_with(
            "model.safetensors: tensor backbone.layers.0.mixer.D has the wrong shape: expected [4], got [5]"
        ),
        "{shape}"
    );
    let nan = save(&|w| {
        w.insert(name.into(), Tensor::new(&[0f32, f32::NAN, 0.0, 0.0], &Device::Cpu).unwrap());
    });
    assert!(nan.contains("mixer.D holds NaN at element 1"), "{nan}");
    let missing = save(&|w| {
        w.remove(name);
    });
    assert!(missing.contains("tensor backbone.layers.0.mixer.D is missing"), "{missing}");
}

#[test]
fn wrong_words_are_named() {
    changed(
        "netssm.json",
        "\"format\": 1",
        "\"format\": 9",
        &["netssm.json: checkpoint format 9, this build reads 1"],
    );
    changed("netssm.json", "\"format\": 1,", "", &["checkpoint format missing"]);
    changed(
        "netssm.json",
        "\"name\": \"bytes\"",
        "\"name\": \"words\"",
        &["netssm.json", "'words' is not a codec"],
    );
    changed("netssm.json", "\"version\": 1", "\"version\": 8", &["netssm.json", "8"]);
    changed("netssm.json", "\"steps\": 7", "\"stops\": 7", &["netssm.json", "unknown field `stops`"]);
    changed("netssm.json", "{", "[", &["netssm.json: not JSON"]);
    changed("config.json", "\"d_model\": 16", "\"d_model\": 32", &["model.safetensors", "wrong shape"]);
    changed(
        "config.json",
        "\"vocab_size\": 262",
        "\"vocab_size\": 263",
        &["vocabulary has 262 tokens", "263"],
    );
    changed("config.json", "\"Mamba2\"", "\"Mamba1\"", &["config.json", "got \"Mamba1\""]);
}

/// A directory as NetSSM's training leaves it, without netssm.json.
fn netssm(dir: &Path, vocab_size: usize) {
    let config = config(vocab_size);
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(CONFIG_FILE), config.to_json().to_string()).unwrap();
    let weights = init_weights(&config, 2, &Device::Cpu).unwrap();
    std::fs::write(dir.join(WEIGHTS_FILE), weights::to_bytes(&weights).unwrap()).unwrap();
    let mut vocab: serde_json::Map<String, serde_json::Value> =
        (0..256).map(|b| (b.to_string(), b.into())).collect();
    vocab.insert("<|unk|>".into(), 256.into());
    let names = ["<|endoftext|>", "<|padding|>", "<|pkt|>", "<|netflix|>", "<|youtube|>"];
    let added: Vec<_> =
        names.iter().zip(257..).map(|(n, id)| serde_json::json!({"id": id, "content": n})).collect();
    let tokenizer =
        serde_json::json!({"added_tokens": added, "model": {"type": "WordLevel", "vocab": vocab}});
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

#[test]
fn netssms_own_directories_open_with_a_width() {
    let tmp = tempfile::tempdir().unwrap();
    netssm(tmp.path(), 264);
    fails(tmp.path(), &["tokenizer.json and no netssm.json", "packet width"]);
    let checkpoint = Checkpoint::open_netssm(tmp.path(), Width::Fixed(94)).unwrap();
    assert_eq!(checkpoint.labels(), ["netflix", "youtube"]);
    assert_eq!(checkpoint.codec().id().params["width"], "94");
    assert_eq!(checkpoint.codec().id().params["form"], "raw");
    assert_eq!(checkpoint.sha256().len(), 64);
    assert!(checkpoint.manifest().timing.labels().next().is_none());
    let tmp = tempfile::tempdir().unwrap();
    netssm(tmp.path(), 240);
    let error = Checkpoint::open_netssm(tmp.path(), Width::Fixed(94)).unwrap_err().to_string();
    assert!(
        error.contains("the tokenizer has 262 tokens, expected at most the embedding's 240 rows"),
        "{error}"
    );
    std::fs::remove_file(tmp.path().join(WEIGHTS_FILE)).unwrap();
    netssm(tmp.path(), 264);
    std::fs::remove_file(tmp.path().join(WEIGHTS_FILE)).unwrap();
    let error = Checkpoint::open_netssm(tmp.path(), Width::Variable).unwrap_err().to_string();
    assert!(error.contains("neither model.safetensors nor pytorch_model.bin"), "{error}");
    std::fs::write(tmp.path().join("pytorch_model.bin"), b"PK junk").unwrap();
    let error = Checkpoint::open_netssm(tmp.path(), Width::Variable).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin: not a PyTorch state dictionary"), "{error}");
}

/// `tests/data/make_pytorch_model.py` wrote the file: value k of tensor i is (i + (k % 512) / 1024) / 16.
#[test]
fn a_pytorch_state_dictionary_is_read() {
    let tmp = tempfile::tempdir().unwrap();
    netssm(tmp.path(), 264);
    std::fs::remove_file(tmp.path().join(WEIGHTS_FILE)).unwrap();
    let bytes = include_bytes!("../../tests/data/pytorch_model.bin");
    std::fs::write(tmp.path().join("pytorch_model.bin"), bytes).unwrap();
    let small = ModelConfig { d_model: 8, d_state: 4, headdim: 4, ..config(264) };
    std::fs::write(tmp.path().join(CONFIG_FILE), small.to_json().to_string()).unwrap();
    let checkpoint = Checkpoint::open_netssm(tmp.path(), Width::Fixed(106)).unwrap();
    assert_eq!(checkpoint.weights().values().map(Tensor::elem_count).sum::<usize>(), small.parameters());
    let bias = checkpoint.weights()["backbone.layers.0.mixer.dt_bias"].to_vec1::<f32>().unwrap();
    let expected: Vec<f32> = (0..4u16).map(|k| (5.0 + f32::from(k) / 1024.0) / 16.0).collect();
    assert_eq!(bias, expected);
    checkpoint.model(&Device::Cpu).unwrap();
    std::fs::write(tmp.path().join("pytorch_model.bin"), &bytes[..bytes.len() / 2]).unwrap();
    let error = Checkpoint::open_netssm(tmp.path(), Width::Variable).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin"), "{error}");
}
