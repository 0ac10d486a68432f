//! Progress of sequence and acknowledgement numbers in TCP flows (RFC 9293 section 3.4).
//!
//! A segment is judged against what its direction has sent before in the capture:
//!
//! - *next*: it starts where the data sent so far ends;
//! - *again*: it lies wholly within data sent so far, as a retransmission, a keep-alive or a repeated ACK does;
//! - *gap*: it starts beyond that end (lost by the capture, overtaken, or made up);
//! - *fills*: it lies wholly within an earlier gap (it was overtaken, or is the retransmission of what was lost);
//! - else it overlaps, or lies where nothing was ever sent.
//!
//! `order.seq` is the share of next and again; the rows below it say what the rest is. The first segment of a direction
//! is not judged, because nothing is known before it. Neither is a SYN that opens another connection.
//!
//! An acknowledgement (in any segment with ACK) is judged after the other direction was seen: `order.ack` is the share
//! that is at most what the peer has sent by then and not behind the direction's previous one. Captures that lose or
//! reorder packets break both rules in real traffic too: compare with the real side, not with 1.

use netssm_wire::frame::protocol;
use netssm_wire::tcp::{Flags, Seq};

use crate::input::session::{CapturedSession, Direction, Segment};
use crate::rows::collect::{Collected, Measure, Row, Share};

pub(crate) const MEASURE: Measure = Measure { rows: &ROWS, add };

const ROWS: [Row; 7] = [
    Row::share("order.seq", "segments", "start at the end of the data sent, or repeat data sent"),
    Row::share("order.seq.next", "segments", "start at the end of the data sent"),
    Row::share("order.seq.gap", "segments", "start beyond the end of the data sent"),
    Row::share("order.ack", "ACKs", "acknowledge at most what the peer has sent, and never less than before"),
    Row::share("order.ack.beyond", "ACKs", "acknowledge what the peer has not sent"),
    Row::share("order.ack.back", "ACKs", "acknowledge less than the one before"),
    Row::share("order.flows", "TCP flows", "flows in which every segment and every ACK is in order"),
];

/// Gaps remembered a direction; the oldest is forgotten.
const GAPS: usize = 32;

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Next,
    Again,
    Gap,
    Fills,
    Astray,
}

/// One direction of a flow.
#[derive(Clone, Debug, Default)]
struct Half {
    /// The first number seen and the end of the data sent, which moves on.
    sent: Option<(Seq, Seq)>,
    /// Numbers jumped over: start and end.
    gaps: Vec<(Seq, Seq)>,
    acked: Option<Seq>,
    /// FIN or RST was sent.
    closed: bool,
}

impl Half {
    /// Judges a segment and updates the direction; `None` for the first segment.
    fn take(&mut self, segment: &Segment) -> Option<Place> {
        let (start, end) = (segment.seq, segment.seq + segment.seq_len());
        let Some((first, next)) = self.sent else {
            self.sent = Some((start, end));
            return None;
        };
        let place = if start == next {
            Place::Next
        } else if next.precedes(start) {
            Place::Gap
        } else if let Some(gap) = self.gaps.iter().position(|&(from, to)| within((from, to), (start, end))) {
            if start == end { Place::Again } else { self.fill(gap, (start, end)) }
        } else if within((first, next), (start, end)) && !self.gaps.iter().any(|g| meet(*g, (start, end))) {
            Place::Again
        } else {
            Place::Astray
        };
        // The numbers of a RST or of a segment without data move nothing.
        if segment.seq_len() > 0 && !segment.flags.contains(Flags::RST) {
            if place == Place::Gap {
                if self.gaps.len() == GAPS {
                    self.gaps.remove(0);
                }
                self.gaps.push((next, start));
            }
            self.sent = Some((first, next.later(end)));
        }
        Some(place)
    }

    fn fill(&mut self, gap: usize, (start, end): (Seq, Seq)) -> Place {
        let (from, to) = self.gaps.remove(gap);
        for rest in [(from, start), (end, to)] {
            if rest.0 != rest.1 && self.gaps.len() < GAPS {
                self.gaps.push(rest);
            }
        }
        Place::Fills
    }
}

