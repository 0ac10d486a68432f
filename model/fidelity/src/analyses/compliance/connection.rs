//! The connections of one TCP flow, segment by segment (RFC 9293 sections 3.3 to 3.6).
//!
//! A capture does not see all that the ends of a connection see: it may begin in the middle, lose segments, and have
//! them in another order. So segments that were not captured are never held against a flow:
//!
//! - a direction's first segment sets where its numbers start; ACKs are judged once the other direction was seen;
//! - a connection is *established* when its handshake is complete, or, where its beginning is not in the capture, once
//!   both ends have sent an ACK;
//! - a SYN with a new initial number begins a new connection on the same five-tuple unless the old one is established
//!   and neither FIN nor RST ended it. Then the SYN is late. If the peer answers it all the same, the capture lost the
//!   end of the old connection, and a new one begins.
//!
//! The numbers of a RST are those of the segment that it answers. They are not judged and change nothing.

use netssm_wire::tcp::{Flags, Seq};

use super::facts::{End, FlowFacts};
use super::options::Seen;
use crate::input::session::{Direction, Segment};
use crate::rows::collect::Share;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// First number seen, and the end of what was sent.
    sent: Option<(Seq, Seq)>,
    /// Initial number, if its SYN was seen.
    isn: Option<Seq>,
    /// Whether its SYN permitted SACK, offered timestamps; `None`: not known.
    sack_ok: Option<bool>,
    timestamps: Option<bool>,
    /// The latest number that it acknowledged.
    acked: Option<Seq>,
    /// End of its FIN.
    fin: Option<Seq>,
    fin_acked: bool,
}

/// A connection and its state.
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    halves: [Half; 2],
    /// The side that sent a SYN without ACK.
    initiator: Option<usize>,
    /// The other side's SYN acknowledged it.
    answered: bool,
    established: bool,
    reset: bool,
    /// Timestamps are in use.
    timestamps: bool,
    fin_ack: bool,
}

/// A flow under examination.
#[derive(Clone, Debug, Default)]
pub(super) struct Examiner {
    facts: FlowFacts,
    now: Connection,
    /// A SYN of an established connection, with its side and number.
    late: Option<(usize, Seq, Seen)>,
    /// State of the connection when its last RST came.
    reset: End,
    /// Some direction's numbers, some acknowledgement, moved on.
    sent_on: bool,
    acked_on: bool,
}

impl Connection {
    fn has_fin(&self) -> bool {
        self.halves.iter().any(|half| half.fin.is_some())
    }

    fn is_closed(&self) -> bool {
        self.halves.iter().all(|half| half.fin_acked)
    }

    fn in_established_state(&self) -> bool {
        self.established && !self.reset && !self.has_fin()
    }
}

impl Examiner {
    /// Takes the next segment.
    pub(super) fn take(&mut self, by: Direction, segment: &Segment, seen: &Seen) {
        let mine = usize::from(by == Direction::Backward);
        let has = |flag| segment.flags.contains(flag);
        let (syn, ack, rst) = (has(Flags::SYN), has(Flags::ACK), has(Flags::RST));
        self.count(segment, seen);
        if rst {
            self.take_rst();
            return;
        }
        if syn {
            let late = self.take_syn(mine, segment, seen);
            self.facts.late_syn.any(late);
            if late {
                return;
            }
        }
        self.take_options(mine, syn, seen);
        if ack {
            self.take_ack(mine, segment);
        }
        self.take_seq(mine, segment);
        if has(Flags::FIN) {
            self.now.halves[mine].fin.get_or_insert(segment.seq + segment.seq_len());
        }
        if ack && !syn {
            self.establish(mine, segment);
        }
    }

    /// Facts of a segment by itself.
    fn count(&mut self, segment: &Segment, seen: &Seen) {
        let facts = &mut self.facts;
        let has = |flag| segment.flags.contains(flag);
        let (syn, ack, fin, rst) = (has(Flags::SYN), has(Flags::ACK), has(Flags::FIN), has(Flags::RST));
        facts.segments += 1;
        facts.cut_options += u64::from(!seen.whole);
        facts.options.merge(&seen.counts);
        facts.syns += u64::from(syn && !ack);
        facts.syn_acks += u64::from(syn && ack);
        facts.fins += u64::from(fin);
        facts.rsts += u64::from(rst);
        facts.data += u64::from(segment.payload > 0);
        facts.fin.any(fin);
        facts.conflict.any(syn && (fin || rst) || fin && rst || !(syn || ack || rst));
        if !syn {
            facts.mss_outside.any(seen.counts.mss > 0);
            facts.wscale_outside.any(seen.counts.wscale > 0);
            facts.sack_ok_outside.any(seen.counts.sack_ok > 0);
        }
        if seen.whole {
            facts.options_broken.any(seen.broken);
        }
    }

    fn take_rst(&mut self) {
        let now = &mut self.now;
        self.facts.rst_established.any(now.in_established_state());
        if !now.reset {
            self.reset = match () {
                () if now.has_fin() => End::ResetAfterFin,
                () if now.established => End::Reset,
                () => End::Refused,
            };
        }
        now.reset = true;
    }

