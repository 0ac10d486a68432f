//! Packet sizes: length on the wire in bytes, from the Ethernet header on, without the frame check sequence.
//!
//! Of a capture that was cut the recorded original length counts. Padding of short frames to 60 bytes is part of it
//! where the capture has it; captures made on the sending host do not.

use crate::input::session::{CapturedSession, Direction};
use crate::rows::collect::{Collected, Measure, Row};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 3] = [
    Row::sample("size.all", "bytes", "length of a packet on the wire"),
    Row::sample("size.forward", "bytes", "length of a packet sent by the initiator of its flow"),
    Row::sample("size.backward", "bytes", "length of a packet sent to the initiator of its flow"),
];

fn add(session: &CapturedSession, out: &mut Collected) {
    let of = |direction: Direction| {
        let goes = move |p: &&_| session.direction(p) == Some(direction);
        session.packets.iter().filter(goes).map(|p| f64::from(p.wire_len))
    };
    out.extend(&ROWS[0], session.packets.iter().map(|p| f64::from(p.wire_len)));
    out.extend(&ROWS[1], of(Direction::Forward));
    out.extend(&ROWS[2], of(Direction::Backward));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn sizes_are_lengths_on_the_wire() {
        let mut frames = Frames::new();
        frames.udp(0, (40001, 443), 10);
        frames.udp(1, (443, 40001), 1200);
        frames.arp(2);
        frames.records[1].frame.truncate(60);
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        let sizes: Vec<_> = ROWS.iter().map(|row| out.values(row).to_vec()).collect();
        assert_eq!(sizes, [vec![52.0, 1242.0, 42.0], vec![52.0], vec![1242.0]]);
    }
}
