//! Flows: how many a session has, how large they are, how many are open at a time.
//!
//! A flow is a two-way five-tuple within a session, without an idle timeout; ICMP pairs requests with replies,
//! fragments after the first count as a flow without ports. Flows that were open when the capture began count as others
//! do.

use crate::input::session::CapturedSession;
use crate::rows::collect::{Collected, Measure, Row};
use netssm_wire::frame::protocol;

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 7] = [
    Row::sample("flows.session", "flows", "flows of a session"),
    Row::sample("flows.session.tcp", "flows", "TCP flows of a session"),
    Row::sample("flows.session.udp", "flows", "UDP flows of a session"),
    Row::sample("flows.packets", "packets", "packets of a flow, both directions"),
    Row::sample("flows.bytes", "bytes", "bytes of a flow on the wire, both directions"),
    Row::sample("flows.duration", "s", "from first to last packet of a flow"),
    Row::sample(
        "flows.open",
        "flows",
        "most flows of a session between their first and last packet at one time",
    ),
];

fn add(session: &CapturedSession, out: &mut Collected) {
    let flows = &session.flows;
    out.extend(&ROWS[0], [flows.len() as f64]);
    out.extend(&ROWS[1], [session.flows_of(protocol::TCP).count() as f64]);
    out.extend(&ROWS[2], [session.flows_of(protocol::UDP).count() as f64]);
    out.extend(&ROWS[3], flows.iter().map(|flow| f64::from(flow.packets)));
    out.extend(&ROWS[4], flows.iter().map(|flow| flow.bytes as f64));
    let seconds = |us: i64| us.max(0) as f64 / 1e6;
    out.extend(&ROWS[5], flows.iter().map(|flow| seconds(flow.last_us.saturating_sub(flow.first_us))));
    out.extend(&ROWS[6], [most_open(session) as f64]);
}

fn most_open(session: &CapturedSession) -> usize {
    // An end comes after a start at the same time, so that a flow of one packet is open once.
    let mut events: Vec<(i64, i8)> =
        session.flows.iter().flat_map(|flow| [(flow.first_us, -1), (flow.last_us, 1)]).collect();
    events.sort_unstable();
    let mut open = 0_usize;
    let mut most = 0;
    for (_, kind) in events {
        if kind < 0 {
            open += 1;
            most = most.max(open);
        } else {
            open -= 1; // its start came before
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn flows_are_counted_measured_and_overlapped() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001); // 0 to 20 us
        frames.udp(20, (40001, 53), 8); // one packet, at the time of the last
        frames.udp(2_000_000, (40002, 53), 8);
        frames.arp(2_000_001);
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        let values: Vec<_> = ROWS.iter().map(|row| out.values(row).to_vec()).collect();
        assert_eq!(
            values,
            [
                vec![3.0],
                vec![1.0],
                vec![2.0],
                vec![3.0, 1.0, 1.0],
                vec![162.0, 50.0, 50.0],
                vec![2e-5, 0.0, 0.0],
                vec![2.0],
            ]
        );
    }

    #[test]
    fn a_session_without_packets_has_no_flows() {
        assert_eq!(most_open(&Frames::new().session("x")), 0);
    }
}
