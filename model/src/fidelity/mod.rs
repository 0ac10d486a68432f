//! How good synthetic traffic is: measures over captures, real beside synthetic.
//!
//! ```text
//! captures -> sessions -> every measure -> rows (samples, shares) by label -> real against synthetic -> Report
//! captures -> sessions -> tokens -> a checkpoint's loss -> nats a token and a packet
//! ```
//! Two questions, two entries: [`compare`] takes two [`Side`]s and says in which respects they differ;
//! [`likelihood`](fn@likelihood) says how well a checkpoint predicts captures, so that codecs and models compare.
//!
//! # Adding a measure
//! One file a measure, with its definition, units and source in its docs: a table of rows and a function that
//! takes from one session what these rows gather. `MEASURES` lists them all; nothing else changes. Distances are those of
//! [`stats`] for samples and the difference for shares.
//!
//! # Contract
//! Nothing here panics on any capture. What cannot be measured is named in the report and left out. Results do not depend
//! on the number of threads or on the order of files in a folder.

mod classify;
mod collect;
mod compare;
pub mod discriminate;
mod features;
mod flows;
mod gaps;
mod handshake;
mod likelihood;
mod order;
pub mod page;
mod read;
mod session;
mod side;
mod sidecar;
mod sizes;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod utility;
mod volume;

pub use self::collect::{Kind, Row, Share};
pub use self::compare::{About, Compared, Distance, FORMAT, LabelMean, Report, Value, compare};
pub use self::likelihood::{Likelihood, LikelihoodError, Nats, likelihood};
pub use self::read::{Captures, Found};
pub use self::session::{Direction, Flow, Packet, Segment, Session, SessionBuilder};
pub use self::side::Side;

/// Every measure, in the order of the report.
const MEASURES: [collect::Measure; 6] =
    [gaps::MEASURE, sizes::MEASURE, flows::MEASURE, volume::MEASURE, handshake::MEASURE, order::MEASURE];

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