    /// Updates the connection by a SYN. A late SYN changes nothing, and the function says so.
    fn take_syn(&mut self, mine: usize, segment: &Segment, seen: &Seen) -> bool {
        let theirs = 1 - mine;
        let ack = segment.flags.contains(Flags::ACK);
        if self.now.halves[mine].isn == Some(segment.seq) {
            return false; // again
        }
        if let Some((by, isn, offered)) = self.late
            && ack
            && by == theirs
            && segment.ack == isn + 1
        {
            self.begin();
            self.open(theirs, isn, &offered);
            self.now.halves[theirs].sent = Some((isn, isn + 1));
        }
        if self.now.in_established_state() {
            if !ack {
                self.late = Some((mine, segment.seq, *seen));
            }
            return true;
        }
        let answers = ack && self.now.halves[theirs].isn.is_some_and(|isn| segment.ack == isn + 1);
        if ack {
            self.now.answered |= answers;
            let half = &mut self.now.halves[mine];
            (half.isn, half.sack_ok) = (Some(segment.seq), seen.has(|c| c.sack_ok));
            half.timestamps = seen.has(|c| c.timestamps);
        } else {
            self.begin();
            self.open(mine, segment.seq, seen);
        }
        let [one, other] = &self.now.halves;
        self.now.timestamps |= one.timestamps == Some(true) && other.timestamps == Some(true);
        false
    }

    /// Begins a new connection and counts the old one.
    fn begin(&mut self) {
        self.settle();
        self.now = Connection::default();
        self.late = None;
        self.reset = End::Open;
    }

    fn open(&mut self, by: usize, isn: Seq, seen: &Seen) {
        let half = &mut self.now.halves[by];
        half.isn = Some(isn);
        half.sack_ok = seen.has(|c| c.sack_ok);
        half.timestamps = seen.has(|c| c.timestamps);
        self.now.initiator = Some(by);
    }

    fn take_options(&mut self, mine: usize, syn: bool, seen: &Seen) {
        let timestamped = seen.has(|c| c.timestamps);
        if !syn {
            if self.now.timestamps && timestamped.is_some() {
                self.facts.timestamps_gone.any(timestamped == Some(false));
            }
            // An end that did not agree on timestamps does not send them later (RFC 7323 section 3.2), so the agreement
            // was not captured.
            self.now.timestamps |= timestamped == Some(true);
        }
        if seen.counts.sack > 0
            && let Some(permitted) = self.now.halves[1 - mine].sack_ok
        {
            self.facts.sack_unasked.any(!permitted);
        }
    }

    fn take_ack(&mut self, mine: usize, segment: &Segment) {
        let theirs = 1 - mine;
        let ack = segment.ack;
        if let Some((first, end)) = self.now.halves[theirs].sent {
            let beyond = end.precedes(ack);
            self.facts.ack_beyond.any(beyond);
            self.acked_on |= !beyond && first.precedes(ack);
        }
        let back = self.now.halves[mine].acked.map(|before| ack.precedes(before));
        if let Some(back) = back {
            self.facts.ack_progress.cases.count(!back);
        }
        if back != Some(true) {
            self.now.halves[mine].acked = Some(ack);
        }
        if let Some(fin) = self.now.halves[theirs].fin
            && !ack.precedes(fin)
        {
            self.now.halves[theirs].fin_acked = true;
            self.now.fin_ack |= segment.flags.contains(Flags::FIN);
        }
    }

    fn take_seq(&mut self, mine: usize, segment: &Segment) {
        let half = &mut self.now.halves[mine];
        let (start, end) = (segment.seq, segment.seq + segment.seq_len());
        let Some((first, next)) = half.sent else {
            half.sent = Some((start, end));
            return;
        };
        let jumps = next.precedes(start);
        // A keep-alive starts one before what comes next and has no data, or one octet of it (RFC 9293 section 3.8.4).
        let keeps_alive = start + 1 == next && segment.seq_len() <= 1 && segment.flags.seq_len() == 0;
        let rewinds = start.precedes(first) && !keeps_alive;
        self.facts.seq_progress.cases.count(!jumps && !rewinds);
        self.facts.jumps += u64::from(jumps);
        self.facts.behind += u64::from(segment.seq_len() > 0 && start.precedes(next) && !keeps_alive);
        self.sent_on |= !jumps && first.precedes(start);
        // All data before a segment was sent, captured or not. So a gap counts once, and the segments behind it are no
        // further gaps.
        half.sent = Some((first, next.later(end)));
    }

    fn establish(&mut self, mine: usize, segment: &Segment) {
        let now = &mut self.now;
        let (own, peer) = (&now.halves[mine], &now.halves[1 - mine]);
        let completes = now.initiator == Some(mine)
            && now.answered
            && peer.isn.is_some_and(|isn| segment.ack == isn + 1)
            && own.isn.is_some_and(|isn| !segment.seq.precedes(isn + 1));
        let joined = now.initiator.is_none() && now.halves.iter().all(|half| half.acked.is_some());
        now.established |= completes || joined;
    }

    /// Counts the facts that count once per connection.
    fn settle(&mut self) {
        let now = &self.now;
        if now.initiator.is_some() {
            self.facts.handshake.any(now.established);
        }
        if now.has_fin() {
            self.facts.fin_ack.any(now.fin_ack);
            self.facts.closed.any(now.is_closed());
        }
    }

    /// The facts.
    pub(super) fn finish(mut self) -> FlowFacts {
        self.settle();
        let fins = self.now.halves.iter().filter(|half| half.fin.is_some()).count();
        self.facts.end = match fins {
            _ if self.now.reset => self.reset,
            0 => End::Open,
            1 => End::HalfClosed,
            _ if self.now.is_closed() => End::Closed,
            _ => End::Closing,
        };
        let all = |cases: Share| cases.hits == cases.of;
        self.facts.ack_progress.holds = self.acked_on && all(self.facts.ack_progress.cases);
        self.facts.seq_progress.holds = self.sent_on && all(self.facts.seq_progress.cases);
        self.facts
    }
}
