//! The features that classifiers read: header bits of the first packets of a session, and named numbers of flows and
//! sessions.
//!
//! - [`bits`]: nPrint's form, which NetSSM's classifiers read (section 5.2).
//! - [`flow`] and [`session`]: statistics with names, so that a report can say which of them separate synthetic from
//!   real traffic.
//!
//! No feature holds an address or a number that is drawn for every connection. A classifier must not learn a label from
//! the hosts, or know a synthetic session by its addresses.

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

/// Value of a feature that does not exist, such as gaps of a single packet. The correlation is the only feature that
/// may be negative, and it is never below -1.
pub(crate) const NONE: f64 = -2.0;
