//! From a session to frames for the testbed.
//!
//! [`Rewriter::begin`] leases addresses for one replay of a [`Session`](netssm_wire::session::Session) and gives a
//! [`SessionReplay`], which makes one [`TestbedFrame`] after the other:
//!
//! ```text
//! session ─ survey ─ roles ─ lease + map ─┐             (once, in begin)
//!    └───────── packet ─ admit ─ rewrite ─┴─ payload ─ checksums ─ TestbedFrame   (per packet, in next)
//! ```
//!
//! # What is rewritten
//!
//! | where | what |
//! |---|---|
//! | Ethernet | both addresses by [`MacPolicy`]; 802.1Q tag by the plan, tags of the session never pass; padding is zeros |
//! | ARP | both pairs of addresses; zero target and 0.0.0.0 sender stay |
//! | IPv4 | addresses, identification (a counter per source; one value for the fragments of a datagram), options but router alert become padding |
//! | IPv6 | addresses, flow labels that are not zero, fragment identification, unknown options become padding |
//! | TCP | ephemeral ports, sequence and acknowledgement numbers, SACK blocks, timestamps, Fast Open cookies; unknown options become padding |
//! | UDP | ephemeral ports, length if it is not the IP packet's |
//! | ICMP, ICMPv6 | quoted packets (also cut ones), redirect targets, neighbour discovery targets and options, listener reports, times of timestamps; reserved fields become zeros |
//! | IGMP | sources; groups stay; reserved fields become zeros |
//! | payload | made by [`payload`](crate::payload), or kept with [`PayloadPolicy::Keep`] |
//!
//! Hop limits, windows, DSCP, flags and sizes are the session's. Special addresses: 0.0.0.0 and `::` stay (DHCP,
//! address probes); multicast and 255.255.255.255 stay; the broadcast address of a subnet (an IPv4 destination of
//! broadcast frames that never sends) becomes the clients' first IPv4 prefix's; solicited-node groups follow
//! their host; loopback is dropped. What is not understood completely is dropped with a reason: [`Dropped`].
//!
//! # What is promised
//!
//! * A [`TestbedFrame`] can be made nowhere else.
//! * No unicast IP or Ethernet address of the session is in the headers of its frames, nor in quoted headers.
//! * Within a replay the map of hosts, stations ([`MacPolicy::PerHost`]) and ports is one to one; two replays
//!   that run at the same time share no host address.
//! * Frames are as long as the session says (but for tags), complete, and have good checksums.
//! * Everything is a pure function of session, plan, leased addresses and replay seed; content of payload depends
//!   on the session's seed alone where it holds no address.
//!
//! How the side of a host is found is documented in the module `roles`; which ports are ephemeral in `ports`.

mod addresses;
mod admit;
mod allocator;
mod arp;
mod captured;
mod dropped;
mod errors;
mod flows;
mod fragments;
mod groups;
mod icmp;
mod igmp;
pub(crate) mod keys;
mod map;
mod ndp;
mod options;
mod plan;
mod ports;
mod quote;
mod replay;
mod rewriter;
mod roles;
mod survey;
mod tcp;
mod testbed;
mod transport;

pub use allocator::Allocator;
pub use captured::{Captured, read_capture};
pub use dropped::Dropped;
pub use plan::{AddressPlan, GroupPolicy, MacPolicy, PortPolicy, Side, VlanId};
pub use replay::SessionReplay;
pub use rewriter::{PayloadPolicy, Rewriter};
pub use testbed::{Direction, FlowTag, SessionFacts, SessionTag, TestbedFrame};
