//! Bursts: runs of packets of a session with a gap of less than [`PAUSE_US`] between each other.
//!
//! 10 ms is below the round trip over most of the Internet and far above what a packet takes on a link of 10 Mbit/s
//! (1.2 ms), so a burst is about what a sender has in flight at a time. Where gaps are drawn one by one, the lengths of
//! bursts are geometric; real ones are not. Compare the earth mover's distance, in packets or bytes.

use crate::input::session::CapturedSession;
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 2] = [
    Row::sample("burst.packets", "packets", "packets of a session in a row with gaps below 10 ms"),
    Row::sample("burst.bytes", "bytes", "bytes on the wire of packets in a row with gaps below 10 ms"),
];

/// A gap this long ends a burst.
const PAUSE_US: i64 = 10_000;

fn add(session: &CapturedSession, out: &mut Collected) {
    let pause = |a: &crate::input::session::Packet, b: &crate::input::session::Packet| {
        b.time_us.saturating_sub(a.time_us) < PAUSE_US // a clock set back is a gap of 0
    };
    let bursts = || session.packets.chunk_by(pause);
    out.extend(&ROWS[0], bursts().map(|burst| burst.len() as f64));
    out.extend(&ROWS[1], bursts().map(|burst| burst.iter().map(|p| f64::from(p.wire_len)).sum()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn a_pause_ends_a_burst() {
        let mut frames = Frames::new();
        for (at, size) in [(0, 58), (9_999, 58), (19_999, 8), (19_000, 8), (28_000, 8)] {
            frames.udp(at, (40001, 443), size);
        }
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        assert_eq!(out.values(&ROWS[0]), [2.0, 3.0]);
        assert_eq!(out.values(&ROWS[1]), [200.0, 150.0]);
        let mut out = Collected::default();
        add(&Frames::new().session("x"), &mut out);
        assert_eq!(out.values(&ROWS[0]), [0.0; 0]);
    }
}
