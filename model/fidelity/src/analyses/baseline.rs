//! The baseline of time: all rows with times that are drawn without a model.
//!
//! Every synthetic session keeps its packets and loses its times. The gap before each packet is drawn from the real
//! gaps of the session's label, independently of all others; if the real side lacks the label, from the gaps of all
//! labels. NetSSM's converter does the same for packets without time. The distribution of gaps is then right by
//! construction, so `gap.session.all` cannot fail. The order of gaps is lost, which `lag1`, `burst`, `throughput` and
//! the durations of flows show. A generator that models time is useful if it is closer than the baseline in these rows.
//! Rows that do not depend on time are those of the synthetic side.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::analyses::compare::{self, Distance, Value, shown};
use crate::input::session::CapturedSession;
use crate::page::{Chapter, Item, Table, number};
use crate::rows::MEASURES;
use crate::rows::collect::Collected;
use crate::rows::lag::gaps;
use crate::rows::rows;
use crate::side::Side;

/// How the baseline is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Seed of the draws. Default: 1.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1 }
    }
}

/// One row with times drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BaselineRow {
    /// The baseline's values.
    pub value: Option<Value>,
    /// The baseline against the real side.
    pub distance: Option<Distance>,
    /// The synthetic side, with the times that it has, against the real side.
    pub synthetic: Option<Distance>,
    /// The second real side against the real one.
    pub floor: Option<Distance>,
}

/// Every row of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Seed of the draws.
    pub seed: u64,
    /// Real gaps that were drawn from, all labels together.
    pub gaps: u64,
    /// Synthetic sessions that drew from all labels, as the real side has no gap of theirs.
    pub foreign: u64,
    /// By row name; empty if the real side has no gap.
    pub rows: BTreeMap<&'static str, BaselineRow>,
}

/// Rows that depend on time, by the beginning of their names. `size.all` is shown with them as one that must not
/// change.
const TIMED: [&str; 9] = [
    "gap.",
    "lag1.",
    "burst.",
    "throughput.",
    "flows.duration",
    "flows.open",
    "flows.concurrent",
    "flows.start",
    "session.duration",
];

/// Rows that depend on the order of gaps. The verdict counts these.
const ORDERED: [&str; 3] = ["lag1.", "burst.", "throughput."];

/// Draws times for every synthetic session and measures all rows anew.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> Baseline {
    let mut pools: BTreeMap<Option<String>, Vec<f64>> = BTreeMap::new();
    for session in real.sessions() {
        pools.entry(session.label.clone()).or_default().extend(gaps(session, None));
    }
    pools.retain(|_, gaps| !gaps.is_empty());
    let together: Vec<f64> = pools.values().flatten().copied().collect();
    let pool = |session: &CapturedSession| pools.get(&session.label);
    let mut baseline = Baseline {
        seed: options.seed,
        gaps: together.len() as u64,
        foreign: synthetic.sessions().iter().filter(|session| pool(session).is_none()).count() as u64,
        rows: BTreeMap::new(),
    };
    if together.is_empty() {
        return baseline;
    }
    let measured: Vec<Collected> = synthetic
        .sessions()
        .par_iter()
        .enumerate()
        .map(|(number, session)| {
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(number as u64); // a session's draws depend on its number alone
            let drawn = drawn(session, pool(session).unwrap_or(&together), &mut random);
            let mut collected = Collected::default();
            MEASURES.iter().for_each(|measure| (measure.add)(&drawn, &mut collected));
            collected
        })
        .collect();
    let mut iid = Collected::default();
    measured.iter().for_each(|session| iid.merge(session));
    iid.sort();
    let (real, synthetic, floor) = (real.together(), synthetic.together(), floor.map(Side::together));
    for row in rows() {
        let compared = BaselineRow {
            value: compare::value(row, &iid),
            distance: compare::distance(row, &real, &iid),
            synthetic: compare::distance(row, &real, &synthetic),
            floor: floor.as_ref().and_then(|floor| compare::distance(row, &real, floor)),
        };
        baseline.rows.insert(row.name, compared);
    }
    baseline
}

/// The session with gaps drawn from `pool`, which is not empty. Its first packet stays where it is.
fn drawn(session: &CapturedSession, pool: &[f64], random: &mut ChaCha8Rng) -> CapturedSession {
    let mut at_us = session.packets.first().map_or(0, |packet| packet.time_us);
    let times: Vec<i64> = (0..session.packets.len())
        .map(|number| {
            if number > 0 {
                at_us = at_us.saturating_add(pool[random.random_range(0..pool.len())] as i64);
            }
            at_us
        })
        .collect();
    session.retimed(&times)
}

