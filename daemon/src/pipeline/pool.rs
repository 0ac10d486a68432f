//! The pool between the generator and the player: a [`SessionBuffer`] behind a lock.
//!
//! The lock is held for a few map operations only. No thread generates, loads or frees a model while it holds the lock.
//! The generator waits on a condition variable while the queues are full, which bounds the memory.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netssm_wire::session::Session;

use super::buffer::{Next, Order, SessionBuffer, Taken};
use crate::profile::Traffic;

/// Why a waiting generator wakes up.
#[derive(Debug)]
pub(crate) enum Work<M> {
    /// A queue has room for a session.
    Orders,
    /// The generator must use this model from now on.
    Model(M),
    /// No more sessions are needed.
    Stop,
}

/// The shared pool. `M` is the model. A reload passes a new one through the pool to the generator's thread.
#[derive(Debug)]
pub(crate) struct Pool<M> {
    state: Mutex<State<M>>,
    demand: Condvar,
    supply: Condvar,
}

#[derive(Debug)]
struct State<M> {
    buffer: SessionBuffer,
    /// Grows with every change of the profile, which makes the running orders void.
    epoch: u64,
    model: Option<M>,
    stop: bool,
}

/// What a profile sets for the pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    /// Labels and their weights.
    pub traffic: Vec<Traffic>,
    /// Number of sessions that should be ready.
    pub depth: u64,
    /// How often one session may be played.
    pub reuse: u64,
    /// Seed that the seeds of all sessions follow from.
    pub seed: u64,
}

impl<M> Pool<M> {
    /// An empty pool.
    pub(crate) fn new(limits: &Limits) -> Self {
        let buffer = SessionBuffer::new(&limits.traffic, limits.depth, limits.reuse, limits.seed);
        let state = State { buffer, epoch: 0, model: None, stop: false };
        Self { state: Mutex::new(state), demand: Condvar::new(), supply: Condvar::new() }
    }

    /// Orders exactly the sessions of the arrivals to come, see [`SessionBuffer::follow`].
    pub(crate) fn follow(&self, labels: Box<dyn Iterator<Item = usize> + Send>, depth: u64) {
        self.lock().buffer.follow(labels, depth);
    }

    /// Changes to another profile, and to another model if one is given. A new model makes all ready sessions void.
    pub(crate) fn replace(&self, limits: &Limits, model: Option<M>) {
        let mut state = self.lock();
        let keep = model.is_none();
        state.buffer.replace(&limits.traffic, limits.depth, limits.reuse, limits.seed, keep);
        state.epoch += 1;
        let unused = if model.is_some() { std::mem::replace(&mut state.model, model) } else { None };
        self.demand.notify_all();
        self.supply.notify_all();
        drop(state);
        // A model that the generator never took is freed after the lock.
        drop(unused);
    }

