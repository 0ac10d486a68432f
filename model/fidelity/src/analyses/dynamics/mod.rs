//! Application dynamics: number and size of the segments that servers send (NetSSM section 5.3.3, Table 5).
//!
//! ```text
//! session -> flows to chosen servers -> download segments -> three evaluations -> real against synthetic, random, floor
//! ```
//! - **raw**: size of every segment, bytes;
//! - **average**: mean size of the segments of a sender, bytes;
//! - **count**: segments of a sender.
//!
//! A *sender* is a server address within a session. [`Servers`] chooses the addresses; `segments` defines a segment.
//!
//! Every evaluation is compared in two ways. *Together*: all values of a side as one sample. *In pairs*: session by
//! session, and then the median over the pairs. The paper does this, because each of its synthetic captures continues a
//! real one. Sessions are paired with those of the same label in the order of their files. So pairs correspond only if
//! the synthetic sessions were prompted with the real ones in that order. Otherwise they show the distance of two
//! sessions of one label, as the floor does.
//!
//! Values of a session are not independent. The report has p-values because the paper has them.

mod baseline;
mod chapter;
mod distances;
mod names;
mod segments;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use rayon::prelude::*;
use serde::Serialize;

use self::baseline::right_skewed;
pub use self::distances::{Distances, PUBLISHED, Published};
use self::segments::{Requests, downloads};
use self::servers::Known;
pub use self::servers::Servers;
use crate::side::Side;
use crate::stats::{Summary, sort};

/// Options of the analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose downloads. Default: ports 443 and 80.
    pub servers: Servers,
    /// Least payload in bytes of a client's TCP packet that makes a request. Default 1.
    pub request_tcp: u32,
    /// The same of a UDP packet. Default 300: smaller ones are QUIC's acknowledgements.
    pub request_udp: u32,
    /// Seed of the random baseline. Default 0.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { servers: Servers::default(), request_tcp: 1, request_udp: 300, seed: 0 }
    }
}

/// Counts of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Sessions.
    pub sessions: u64,
    /// Sessions with a segment.
    pub with_segments: u64,
    /// Flows to servers.
    pub flows: u64,
    /// Senders: servers of a session that sent a segment.
    pub senders: u64,
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// No DNS answer of this side names a server, so the real side's addresses were taken.
    pub borrowed_addresses: bool,
}

/// The same of real against each of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Against {
    /// The synthetic side.
    pub synthetic: Option<Distances>,
    /// The right-skewed random baseline.
    pub random: Option<Distances>,
    /// The second real side.
    pub floor: Option<Distances>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DynamicsEvaluation {
    /// `average`, `raw` or `count`.
    pub name: &'static str,
    /// Unit of the values.
    pub unit: &'static str,
    /// The real values.
    pub real: Option<Summary>,
    /// The synthetic ones.
    pub synthetic: Option<Summary>,
    /// Those of the second real side.
    pub floor: Option<Summary>,
    /// All values of a side as one sample.
    pub together: Against,
    /// Session by session.
    pub pairs: Against,
}

/// Dynamics of all sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dynamics {
    /// How servers were chosen, in words.
    pub servers: String,
    /// The real side.
    pub real: Looked,
    /// The synthetic side.
    pub synthetic: Looked,
    /// The second real side.
    pub floor: Option<Looked>,
    /// Average size, raw size, count.
    pub evaluations: Vec<DynamicsEvaluation>,
    /// The paper's Table 5, on other data.
    pub published: [Published; 6],
    /// All values, for the curves.
    #[serde(skip)]
    samples: Samples,
}

/// Values of a side as one sample by evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Samples {
    real: Values,
    synthetic: Values,
    floor: Option<Values>,
}

/// Sorted values of the evaluations.
#[derive(Clone, Debug, Default, PartialEq)]
struct Values {
    average: Vec<f64>,
    raw: Vec<f64>,
    count: Vec<f64>,
}

/// Takes a sample out of [`Values`].
type Pick = fn(&Values) -> &Vec<f64>;

/// Evaluations in the paper's order: name, unit, sample.
const EVALUATIONS: [(&str, &str, Pick); 3] =
    [("average", "bytes", |v| &v.average), ("raw", "bytes", |v| &v.raw), ("count", "segments", |v| &v.count)];

/// A side, measured.
struct Measured {
    looked: Looked,
    /// By session.
    sessions: Vec<Values>,
    together: Values,
    /// Sessions by label, in order.
    labels: BTreeMap<Option<String>, Vec<usize>>,
}

