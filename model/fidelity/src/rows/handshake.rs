//! Completeness of TCP handshakes (RFC 9293 section 3.5).
//!
//! An *attempt* is a SYN without ACK with an initial sequence number that its flow has not tried before; a repeated SYN
//! is the same attempt. It is *answered* by a SYN-ACK of the other end that acknowledges that number plus 1, and
//! *completed* by a later segment of the initiator with ACK that acknowledges the SYN-ACK's number plus 1 and starts at
//! its own plus 1 or later. Attempts near the end of a capture, and to ports where nobody listens, stay open in real
//! traffic too: compare with the real side, not with 1.

use std::collections::BTreeMap;

use netssm_wire::frame::protocol;
use netssm_wire::tcp::{Flags, Seq};

use crate::input::session::{CapturedSession, Direction, Segment};
use crate::rows::collect::{Collected, Measure, Row, Share};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 5] = [
    Row::share("handshake.opening", "TCP flows", "flows that have a SYN"),
    Row::share("handshake.answered", "SYNs", "SYNs answered by a SYN-ACK that acknowledges ISN + 1"),
    Row::share("handshake.completed", "SYNs", "SYNs answered, and the answer acknowledged by the initiator"),
    Row::share(
        "handshake.flows",
        "TCP flows with a SYN",
        "flows with a SYN in which a handshake is completed",
    ),
    Row::share("handshake.asked", "SYN-ACKs", "SYN-ACKs that acknowledge a SYN seen before in their flow"),
];

/// SYNs of one flow and direction that are remembered; more are not counted. A port scan has one a flow.
const ATTEMPTS: usize = 64;

/// A SYN and what came of it.
struct Attempt {
    by: Direction,
    isn: Seq,
    /// The answer's initial sequence number.
    answer: Option<Seq>,
    completed: bool,
}

fn add(session: &CapturedSession, out: &mut Collected) {
    let mut attempts = BTreeMap::<u32, Vec<Attempt>>::new();
    let mut asked = Share::default();
    for (flow, by, segment) in session.segments() {
        look(attempts.entry(flow).or_default(), by, &segment, &mut asked);
    }
    let [mut opening, mut answered, mut completed, mut flows] = [Share::default(); 4];
    for (number, flow) in session.flows.iter().enumerate() {
        if flow.first.protocol != protocol::TCP {
            continue;
        }
        let attempts = attempts.get(&(number as u32)).map_or(&[][..], Vec::as_slice);
        opening.count(!attempts.is_empty());
        if !attempts.is_empty() {
            flows.count(attempts.iter().any(|a| a.completed));
        }
        for attempt in attempts {
            answered.count(attempt.answer.is_some());
            completed.count(attempt.completed);
        }
    }
    for (row, cases) in ROWS.iter().zip([opening, answered, completed, flows, asked]) {
        out.count(row, cases);
    }
}

fn look(attempts: &mut Vec<Attempt>, by: Direction, segment: &Segment, asked: &mut Share) {
    let has = |flag| segment.flags.contains(flag);
    match (has(Flags::SYN), has(Flags::ACK)) {
        (true, false) => {
            let known = attempts.iter().any(|a| a.by == by && a.isn == segment.seq);
            if !known && attempts.len() < ATTEMPTS {
                attempts.push(Attempt { by, isn: segment.seq, answer: None, completed: false });
            }
        }
        (true, true) => {
            let attempt = attempts.iter_mut().find(|a| a.by != by && a.isn + 1 == segment.ack);
            asked.count(attempt.is_some());
            if let Some(attempt) = attempt {
                attempt.answer.get_or_insert(segment.seq);
            }
        }
        (false, true) if !has(Flags::RST) => {
            // Later data counts too: the bare ACK may have been lost by the capture.
            let done = attempts.iter_mut().find(|a| {
                a.by == by
                    && !segment.seq.precedes(a.isn + 1)
                    && a.answer.is_some_and(|answer| segment.ack == answer + 1)
            });
            if let Some(attempt) = done {
                attempt.completed = true;
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn shares(frames: &Frames) -> Vec<(u64, u64)> {
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        ROWS.iter().map(|row| out.cases(row)).map(|share| (share.hits, share.of)).collect()
    }

    #[test]
    fn a_handshake_in_good_order_is_complete() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.udp(50, (40001, 53), 10);
        assert_eq!(shares(&frames), [(1, 1), (1, 1), (1, 1), (1, 1), (1, 1)]);
    }

    #[test]
    fn repeats_are_one_attempt_and_wrong_numbers_none() {
        let mut frames = Frames::new();
        // Repeated, then refused.
        frames.tcp(0, (50001, 443), "S", (100, 0), 0);
        frames.tcp(1, (50001, 443), "S", (100, 0), 0);
        frames.tcp(2, (443, 50001), "RA", (0, 101), 0);
        // Answered with another number.
        frames.tcp(3, (50002, 443), "S", (100, 0), 0);
        frames.tcp(4, (443, 50002), "SA", (500, 100), 0);
        frames.tcp(5, (50002, 443), "A", (101, 501), 0);
        // Answered, the answer acknowledged with another number.
        frames.tcp(6, (50003, 443), "S", (u32::MAX, 0), 0);
        frames.tcp(7, (443, 50003), "SA", (u32::MAX, 0), 0);
        frames.tcp(8, (50003, 443), "A", (0, 9), 0);
        // Joined late.
        frames.tcp(9, (50004, 443), "A", (5, 9), 7);
        assert_eq!(shares(&frames), [(3, 4), (1, 3), (0, 3), (0, 3), (1, 2)]);
    }

    #[test]
    fn a_port_used_again_is_a_second_attempt_of_the_flow() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (50001, 443), "S", (9000, 0), 0);
        frames.tcp(31, (443, 50001), "SA", (7000, 9001), 0);
        frames.tcp(32, (50001, 443), "PA", (9001, 7001), 50); // its ACK is not in the capture
        assert_eq!(shares(&frames), [(1, 1), (2, 2), (2, 2), (1, 1), (2, 2)]);
    }
}