impl Baseline {
    /// The chapter of the report.
    pub fn chapter(&self) -> Chapter {
        let begins = |name: &str, with: &[&str]| with.iter().any(|prefix| name.starts_with(prefix));
        // In the order of the report, not by name.
        let table = rows()
            .filter(|row| begins(row.name, &TIMED) || row.name == "size.all")
            .filter_map(|row| Some((row, self.rows.get(row.name)?)))
            .map(|(row, beside)| {
                let emd = |distance| match distance {
                    Some(Distance::Sample { emd, .. }) => number(Some(emd)),
                    _ => String::new(),
                };
                let cells = [beside.synthetic, beside.distance, beside.floor].map(shown);
                let emds = [beside.synthetic, beside.distance, beside.floor].map(emd);
                [row.name.to_owned(), row.unit.to_owned()].into_iter().chain(cells).chain(emds).collect()
            })
            .collect();
        let ordered = self.rows.iter().filter(|(name, _)| begins(name, &ORDERED));
        let sizes: Vec<(f64, f64)> = ordered
            .filter_map(|(_, beside)| Some((beside.synthetic?.size(), beside.distance?.size())))
            .collect();
        let closer = sizes.iter().filter(|(synthetic, iid)| synthetic < iid).count();
        let head = ["row", "of", "synthetic", "i.i.d.", "floor", "EMD synthetic", "EMD i.i.d.", "EMD floor"];
        let caption =
            "Distance from the real side: the synthetic side with its own times, and with times drawn";
        let mut items = vec![Item::Table(Table {
            caption: caption.to_owned(),
            head: head.map(str::to_owned).to_vec(),
            rows: table,
        })];
        if self.foreign > 0 {
            items.push(Item::Text(format!(
                "{} synthetic sessions drew from the gaps of all labels, as the real side has none of theirs.",
                self.foreign
            )));
        }
        if self.rows.is_empty() {
            items = vec![Item::Text("Nothing to draw from: no real session has two packets.".to_owned())];
        }
        Chapter {
            title: "Time drawn independently".to_owned(),
            about: "The synthetic sessions with every gap drawn anew from the real gaps of their label, independently of all others: \
                    what a generator without time can do. Its gaps are right by construction, their order is not. A model of time \
                    should be closer than this in the rows of order (lag1, burst, throughput); rows of size must not change."
                .to_owned(),
            verdict: if sizes.is_empty() {
                "no row of order that both have".to_owned()
            } else {
                format!("closer than independent gaps in {closer} of {} rows of order", sizes.len())
            },
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    /// Trains of ten packets, 100 us apart, and half a second between the trains.
    fn trains(label: &str) -> CapturedSession {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        let mut at = 1000;
        for i in 0..600 {
            at += if i % 10 == 0 { 500_000 } else { 100 };
            frames.udp(at, if i % 3 == 0 { (443, 40001) } else { (40001, 443) }, 10 + i % 700);
        }
        frames.session(label)
    }

    #[test]
    fn independent_gaps_fail_in_the_rows_of_order_and_in_no_other() {
        let side = |label: &str| Side::of((0..8).map(|_| trains(label)).collect());
        let (real, synthetic) = (side("a"), side("a"));
        let baseline = analyse(&real, &synthetic, None, &Options::default());
        let size = |name: &str| baseline.rows[name].distance.expect("a distance").size();
        for name in ["lag1.all", "lag1.plain", "burst.packets", "burst.bytes"] {
            assert!(size(name) > 0.25, "{name}: {}", size(name));
            assert_eq!(baseline.rows[name].synthetic.expect("a distance").size(), 0.0, "{name}");
        }
        assert!(size("gap.session.all") < 0.03, "{}", size("gap.session.all"));
        let untouched = rows().filter(|row| {
            ["size.", "order.", "handshake."].iter().any(|prefix| row.name.starts_with(prefix))
                || ["flows.packets", "flows.bytes", "flows.switch", "flows.run"].contains(&row.name)
        });
        for row in untouched {
            assert!(
                baseline.rows[row.name].distance.is_none_or(|distance| distance.size() == 0.0),
                "{}",
                row.name
            );
        }
        let chapter = baseline.chapter();
        assert!(
            chapter.verdict.starts_with("closer than independent gaps in 10 of 10"),
            "{}",
            chapter.verdict
        );
        assert_eq!(baseline, analyse(&real, &synthetic, None, &Options::default()), "the same seed");
        assert_ne!(baseline, analyse(&real, &synthetic, None, &Options { seed: 2 }));
    }

    #[test]
    fn labels_without_real_gaps_draw_from_all() {
        let real = Side::of(vec![trains("a")]);
        let synthetic = Side::of(vec![trains("b"), trains("a")]);
        let baseline = analyse(&real, &synthetic, Some(&real), &Options::default());
        assert_eq!((baseline.foreign, baseline.gaps), (1, 602));
        assert!(format!("{:?}", baseline.chapter()).contains("1 synthetic sessions drew"));
    }

    #[test]
    fn without_gaps_there_is_no_baseline() {
        let mut frames = Frames::new();
        frames.arp(0);
        let one = Side::of(vec![frames.session("a")]);
        let baseline = analyse(&one, &Side::of(vec![trains("a")]), None, &Options::default());
        assert!(baseline.rows.is_empty());
        assert!(format!("{:?}", baseline.chapter()).contains("no real session has two packets"));
        let nothing = Side::of(Vec::new());
        assert!(analyse(&nothing, &nothing, None, &Options::default()).rows.is_empty());
        let baseline = analyse(&Side::of(vec![trains("a")]), &nothing, None, &Options::default());
        assert_eq!(baseline.chapter().verdict, "no row of order that both have");
    }
}
