//! [`TestbedFrame`]: the only thing that a sink takes, and who it belongs to.
//!
//! Its fields are private to [`rewrite`](super), so code outside that module cannot make one, and an address that was
//! not mapped cannot reach a wire or a file:
//!
//! ```
//! fn read(frame: &netssm_replay::rewrite::TestbedFrame) -> &[u8] {
//!     frame.bytes()
//! }
//! ```
//! ```compile_fail
//! use netssm_replay::rewrite::TestbedFrame;
//! let frame = TestbedFrame { bytes: vec![0; 60] };
//! ```
//! ```compile_fail
//! use netssm_replay::rewrite::TestbedFrame;
//! let frame = TestbedFrame::new(vec![0; 60]);
//! ```
//! ```compile_fail
//! fn tamper(frame: &mut netssm_replay::rewrite::TestbedFrame) {
//!     frame.bytes_mut()[26] = 8;
//! }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use netssm_wire::flow::FiveTuple;
use netssm_wire::session::Origin;

use crate::rewrite::plan::Side;
use crate::rewrite::plan::allocator::Lease;
use crate::rewrite::survey::ids::FlowId;

/// Which way a frame goes: the side that its sender is on.
///
/// A frame between two hosts of one side is sent from that side, as on a real link, whichever of them serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Sent by a host of the client side.
    ToServer,
    /// Sent by a host of the server side.
    ToClient,
}

impl Direction {
    pub(super) fn from_sender(side: Side) -> Direction {
        match side {
            Side::Client => Direction::ToServer,
            Side::Server => Direction::ToClient,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::ToServer => "to-server",
            Direction::ToClient => "to-client",
        })
    }
}

/// What is known of one replay of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Number of the replay, unique for an [`Allocator`](super::Allocator), counted from 1.
    pub id: u64,
    /// Traffic label of the session.
    pub label: Arc<str>,
    /// Who made the session.
    pub origin: Origin,
    /// Seed that the session was generated with.
    pub seed: u64,
    /// Seed of this replay.
    pub replay_seed: u64,
}

/// The replay that a frame belongs to; cheap to clone. While a tag lives, the addresses of its replay stay leased, so
/// a frame in a queue never shares them with a later session.
#[derive(Clone)]
pub struct SessionTag(pub(super) Arc<Tagged>);

/// What a [`SessionTag`] points at.
pub(super) struct Tagged {
    pub(super) facts: Arc<SessionFacts>,
    /// Held, not read: dropping the last tag returns it.
    pub(super) _lease: Lease,
}

impl SessionTag {
    /// Number of the replay.
    pub fn id(&self) -> u64 {
        self.0.facts.id
    }

    /// Traffic label.
    pub fn label(&self) -> &Arc<str> {
        &self.0.facts.label
    }

    /// Everything known; holding this does not hold the lease.
    pub fn facts(&self) -> &Arc<SessionFacts> {
        &self.0.facts
    }
}

impl fmt::Debug for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionTag").field(&self.0.facts).finish()
    }
}

/// The flow that a frame belongs to, within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTag {
    /// The flow in its session.
    pub id: FlowId,
    /// Addresses and ports as the initiator sends them, after rewriting. For ICMP the ports are type and code, as
    /// [`FiveTuple`] has them.
    pub initiator: FiveTuple,
    /// Whether this frame is from the initiator.
    pub from_initiator: bool,
}

/// A complete Ethernet frame (without frame check sequence) whose every address lies in the testbed: headers
/// rewritten, payload filled to the declared length, checksums right. Made only by
/// [`SessionReplay`](super::SessionReplay).
#[derive(Clone, Debug)]
pub struct TestbedFrame {
    pub(super) bytes: Vec<u8>,
    pub(super) offset: Duration,
    pub(super) direction: Direction,
    pub(super) session: SessionTag,
    pub(super) flow: Option<FlowTag>,
}

impl TestbedFrame {
    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its length in bytes, without frame check sequence.
    #[expect(clippy::len_without_is_empty, reason = "a frame has at least an Ethernet header")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When it is due, from the start of the session.
    pub fn offset(&self) -> Duration {
        self.offset
    }

    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The replay that it belongs to.
    pub fn session(&self) -> &SessionTag {
        &self.session
    }

    /// The flow that it belongs to; `None` for frames without one (ARP, fragments whose first part is missing).
    pub fn flow(&self) -> Option<&FlowTag> {
        self.flow.as_ref()
    }

    /// Takes the buffer out, to be used again: see [`SessionReplay::recycle`](super::SessionReplay::recycle).
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