    /// Stops the pool: the generator ends, and no thread waits for the pool any more.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.demand.notify_all();
        self.supply.notify_all();
    }

    // --- called by the generator -----------------------------------------------------------------------------------

    /// Waits until there is something to do, at most `patience`. `None` if there was nothing.
    pub(crate) fn wait_for_work(&self, patience: Duration) -> Option<Work<M>> {
        let mut state = self.lock();
        for last in [false, true] {
            if state.stop {
                return Some(Work::Stop);
            }
            if let Some(model) = state.model.take() {
                return Some(Work::Model(model));
            }
            if state.buffer.has_room() {
                return Some(Work::Orders);
            }
            if last {
                break;
            }
            state = self.demand.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    /// The next order, or `None` while all queues are full or the pool is stopped.
    pub(crate) fn next_order(&self) -> Option<Order> {
        let mut state = self.lock();
        // An order of the new profile must not reach the old model.
        if state.stop || state.model.is_some() { None } else { state.buffer.next_order() }
    }

    /// Takes the outcome of an order.
    pub(crate) fn deliver_session(&self, order: &Order, session: Option<Session>) {
        let session = session.map(Arc::new);
        self.lock().buffer.deliver_session(order, session);
        self.supply.notify_all();
    }

    /// Voids the running orders: they will not be delivered.
    pub(crate) fn void_orders(&self) {
        self.lock().buffer.void_orders();
    }

    /// A number that grows with every change of the profile, which makes the running orders void.
    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Whether the generator must end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    // --- called by the player --------------------------------------------------------------------------------------

    /// A session of this queue, without waiting. A fresh one if there is one.
    pub(crate) fn take_session(&self, queue: usize) -> Taken {
        let taken = self.lock().buffer.take_session(queue);
        self.demand.notify_all();
        taken
    }

    /// The next session of this queue by number. Waits for it, at most `patience`. The sequence does not depend on the
    /// speed of the model.
    pub(crate) fn take_session_in_order(&self, queue: usize, patience: Duration) -> Next {
        let mut state = self.lock();
        for last in [false, true] {
            let next = state.buffer.take_session_in_order(queue);
            if !matches!(next, Next::Later) {
                self.demand.notify_all();
                return next;
            }
            if last || state.stop {
                break;
            }
            state = self.supply.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        Next::Later
    }

    // --- called by any thread --------------------------------------------------------------------------------------

    /// Waits until every label has a session to play or the pool stops, at most `patience`. Gives the labels without a
    /// fresh session.
    pub(crate) fn wait_stocked(&self, patience: Duration) -> Vec<Arc<str>> {
        let mut state = self.lock();
        if !state.stop && !state.buffer.all_stocked() {
            state = self.supply.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.buffer.empty_labels()
    }

    /// Number of fresh sessions that are ready, and how many there should be.
    pub(crate) fn fill(&self) -> (u64, u64) {
        let state = self.lock();
        (state.buffer.ready(), state.buffer.depth())
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // A thread that panicked reports that itself. Every operation of the buffer leaves it consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{session, traffic};

    const NOW: Duration = Duration::ZERO;

    fn limits(labels: &[(&str, f64)], depth: u64) -> Limits {
        Limits { traffic: traffic(labels), depth, reuse: 1, seed: 7 }
    }

    fn pool(labels: &[(&str, f64)], depth: u64) -> Pool<&'static str> {
        Pool::new(&limits(labels, depth))
    }

    fn deliver_all(pool: &Pool<&'static str>) -> usize {
        let orders: Vec<Order> = std::iter::from_fn(|| pool.next_order()).collect();
        for order in &orders {
            pool.deliver_session(order, Some(session(&order.label, order.seed, 2)));
        }
        orders.len()
    }

    #[test]
    fn the_generator_is_idle_while_the_shelves_are_full() {
        let pool = pool(&[("a", 1.0)], 2);
        assert!(matches!(pool.wait_for_work(NOW), Some(Work::Orders)));
        assert_eq!(deliver_all(&pool), 2);
        assert!(pool.wait_for_work(NOW).is_none());
        assert!(matches!(pool.take_session(0), Taken::Fresh(_)));
        assert!(matches!(pool.wait_for_work(NOW), Some(Work::Orders)));
    }

    #[test]
    fn a_reload_hands_over_the_model_before_any_order() {
        let pool = pool(&[("a", 1.0)], 2);
        deliver_all(&pool);
        let epoch = pool.epoch();
        pool.replace(&limits(&[("b", 1.0)], 1), Some("other model"));
        assert!(pool.next_order().is_none(), "the old model gets no order of the new profile");
        assert_ne!(pool.epoch(), epoch);
        assert!(matches!(pool.wait_for_work(NOW), Some(Work::Model("other model"))));
        assert!(matches!(pool.wait_for_work(NOW), Some(Work::Orders)));
        assert_eq!(pool.next_order().map(|o| o.label.to_string()), Some("b".into()));
    }

    #[test]
    fn a_stop_wakes_everybody_and_ends_orders() {
        let pool = Arc::new(pool(&[("a", 1.0)], 1));
        let waiting = {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || pool.take_session_in_order(0, Duration::from_secs(600)))
        };
        pool.stop();
        assert!(matches!(waiting.join().unwrap(), Next::Later), "it did not wait ten minutes");
        assert!(matches!(pool.wait_for_work(NOW), Some(Work::Stop)));
        assert!(pool.next_order().is_none() && pool.is_stopped());
    }

    #[test]
    fn a_waiting_player_gets_the_session_as_soon_as_it_is_there() {
        let pool = Arc::new(pool(&[("a", 1.0)], 1));
        let order = pool.next_order().unwrap();
        let waiting = {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || pool.take_session_in_order(0, Duration::from_secs(600)))
        };
        pool.deliver_session(&order, Some(session("a", order.seed, 2)));
        assert!(matches!(waiting.join().unwrap(), Next::Session(s) if s.seed == order.seed));
    }

    #[test]
    fn warm_means_one_session_of_each_label() {
        let pool = pool(&[("a", 1.0), ("b", 1.0)], 4);
        assert_eq!(pool.wait_stocked(NOW).len(), 2);
        let order = pool.next_order().unwrap();
        pool.deliver_session(&order, Some(session(&order.label, 1, 2)));
        assert_eq!(pool.wait_stocked(NOW).len(), 1);
        deliver_all(&pool);
        assert!(pool.wait_stocked(NOW).is_empty());
        assert_eq!(pool.fill(), (4, 4));
    }
}