fn within((from, to): (Seq, Seq), (start, end): (Seq, Seq)) -> bool {
    !start.precedes(from) && !to.precedes(end)
}

fn meet((from, to): (Seq, Seq), (start, end): (Seq, Seq)) -> bool {
    start.precedes(to) && from.precedes(end)
}

/// Both directions of a flow, with its verdicts.
#[derive(Clone, Debug, Default)]
struct Connection {
    halves: [Half; 2],
    judged: bool,
    broken: bool,
}

#[derive(Default)]
struct Tally {
    seq: Share,
    next: Share,
    gap: Share,
    ack: Share,
    beyond: Share,
    back: Share,
}

impl Connection {
    fn take(&mut self, by: Direction, segment: &Segment, tally: &mut Tally) {
        let (mine, theirs) = match by {
            Direction::Forward => (0, 1),
            Direction::Backward => (1, 0),
        };
        let opens = segment.flags.contains(Flags::SYN) && !segment.flags.contains(Flags::ACK);
        let repeats = self.halves[mine].sent.is_some_and(|(first, _)| first == segment.seq);
        if opens && !repeats && self.may_open_anew(mine) {
            self.halves = Default::default();
        }
        if let Some(place) = self.halves[mine].take(segment) {
            let good = matches!(place, Place::Next | Place::Again);
            tally.seq.count(good);
            tally.next.count(place == Place::Next);
            tally.gap.count(place == Place::Gap);
            self.judge(good);
        }
        if segment.flags.contains(Flags::ACK) {
            self.take_ack(mine, theirs, segment.ack, tally);
        }
        let closes = segment.flags.contains(Flags::FIN) || segment.flags.contains(Flags::RST);
        self.halves[mine].closed |= closes;
    }

    fn take_ack(&mut self, mine: usize, theirs: usize, ack: Seq, tally: &mut Tally) {
        let before = self.halves[mine].acked;
        let beyond = self.halves[theirs].sent.map(|(_, end)| end.precedes(ack));
        let back = before.is_some_and(|before| ack.precedes(before));
        if let Some(beyond) = beyond {
            tally.ack.count(!beyond && !back);
            tally.beyond.count(beyond);
            tally.back.count(back);
            self.judge(!beyond && !back);
        }
        if !back {
            self.halves[mine].acked = Some(ack);
        }
    }

    /// A connection is over once either side closed it, or when nothing but SYNs came of it.
    fn may_open_anew(&self, mine: usize) -> bool {
        let unanswered = self.halves[1 - mine].sent.is_none()
            && self.halves[mine].sent.is_none_or(|(first, end)| end - first <= 1);
        unanswered || self.halves.iter().any(|half| half.closed)
    }

    fn judge(&mut self, good: bool) {
        self.judged = true;
        self.broken |= !good;
    }
}

