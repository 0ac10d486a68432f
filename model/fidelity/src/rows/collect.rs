//! Results of measures: rows of a table. Each row is a sample of values or a share of cases, gathered over sessions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::input::session::CapturedSession;
use crate::stats;

/// What a row gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// Values. Sides are compared as distributions.
    Sample,
    /// Cases, of which some hold. Sides are compared as shares.
    Share,
}

/// One line of the result.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Name, unique and stable: `measure.part`.
    pub name: &'static str,
    /// What it gathers.
    pub kind: RowKind,
    /// Unit of the values; for a share, what is counted.
    pub unit: &'static str,
    /// Definition in a sentence.
    pub about: &'static str,
}

impl Row {
    /// A row of values.
    pub(crate) const fn sample(name: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self { name, kind: RowKind::Sample, unit, about }
    }

    /// A row of cases.
    pub(crate) const fn share(name: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self { name, kind: RowKind::Share, unit, about }
    }
}

/// One measure: its rows, and the function that adds a session to them.
pub(crate) struct Measure {
    pub(crate) rows: &'static [Row],
    pub(crate) add: fn(&CapturedSession, &mut Collected),
}

/// How often something held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Cases in which it held.
    pub hits: u64,
    /// Cases.
    pub of: u64,
}

impl Share {
    /// Counts a case.
    pub(crate) fn count(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.of += 1;
    }

    /// The share, if there was a case.
    pub fn value(&self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }
}

/// Values and cases by row name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Collected {
    samples: BTreeMap<&'static str, Vec<f64>>,
    shares: BTreeMap<&'static str, Share>,
}

impl Collected {
    /// Adds values to a row.
    pub(crate) fn extend(&mut self, row: &Row, values: impl IntoIterator<Item = f64>) {
        debug_assert_eq!(row.kind, RowKind::Sample);
        self.samples.entry(row.name).or_default().extend(values);
    }

    /// Adds cases to a row.
    pub(crate) fn count(&mut self, row: &Row, cases: Share) {
        debug_assert_eq!(row.kind, RowKind::Share);
        let share = self.shares.entry(row.name).or_default();
        share.hits += cases.hits;
        share.of += cases.of;
    }

    /// Adds the values and cases of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, values) in &other.samples {
            self.samples.entry(name).or_default().extend(values);
        }
        for (name, cases) in &other.shares {
            let share = self.shares.entry(name).or_default();
            share.hits += cases.hits;
            share.of += cases.of;
        }
    }

    /// Sorts all samples, for comparing.
    pub(crate) fn sort(&mut self) {
        self.samples.values_mut().for_each(stats::sort);
    }

    /// Values of a row; sorted after [`Collected::sort`].
    pub(crate) fn values(&self, row: &Row) -> &[f64] {
        self.samples.get(row.name).map_or(&[], Vec::as_slice)
    }

    /// Cases of a row.
    pub(crate) fn cases(&self, row: &Row) -> Share {
        self.shares.get(row.name).copied().unwrap_or_default()
    }
}
