//! How the flows of a session overlap: when they start, how many are open over time, how packets alternate.
//!
//! A flow is *open* from its first to its last packet in the session. Open flows are counted at every full second of
//! the first hour, so a state counts for as long as it lasts (`flows.open` is the maximum only). A *switch* is a packet
//! whose flow differs from that of the previous packet with a flow. A *run* is the packets between two switches. NetSSM
//! claims that only generation of whole sessions reproduces these, not generation flow by flow (section 1 of the
//! paper).

use crate::input::session::CapturedSession;
use crate::rows::collect::{Collected, Measure, Row, Share};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 4] = [
    Row::sample("flows.concurrent", "flows", "flows open at a full second of a session"),
    Row::sample("flows.start", "s", "from the start of a session to the first packet of a flow"),
    Row::share("flows.switch", "packets", "of another flow than the packet before"),
    Row::sample("flows.run", "packets", "packets of one flow in a row"),
];

const SECOND_US: i64 = 1_000_000;
const LONGEST_S: usize = 3600;

fn add(session: &CapturedSession, out: &mut Collected) {
    let start = session.packets.iter().map(|packet| packet.time_us).min().unwrap_or(0);
    out.extend(&ROWS[0], concurrency(session).into_iter().map(f64::from));
    let since = |time_us: i64| time_us.saturating_sub(start).max(0) as f64 / 1e6;
    out.extend(&ROWS[1], session.flows.iter().map(|flow| since(flow.first_us)));
    let flows: Vec<u32> = session.packets.iter().filter_map(|packet| packet.flow).collect();
    let mut switches = Share::default();
    flows.windows(2).for_each(|pair| switches.count(pair[0] != pair[1]));
    out.count(&ROWS[2], switches);
    out.extend(&ROWS[3], flows.chunk_by(|a, b| a == b).map(|run| run.len() as f64));
}

/// Open flows at 0 s, 1 s, ... of a session, to its last full second.
pub(crate) fn concurrency(session: &CapturedSession) -> Vec<u32> {
    let Some(start) = session.packets.iter().map(|packet| packet.time_us).min() else { return Vec::new() };
    let seconds = ((session.duration_us() / SECOND_US) as usize).min(LONGEST_S - 1);
    // What changes at each second; one more for flows that end at the last.
    let mut changes = vec![0_i64; seconds + 2];
    for flow in &session.flows {
        let (first, last) = (flow.first_us.saturating_sub(start), flow.last_us.saturating_sub(start));
        let opens = first.saturating_add(SECOND_US - 1) / SECOND_US;
        let closes = (last / SECOND_US).min(seconds as i64);
        if (0..=closes).contains(&opens) {
            changes[opens as usize] += 1;
            changes[closes as usize + 1] -= 1;
        }
    }
    let mut open = 0;
    changes[..=seconds]
        .iter()
        .map(|change| {
            open += change;
            u32::try_from(open).unwrap_or(0) // never below 0: each flow opens before it closes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn flows_are_counted_each_second_and_their_packets_alternate() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 443), 10);
        frames.udp(500_000, (40002, 443), 10);
        frames.udp(600_000, (443, 40001), 10);
        frames.arp(700_000);
        frames.udp(800_000, (40001, 443), 10);
        frames.udp(2_000_000, (40002, 443), 10);
        frames.udp(2_500_000, (40003, 443), 10);
        let mut out = Collected::default();
        let session = frames.session("x");
        add(&session, &mut out);
        // The first flow lasts to 0.8 s, the second from 0.5 to 2 s, the third is between two seconds.
        assert_eq!(concurrency(&session), [1, 1, 1]);
        assert_eq!(out.values(&ROWS[1]), [0.0, 0.5, 2.5]);
        assert_eq!(out.cases(&ROWS[2]), Share { hits: 4, of: 5 });
        assert_eq!(out.values(&ROWS[3]), [1.0, 1.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn odd_sessions_have_few_values() {
        let mut frames = Frames::new();
        assert_eq!(concurrency(&frames.session("x")), [0; 0]);
        frames.udp(5, (40001, 443), 10);
        assert_eq!(concurrency(&frames.session("x")), [1]);
        frames.udp(1 << 50, (40001, 443), 10);
        assert_eq!(concurrency(&frames.session("x")), vec![1; LONGEST_S]);
    }
}