fn add(session: &CapturedSession, out: &mut Collected) {
    let mut connections = vec![Connection::default(); session.flows.len()];
    let mut tally = Tally::default();
    for (flow, by, segment) in session.segments() {
        connections[flow as usize].take(by, &segment, &mut tally);
    }
    let mut flows = Share::default();
    for (connection, flow) in connections.iter().zip(&session.flows) {
        if flow.first.protocol == protocol::TCP && connection.judged {
            flows.count(!connection.broken);
        }
    }
    let Tally { seq, next, gap, ack, beyond, back } = tally;
    for (row, cases) in ROWS.iter().zip([seq, next, gap, ack, beyond, back, flows]) {
        out.count(row, cases);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Frames, flags};

    fn shares(frames: &Frames) -> Vec<(u64, u64)> {
        let mut out = Collected::default();
        add(&frames.session("x"), &mut out);
        ROWS.iter().map(|row| out.cases(row)).map(|share| (share.hits, share.of)).collect()
    }

    fn places(segments: &[(u32, &str, u32)]) -> Vec<Option<Place>> {
        let mut half = Half::default();
        let segment = |&(seq, letters, payload): &(u32, &str, u32)| Segment {
            seq: Seq(seq),
            ack: Seq(0),
            flags: flags(letters),
            payload,
        };
        segments.iter().map(|s| half.take(&segment(s))).collect()
    }

    #[test]
    fn a_connection_in_good_order_is_all_good() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (50001, 443), "PA", (101, 501), 200);
        frames.tcp(40, (443, 50001), "A", (501, 301), 1000);
        frames.tcp(50, (443, 50001), "A", (501, 301), 1000); // again
        frames.tcp(60, (50001, 443), "A", (301, 1501), 0);
        frames.tcp(65, (50001, 443), "A", (300, 1501), 0); // keep-alive
        frames.tcp(70, (50001, 443), "FA", (301, 1501), 0);
        frames.tcp(80, (443, 50001), "FA", (1501, 302), 0);
        frames.tcp(90, (50001, 443), "A", (302, 1502), 0);
        // 11 segments, 2 of them the first of their direction; 10 with ACK, the peer seen in all.
        assert_eq!(shares(&frames), [(9, 9), (7, 9), (0, 9), (10, 10), (0, 10), (0, 10), (1, 1)]);
        // The port again, with numbers of its own.
        frames.tcp(100, (50001, 443), "S", (9000, 0), 0);
        frames.tcp(110, (443, 50001), "SA", (7000, 9001), 0);
        frames.tcp(120, (50001, 443), "A", (9001, 7001), 0);
        assert_eq!(shares(&frames)[0], (10, 10));
        assert_eq!(shares(&frames)[6], (1, 1));
    }

    #[test]
    fn places_are_told_apart_across_the_wrap() {
        let base = u32::MAX - 150;
        let at = |offset: u32| base.wrapping_add(offset);
        use Place::{Again, Astray, Fills, Gap, Next};
        let got = places(&[
            (at(0), "A", 100),
            (at(100), "A", 100),
            (at(300), "A", 100), // 200 to 300 is missing
            (at(400), "A", 100),
            (at(200), "A", 50),
            (at(260), "A", 20), // leaves 250 to 260 and 280 to 300
            (at(250), "A", 50), // overlaps what filled
            (at(100), "A", 100),
            (at(50), "A", 100),
            (at(500), "A", 0),
            (at(499), "A", 0),
            (at(700), "R", 0), // moves nothing
            (at(500), "A", 10),
            (at(0).wrapping_sub(10), "A", 10),
        ]);
        assert_eq!(
            got,
            [
                None,
                Some(Next),
                Some(Gap),
                Some(Next),
                Some(Fills),
                Some(Fills),
                Some(Astray),
                Some(Again),
                Some(Again),
                Some(Next),
                Some(Again),
                Some(Gap),
                Some(Next),
                Some(Astray),
            ]
        );
    }

    #[test]
    fn wrong_numbers_break_a_flow() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (443, 50001), "A", (501, 101), 100);
        frames.tcp(40, (50001, 443), "A", (101, 602), 0); // one more than was sent
        frames.tcp(50, (50001, 443), "A", (101, 560), 0); // less than before
        frames.tcp(60, (443, 50001), "A", (5_000_000, 101), 100); // out of nowhere
        frames.udp(70, (40001, 53), 9);
        frames.tcp(80, (50002, 443), "A", (1, 1), 5); // a flow of which nothing can be judged
        assert_eq!(shares(&frames), [(4, 5), (4, 5), (1, 5), (4, 6), (1, 6), (1, 6), (0, 1)]);
    }

    #[test]
    fn a_syn_in_the_middle_is_no_new_connection() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (50001, 443), "S", (77_000, 0), 0);
        assert_eq!(shares(&frames)[0], (1, 2));
    }

    #[test]
    fn any_numbers_are_judged_without_panic() {
        let mut half = Half::default();
        let mut x = 1_u32;
        for i in 0..20_000_u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let seq = if i % 3 == 0 { x } else { x % 5000 };
            let flags = Flags::from_bits((x >> 7) as u16);
            half.take(&Segment { seq: Seq(seq), ack: Seq(x), flags, payload: x % 3000 });
            assert!(half.gaps.len() <= GAPS);
        }
    }
}
