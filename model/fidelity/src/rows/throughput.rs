//! Throughput over time: bytes on the wire in bins of a session's time, empty bins included.
//!
//! Bins count from the earliest packet. The last one, which the session does not fill, is left out; so a session
//! shorter than a bin has no value. Only the first hour of a session counts, which bounds memory where a clock jumped.

use crate::input::session::{CapturedSession, Direction};
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 4] = [
    Row::sample("throughput.100ms", "bytes", "bytes of a session on the wire in 100 ms"),
    Row::sample("throughput.1s", "bytes", "bytes of a session on the wire in 1 s"),
    Row::sample("throughput.1s.forward", "bytes", "bytes sent by initiators of flows in 1 s"),
    Row::sample("throughput.1s.backward", "bytes", "bytes sent to initiators of flows in 1 s"),
];

const SECOND_US: i64 = 1_000_000;
const LONGEST_US: i64 = 3600 * SECOND_US;

fn add(session: &CapturedSession, out: &mut Collected) {
    out.extend(&ROWS[0], bins(session, SECOND_US / 10, None));
    out.extend(&ROWS[1], bins(session, SECOND_US, None));
    out.extend(&ROWS[2], bins(session, SECOND_US, Some(Direction::Forward)));
    out.extend(&ROWS[3], bins(session, SECOND_US, Some(Direction::Backward)));
}

/// Bytes in each whole bin of a session, of all packets or of those that go one way.
pub(crate) fn bins(session: &CapturedSession, bin_us: i64, way: Option<Direction>) -> Vec<f64> {
    let whole = (session.duration_us().min(LONGEST_US) / bin_us) as usize;
    let mut bins = vec![0.0; whole];
    let start = session.packets.iter().map(|packet| packet.time_us).min().unwrap_or(0);
    for packet in &session.packets {
        let at = (packet.time_us.saturating_sub(start) / bin_us) as usize;
        if let Some(bin) = bins.get_mut(at)
            && (way.is_none() || session.direction(packet) == way)
        {
            *bin += f64::from(packet.wire_len);
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn whole_bins_count_also_when_empty() {
        let mut frames = Frames::new();
        frames.udp(5_000_000, (40001, 443), 58);
        frames.udp(5_999_999, (443, 40001), 158);
        frames.arp(7_000_000);
        frames.udp(7_900_000, (40001, 443), 58); // in a second that does not end
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        assert_eq!(out.values(&ROWS[0]).len(), 29);
        assert_eq!(out.values(&ROWS[0]).iter().sum::<f64>(), 342.0);
        assert_eq!(out.values(&ROWS[1]), [300.0, 0.0]);
        assert_eq!(out.values(&ROWS[2]), [100.0, 0.0]);
        assert_eq!(out.values(&ROWS[3]), [200.0, 0.0]);
    }

    #[test]
    fn a_clock_that_jumps_costs_no_memory() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 443), 58);
        frames.udp(1 << 50, (40001, 443), 58);
        assert_eq!(bins(&frames.session("x"), SECOND_US, None).len(), 3600);
        assert_eq!(bins(&Frames::new().session("x"), SECOND_US, None), [0.0; 0]);
    }
}
