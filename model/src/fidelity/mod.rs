//! How good synthetic traffic is: measures over captures, real beside synthetic.
//!
//! ```text
//! captures -> sessions -> every measure -> rows (samples, shares) by label -> real against synthetic -> Report
//!                     \-> every analysis ------------------------------------------------------------> Evaluation -> page
//! ```
//! [`Evaluation`] takes two [`Side`]s and says in which respects they differ.
//!
//! # Adding a measure
//! One file a measure, with its definition, units and source in its docs: a table of rows and a function that
//! takes from one session what these rows gather. `MEASURES` lists them all, and a group of chapters takes the rows by the
//! beginning of their name; nothing else changes. Distances are those of [`stats`] for samples and the difference for shares.
//!
//! # Adding an analysis
//! What has no place in a row (it needs sessions of both sides, or more than one number) is a module with `Options`, a
//! function `analyse` of both sides and the floor, and a result that serialises and makes a [`page::Chapter`]. A line
//! in `evaluation` makes it part of everything: the report, the page, the choice of chapters.
//!
//! # Contract
//! Nothing here panics on any capture. What cannot be measured is named in the report and left out. Results do not depend
//! on the number of threads or on the order of files in a folder.

pub mod baseline;
mod bursts;
mod classify;
mod collect;
mod compare;
pub mod compliance;
pub mod discriminate;
pub mod dynamics;
mod error;
mod evaluation;
mod features;
mod flows;
mod gaps;
mod handshake;
mod interleaving;
mod lag;
pub mod memorise;
mod order;
pub mod overtime;
pub mod page;
mod read;
mod session;
mod side;
mod sidecar;
pub mod similarity;
mod sizes;
pub mod stats;
#[cfg(test)]
mod testing;
mod throughput;
pub mod utility;
mod volume;

pub use self::collect::{Kind, Row, Share};
pub use self::compare::{About, Compared, Distance, FORMAT, LabelMean, Report, Value, compare};
pub use self::error::FidelityError;
pub use self::evaluation::{ANALYSES, Evaluation, Input, ROWS};
pub use self::read::{Captures, File, Found, Part, Take, each_session, read};
pub use self::session::{Direction, Flow, Packet, Segment, Session, SessionBuilder};
pub use self::side::Side;

/// Every measure, in the order of the report.
const MEASURES: [collect::Measure; 10] = [
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
fn rows() -> impl Iterator<Item = &'static Row> {
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