/// Measures all sides.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> Dynamics {
    let known = Known::of(real, &options.servers, None);
    let other = |side: &Side| measure(side, &Known::of(side, &options.servers, Some(&known)), options);
    let (synthetic, floor) = (other(synthetic), floor.map(other));
    let real = measure(real, &known, options);
    let evaluations = EVALUATIONS.par_iter().enumerate().map(|(number, &(name, unit, pick))| {
        // Streams of the random baseline: 0 for all sessions together, then one a session.
        let stream = |n: usize| (number as u64) << 32 | n as u64;
        let all = pick(&real.together);
        let against = |side: &Measured| Distances::of(all, pick(&side.together));
        let random: Vec<Distances> = real
            .sessions
            .iter()
            .enumerate()
            .filter_map(|(n, values)| {
                let values = pick(values);
                Distances::of(values, &right_skewed(values, options.seed, stream(n + 1)))
            })
            .collect();
        DynamicsEvaluation {
            name,
            unit,
            real: Summary::of(all),
            synthetic: Summary::of(pick(&synthetic.together)),
            floor: floor.as_ref().and_then(|side| Summary::of(pick(&side.together))),
            together: Against {
                synthetic: against(&synthetic),
                random: Distances::of(all, &right_skewed(all, options.seed, stream(0))),
                floor: floor.as_ref().and_then(against),
            },
            pairs: Against {
                synthetic: Distances::over(&pairs(&real, &synthetic, pick)),
                random: Distances::over(&random),
                floor: floor.as_ref().and_then(|side| Distances::over(&pairs(&real, side, pick))),
            },
        }
    });
    Dynamics {
        servers: options.servers.words(),
        evaluations: evaluations.collect(),
        real: real.looked,
        synthetic: synthetic.looked,
        floor: floor.as_ref().map(|side| side.looked),
        published: PUBLISHED,
        samples: Samples {
            real: real.together,
            synthetic: synthetic.together,
            floor: floor.map(|side| side.together),
        },
    }
}

/// Distances of the n-th real session of every label from the other side's n-th, where both have values.
fn pairs(real: &Measured, other: &Measured, pick: Pick) -> Vec<Distances> {
    let both = real.labels.iter().filter_map(|(label, sessions)| Some((sessions, other.labels.get(label)?)));
    both.flat_map(|(mine, theirs)| mine.iter().zip(theirs))
        .filter_map(|(&a, &b)| Distances::of(pick(&real.sessions[a]), pick(&other.sessions[b])))
        .collect()
}

fn measure(side: &Side, known: &Known, options: &Options) -> Measured {
    let requests = Requests { tcp: options.request_tcp, udp: options.request_udp };
    let sessions: Vec<(Looked, Values)> = side
        .sessions()
        .par_iter()
        .enumerate()
        .map(|(number, session)| {
            let served = known.served(number, session, &options.servers);
            let mut senders = BTreeMap::<IpAddr, (u64, u64)>::new();
            let mut raw = Vec::new();
            for segment in downloads(session, &served, requests) {
                let (count, bytes) = senders.entry(segment.server).or_default();
                (*count, *bytes) = (*count + 1, *bytes + segment.bytes);
                raw.push(segment.bytes as f64);
            }
            let looked = Looked {
                sessions: 1,
                with_segments: u64::from(!raw.is_empty()),
                flows: served.iter().flatten().count() as u64,
                senders: senders.len() as u64,
                segments: raw.len() as u64,
                bytes: senders.values().map(|(_, bytes)| bytes).sum(),
                borrowed_addresses: false,
            };
            let mut values = Values {
                average: senders.values().map(|&(count, bytes)| bytes as f64 / count as f64).collect(),
                raw,
                count: senders.values().map(|&(count, _)| count as f64).collect(),
            };
            values.sort();
            (looked, values)
        })
        .collect();
    let mut out = Measured {
        looked: Looked { borrowed_addresses: known.borrowed, ..Looked::default() },
        sessions: Vec::with_capacity(sessions.len()),
        together: Values::default(),
        labels: BTreeMap::new(),
    };
    for (number, (looked, values)) in sessions.into_iter().enumerate() {
        let sum = &mut out.looked;
        sum.sessions += looked.sessions;
        sum.with_segments += looked.with_segments;
        sum.flows += looked.flows;
        sum.senders += looked.senders;
        sum.segments += looked.segments;
        sum.bytes += looked.bytes;
        out.together.average.extend(&values.average);
        out.together.raw.extend(&values.raw);
        out.together.count.extend(&values.count);
        out.sessions.push(values);
        out.labels.entry(side.sessions()[number].label.clone()).or_default().push(number);
    }
    out.together.sort();
    out
}

impl Values {
    fn sort(&mut self) {
        [&mut self.average, &mut self.raw, &mut self.count].into_iter().for_each(sort);
    }
}
