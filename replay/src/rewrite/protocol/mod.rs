//! What each protocol's packets hold that names a host, and how it is changed in place.
//!
//! Nothing here knows a session or a plan: a walk over a message takes the bytes and an
//! [`Addresses`](addresses::Addresses), which notes each address for the survey and replaces it for a frame.

pub(crate) mod addresses;
pub(crate) mod arp;
pub(crate) mod groups;
pub(crate) mod icmp;
pub(crate) mod igmp;
pub(crate) mod ndp;
pub(crate) mod options;
pub(crate) mod quote;
pub(crate) mod tcp;
