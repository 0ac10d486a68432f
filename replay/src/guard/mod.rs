//! The guard: nothing leaves that the profile does not allow, and the host itself stays silent. Fail closed.
//!
//! Three layers, each of which holds without the others:
//!
//! * [`Allowlist`] looks at the bytes of every frame, in this process, in front of every sink: addresses of
//!   the Ethernet, ARP, IPv4 and IPv6 headers and of the packets that ICMP quotes. It needs no kernel support
//!   and no privilege, and it also covers paths that netfilter does not see.
//! * [`nft::NftGuard`] keeps the host's own stack from answering or forwarding test traffic on the interfaces
//!   in use, and checks what leaves a second time in the kernel.
//! * [`Gate`] is the switch between them: any part that finds something wrong trips it, and then every sink
//!   stops before its next frame, for good.
//!
//! Sinks hold a [`Guard`], the first and the third together, from their construction on; there is no way to
//! make one without. The daemon calls [`nft::NftGuard::verify`] at least every [`POLL`], or lets
//! [`watch::Watch`] do it.

mod allowlist;
mod gate;
pub mod nft;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use allowlist::{Allowlist, NotCovered, Place, Violation};
pub use gate::{Gate, Tripped};

use crate::rewrite::TestbedFrame;

/// How often the rules in the kernel are looked at, at least. Transmission must end within a second of their
/// removal; two looks in that time leave one to be late.
pub const POLL: Duration = Duration::from_millis(500);

/// Why a frame may not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes break the allowlist.
    #[error("refused by the allowlist: {0}")]
    Violation(Violation),
    /// Something else tripped the gate before.
    #[error("sending was stopped: {0}")]
    Stopped(Tripped),
}

// By hand: thiserror's `from` would make them sources too, and a chain of errors would say them twice.
impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Refusal {
        Refusal::Violation(violation)
    }
}

impl From<Tripped> for Refusal {
    fn from(tripped: Tripped) -> Refusal {
        Refusal::Stopped(tripped)
    }
}

/// What every sink asks before it takes a frame.
#[derive(Clone, Debug)]
pub struct Guard {
    allow: Arc<Allowlist>,
    gate: Arc<Gate>,
}

impl Guard {
    /// A guard over this allowlist and gate; clones share both.
    pub fn new(allow: Arc<Allowlist>, gate: Arc<Gate>) -> Guard {
        Guard { allow, gate }
    }

    /// The allowlist.
    pub fn allowlist(&self) -> &Arc<Allowlist> {
        &self.allow
    }

    /// The gate.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether `frame` may pass. A violation also trips the gate: bytes that the rewriter should never have
    /// made mean that its next ones cannot be trusted either, on any sink.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit_frame(&self, frame: &TestbedFrame) -> Result<(), Refusal> {
        self.gate.check()?;
        self.allow.check(frame.bytes()).map_err(|violation| {
            self.gate.trip(format!("allowlist: {violation}"));
            Refusal::Violation(violation)
        })
    }
}
