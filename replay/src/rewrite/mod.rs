//! From a session to frames for the testbed.
//!
//! [`Rewriter::begin_replay`] leases addresses for one replay of a [`Session`](netssm_wire::session::Session) and gives a
//! [`SessionReplay`], which makes one [`TestbedFrame`] after the other:
//!
//! ```text
//! session ─ survey ─ roles ─ lease + map ─┐             (once, in begin)
//!    └───────── packet ─ admit ─ rewrite ─┴─ payload ─ checksums ─ TestbedFrame   (per packet, in next)
//! ```
//!
//! The floors, each of which imports only those below it:
//!
//! | folder | what |
//! |---|---|
//! | `frame` | one packet after the other: Ethernet and IP, transport, the quotes of errors, the finished frame |
//! | `map` | where each host, port and flow goes, and which side a host is on |
//! | `survey` | what a session has: hosts, flows, fragments, and which packets can become frames |
//! | `plan` | the testbed's prefixes and policies, and which addresses are out |
//! | `protocol` | the addresses inside each protocol's messages, and its fields that are changed in place |
//!
//! # What is rewritten
//!
//! * **Ethernet**: both addresses by [`MacPolicy`]; 802.1Q tag by the plan, tags of the session never pass;
//!   padding is zeros.
//! * **ARP**: both pairs of addresses; zero target and 0.0.0.0 sender stay.
//! * **IPv4**: addresses, identification (a counter per source; one value for the fragments of a datagram),
//!   options but router alert become padding.
//! * **IPv6**: addresses, flow labels that are not zero, fragment identification, unknown options become padding.
//! * **TCP**: ephemeral ports, sequence and acknowledgement numbers, SACK blocks, timestamps, Fast Open cookies;
//!   unknown options become padding.
//! * **UDP**: ephemeral ports, length if it is not the IP packet's.
//! * **ICMP, ICMPv6**: quoted packets (also cut ones), redirect targets, neighbour discovery targets and options,
//!   listener reports, times of timestamps; reserved fields become zeros.
//! * **IGMP**: sources; groups stay; reserved fields become zeros.
//! * **payload**: made by [`payload`](crate::payload), or kept with [`PayloadPolicy::Keep`].
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
//! * Within a replay the map of hosts, MAC endpoints ([`MacPolicy::PerHost`]) and ports is one to one; two replays
//!   that run at the same time share no host address.
//! * Frames are as long as the session says (but for tags), complete, and have good checksums.
//! * Everything is a pure function of session, plan, leased addresses and replay seed; content of payload depends
//!   on the session's seed alone where it holds no address.
//!
//! How the side of a host is found is documented in `map::roles`; which ports are ephemeral in `map::ports`.

mod dropped;
mod error;
mod frame;
mod map;
mod plan;
mod protocol;
mod survey;

pub use dropped::Dropped;
pub use error::{PlanError, RewriteError};
pub use frame::{
    Direction, FlowTag, PayloadPolicy, Rewriter, SessionFacts, SessionReplay, SessionTag, TestbedFrame,
};
pub use plan::{AddressPlan, Allocator, GroupPolicy, MacPolicy, PortPolicy, Side, VlanId};
pub use survey::ids::FlowId;
