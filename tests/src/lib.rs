//! Helpers for the end-to-end cases: everything that drives the finished `netssmd` program from outside.
//!
//! The cases themselves are in `tests/cases/<name>/` (a README, a profile, what to expect) and the code that
//! runs them in `tests/tests/*.rs`. Nothing here calls the product's libraries, except the address
//! search in [`addresses`], which parses captures with `netssm-wire`, and [`models`], which writes checkpoints with
//! random weights: a test judges the program by what other programs see of it (libpcap, tshark, Suricata, the
//! kernel's own counters).
//!
//! Reading order: [`need`] says when a test may skip, [`binary`] runs the program, [`daemon`] runs it as a
//! service, [`netns`] makes the network it runs in, [`receiver`] listens at the far end, [`captures`] reads
//! files, [`judges`] asks Suricata and tshark, [`follower`] lets Suricata read along, [`case`] finds the case
//! folders, [`models`] makes models.
//!
//! Contract: helpers panic with a message that says what was expected and what came, because they only
//! ever run inside a test. Traffic stays on loopback or in namespaces made here, which vanish with the test.

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
