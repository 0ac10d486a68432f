//! The row measures: each fills one or more lines of the report, over all sessions.
//!
//! One file a measure, with its definition, units and source: a table of rows ([`collect::Row`]) and a function that
//! takes from one session what these rows gather.

mod bursts;
pub(crate) mod collect;
mod flows;
mod gaps;
pub(crate) mod handshake;
pub(crate) mod interleaving;
pub(crate) mod lag;
mod order;
mod sizes;
pub(crate) mod throughput;
mod volume;

use self::collect::{Measure, Row};

/// Every measure, in the order of the report.
pub(crate) const MEASURES: [Measure; 10] = [
    gaps::MEASURE,
    lag::MEASURE,
    bursts::MEASURE,
    throughput::MEASURE,
    sizes::MEASURE,
    flows::MEASURE,
    interleaving::MEASURE,
    volume::MEASURE,
    handshake::MEASURE,
    order::MEASURE,
];

/// Every row, in the order of the report.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    const { &MEASURES }.iter().flat_map(|measure| measure.rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_unique_names_and_a_definition() {
        let names: BTreeSet<_> = rows().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().count());
        assert!(rows().all(|row| !row.unit.is_empty() && !row.about.is_empty()));
    }
}
