//! TCP compliance: do connections open, move on and close by the rules (NetSSM section 5.3.2, Tables 3 and 4)?
//!
//! ```text
//! session -> segments with their options -> connections of each flow -> FlowFacts -> rows by capture and by flow
//! ```
//! Every row is a question about a flow ([`ROWS`] has the definitions). The report answers it three times:
//!
//! - **captures** (the paper's *multi-flow*): the share of sessions in which at least one TCP flow says yes; of
//!   `ip.version`, in which all packets do;
//! - **flows** (the paper's *single-flow*, where a capture is one flow): the share of TCP flows that say yes;
//! - **cases**: the share of segments, ACKs or connections that the row judges. This is the strictest number: for the
//!   others a single segment among thousands is enough.
//!
//! Sessions without TCP, and flows of which no segment has a whole header, are not counted. Real traffic breaks these
//! rules too: captures begin in the middle, lose packets and reorder them. Compare with the real column, never with 0
//! or 100 %.
//!
//! Table 4 counts options. Totals depend on how much traffic there is, so they are told per 1,000 segments too.

mod chapter;
mod connection;
mod facts;
mod options;
mod rows;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use netssm_wire::frame::{Layout, Net, ethertype, protocol};
use rayon::prelude::*;
use serde::Serialize;

use self::connection::Examiner;
pub use self::facts::{End, Fact, FlowFacts};
pub use self::options::OptionCounts;
use self::options::Seen;
pub use self::rows::{ComplianceRow, PUBLISHED_OPTIONS, Published, ROWS, RowGroup};
use crate::input::session::CapturedSession;
use crate::rows::collect::Share;
use crate::side::Side;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// TCP flows with fewer segments are not looked at. Default 1, as every flow counts in the paper. More leaves out
    /// scans and what a limit on packets cut off.
    pub min_segments: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_segments: 1 }
    }
}

/// A row of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// Sessions.
    pub captures: Share,
    /// TCP flows; none for a row about packets.
    pub flows: Share,
    /// What the row calls its cases.
    pub cases: Share,
}

/// One side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Sessions with a TCP flow.
    pub captures: u64,
    /// TCP flows.
    pub flows: u64,
    /// Their segments.
    pub segments: u64,
    /// Segments whose options were not captured to their end: rows about options judge only what they show.
    pub cut_options: u64,
    /// By row name.
    pub rows: BTreeMap<&'static str, RowCounts>,
    /// Options (Table 4).
    pub options: OptionCounts,
    /// Flows by how they ended.
    pub ends: BTreeMap<End, u64>,
}

/// TCP compliance of all sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compliance {
    /// Definitions of the rows, with the paper's numbers.
    pub definitions: Vec<ComplianceRow>,
    /// The real side.
    pub real: Totals,
    /// The synthetic side.
    pub synthetic: Totals,
    /// The second real side.
    pub floor: Option<Totals>,
}

/// Examines all sides.
pub fn analyse(real: &Side, synthetic: &Side, floor: Option<&Side>, options: &Options) -> Compliance {
    Compliance {
        definitions: ROWS.to_vec(),
        real: totals(real.sessions(), options),
        synthetic: totals(synthetic.sessions(), options),
        floor: floor.map(|side| totals(side.sessions(), options)),
    }
}

/// The facts of every TCP flow of a session, in order, with the flow's number in [`CapturedSession::flows`]. Flows of
/// which no segment has a whole fixed header are left out.
pub fn facts(session: &CapturedSession) -> Vec<(usize, FlowFacts)> {
    let mut flows: Vec<Option<Examiner>> = session
        .flows
        .iter()
        .map(|flow| (flow.first.protocol == protocol::TCP).then(Examiner::default))
        .collect();
    for (number, packet) in session.packets.iter().enumerate() {
        if let Some(segment) = packet.tcp
            && let Some(by) = session.direction(packet)
            && let Some(Some(examiner)) = packet.flow.and_then(|flow| flows.get_mut(flow as usize))
        {
            examiner.take(by, &segment, &Seen::of(session.frame(number)));
        }
    }
    let facts = flows.into_iter().enumerate().filter_map(|(number, flow)| Some((number, flow?.finish())));
    facts.filter(|(_, facts)| facts.segments > 0).collect()
}

/// Whether a packet that says it is IP has the version that it says; `None` for all others.
fn version(frame: &[u8]) -> Option<bool> {
    let layout = Layout::parse(frame);
    let at = match layout.net {
        Net::Ipv4(ip) => ip.at,
        Net::Ipv6(ip) => ip.at,
        Net::Other { at } => at,
        Net::None | Net::Arp { .. } => return None,
    };
    let found = frame.get(at)? >> 4;
    match layout.ethertype {
        ethertype::IPV4 => Some(found == 4),
        ethertype::IPV6 => Some(found == 6),
        _ => None,
    }
}

fn totals(sessions: &[CapturedSession], options: &Options) -> Totals {
    let each: Vec<Totals> = sessions.par_iter().map(|session| of_session(session, options)).collect();
    let mut all = Totals::default();
    for row in &ROWS {
        all.rows.insert(row.name, RowCounts::default());
    }
    for one in each {
        all.captures += one.captures;
        all.flows += one.flows;
        all.segments += one.segments;
        all.cut_options += one.cut_options;
        all.options.merge(&one.options);
        for (end, flows) in one.ends {
            *all.ends.entry(end).or_default() += flows;
        }
        for (name, found) in one.rows {
            let row = all.rows.entry(name).or_default();
            for (sum, more) in [
                (&mut row.captures, found.captures),
                (&mut row.flows, found.flows),
                (&mut row.cases, found.cases),
            ] {
                sum.hits += more.hits;
                sum.of += more.of;
            }
        }
    }
    all
}

fn of_session(session: &CapturedSession, options: &Options) -> Totals {
    let flows: Vec<FlowFacts> = facts(session)
        .into_iter()
        .map(|(_, facts)| facts)
        .filter(|facts| facts.segments >= options.min_segments)
        .collect();
    let mut out = Totals {
        captures: u64::from(!flows.is_empty()),
        flows: flows.len() as u64,
        segments: flows.iter().map(|flow| flow.segments).sum(),
        cut_options: flows.iter().map(|flow| flow.cut_options).sum(),
        ..Totals::default()
    };
    for flow in &flows {
        out.options.merge(&flow.options);
        *out.ends.entry(flow.end).or_default() += 1;
    }
    for row in &ROWS {
        let mut found = RowCounts::default();
        if let Some(fact) = row.fact {
            for fact in flows.iter().map(fact) {
                found.flows.count(fact.holds);
                found.cases.hits += fact.cases.hits;
                found.cases.of += fact.cases.of;
            }
            if !flows.is_empty() {
                found.captures.count(found.flows.hits > 0);
            }
        } else {
            let versions = (0..session.packets.len()).filter_map(|number| version(session.frame(number)));
            versions.for_each(|right| found.cases.count(right));
            if found.cases.of > 0 {
                found.captures.count(found.cases.hits == found.cases.of);
            }
        }
        out.rows.insert(row.name, found);
    }
    out
}
