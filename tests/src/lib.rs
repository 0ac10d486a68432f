//! Helpers for the end-to-end cases. They drive the finished `netssmd` program from outside.
//!
//! The cases are in `tests/cases/<name>/` (a README, a profile, what to expect), and the code that runs them is in
//! `tests/tests/*.rs`. A test judges the program by what other programs see of it: libpcap, tshark, Suricata, the
//! kernel's own counters. So the helpers do not call the product's libraries, with two exceptions: the address search
//! in [`addresses`] parses captures with `netssm-wire`, and [`models`] writes checkpoints with random weights.
//!
//! Reading order: [`need`] decides when a test may skip, [`binary`] runs the program, [`daemon`] runs it as a service,
//! [`netns`] makes the network that it runs in, [`receiver`] listens at the far end, [`captures`] reads files,
//! [`judges`] asks Suricata and tshark, [`follower`] lets Suricata read along, [`case`] finds the case folders,
//! [`models`] makes models.
//!
//! Contract: a helper panics with a message that says what was expected and what it found, because it only runs inside
//! a test. Traffic stays on loopback, or in namespaces made here, which vanish with the test.

pub mod addresses;
pub mod binary;
pub mod captures;
pub mod case;
pub mod daemon;
pub mod follower;
pub mod judges;
pub mod models;
pub mod need;
pub mod netns;
pub mod receiver;
pub mod summary;
pub mod wait;
