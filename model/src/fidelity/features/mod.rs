//! What classifiers see of traffic: header bits of the first packets of a session, and named numbers of flows and sessions.
//!
//! - [`bits`]: nPrint's form, which NetSSM's classifiers read (section 5.2).
//! - [`flow`] and [`session`]: statistics with names, so that what gives synthetic traffic away can be told.
//!
//! No feature holds an address, nor a number that is drawn afresh for every connection: a label must not be learnt from who
//! spoke, and a synthetic session not be known by the addresses that it was given.

pub(super) mod bits;
pub(super) mod flow;
#[cfg(test)]
pub(super) mod made;
mod numbers;
pub(super) mod session;

/// A named feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// Name, unique and stable.
    pub(super) name: String,
    /// Unit of its values.
    pub(super) unit: &'static str,
}

/// What a feature has where there is nothing to measure (gaps of a single packet, segments of a UDP flow). No measure is
/// negative but the correlation, which is never below -1.
pub(super) const NONE: f64 = -2.0;
