//! Packet headers, read and changed in place: what all other crates know about frames.
//!
//! A frame is bytes in **Ethernet form** (what [`capture`] gives,
//! whatever the capture's link type was), perhaps cut by a snaplen. There are two ways to look at it:
//!
//! * [`frame::Layout`] walks it once and gives offsets. It never fails: a cut or malformed header ends the
//!   walk with a [`frame::Stop`] that says where and why. Use it to rewrite fields in place.
//! * a `View` per protocol reads and sets the fields of one header in place. It is only made when the fixed
//!   part of the header is there, so its methods do not fail.
//!
//! The vocabulary of headers is defined here once: [`address_class`], [`ports`], [`initiator`], the option list of IPv4
//! and TCP ([`options`]), [`tcp::Flags`] and [`tcp::Seq`], the packets that ICMP errors [`quote`], protocol numbers and
//! ethertypes ([`frame::protocol`], [`frame::ethertype`]). Where two rules must differ, both stand in one module with
//! the reason. Only the allowlist of `netssm-replay` reads headers with its own code, because it checks the others.
//!
//! No input makes any function here panic, and none allocates what a length field claims.
//!
//! The ones' complement sum comes from `etherparse`. Files that do not use it say why.

pub mod address_class;
pub mod arp;
pub mod bytes;
pub mod capture;
pub mod checksum;
pub mod ethernet;
pub mod flow;
pub mod frame;
pub mod icmp;
pub mod initiator;
pub mod ipv4;
pub mod ipv6;
pub mod mac;
pub mod options;
pub mod ports;
pub mod quote;
pub mod session;
pub mod splitmix;
pub mod tcp;
pub mod udp;
mod view;

pub use mac::MacAddr;
