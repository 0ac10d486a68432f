//! Why frames cannot be sent on an interface, worded for the operator.

use std::io;
use std::time::Duration;

use crate::interface::LookupError;

/// Why an interface cannot be sent on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// It was not found.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The socket could not be made or set up.
    #[error("cannot open a packet socket on {name}: {step}{}", needed(*privilege))]
    Open {
        /// Interface.
        name: String,
        /// What was tried.
        step: &'static str,
        /// Whether it was for want of privilege.
        privilege: bool,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It takes something else than Ethernet frames.
    #[error("interface {name} does not take ethernet frames (hardware type {hardware}, expected 1 or 772)")]
    NotEthernet {
        /// Interface.
        name: String,
        /// Its `ARPHRD_*` type.
        hardware: u16,
    },
    /// It is down, or its carrier is gone.
    #[error("interface {}", why_down(name, *admin_up))]
    Down {
        /// Interface.
        name: String,
        /// Administratively up, so the carrier is missing.
        admin_up: bool,
    },
    /// It is not there any more.
    #[error("interface {name} has disappeared")]
    Gone {
        /// Interface.
        name: String,
    },
    /// The kernel had no room for a frame for too long.
    #[error(
        "interface {name} has taken no frame for {waited:?}: its queue stays full, or an egress rule drops it"
    )]
    Stuck {
        /// Interface.
        name: String,
        /// How long it was offered.
        waited: Duration,
    },
    /// A frame is too long, and the policy is to refuse.
    #[error("a frame of {len} bytes is longer than interface {name} takes ({limit} bytes with its tags)")]
    OverMtu {
        /// Interface.
        name: String,
        /// Length of the frame.
        len: usize,
        /// Longest frame that would pass.
        limit: usize,
    },
    /// Anything else.
    #[error("sending on interface {name} failed")]
    Send {
        /// Interface.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An earlier error ended this sink.
    #[error("interface {name} was given up earlier: {reason}")]
    Ended {
        /// Interface.
        name: String,
        /// The earlier error.
        reason: String,
    },
}

fn why_down(name: &str, admin_up: bool) -> String {
    if admin_up {
        format!("{name} has no carrier: is the far end up?")
    } else {
        format!("{name} is down: ip link set dev {name} up")
    }
}

fn needed(privilege: bool) -> &'static str {
    if privilege { " (this needs CAP_NET_RAW, or root)" } else { "" }
}
