//! The session buffer: sessions that are ready to play, in one queue per label. It decides which session to generate
//! next and which to play next. Pure.
//!
//! The queues share the pool's depth by weight, so a rare label keeps room beside a frequent one. Each queue numbers
//! its sessions in the order in which it asks the model for them. The seed follows from the label and this number, so
//! thread timing cannot change it.
//!
//! A session leaves the queue when it is played. The queue then keeps it aside for a while. When the queue has no fresh
//! session, it plays such a session again, and the replay draws new addresses, ports and the like. So the player never
//! waits for the model while there is a session left to replay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use netssm_wire::session::Session;

use crate::profile::Traffic;
use crate::seeds::{Purpose, derive};

/// A session to be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// Index of the queue that this order is for. It has a meaning only to the buffer that gave the order, within the
    /// same epoch.
    pub queue: usize,
    /// How often orders were voided before this one. An order of an earlier epoch is void.
    pub epoch: u64,
    /// Number of the session within its queue.
    pub number: u64,
    /// Label of the session.
    pub label: Arc<str>,
    /// Seed of the session.
    pub seed: u64,
    /// Most packets to generate.
    pub packets: u64,
}

/// What a queue gives the player.
#[derive(Debug, Clone)]
pub(crate) enum Taken {
    /// A session that was never played before.
    Fresh(Arc<Session>),
    /// A session that was played before.
    Again(Arc<Session>),
    /// No session is ready, and every played session has used up its replays.
    Dry,
    /// No session of this queue has been played yet, and none is ready.
    Early,
}

/// What a queue gives the player in strict order.
#[derive(Debug, Clone)]
pub(crate) enum Next {
    /// The next session.
    Session(Arc<Session>),
    /// The model gave no session for this order.
    Nothing,
    /// The session is not ready yet.
    Later,
}

#[derive(Debug)]
struct LabelQueue {
    label: Arc<str>,
    weight: f64,
    packets: u64,
    /// How many fresh sessions should be ready.
    target: u64,
    /// Number of the next order.
    next: u64,
    /// Orders that the generator has not delivered yet.
    ordered: u64,
    /// Sessions in `fresh`, without the orders that gave no session.
    ready: u64,
    /// Fresh sessions by number. `None` marks an order that gave no session.
    fresh: BTreeMap<u64, Option<Arc<Session>>>,
    /// Number of the next session in strict order.
    next_played: u64,
    /// Played sessions and how often each was played, least recently played first. At most `target` of them.
    played: VecDeque<(Arc<Session>, u64)>,
}

impl LabelQueue {
    /// Marks every order that is out as one that gave no session.
    fn void_orders(&mut self) {
        for number in self.next_played..self.next {
            self.fresh.entry(number).or_insert(None);
        }
        self.ordered = 0;
    }

    /// Forgets orders that gave no session, up to the first number whose session is ready or still awaited. This keeps
    /// such marks from piling up. Not to be called with a plan: there each arrival must learn what became of its own
    /// session.
    fn skip_voids(&mut self) {
        while self.fresh.first_key_value().is_some_and(|(n, s)| *n == self.next_played && s.is_none()) {
            self.fresh.pop_first();
            self.next_played += 1;
        }
    }

    /// Keeps a played session for another replay if it has one left. The sessions played longest ago make room for it.
    fn keep(&mut self, session: Arc<Session>, uses: u64, reuse: u64) {
        if uses >= reuse {
            return;
        }
        while self.played.len() as u64 >= self.target {
            self.played.pop_front();
        }
        self.played.push_back((session, uses));
    }
}

/// The queues of all labels.
pub(crate) struct SessionBuffer {
    queues: Vec<LabelQueue>,
    seed: u64,
    reuse: u64,
    epoch: u64,
    planned: Option<Planned>,
}

/// A plan: the queues of the sessions that will be played, in order, and how many sessions may wait for the player.
struct Planned {
    labels: std::iter::Peekable<Box<dyn Iterator<Item = usize> + Send>>,
    depth: u64,
}

