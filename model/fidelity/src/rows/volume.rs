//! Volume: packets, bytes and duration of a session.

use crate::input::session::CapturedSession;
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 3] = [
    Row::sample("session.packets", "packets", "packets of a session"),
    Row::sample("session.bytes", "bytes", "bytes of a session on the wire"),
    Row::sample("session.duration", "s", "from the earliest to the latest packet of a session"),
];

fn add(session: &CapturedSession, out: &mut Collected) {
    out.extend(&ROWS[0], [session.packets.len() as f64]);
    out.extend(&ROWS[1], [session.packets.iter().map(|p| f64::from(p.wire_len)).sum()]);
    out.extend(&ROWS[2], [session.duration_us() as f64 / 1e6]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn a_session_has_packets_bytes_and_a_duration() {
        let mut frames = Frames::new();
        frames.handshake(1_000_000, 50001);
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        let values: Vec<_> = ROWS.iter().map(|row| out.values(row)[0]).collect();
        assert_eq!(values, [3.0, 162.0, 2e-5]);
    }
}
