//! Inter-arrival gaps, in microseconds.
//!
//! *Session* gaps are between consecutive packets of a session that go the same way (`all`: any two consecutive
//! packets), over all flows together: what an observer of the link sees, and what a codec with time encodes. *Flow*
//! gaps are the same within one five-tuple, as flow exporters compute them (the "IAT" features of CICFlowMeter:
//! Lashkari et al., "Characterization of Tor traffic using time based features", ICISSP 2017). The direction is
//! relative to the flow's initiator. A clock that was set back counts as a gap of 0.

use crate::input::session::{CapturedSession, Direction};
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 6] = [
    Row::sample("gap.session.all", "us", "between consecutive packets of a session"),
    Row::sample(
        "gap.session.forward",
        "us",
        "between consecutive packets of a session sent by initiators of flows",
    ),
    Row::sample(
        "gap.session.backward",
        "us",
        "between consecutive packets of a session sent to initiators of flows",
    ),
    Row::sample("gap.flow.all", "us", "between consecutive packets of a flow"),
    Row::sample("gap.flow.forward", "us", "between consecutive packets of a flow sent by its initiator"),
    Row::sample("gap.flow.backward", "us", "between consecutive packets of a flow sent to its initiator"),
];

/// The last packet seen: any, forward, backward.
type Last = [Option<i64>; 3];

fn add(session: &CapturedSession, out: &mut Collected) {
    let mut gaps: [Vec<f64>; 6] = Default::default();
    let mut in_session = Last::default();
    let mut in_flow = vec![Last::default(); session.flows.len()];
    for packet in &session.packets {
        let way = match session.direction(packet) {
            None => 0,
            Some(Direction::Forward) => 1,
            Some(Direction::Backward) => 2,
        };
        let flow = packet.flow.and_then(|flow| in_flow.get_mut(flow as usize));
        for (offset, last) in [(0, Some(&mut in_session)), (3, flow)] {
            let Some(last) = last else { continue };
            // Without a flow there is no direction: then both are the same and it counts once.
            for side in [0, way].into_iter().take(if way == 0 { 1 } else { 2 }) {
                if let Some(before) = last[side].replace(packet.time_us) {
                    gaps[offset + side].push(packet.time_us.saturating_sub(before).max(0) as f64);
                }
            }
        }
    }
    for (row, gaps) in ROWS.iter().zip(gaps) {
        out.extend(row, gaps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn gaps_are_by_session_flow_and_direction() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 443), 10); // flow 1, forward
        frames.udp(100, (443, 40001), 10); // flow 1, backward
        frames.udp(130, (40002, 443), 10); // flow 2, forward
        frames.arp(150);
        frames.udp(400, (40001, 443), 10);
        frames.udp(390, (443, 40001), 10); // the clock was set back
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        let gaps: Vec<_> = ROWS.iter().map(|row| out.values(row).to_vec()).collect();
        assert_eq!(
            gaps,
            [
                vec![100.0, 30.0, 20.0, 250.0, 0.0],
                vec![130.0, 270.0],
                vec![290.0],
                vec![100.0, 300.0, 0.0],
                vec![400.0],
                vec![290.0],
            ]
        );
    }
}
