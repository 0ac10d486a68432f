//! Who initiated a flow: the end that sent its first packet. A capture may have begun later.
//!
//! # Why there are two rules
//!
//! [`by_flags`] decides wherever a handshake was captured. Elsewhere there are two rules:
//!
//! * [`Guess::of`] uses every hint, the strongest first. Rewriting uses it to place hosts: with a wrong answer a server
//!   would stand on the clients' side.
//! * [`by_system_port`] uses system ports alone. The canonical form of training sessions uses it, so models were
//!   trained on its answers. The measures of fidelity use it too, because their results are compared with published
//!   ones.
//!
//! To replace one by the other would change what models were trained on, or what is measured.

use crate::address_class::Scope;
use crate::flow::FiveTuple;
use crate::frame::protocol;
use crate::ports::{FIRST_EPHEMERAL, FIRST_USER};
use crate::tcp::Flags;

/// Whether the sender of a TCP segment with these flags initiated the connection: yes for a SYN, no for a SYN and ACK;
/// `None` for every other segment.
#[inline]
pub fn by_flags(flags: Flags) -> Option<bool> {
    flags.contains(Flags::SYN).then(|| !flags.contains(Flags::ACK))
}

/// Whether the sender of a flow's first captured packet initiated it, by the system ports alone: the sender unless it
/// has a port below 1024 and its peer has not.
pub fn by_system_port(src_port: u16, dst_port: u16) -> bool {
    src_port >= FIRST_USER || dst_port < FIRST_USER
}

/// What a guess stands on, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// Nothing but the order: the sender of the first packet.
    Order,
    /// One end is near, the other beyond a provider ([`Scope::is_near`]).
    Scope,
    /// One end has a system port, or one alone an ephemeral one.
    Ports,
    /// A SYN or its answer, an ICMP request or its reply, or a group at the other end.
    Stated,
}

/// Who initiated a flow, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Whether the sender of the packet looked at did.
    pub sender: bool,
    /// What says so.
    pub evidence: Evidence,
}

impl Guess {
    /// What the addresses and ports of a flow's first captured packet tell.
    pub fn of(tuple: &FiveTuple) -> Guess {
        let guess = |sender, evidence| Guess { sender, evidence };
        if Scope::of(tuple.dst) == Scope::Group {
            return guess(true, Evidence::Stated);
        }
        let (src, dst) = (tuple.src_port, tuple.dst_port);
        match tuple.protocol {
            // Replies of echo and timestamp; of echo, router and neighbour solicitation.
            protocol::ICMP => return guess(!matches!(src, 0 | 14), Evidence::Stated),
            protocol::ICMPV6 => return guess(!matches!(src, 129 | 134 | 136), Evidence::Stated),
            _ => {}
        }
        if (src < FIRST_USER) != (dst < FIRST_USER) {
            return guess(dst < FIRST_USER, Evidence::Ports);
        }
        if (src >= FIRST_EPHEMERAL) != (dst >= FIRST_EPHEMERAL) {
            return guess(src >= FIRST_EPHEMERAL, Evidence::Ports);
        }
        let (near, far) = (Scope::of(tuple.src).is_near(), Scope::of(tuple.dst).is_near());
        if near != far { guess(near, Evidence::Scope) } else { guess(true, Evidence::Order) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initiator_is_known_from_ports_scope_or_order() {
        let guess = |src: ([u8; 4], u16), dst: ([u8; 4], u16)| {
            let guess = Guess::of(&FiveTuple {
                src: src.0.into(),
                dst: dst.0.into(),
                src_port: src.1,
                dst_port: dst.1,
                protocol: protocol::UDP,
            });
            (guess.sender, guess.evidence)
        };
        let (near, far) = ([10, 0, 0, 1], [198, 18, 0, 1]);
        assert_eq!(guess((far, 53), (near, 5000)), (false, Evidence::Ports));
        assert_eq!(guess((near, 40_000), (near, 5000)), (true, Evidence::Ports));
        assert_eq!(guess((far, 5000), (near, 6000)), (false, Evidence::Scope));
        assert_eq!(guess((near, 5000), (near, 6000)), (true, Evidence::Order));
        assert_eq!(guess((near, 53), ([224, 0, 0, 251], 5353)), (true, Evidence::Stated));
        let reply = FiveTuple { src: far.into(), dst: near.into(), src_port: 0, dst_port: 0, protocol: 1 };
        assert_eq!(Guess::of(&reply), Guess { sender: false, evidence: Evidence::Stated });
    }

    #[test]
    fn the_two_rules_differ_where_they_say() {
        // Both take a system port; only the guess takes an ephemeral one.
        assert!(!by_system_port(443, 50_000) && by_system_port(50_000, 443) && by_system_port(53, 53));
        assert!(by_system_port(8080, 50_000), "the sender, though 50000 was drawn");
    }

    #[test]
    fn flags_say_who_asked() {
        assert_eq!(by_flags(Flags::SYN), Some(true));
        assert_eq!(by_flags(Flags::SYN | Flags::ACK), Some(false));
        assert_eq!(by_flags(Flags::ACK | Flags::PSH), None);
    }
}
