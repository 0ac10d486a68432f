//! What classifiers see of traffic: header bits of the first packets of a session, and named numbers of flows and sessions.
//!
//! - [`bits`]: nPrint's form, which NetSSM's classifiers read (section 5.2).
//! - [`flow`] and [`session`]: statistics with names, so that what gives synthetic traffic away can be told.
//!
//! No feature holds an address, nor a number that is drawn afresh for every connection: a label must not be learnt from who
//! spoke, and a synthetic session not be known by the addresses that it was given.

pub(crate) mod bits;
pub(crate) mod flow;
#[cfg(test)]
pub(crate) mod made;
mod numbers;
pub(crate) mod session;

/// A named feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    /// Name, unique and stable.
    pub(crate) name: String,
    /// Unit of its values.
    pub(crate) unit: &'static str,
}

/// What a feature has where there is nothing to measure (gaps of a single packet, segments of a UDP flow). No measure is
/// negative but the correlation, which is never below -1.
pub(crate) const NONE: f64 = -2.0;
