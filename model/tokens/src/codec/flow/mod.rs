//! The flow codec: a few tokens per packet, with the time.
//!
//! This is header compression for a model (compare Van Jacobson, RFC 1144, and ROHC, RFC 5795). What follows from
//! earlier packets takes no token. Values without behaviour (addresses, sequence origins, ciphertext) go into the side
//! channel, which no model reads. `docs/flow-codec.md` has the grammar and is the normative text. Each file here begins
//! with its part of it.
//!
//! ```text
//! frame -> Record -> code(state, Emit) -> tokens + side table        Recorder
//! tokens + side table -> code(state, Read) -> Record                 RecordReader
//! tokens -> code(state, Read), drawn side values -> Record -> completion -> RawPacket       SessionReader, the decoder
//!           code(state, Collect) -> what may come next
//! ```
//!
//! # Reading order
//! 1. [`vocab`], [`io`], `choose`, [`number`]: the alphabet and how a field is written.
//! 2. [`record`], [`transport`], `network`: what is kept of a frame.
//! 3. `state`, `packet`: what a session remembers, and the order of the fields of a packet.
//! 4. `time`, `endpoints`, `link`, `tcp`, `datagram`, [`payload`], `network_tail`, `ip_id`: the fields.
//! 5. [`side_channel`], [`hosts`], [`ports`]: values that the model does not see, and their classes, which it sees.
//! 6. `strict`, `complete`: the rules for generated packets, and the bytes that no token holds.
//! 7. `strict_encoder`, `context`: the tokens and the side information that a model learns from.
//! 8. `codec`, `encoder`, `decoder`, `coder`: the interface of the codec.
//!
//! # Contracts
//! * Grammar functions read the state and do not change it. `packet::apply` changes it, once for each whole packet.
//! * The strict and the faithful profile differ in the mask only. A token means the same in both.
//! * No token stream and no frame makes it panic. The state of a session is bounded.
//! * It computes with integers only, so tokens are the same on every machine.

mod choose;
mod codec;
mod coder;
mod complete;
mod context;
mod datagram;
mod decoder;
mod encoder;
mod endpoints;
mod hash;
pub mod hosts;
pub mod io;
mod ip_id;
mod lengths;
mod link;
pub mod mask;
mod network;
mod network_tail;
pub mod number;
mod packet;
pub mod payload;
pub mod ports;
pub mod record;
pub mod side_channel;
mod state;
mod strict;
mod strict_encoder;
mod tcp;
#[cfg(test)]
mod tests;
mod time;
pub mod transport;
pub mod vocab;

pub use self::{
    codec::FlowCodec,
    coder::{RecordReader, Recorder},
    decoder::{Pushed, SessionReader},
    encoder::CaptureDirection,
    endpoints::Slots,
    packet::Parameters,
};
