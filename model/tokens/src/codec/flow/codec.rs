//! The interface of the codec: its id, its alphabet, encoders and decoders.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    context,
    decoder::FlowDecoder,
    encoder::FlowEncoder,
    endpoints::Slots,
    hosts::COMMON_HOSTS,
    packet::Parameters,
    ports::PORTS,
    tcp::tables as tcp_tables,
    time::EDGES,
    vocab::{GRAMMAR_SIZE, is_time, vocab_hash},
};
use crate::codec::{Codec, CodecId, Decoder, Encoder, Vocab};
use crate::context::ContextShape;
use crate::error::DataError;

/// Tokens before the first packet: label, direction, link rate.
pub(super) const HEAD: usize = 3;

/// The flow codec; see the [module](super) for the grammar.
#[derive(Clone, Debug)]
pub struct FlowCodec {
    vocab: Vocab,
    rules: Parameters,
}

impl FlowCodec {
    /// The codec's name in a [`CodecId`].
    pub const NAME: &'static str = "flow";
    /// Version of the grammar. A changed prediction changes what an absent token means, so it needs a new version.
    pub const VERSION: u32 = 3;

    /// A codec over `vocab`.
    ///
    /// # Errors
    /// [`DataError::Codec`] when the vocabulary is not one of the flow grammar ([`Vocab::flow`]).
    pub fn new(vocab: Vocab, rules: Parameters) -> Result<Self, DataError> {
        if vocab.grammar() != GRAMMAR_SIZE {
            return Err(DataError::Codec("the vocabulary is not that of the flow codec".to_owned()));
        }
        Ok(Self { vocab, rules })
    }

    /// The codec that `id` names.
    ///
    /// # Errors
    /// [`DataError::Codec`] for another name, version, table or parameter; the message has both ids.
    pub fn from_id(id: &CodecId, vocab: Vocab) -> Result<Self, DataError> {
        let param = |name: &str| id.params.get(name).map(String::as_str);
        let rules = Parameters {
            fine: param("fine") == Some("true"),
            slots: if param("slots") == Some("fixed") { Slots::Fixed } else { Slots::Recent },
        };
        let codec = Self::new(vocab, rules)?;
        let own = codec.id();
        if *id != own {
            return Err(DataError::Codec(format!("'{id}' needs another build: this one has '{own}'")));
        }
        Ok(codec)
    }

    /// The parameters of the grammar.
    pub fn rules(&self) -> Parameters {
        self.rules
    }
}

/// Hash of the tables that give tokens their meaning.
fn tables_hash() -> String {
    let mut hash = Sha256::new();
    PORTS.iter().for_each(|port| hash.update(port.to_le_bytes()));
    EDGES.iter().for_each(|edge| hash.update(edge.to_le_bytes()));
    COMMON_HOSTS.iter().for_each(|host| hash.update(host.to_string()));
    tcp_tables(&mut |bytes| hash.update(bytes));
    super::payload::tables(&mut |bytes| hash.update(bytes));
    hex::encode(&hash.finalize()[..8])
}

impl Codec for FlowCodec {
    fn id(&self) -> CodecId {
        let slots = match self.rules.slots {
            Slots::Recent => "recent",
            Slots::Fixed => "fixed",
        };
        let params = [
            ("fine", self.rules.fine.to_string()),
            ("slots", slots.to_owned()),
            ("vocab", vocab_hash()),
            ("tables", tables_hash()),
        ];
        let params: BTreeMap<_, _> =
            params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        CodecId { name: Self::NAME.to_owned(), version: Self::VERSION, params }
    }

    fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    fn prompt(&self, label: &str) -> Result<Vec<u16>, DataError> {
        Ok(vec![self.vocab.require_label(label)?])
    }

    fn encoder(&self, label: &str) -> Result<Box<dyn Encoder>, DataError> {
        Ok(Box::new(FlowEncoder::new(self.rules, self.vocab.require_label(label)?)))
    }

    fn decoder(&self, seed: u64) -> Box<dyn Decoder> {
        Box::new(FlowDecoder::new(self.rules, seed))
    }

    fn timed(&self) -> bool {
        true
    }

    fn stateful(&self) -> bool {
        true
    }

    fn head(&self) -> usize {
        HEAD
    }

    fn is_time(&self, token: u16) -> bool {
        is_time(token)
    }

    fn context(&self) -> Option<ContextShape> {
        Some(context::shape(self.vocab.labels().len()))
    }
}
