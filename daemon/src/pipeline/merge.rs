//! Merges live sessions into one stream of packets, ordered by deadline. Pure.
//!
//! A binary heap holds one entry per session: the deadline of its next packet, from its [`Pacer`]. Deadlines are
//! offsets from the start of the run. Packets with equal deadlines leave in order of session number, and a session's
//! packets keep their order. So the order is total and depends on the sessions alone: the same sessions give the same
//! bytes.
//!
//! A packet is built when it is popped, one at a time. So the number of live sessions bounds the memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use netssm_replay::pace::{Pacer, Speed};

/// A session being played: its packets in order of time. `peek` gives the time of the next packet without building it,
/// and `next` builds it.
pub(crate) trait Source {
    /// A packet, or the reason why it was dropped.
    type Packet;
    /// Time of the next packet, counted from the start of the session. `None` at the end.
    fn peek(&self) -> Option<Duration>;
    /// Builds the next packet.
    fn next(&mut self) -> Option<Self::Packet>;
}

#[derive(Debug)]
struct Live<S> {
    source: S,
    pacer: Pacer,
}

/// One popped packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Popped<P> {
    /// Deadline of the packet, counted from the start of the run.
    pub deadline: Duration,
    /// Number of its session.
    pub session: u64,
    /// The packet.
    pub packet: P,
    /// Whether it was the last packet of its session.
    pub last: bool,
}

/// The merge of all live sessions.
#[derive(Debug)]
pub(crate) struct Merge<S> {
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
    live: HashMap<u64, Live<S>>,
    speed: Speed,
}

impl<S: Source> Merge<S> {
    /// A merge without live sessions. `speed` scales the time inside sessions.
    pub(crate) fn new(speed: Speed) -> Self {
        Self { heap: BinaryHeap::new(), live: HashMap::new(), speed }
    }

    /// Changes the speed. The next packet of each live session keeps its deadline.
    pub(crate) fn set_speed(&mut self, speed: Speed) {
        self.speed = speed;
        for live in self.live.values_mut() {
            if let Some(next) = live.source.peek() {
                live.pacer.set_speed(speed, next);
            }
        }
    }

    /// Adds session `number` with its start at `start`. Gives `false`, and adds nothing, if the session has no packet.
    pub(crate) fn add(&mut self, number: u64, start: Duration, source: S) -> bool {
        let Some(first) = source.peek() else { return false };
        let pacer = Pacer::new(start, self.speed);
        self.heap.push(Reverse((pacer.deadline(first), number)));
        self.live.insert(number, Live { source, pacer });
        true
    }

