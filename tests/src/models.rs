//! Untrained checkpoints: small, with random weights. They serve tests of what must hold for any model.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use netssm_model::checkpoint::{Checkpoint, FORMAT, Manifest, TrainFacts};
use netssm_model::network::config::ModelConfig;
use netssm_model::network::init::{embedding_rows, init_weights};
use netssm_model::network::params::CONTEXT;
use netssm_tokens::codec::CodecChoice;
use netssm_tokens::timing::TimingTable;

/// Writes a checkpoint of some ten thousand random weights into the new folder `dir`.
///
/// `loudness` multiplies the embedding, which is also the output matrix. At 1, as when training begins, all tokens are
/// about equally likely. At 30 the model strongly prefers some tokens and repeats them for long.
///
/// # Panics
/// If the checkpoint cannot be written.
#[track_caller]
pub fn write_untrained(dir: &Path, codec: &CodecChoice, labels: &[&str], seed: u64, loudness: f64) {
    let codec = codec.over(labels).expect("labels for an alphabet");
    let config = ModelConfig {
        d_model: 32,
        n_layer: 2,
        d_state: 16,
        headdim: 16,
        chunk_size: 64,
        vocab_size: codec.vocab().size(),
        context: codec.context(),
        ..ModelConfig::default()
    };
    let mut weights = init_weights(&config, seed, &Device::Cpu).expect("random weights");
    if let Some(context) = codec.context() {
        // Training starts with a table of side information that has no effect. Random rows give it an effect here.
        let table = embedding_rows(&config, context.rows, seed, &Device::Cpu).expect("random rows");
        weights.insert(CONTEXT.to_owned(), table);
    }
    let embedding = weights.get_mut("backbone.embedding.weight").expect("a model has an embedding");
    *embedding = (&*embedding * loudness).expect("the product");
    let manifest = Manifest {
        format: FORMAT,
        codec: codec.id(),
        vocab: codec.vocab().clone(),
        timing: TimingTable::default(),
        training: TrainFacts::default(),
        weights_sha256: String::new(),
    };
    let _: String = Checkpoint::save(dir, &config, manifest, &weights).expect("a checkpoint");
}

/// Number of packets in a capture by protocol: `arp`, or IP version and protocol number, such as `4/6` or `6/58`.
#[must_use]
pub fn protocols(capture: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    crate::captures::for_each(capture, |_, _, bytes| {
        let name = match bytes.get(12..14) {
            Some([0x08, 0x06]) => "arp".to_owned(),
            Some([0x08, 0x00]) => format!("4/{}", bytes[23]),
            // With hop-by-hop options, the protocol is the next header that these name.
            Some([0x86, 0xdd]) if bytes[20] == 0 => format!("6/{}", bytes[54]),
            Some([0x86, 0xdd]) => format!("6/{}", bytes[20]),
            _ => "other".to_owned(),
        };
        *found.entry(name).or_default() += 1;
    });
    found
}
