//! Features of a session: every [row](crate::analyses::compare) in a few numbers, and features of the session as a
//! whole, such as its mix of protocols, how flows alternate, and how gaps follow each other.
//!
//! A row of values gives its mean and its 10th, 50th and 90th percentile, or just its value where a session has one; a
//! row of shares gives its share. A session without such values has -2.

use std::collections::BTreeSet;

use netssm_wire::frame::protocol;

use super::numbers::{entropy, lag1, median, share};
use super::{Feature, NONE};
use crate::input::session::{CapturedSession, Direction};
use crate::rows::MEASURES;
use crate::rows::collect::{Collected, Row, RowKind};
use crate::rows::rows as all_rows;
use crate::stats::Summary;

const OWN: [(&str, &str); 17] = [
    ("mix.tcp", "share of packets"),
    ("mix.udp", "share of packets"),
    ("mix.ipv6", "share of packets"),
    ("mix.none", "share of packets without a flow"),
    ("mix.dns", "share of packets to or from port 53"),
    ("mix.forward", "share of packets with a flow"),
    ("mix.largest", "share of packets, those of the largest flow"),
    ("mix.single", "share of flows, those of one packet"),
    ("peers.addresses", "addresses that flows were opened to"),
    ("peers.ports", "ports that flows were opened to"),
    ("size.entropy", "bits"),
    ("gap.lag1", "correlation of a gap's logarithm with the next"),
    ("gap.turn.median", "us, where the direction changes"),
    ("gap.same.median", "us, where it does not"),
    ("gap.zero", "share of gaps"),
    ("switch.flow", "share of packets of another flow than the one before"),
    ("switch.direction", "share of packets that go the other way than the one before"),
];

/// Rows of which a session has one value.
fn is_single(row: &Row) -> bool {
    row.name.starts_with("session.") || row.name.starts_with("flows.session") || row.name == "flows.open"
}

/// Names and units, in the order of [`row`].
pub(crate) fn features() -> Vec<Feature> {
    let mut out = Vec::new();
    for row in all_rows() {
        match row.kind {
            RowKind::Share => out.push(Feature { name: row.name.to_owned(), unit: "share" }),
            RowKind::Sample if is_single(row) => {
                out.push(Feature { name: row.name.to_owned(), unit: row.unit });
            }
            RowKind::Sample => out.extend(
                ["mean", "p10", "p50", "p90"]
                    .map(|part| Feature { name: format!("{}.{part}", row.name), unit: row.unit }),
            ),
        }
    }
    out.extend(OWN.iter().map(|&(name, unit)| Feature { name: name.to_owned(), unit }));
    out
}

/// The features of a session.
pub(crate) fn row(session: &CapturedSession) -> Vec<f64> {
    let mut collected = Collected::default();
    MEASURES.iter().for_each(|measure| (measure.add)(session, &mut collected));
    collected.sort();
    let mut out = Vec::new();
    for row in all_rows() {
        match row.kind {
            RowKind::Share => out.push(collected.cases(row).value().unwrap_or(NONE)),
            RowKind::Sample if is_single(row) => {
                out.push(collected.values(row).first().copied().unwrap_or(NONE));
            }
            RowKind::Sample => out.extend(
                Summary::of(collected.values(row)).map_or([NONE; 4], |s| [s.mean, s.p10, s.p50, s.p90]),
            ),
        }
    }
    out.extend(own(session));
    out
}

fn own(session: &CapturedSession) -> [f64; OWN.len()] {
    let (packets, flows) = (&session.packets, &session.flows);
    let n = packets.len();
    let of = |holds: &dyn Fn(&crate::input::session::Flow) -> bool| {
        flows.iter().filter(|flow| holds(flow)).map(|flow| flow.packets as usize).sum::<usize>()
    };
    let in_flows = of(&|_| true);
    let forward = packets.iter().filter(|p| session.direction(p) == Some(Direction::Forward)).count();
    let largest = flows.iter().map(|flow| flow.packets as usize).max().unwrap_or(0);
    let addresses: BTreeSet<_> = flows.iter().map(|flow| flow.responder().0).collect();
    let ports: BTreeSet<_> = flows
        .iter()
        .filter(|flow| protocol::has_ports(flow.first.protocol))
        .map(|flow| (flow.first.protocol, flow.responder().1))
        .collect();
    let mut sizes: Vec<u32> = packets.iter().map(|packet| packet.wire_len).collect();
    let (mut all, mut turn, mut same) = (Vec::new(), Vec::new(), Vec::new());
    let mut switches = 0;
    for pair in packets.windows(2) {
        let gap = pair[1].time_us.saturating_sub(pair[0].time_us).max(0) as f64;
        all.push(gap);
        switches += usize::from(pair[0].flow != pair[1].flow);
        if session.direction(&pair[0]) == session.direction(&pair[1]) {
            same.push(gap)
        } else {
            turn.push(gap)
        }
    }
    let zero = all.iter().filter(|gap| **gap == 0.0).count();
    [
        share(of(&|flow| flow.first.protocol == protocol::TCP), n),
        share(of(&|flow| flow.first.protocol == protocol::UDP), n),
        share(of(&|flow| flow.first.src.is_ipv6()), n),
        share(n - in_flows.min(n), n),
        share(of(&|flow| flow.first.protocol == protocol::UDP && flow.responder().1 == 53), n),
        share(forward, in_flows),
        share(largest, n),
        share(flows.iter().filter(|flow| flow.packets == 1).count(), flows.len()),
        addresses.len() as f64,
        ports.len() as f64,
        entropy(&mut sizes),
        lag1(&all),
        median(&mut turn),
        median(&mut same),
        share(zero, all.len()),
        share(switches, all.len()),
        share(turn.len(), all.len()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn a_session_has_a_value_for_every_name() {
        let mut frames = Frames::new();
        frames.udp(0, (40000, 53), 8);
        frames.udp(500, (53, 40000), 80);
        frames.handshake(1_000_000, 50001);
        frames.arp(2_000_000);
        let (session, features) = (frames.session("x"), features());
        let values = row(&session);
        assert_eq!(values.len(), features.len());
        let names: BTreeSet<_> = features.iter().map(|feature| &feature.name).collect();
        assert_eq!(names.len(), features.len(), "names are unique");
        let value = |name: &str| values[features.iter().position(|f| f.name == name).expect(name)];
        for (name, expected) in [
            ("session.packets", 6.0),
            ("flows.session", 2.0),
            ("handshake.completed", 1.0),
            ("size.all.p10", 46.0),
            ("mix.tcp", 0.5),
            ("mix.dns", 1.0 / 3.0),
            ("mix.none", 1.0 / 6.0),
            ("mix.forward", 0.6),
            ("mix.largest", 0.5),
            ("peers.addresses", 1.0),
            ("peers.ports", 2.0),
            ("switch.flow", 0.4),
            ("gap.zero", 0.0),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    #[test]
    fn no_packet_and_one_packet_have_values_too() {
        let mut frames = Frames::new();
        assert!(row(&frames.session("x")).iter().all(|value| value.is_finite()));
        frames.arp(0);
        let one = row(&frames.session("x"));
        assert!(one.iter().all(|value| value.is_finite()) && one.contains(&NONE));
    }
}