    /// Deadline of the next packet.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Builds and removes the packet with the earliest deadline.
    pub(crate) fn pop_due_packet(&mut self) -> Option<Popped<S::Packet>> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((deadline, session)) = *top;
        let live = self.live.get_mut(&session).expect("every heap entry has a live session");
        let packet = live.source.next();
        let following = live.source.peek();
        match following {
            // The entry is changed in place: one sift instead of a pop and a push. A session time that runs backwards
            // would break the order of the stream, so the deadline never decreases.
            Some(time) => top.0.0 = live.pacer.deadline(time).max(deadline),
            None => {
                std::collections::binary_heap::PeekMut::pop(top);
                self.live.remove(&session);
            }
        }
        let packet = packet.expect("a source that peeks a time gives a packet");
        Some(Popped { deadline, session, packet, last: following.is_none() })
    }

    /// The live session with this number.
    pub(crate) fn source_mut(&mut self, number: u64) -> Option<&mut S> {
        self.live.get_mut(&number).map(|live| &mut live.source)
    }

    /// The live sessions, in no particular order.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &S> {
        self.live.values().map(|live| &live.source)
    }

    /// Number of live sessions.
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Drops all live sessions and gives their number.
    pub(crate) fn cut(&mut self) -> usize {
        let cut = self.live.len();
        self.heap.clear();
        self.live.clear();
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet is (session, index). Times are in milliseconds.
    struct Fixed {
        id: u64,
        times: Vec<u64>,
        at: usize,
    }

    impl Source for Fixed {
        type Packet = (u64, usize);
        fn peek(&self) -> Option<Duration> {
            self.times.get(self.at).map(|ms| Duration::from_millis(*ms))
        }
        fn next(&mut self) -> Option<Self::Packet> {
            (self.at < self.times.len()).then(|| {
                self.at += 1;
                (self.id, self.at - 1)
            })
        }
    }

    fn fixed(id: u64, times: &[u64]) -> Fixed {
        Fixed { id, times: times.to_vec(), at: 0 }
    }

    fn drain(merge: &mut Merge<Fixed>) -> Vec<(u64, (u64, usize))> {
        std::iter::from_fn(|| merge.pop_due_packet())
            .map(|p| (p.deadline.as_millis() as u64, p.packet))
            .collect()
    }

    fn speed(factor: f64) -> Speed {
        Speed::factor(factor).expect("a speed")
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_come_by_deadline_then_by_session() {
        let mut merge = Merge::new(Speed::REAL_TIME);
        assert!(merge.add(2, 10 * MS, fixed(2, &[0, 5, 5])));
        assert!(merge.add(1, 15 * MS, fixed(1, &[0, 1])));
        assert!(!merge.add(3, Duration::ZERO, fixed(3, &[])), "an empty session is not live");
        assert_eq!(drain(&mut merge), [(10, (2, 0)), (15, (1, 0)), (15, (2, 1)), (15, (2, 2)), (16, (1, 1))]);
        assert_eq!((merge.len(), merge.next_deadline()), (0, None));
    }

    #[test]
    fn the_last_packet_of_a_session_says_so() {
        let mut merge = Merge::new(Speed::REAL_TIME);
        merge.add(1, Duration::ZERO, fixed(1, &[0, 1]));
        let last: Vec<bool> = std::iter::from_fn(|| merge.pop_due_packet()).map(|p| p.last).collect();
        assert_eq!(last, [false, true]);
    }

    #[test]
    fn speed_scales_time_inside_a_session_only() {
        let mut merge = Merge::new(speed(2.0));
        merge.add(1, 100 * MS, fixed(1, &[0, 10, 30]));
        assert_eq!(drain(&mut merge), [(100, (1, 0)), (105, (1, 1)), (115, (1, 2))]);
    }

    #[test]
    fn a_change_of_speed_moves_no_packet_back() {
        let mut merge = Merge::new(Speed::REAL_TIME);
        merge.add(1, 100 * MS, fixed(1, &[0, 10, 30]));
        merge.pop_due_packet();
        merge.set_speed(speed(0.5));
        assert_eq!(drain(&mut merge), [(110, (1, 1)), (150, (1, 2))]);
    }

    #[test]
    fn time_that_runs_backwards_does_not_break_the_order() {
        let mut merge = Merge::new(Speed::REAL_TIME);
        merge.add(1, Duration::ZERO, fixed(1, &[5, 2, 9]));
        assert_eq!(drain(&mut merge), [(5, (1, 0)), (5, (1, 1)), (9, (1, 2))]);
    }

    #[test]
    fn many_random_sessions_never_invert() {
        use rand::{Rng, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let mut merge = Merge::new(Speed::REAL_TIME);
        for id in 0..200 {
            let mut time = 0;
            let times: Vec<u64> = (0..rng.random_range(1..50))
                .map(|_| {
                    time += rng.random_range(0..3);
                    time
                })
                .collect();
            merge.add(id, MS * rng.random_range(0..50), fixed(id, &times));
        }
        let all = drain(&mut merge);
        let mut seen = HashMap::new();
        for pair in all.windows(2) {
            assert!(pair[0].0 <= pair[1].0, "{pair:?}");
        }
        for (_, (id, index)) in all {
            assert_eq!(index, *seen.entry(id).and_modify(|n| *n += 1).or_insert(0_usize));
        }
    }

    #[test]
    fn cut_ends_everything() {
        let mut merge = Merge::new(Speed::REAL_TIME);
        merge.add(1, Duration::ZERO, fixed(1, &[0, 1]));
        merge.add(2, Duration::ZERO, fixed(2, &[0, 1]));
        assert_eq!((merge.cut(), merge.len(), merge.pop_due_packet().is_none()), (2, 0, true));
    }
}