impl std::fmt::Debug for SessionBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionBuffer")
            .field("queues", &self.queues)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl SessionBuffer {
    /// Empty queues for `traffic`, with `depth` sessions in all. Each session is played at most `reuse` times.
    pub(crate) fn new(traffic: &[Traffic], depth: u64, reuse: u64, seed: u64) -> Self {
        let mut buffer = Self { queues: Vec::new(), seed, reuse, epoch: 0, planned: None };
        buffer.set(traffic, depth, reuse, seed);
        buffer
    }

    /// Follows a plan instead of filling queues: orders exactly the sessions that will be played, in that order.
    /// `labels` gives the queue of each arrival to come. This is for runs whose player waits for the model
    /// ([`SessionBuffer::take_session_in_order`]). No session is generated in vain, and the buffer holds at most `depth`
    /// sessions.
    pub(crate) fn follow(&mut self, labels: Box<dyn Iterator<Item = usize> + Send>, depth: u64) {
        self.planned = Some(Planned { labels: labels.peekable(), depth });
    }

    /// Changes to another profile. A queue keeps its sessions if its label and its packet limit stay the same, the seed
    /// stays the same, and `keep` says that the model stays the same. All other queues start empty. Orders given before
    /// are void.
    pub(crate) fn replace(&mut self, traffic: &[Traffic], depth: u64, reuse: u64, seed: u64, keep: bool) {
        let old = std::mem::take(&mut self.queues);
        let same_seed = seed == self.seed;
        self.epoch += 1;
        self.set(traffic, depth, reuse, seed);
        if !(keep && same_seed) {
            return;
        }
        for queue in old {
            let twin = self.queues.iter_mut().find(|s| s.label == queue.label && s.packets == queue.packets);
            if let Some(twin) = twin {
                twin.next = queue.next;
                twin.next_played = queue.next_played;
                twin.fresh = queue.fresh;
                twin.ready = queue.ready;
                twin.played = queue.played;
                // Late deliveries will be ignored, so the strict order must not wait for them.
                twin.void_orders();
                if self.planned.is_none() {
                    twin.skip_voids();
                }
            }
        }
    }

    fn set(&mut self, traffic: &[Traffic], depth: u64, reuse: u64, seed: u64) {
        let total: f64 = traffic.iter().map(|t| t.weight).sum();
        self.seed = seed;
        self.reuse = reuse;
        self.queues = traffic
            .iter()
            .map(|t| LabelQueue {
                label: t.label.clone(),
                weight: t.weight,
                packets: t.packets,
                target: ((depth as f64 * t.weight / total).round() as u64).max(1),
                next: 0,
                ordered: 0,
                ready: 0,
                fresh: BTreeMap::new(),
                next_played: 0,
                played: VecDeque::new(),
            })
            .collect();
    }

    /// The next session to generate, or `None` while all queues are full. The queue with the lowest share of its target
    /// comes first. On a tie the heavier label comes first.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        let index = self.next_queue()?;
        if let Some(planned) = &mut self.planned {
            planned.labels.next();
        }
        let queue = self.queues.get_mut(index)?;
        let number = queue.next;
        queue.next += 1;
        queue.ordered += 1;
        Some(Order {
            queue: index,
            epoch: self.epoch,
            number,
            label: queue.label.clone(),
            seed: derive(self.seed, Purpose::Session, &queue.label, number),
            packets: queue.packets,
        })
    }

    /// Index of the queue that the next order is for.
    fn next_queue(&mut self) -> Option<usize> {
        let out: u64 = self.queues.iter().map(|s| s.ready + s.ordered).sum();
        if let Some(planned) = &mut self.planned {
            return if out < planned.depth { planned.labels.peek().copied() } else { None };
        }
        let fill = |s: &LabelQueue| (s.ready + s.ordered) as f64 / s.target as f64;
        let open = self.queues.iter().enumerate().filter(|(_, s)| s.ready + s.ordered < s.target);
        open.min_by(|(_, a), (_, b)| fill(a).total_cmp(&fill(b)).then(b.weight.total_cmp(&a.weight)))
            .map(|(index, _)| index)
    }

    /// Takes the outcome of an order: a session, or `None` if the model gave none. Ignores an order of an earlier
    /// epoch.
    pub(crate) fn deliver_session(&mut self, order: &Order, session: Option<Arc<Session>>) {
        if order.epoch != self.epoch {
            return;
        }
        if let Some(queue) = self.queues.get_mut(order.queue) {
            queue.ordered = queue.ordered.saturating_sub(1);
            queue.ready += u64::from(session.is_some());
            queue.fresh.insert(order.number, session);
            if self.planned.is_none() {
                queue.skip_voids();
            }
        }
    }

    /// Voids all orders that are out, because generation was stopped. Late deliveries are ignored.
    pub(crate) fn void_orders(&mut self) {
        self.epoch += 1;
        for queue in &mut self.queues {
            queue.void_orders();
            if self.planned.is_none() {
                queue.skip_voids();
            }
        }
    }

    /// A session of this queue to play now: the oldest fresh one, else the least recently played one that has a replay
    /// left.
    pub(crate) fn take_session(&mut self, queue: usize) -> Taken {
        let (reuse, Some(queue)) = (self.reuse, self.queues.get_mut(queue)) else { return Taken::Dry };
        while let Some((number, session)) = queue.fresh.pop_first() {
            queue.next_played = queue.next_played.max(number + 1);
            if let Some(session) = session {
                queue.ready -= 1;
                queue.keep(session.clone(), 1, reuse);
                return Taken::Fresh(session);
            }
        }
        match queue.played.pop_front() {
            Some((session, uses)) => {
                queue.keep(session.clone(), uses + 1, reuse);
                Taken::Again(session)
            }
            None if queue.next_played == 0 => Taken::Early,
            None => Taken::Dry,
        }
    }

    /// The next session of this queue by number. It never gives a session twice, and the sequence does not depend on
    /// the speed of the model.
    pub(crate) fn take_session_in_order(&mut self, queue: usize) -> Next {
        let Some(queue) = self.queues.get_mut(queue) else { return Next::Later };
        let Some(session) = queue.fresh.remove(&queue.next_played) else { return Next::Later };
        queue.next_played += 1;
        match session {
            Some(session) => {
                queue.ready -= 1;
                Next::Session(session)
            }
            None => Next::Nothing,
        }
    }

    /// Whether [`SessionBuffer::next_order`] would give an order.
    pub(crate) fn has_room(&mut self) -> bool {
        self.next_queue().is_some()
    }

    /// Number of fresh sessions that are ready, over all queues.
    pub(crate) fn ready(&self) -> u64 {
        self.queues.iter().map(|s| s.ready).sum()
    }

    /// Whether every queue has at least one session to play.
    pub(crate) fn all_stocked(&self) -> bool {
        self.queues.iter().all(|s| s.ready > 0 || !s.played.is_empty())
    }

    /// Labels without a fresh session.
    pub(crate) fn empty_labels(&self) -> Vec<Arc<str>> {
        self.queues.iter().filter(|s| s.ready == 0).map(|s| s.label.clone()).collect()
    }

    /// Number of fresh sessions that should be ready, over all queues.
    pub(crate) fn depth(&self) -> u64 {
        self.queues.iter().map(|s| s.target).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{session, traffic};

    fn fill(buffer: &mut SessionBuffer) -> Vec<Order> {
        let orders: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        for order in &orders {
            buffer.deliver_session(order, Some(Arc::new(session(&order.label, order.seed, 3))));
        }
        orders
    }

    fn seeds(buffer: &mut SessionBuffer, queue: usize, n: usize) -> Vec<Option<u64>> {
        (0..n)
            .map(|_| match buffer.take_session(queue) {
                Taken::Fresh(s) | Taken::Again(s) => Some(s.seed),
                Taken::Dry | Taken::Early => None,
            })
            .collect()
    }

    #[test]
    fn depth_is_shared_by_weight_with_at_least_one_each() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 3.0), ("b", 1.0), ("c", 0.001)]), 32, 1, 7);
        let orders = fill(&mut buffer);
        let count = |l: &str| orders.iter().filter(|o| &*o.label == l).count();
        assert_eq!((count("a"), count("b"), count("c")), (24, 8, 1));
        assert_eq!(buffer.ready(), 33);
        assert!(buffer.next_order().is_none());
        assert!(buffer.all_stocked());
    }

    #[test]
    fn orders_go_to_the_emptiest_shelf_first() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 3.0), ("b", 1.0)]), 8, 1, 7);
        let labels: String =
            std::iter::from_fn(|| buffer.next_order()).map(|o| o.label.to_string()).collect();
        // Queue a wants 6 sessions and queue b wants 2. They fill in proportion: neither is full while the other is
        // empty.
        assert_eq!(labels, "abaaabaa");
    }

    #[test]
    fn a_session_is_played_as_often_as_reuse_says_and_only_when_nothing_is_fresh() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 2, 3, 7);
        let orders = fill(&mut buffer);
        let (first, second) = (orders[0].seed, orders[1].seed);
        assert_eq!(
            seeds(&mut buffer, 0, 7),
            [Some(first), Some(second), Some(first), Some(second), Some(first), Some(second), None]
        );
    }

    #[test]
    fn reuse_one_never_plays_twice() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 1, 1, 7);
        let orders = fill(&mut buffer);
        assert_eq!(seeds(&mut buffer, 0, 2), [Some(orders[0].seed), None]);
    }

    #[test]
    fn fresh_beats_played() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 1, 5, 7);
        let first = fill(&mut buffer)[0].seed;
        assert_eq!(seeds(&mut buffer, 0, 2), [Some(first), Some(first)]);
        let second = fill(&mut buffer)[0].seed;
        assert!(matches!(buffer.take_session(0), Taken::Fresh(s) if s.seed == second));
        assert_ne!(first, second);
    }

    fn next(buffer: &mut SessionBuffer, queue: usize) -> Result<u64, &'static str> {
        match buffer.take_session_in_order(queue) {
            Next::Session(session) => Ok(session.seed),
            Next::Nothing => Err("nothing"),
            Next::Later => Err("later"),
        }
    }

    #[test]
    fn in_order_waits_for_the_next_number_and_says_what_came_to_nothing() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 3, 4, 7);
        buffer.follow(Box::new([0, 0, 0].into_iter()), 3);
        let orders: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        let made = |o: &Order| Some(Arc::new(session(&o.label, o.seed, 1)));
        buffer.deliver_session(&orders[2], made(&orders[2]));
        assert_eq!(next(&mut buffer, 0), Err("later"), "number 0 is still being made");
        buffer.deliver_session(&orders[0], made(&orders[0]));
        assert_eq!(next(&mut buffer, 0), Ok(orders[0].seed));
        assert_eq!(next(&mut buffer, 0), Err("later"), "number 1 is still being made");
        buffer.deliver_session(&orders[1], None);
        assert_eq!(next(&mut buffer, 0), Err("nothing"));
        assert_eq!(next(&mut buffer, 0), Ok(orders[2].seed));
    }

    #[test]
    fn seeds_depend_on_label_and_number_only() {
        let mut alone = SessionBuffer::new(&traffic(&[("b", 1.0)]), 4, 1, 7);
        let mut mixed = SessionBuffer::new(&traffic(&[("a", 9.0), ("b", 1.0)]), 40, 1, 7);
        let of = |orders: Vec<Order>| -> Vec<u64> {
            orders.iter().filter(|o| &*o.label == "b").map(|o| o.seed).collect()
        };
        assert_eq!(of(fill(&mut alone)), of(fill(&mut mixed)));
    }

    #[test]
    fn a_reload_keeps_shelves_that_did_not_change_and_ignores_late_deliveries() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0), ("b", 1.0)]), 4, 1, 7);
        let orders = fill(&mut buffer);
        assert!(matches!(buffer.take_session(0), Taken::Fresh(_)));
        let late = buffer.next_order().unwrap();
        buffer.replace(&traffic(&[("a", 1.0), ("c", 1.0)]), 4, 1, 7, true);
        buffer.deliver_session(&late, Some(Arc::new(session("a", late.seed, 1))));
        let a: Vec<u64> = orders.iter().filter(|o| &*o.label == "a").map(|o| o.seed).collect();
        assert_eq!(seeds(&mut buffer, 0, 2), [Some(a[1]), None], "one of two was left, the late one is void");
        assert_eq!(buffer.ready(), 0, "c starts empty");
        assert_eq!(&*buffer.next_order().unwrap().label, "a");
    }

    #[test]
    fn another_model_or_seed_empties_every_shelf() {
        for (seed, keep) in [(7, false), (8, true)] {
            let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 2, 4, 7);
            fill(&mut buffer);
            buffer.replace(&traffic(&[("a", 1.0)]), 2, 4, seed, keep);
            assert!(matches!(buffer.take_session(0), Taken::Early));
        }
    }

    #[test]
    fn a_plan_orders_what_will_be_played_and_no_more() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0), ("b", 1.0)]), 2, 1, 7);
        buffer.follow(Box::new([1, 1, 0, 1].into_iter()), 2);
        let first: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        let named =
            |orders: &[Order]| orders.iter().map(|o| (o.label.to_string(), o.number)).collect::<Vec<_>>();
        assert_eq!(named(&first), [("b".into(), 0), ("b".into(), 1)], "two at a time");
        assert!(!buffer.has_room());
        for order in &first {
            buffer.deliver_session(order, Some(Arc::new(session("b", order.seed, 1))));
        }
        assert!(next(&mut buffer, 1).is_ok() && next(&mut buffer, 1).is_ok());
        let rest: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        assert_eq!(named(&rest), [("a".into(), 0), ("b".into(), 2)]);
        rest.iter().for_each(|order| buffer.deliver_session(order, None));
        assert!(buffer.next_order().is_none(), "the plan is over");
    }

    #[test]
    fn with_a_plan_the_end_of_a_batch_does_not_shift_the_arrivals() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 2, 1, 7);
        buffer.follow(Box::new([0, 0].into_iter()), 2);
        let orders: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        buffer.deliver_session(&orders[0], None);
        buffer.deliver_session(&orders[1], Some(Arc::new(session("a", orders[1].seed, 1))));
        buffer.void_orders();
        assert_eq!(
            next(&mut buffer, 0),
            Err("nothing"),
            "the first arrival learns that nothing came of its session"
        );
        assert_eq!(next(&mut buffer, 0), Ok(orders[1].seed));
    }

    #[test]
    fn void_orders_are_ordered_anew_under_new_numbers() {
        let mut buffer = SessionBuffer::new(&traffic(&[("a", 1.0)]), 2, 1, 7);
        let first: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        buffer.void_orders();
        let second: Vec<Order> = std::iter::from_fn(|| buffer.next_order()).collect();
        assert_eq!(first.len(), second.len());
        buffer.deliver_session(&second[0], Some(Arc::new(session("a", second[0].seed, 1))));
        assert_eq!(next(&mut buffer, 0), Ok(second[0].seed));
    }
}
