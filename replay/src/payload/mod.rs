//! Payload: the bytes that a session's headers declare and that no model made.
//!
//! [`rewrite`](crate::rewrite) asks for them while it makes frames. A [`PayloadModel`] makes one [`FlowPayload`] for
//! each flow of a replay, which fills streams and datagrams. Other content (recorded templates, application models) can
//! take the place of [`Builtin`].
//!
//! [`Builtin`] is simple and well formed. It looks at the flow's ports:
//!
//! * the DNS family (53, 5353, 5355, 137) gets messages of exactly the declared length, names under `example.`,
//!   `invalid.` or `test.`, answers that repeat the question (`dns`);
//! * DHCP, NTP and SSDP get messages of the declared length; TLS, HTTP, SSH and DNS over TCP one record, message or
//!   packet for each segment (`streams`);
//! * other ports that Wireshark knows get the filler that its dissector there accepts, which was found by trying,
//!   or are moved to a port that it does not know (`ports`);
//! * everything else gets pseudo-random bytes, so that it looks encrypted.
//!
//! Same session seed, same bytes: everything is keyed by the session's seed, the number of the flow in its
//! session, and the direction. TCP content belongs to its place in the stream, so retransmissions repeat their
//! bytes and overlapping segments agree.

mod dhcp;
mod dns;
mod keystream;
mod model;
mod names;
mod ntp;
mod ports;
mod streams;
mod tables;
mod text;

use std::fmt;
use std::sync::Arc;

use netssm_wire::MacAddr;
use netssm_wire::flow::FiveTuple;

pub use keystream::Keystream;
pub use model::Builtin;
pub use ports::is_known_port;

/// Makes payload for the flows of a session. One model serves every replay of a rewriter.
pub trait PayloadModel: fmt::Debug + Send + Sync {
    /// Whether content for `port` can be well formed in a flow of this shape. Where it cannot, the rewriter moves
    /// the flow to another port.
    fn fits(&self, protocol: u8, port: u16, shape: FlowShape) -> bool;

    /// Whether flows between these two known ports have content that is right for both. Where it is not, one of
    /// them is moved.
    fn agree(&self, protocol: u8, a: u16, b: u16) -> bool;

    /// Content for one flow.
    fn flow(&self, facts: &FlowFacts) -> Box<dyn FlowPayload>;
}

/// What content has to cope with in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowShape {
    /// Length in bytes of the shortest datagram or segment that is not empty; `None` when all are.
    pub least_payload: Option<usize>,
    /// No TCP segment repeats a part of what was sent, or fills a gap, other than by repeating a segment exactly.
    /// Analysers that reassemble messages call the others malformed. Always true for UDP.
    pub orderly: bool,
}

/// What is known of a flow before its first payload byte.
#[derive(Clone, Debug)]
pub struct FlowFacts {
    /// Key for everything random in the flow: a function of the session's seed and the number of the flow.
    pub seed: u64,
    /// Addresses and ports as the initiator sends them, in the testbed.
    pub initiator: FiveTuple,
    /// Its shape over the whole session.
    pub shape: FlowShape,
    /// Traffic label of the session.
    pub label: Arc<str>,
}

/// Content of one flow of one replay. Calls come in sending order.
pub trait FlowPayload: Send {
    /// Fills `out` with the bytes `offset..offset + out.len()` of the stream that one side sends.
    ///
    /// A byte of the stream, once given, must be the same whenever it is asked for again: ranges repeat
    /// (retransmission), overlap and come in any order. Offsets wrap at 2^32, where the sequence number does.
    fn stream(&mut self, from_initiator: bool, offset: u64, out: &mut [u8]);

    /// Fills `out` with the payload of one datagram. The same ordinal may be asked for again, shorter, when an
    /// ICMP error quotes it.
    fn datagram(&mut self, datagram: &Datagram<'_>, out: &mut [u8]);
}

/// One datagram to fill.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Whether the flow's initiator sends it.
    pub from_initiator: bool,
    /// How many datagrams its sender sent before it in this flow.
    pub ordinal: u64,
    /// The first payload bytes that the session has for it, at most 12; made by the model, so anything. Only the
    /// DNS family reads them.
    pub prefix: &'a [u8],
    /// New Ethernet address of its sender.
    pub sender: MacAddr,
    /// New Ethernet address that it is sent to.
    pub receiver: MacAddr,
}
