//! Throughput and open flows over session time, as means over sessions.
//!
//! The mean at second t is over the sessions that last at least until second t + 1, so sessions that have ended do not
//! lower it. A curve ends after [`Options::seconds`], or when fewer than three sessions of a side still run, because a
//! mean over one or two says nothing about the others. The *difference* of two curves is the area between them over the
//! seconds that both have, as a share of the area under the real one: 0 if they are equal, 1 if it is as large as that
//! area.

use serde::Serialize;

use crate::input::session::CapturedSession;
use crate::page::{Axis, Chapter, Curve, Item, Plot, Style, Table, number};
use crate::rows::interleaving::concurrency;
use crate::rows::throughput::bins;
use crate::side::Side;

/// Length of the curves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seconds of a session that are looked at. Default: 600, what the longest recordings of the usual sets have.
    pub seconds: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 600 }
    }
}

/// Sessions that a mean needs, unless the side has fewer.
const FEWEST: usize = 3;

/// One quantity over session time; entry t is of second t.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Over {
    /// Mean of the real side.
    pub real: Vec<f64>,
    /// Mean of the synthetic side.
    pub synthetic: Vec<f64>,
    /// Mean of the second real side.
    pub floor: Option<Vec<f64>>,
    /// Difference of synthetic and real; `None` without a second that both have, or where the real side has nothing.
    pub difference: Option<f64>,
    /// Difference of the second real side and the real one.
    pub floor_difference: Option<f64>,
}

/// The curves.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OverTime {
    /// Bytes on the wire a second.
    pub throughput: Over,
    /// Flows open at the beginning of the second.
    pub concurrency: Over,
}

/// Takes the means of all sides.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> OverTime {
    let over = |of: fn(&CapturedSession) -> Vec<f64>| {
        let mean = |side: &Side| mean(side.sessions().iter().map(of).collect(), options.seconds);
        let (real, synthetic, floor) = (mean(real), mean(synthetic), floor.map(mean));
        let floor_difference = floor.as_ref().and_then(|floor| difference(&real, floor));
        Over { difference: difference(&real, &synthetic), floor_difference, real, synthetic, floor }
    };
    OverTime {
        throughput: over(|session| bins(session, 1_000_000, None)),
        concurrency: over(|session| {
            let mut open: Vec<f64> = concurrency(session).into_iter().map(f64::from).collect();
            open.pop(); // at the end of the last full second, which no second follows
            open
        }),
    }
}

fn mean(sessions: Vec<Vec<f64>>, seconds: usize) -> Vec<f64> {
    let fewest = FEWEST.min(sessions.len());
    (0..seconds)
        .map_while(|second| {
            let running: Vec<f64> =
                sessions.iter().filter_map(|session| session.get(second).copied()).collect();
            (!running.is_empty() && running.len() >= fewest)
                .then(|| running.iter().sum::<f64>() / running.len() as f64)
        })
        .collect()
}

fn difference(real: &[f64], other: &[f64]) -> Option<f64> {
    let both = || real.iter().zip(other);
    let whole: f64 = both().map(|(real, _)| real).sum();
    (whole > 0.0).then(|| both().map(|(real, other)| (real - other).abs()).sum::<f64>() / whole)
}

impl OverTime {
    /// The chapter of the report.
    pub fn chapter(&self) -> Chapter {
        let quantities =
            [("throughput", "bytes a second", &self.throughput), ("open flows", "flows", &self.concurrency)];
        let row = |(name, _, over): &(&str, &str, &Over)| {
            let mut cells = vec![(*name).to_owned()];
            cells.extend([over.difference, over.floor_difference].map(number));
            let floor = over.floor.as_ref().map_or(0, Vec::len);
            cells.extend([over.real.len(), over.synthetic.len(), floor].map(|seconds| seconds.to_string()));
            cells
        };
        let head = ["quantity", "difference", "floor", "real (s)", "synthetic (s)", "floor (s)"];
        let table = Table {
            caption: "Area between the curves as a share of the area under the real one, and how long the curves are".to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: quantities.iter().map(row).collect(),
        };
        let plot = |(name, unit, over): &(&str, &str, &Over)| {
            let curve = |name: &str, values: &Vec<f64>| Curve {
                name: name.to_owned(),
                style: Style::Line,
                points: values.iter().enumerate().map(|(second, value)| (second as f64, *value)).collect(),
            };
            let mut curves = vec![curve("real", &over.real), curve("synthetic", &over.synthetic)];
            curves.extend(over.floor.as_ref().map(|floor| curve("floor (second real set)", floor)));
            let axis = |label: String| Axis { label, log: false };
            Plot {
                caption: format!("{name} over session time, mean of the sessions that still run"),
                x: axis("session time (s)".to_owned()),
                y: axis(format!("{name} ({unit})")),
                curves,
            }
        };
        let mut items = vec![Item::Table(table)];
        items.extend(quantities.iter().map(plot).map(Item::Plot));
        let told = |over: &Over| {
            let floor = over.floor_difference.map_or(String::new(), |floor| format!(" (floor {floor:.2})"));
            over.difference.map_or("no second in common".to_owned(), |value| format!("{value:.2}{floor}"))
        };
        Chapter {
            title: "Over session time".to_owned(),
            about: "Throughput and the number of open flows as a session goes on. Sessions that ended count no more; a curve ends \
                    where fewer than three sessions run."
                .to_owned(),
            verdict: format!(
                "throughput differs by {}, open flows by {}",
                told(&self.throughput),
                told(&self.concurrency)
            ),
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    /// One packet of 100 bytes every `step_us`, for `seconds` and one packet more.
    fn session(seconds: i64, step_us: i64) -> CapturedSession {
        let mut frames = Frames::new();
        (0..=seconds * 1_000_000 / step_us).for_each(|i| frames.udp(i * step_us, (40001, 443), 58));
        frames.session("x")
    }

    #[test]
    fn means_are_over_the_sessions_that_run() {
        let real = Side::of(vec![session(2, 500_000), session(4, 500_000)]);
        let twice = Side::of(vec![session(3, 250_000)]);
        let over = analyse(&real, &twice, Some(&real), &Options::default());
        // Fewer than three sessions in all: as many as there are must run.
        assert_eq!(over.throughput.real, [200.0, 200.0]);
        assert_eq!(over.throughput.synthetic, [400.0, 400.0, 400.0]);
        assert_eq!((over.throughput.difference, over.throughput.floor_difference), (Some(1.0), Some(0.0)));
        assert_eq!(over.concurrency.real, [1.0, 1.0]);
        assert_eq!(over.concurrency.difference, Some(0.0));
        let short = analyse(&real, &twice, None, &Options { seconds: 1 });
        assert_eq!(short.throughput.synthetic.len(), 1);
        assert_eq!(
            over.chapter().verdict,
            "throughput differs by 1.00 (floor 0.00), open flows by 0.00 (floor 0.00)"
        );
    }

    #[test]
    fn sides_without_a_second_have_no_difference() {
        let (empty, some) = (Side::of(Vec::new()), Side::of(vec![session(3, 1_000_000)]));
        for (real, synthetic) in [(&empty, &some), (&some, &empty), (&empty, &empty)] {
            let over = analyse(real, synthetic, None, &Options::default());
            assert_eq!((over.throughput.difference, over.concurrency.difference), (None, None));
            assert!(over.chapter().verdict.contains("no second in common"));
        }
    }
}
