//! The flow codec: a session in a few tokens a packet, time included.
//!
//! Header compression with a model in mind (Van Jacobson, RFC 1144; ROHC, RFC 5795): what follows from earlier packets takes
//! no token, and what carries no behaviour (addresses, sequence origins, ciphertext) goes to a side table that no model
//! sees. The grammar is in `docs/flow-codec.md`, which is the normative text; each file here begins with its part.
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
//! 3. `state`, `packet`: what a session remembers, and the way through a packet.
//! 4. `time`, `endpoints`, `link`, `tcp`, `datagram`, [`payload`], `network_tail`, `ip_id`: the fields.
//! 5. [`side_channel`], [`hosts`], [`ports`]: what the model does not see.
//! 6. `strict`, `complete`: what a generator may write and what it leaves to be filled in.
//! 7. `strict_encoder`, `context`: what a model sees of a capture, and what a decoder tells it.
//! 8. `codec`, `encoder`, `decoder`, `coder`: the codec as others see it.
//!
//! # Contracts
//! * Grammar functions look at the state and do not change it; `packet::apply` does, for a whole packet.
//! * Whether a mask is strict changes the mask and nothing else: what a token means does not depend on it.
//! * No token stream and no frame makes it panic, and the state of a session is bounded.
//! * Integers only: the same tokens on every machine.

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
