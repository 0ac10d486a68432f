//! Tests of the player. Most run on virtual time, and a thread makes up the sessions instead of a model.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use netssm_replay::clock::WallTime;
use netssm_replay::guard::{Allowlist, Guard};
use netssm_replay::rewrite::Allocator;
use netssm_replay::sink::{CloseError, Sink, SinkStats};

use super::*;
use crate::health::Health;
use crate::pipeline::outputs::{Output, OutputKind};
use crate::pipeline::pool::Work;
use crate::pipeline::testing::{session, traffic};
use crate::profile::{Sends, default_addresses};

/// Frames that a sink was given, with their times.
type Kept = Arc<Mutex<Vec<(WallTime, Vec<u8>)>>>;

/// A sink that keeps its frames where the test can see them.
struct Recorder {
    guard: Guard,
    kept: Kept,
    stats: SinkStats,
    queued: Vec<(WallTime, Vec<u8>)>,
}

impl Sink for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.guard.admit_frame(frame)?;
        self.queued.push((at, frame.bytes().to_vec()));
        Ok(())
    }
    fn flush(&mut self) -> Result<(), SinkError> {
        self.stats.frames += self.queued.len() as u64;
        self.kept.lock().unwrap().append(&mut self.queued);
        Ok(())
    }
    fn tick(&mut self, _now: WallTime) -> Result<(), SinkError> {
        Ok(())
    }
    fn stats(&self) -> SinkStats {
        self.stats
    }
    fn close(mut self: Box<Self>) -> Result<SinkStats, CloseError> {
        let _ = self.flush();
        Ok(self.stats)
    }
}

/// What a player needs to run in a test.
struct Bench {
    gate: Arc<Gate>,
    pool: Arc<Pool<()>>,
    limits: Limits,
    arrivals: Arrivals,
    allow: Vec<ipnet::IpNet>,
    sends: Vec<Sends>,
    kept: Vec<Kept>,
    time: Option<Timeline>,
    stop_after: Option<(Duration, Duration)>,
    metrics: Metrics,
    live: LiveSessions,
}

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    /// `limit` sessions of two labels at 10 per second. Each has 5 packets over 40 ms.
    fn new(limit: u64) -> Self {
        let plan = default_addresses();
        let limits = Limits { traffic: traffic(&[("a", 1.0), ("b", 2.0)]), depth: 4, reuse: 1, seed: 11 };
        Self {
            gate: Arc::new(Gate::new()),
            pool: Arc::new(Pool::new(&limits)),
            limits,
            arrivals: Arrivals { rate: 10.0, max_concurrent: 64, limit, weights: vec![1.0, 2.0] },
            allow: plan.clients.iter().chain(&plan.servers).copied().collect(),
            sends: vec![Sends::Both],
            kept: Vec::new(),
            time: Some(Timeline::from(WallTime::from_secs(1000))),
            stop_after: None,
            metrics: Metrics::new(),
            live: LiveSessions::default(),
        }
    }

    fn plan(&self) -> Plan {
        Plan {
            arrivals: self.arrivals.clone(),
            limits: self.limits.clone(),
            speed: netssm_replay::pace::Speed::REAL_TIME,
            rewriter: Rewriter::new(default_addresses(), Allocator::new()).unwrap(),
        }
    }

    fn player(&mut self) -> Player<()> {
        let plan = self.plan();
        let allow = Allowlist::new(&self.allow, plan.rewriter.plan().multicast);
        let guard = Guard::new(Arc::new(allow), Arc::clone(&self.gate));
        let outputs = self.sends.iter().map(|sends| {
            let kept = Kept::default();
            self.kept.push(Arc::clone(&kept));
            let (stats, queued) = (SinkStats::default(), Vec::new());
            let sink = Box::new(Recorder { guard: guard.clone(), kept, stats, queued });
            Output { sink, sends: *sends, kind: OutputKind::Interface }
        });
        let parts = Parts {
            time: self.time.take().unwrap_or_else(Timeline::real),
            pool: Arc::clone(&self.pool),
            plan,
            outputs: Outputs::new(outputs.collect()),
            gate: Arc::clone(&self.gate),
            metrics: self.metrics.clone(),
            pulse: Health::default().pulse("player", SECOND, SystemClock::new().now()),
            stop_after: self.stop_after,
        };
        Player::new(parts).telling(self.live.clone())
    }

    /// Plays with a supplier. No message comes on the control channel.
    fn play(&mut self) -> Played {
        let supplier = supply(&self.pool);
        let (_control, orders) = channel();
        let played = self.player().play(&orders);
        self.pool.stop();
        supplier.join().unwrap();
        played
    }

    fn kept(&self, output: usize) -> Vec<(WallTime, Vec<u8>)> {
        self.kept[output].lock().unwrap().clone()
    }
}

/// A thread in place of the generator. It delivers five packets for every order at once.
fn supply(pool: &Arc<Pool<()>>) -> JoinHandle<()> {
    let pool = Arc::clone(pool);
    std::thread::spawn(move || {
        loop {
            match pool.wait_for_work(Duration::from_millis(10)) {
                Some(Work::Stop) => return,
                Some(Work::Orders) => {
                    if let Some(order) = pool.next_order() {
                        pool.deliver_session(&order, Some(session(&order.label, order.seed, 5)));
                    }
                }
                _ => {}
            }
        }
    })
}

fn started(played: &Played) -> u64 {
    played.tally.started.values().sum()
}

#[test]
fn every_packet_of_every_session_comes_out_in_order_of_time() {
    let mut bench = Bench::new(40);
    let played = bench.play();
    assert!(matches!(played.end, End::Done), "{:?}", played.end);
    assert_eq!((started(&played), played.tally.finished, played.cut), (40, 40, 0));
    assert!(played.tally.dropped.is_empty(), "{:?}", played.tally.dropped);
    let kept = bench.kept(0);
    assert_eq!(kept.len(), 200);
    assert!(kept.windows(2).all(|w| w[0].0 <= w[1].0));
    assert_eq!(kept[0].0, WallTime::from_secs(1000), "the first arrival is at the start");
    assert_eq!(played.outputs[0].stats.frames, 200);
    assert!(bench.metrics.render().contains("netssmd_packets_sent_total{interface=\"recorder\"} 200"));
}

#[test]
fn a_planned_run_ends_also_when_nothing_comes_of_its_sessions() {
    let mut bench = Bench::new(3);
    bench.pool.follow(Box::new(Schedule::labels(bench.arrivals.clone(), bench.limits.seed, None)), 8);
    let orders: Vec<_> = std::iter::from_fn(|| bench.pool.next_order()).collect();
    assert_eq!(orders.len(), 3);
    orders.iter().for_each(|order| bench.pool.deliver_session(order, None));
    let (_control, silent) = channel();
    let played = bench.player().play(&silent);
    assert!(matches!(played.end, End::Done));
    assert_eq!((started(&played), played.tally.frames), (0, 0));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let run = |seed| {
        let mut bench = Bench::new(30);
        bench.limits.seed = seed;
        bench.pool = Arc::new(Pool::new(&bench.limits));
        bench.play();
        bench.kept(0)
    };
    let first = run(11);
    assert_eq!(first, run(11));
    assert_ne!(first, run(12));
}

#[test]
fn no_two_replays_of_a_session_look_the_same() {
    let mut bench = Bench::new(6);
    bench.time = None;
    bench.arrivals = Arrivals { rate: 1000.0, max_concurrent: 64, limit: 6, weights: vec![1.0] };
    bench.limits = Limits { traffic: traffic(&[("a", 1.0)]), depth: 1, reuse: 6, seed: 3 };
    bench.pool = Arc::new(Pool::new(&bench.limits));
    let order = bench.pool.next_order().unwrap();
    bench.pool.deliver_session(&order, Some(session("a", order.seed, 1)));
    let (_control, orders) = channel();
    let played = bench.player().play(&orders);
    assert_eq!((started(&played), played.tally.reused), (6, 5));
    let distinct: BTreeSet<Vec<u8>> = bench.kept(0).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(distinct.len(), 6);
}

#[test]
fn directions_go_where_they_belong() {
    let mut bench = Bench::new(10);
    bench.sends = vec![Sends::ToServer, Sends::ToClient, Sends::Both];
    bench.play();
    let (there, back, both) = (bench.kept(0), bench.kept(1), bench.kept(2));
    assert_eq!((there.len(), back.len(), both.len()), (30, 20, 50), "3 of 5 packets go to the server");
    let mut joined = [there, back].concat();
    joined.sort();
    let mut whole = both;
    whole.sort();
    assert_eq!(joined, whole);
}

#[test]
fn at_the_end_of_the_time_sessions_finish_within_the_grace_and_are_cut_after_it() {
    let run = |grace: Duration| {
        let mut bench = Bench::new(0);
        bench.stop_after = Some((2 * SECOND, grace));
        let played = bench.play();
        let last = bench.kept(0).last().unwrap().0;
        (played, last)
    };
    let (whole, last) = run(SECOND);
    assert!(matches!(whole.end, End::Done));
    assert_eq!((whole.cut, started(&whole)), (0, whole.tally.finished));
    assert!(last > WallTime::from_secs(1001) && last < WallTime::from_secs(1003));
    let (cut, last) = run(Duration::ZERO);
    assert_eq!(started(&cut), started(&whole), "the same sessions start");
    assert!(last < WallTime::from_secs(1002), "nothing is sent after the end");
    assert!(cut.tally.frames <= whole.tally.frames);
}

#[test]
fn a_drain_starts_nothing_and_a_cut_ends_at_once() {
    for (message, expect_cut) in [(Control::Drain(SECOND), false), (Control::Cut, true)] {
        let mut bench = Bench::new(0);
        let (control, orders) = channel();
        control.send(message).unwrap();
        let played = bench.player().play(&orders);
        assert_eq!(started(&played), 0);
        assert_eq!(matches!(played.end, End::Cut), expect_cut);
    }
}

#[test]
fn a_cut_ends_a_virtual_run_that_waits_for_a_model_which_has_failed() {
    let mut bench = Bench::new(5);
    bench.pool.stop();
    let (control, orders) = channel();
    let telling = std::thread::spawn(move || {
        let clock = SystemClock::new();
        clock.sleep_until(clock.now() + Duration::from_millis(100));
        control.send(Control::Cut).unwrap();
    });
    let played = bench.player().play(&orders);
    telling.join().unwrap();
    assert!(matches!(played.end, End::Cut), "{:?}", played.end);
}

#[test]
fn a_drain_says_which_sessions_it_waits_for() {
    let mut bench = Bench::new(0);
    bench.stop_after = Some((2 * SECOND, SECOND));
    let played = bench.play();
    assert!(matches!(played.end, End::Done));
    let waited_for = bench.live.waiting().expect("the player drained").by_label;
    assert!(waited_for.keys().all(|label| ["a", "b"].contains(&&**label)), "{waited_for:?}");
}

#[test]
fn a_shut_gate_stops_an_idle_player_too() {
    let mut bench = Bench::new(0);
    bench.gate.trip("the rules are gone");
    let (_control, orders) = channel();
    let played = bench.player().play(&orders);
    let End::Failed(error) = played.end else { panic!("{:?}", played.end) };
    assert!(error.to_string().contains("the rules are gone"), "{error}");
    assert!(bench.kept(0).is_empty());
}

#[test]
fn an_address_outside_the_allowlist_stops_everything() {
    let mut bench = Bench::new(20);
    bench.allow.retain(|net| net.to_string() != "10.20.0.0/16");
    let played = bench.play();
    assert!(matches!(played.end, End::Failed(SinkError::Refused(_))), "{:?}", played.end);
    assert!(bench.kept(0).is_empty() && !bench.gate.is_open());
}

#[test]
fn a_dry_pool_is_counted_once_and_holds_the_arrival_back() {
    let mut bench = Bench::new(0);
    bench.time = None;
    bench.arrivals = Arrivals { rate: 1e4, max_concurrent: 64, limit: 0, weights: vec![1.0] };
    bench.limits = Limits { traffic: traffic(&[("a", 1.0)]), depth: 1, reuse: 2, seed: 3 };
    bench.pool = Arc::new(Pool::new(&bench.limits));
    bench.stop_after = Some((Duration::from_millis(120), SECOND));
    let order = bench.pool.next_order().unwrap();
    bench.pool.deliver_session(&order, Some(session("a", order.seed, 1)));
    let (_control, orders) = channel();
    let played = bench.player().play(&orders);
    assert_eq!((started(&played), played.tally.reused, played.tally.underruns), (2, 1, 1));
    assert!(bench.metrics.render().contains("netssmd_pool_underruns_total 1"));
}

#[test]
fn waiting_for_the_first_session_is_no_underrun() {
    let mut bench = Bench::new(0);
    bench.time = None;
    bench.arrivals = Arrivals { rate: 1e4, max_concurrent: 64, limit: 1, weights: vec![1.0] };
    bench.limits = Limits { traffic: traffic(&[("a", 1.0)]), depth: 1, reuse: 1, seed: 3 };
    bench.pool = Arc::new(Pool::new(&bench.limits));
    let pool = bench.pool.clone();
    let supplier = std::thread::spawn(move || {
        let clock = SystemClock::new();
        clock.sleep_until(clock.now() + Duration::from_millis(100));
        let order = pool.next_order().unwrap();
        pool.deliver_session(&order, Some(session("a", order.seed, 1)));
    });
    let (_control, orders) = channel();
    let played = bench.player().play(&orders);
    supplier.join().unwrap();
    assert_eq!((started(&played), played.tally.underruns), (1, 0));
}

#[test]
fn sessions_that_find_no_address_are_left_out_and_counted() {
    let mut bench = Bench::new(3);
    bench.arrivals.rate = 1e6;
    let mut player = bench.player();
    let mut plan = default_addresses();
    plan.clients = vec!["10.10.0.0/30".parse().unwrap()];
    player.rewriter = Rewriter::new(plan, Allocator::new()).unwrap();
    let supplier = supply(&bench.pool);
    let (_control, orders) = channel();
    let played = player.play(&orders);
    bench.pool.stop();
    supplier.join().unwrap();
    assert!(matches!(played.end, End::Done));
    assert!(started(&played) < 3, "a /30 has addresses for two hosts at a time at most");
    assert!(bench.metrics.render().contains("netssmd_dropped_packets_total{reason=\"session_refused\"}"));
}

#[test]
fn a_reload_takes_effect_for_new_sessions() {
    let mut bench = Bench::new(10);
    let (control, orders) = channel();
    let mut plan = bench.plan();
    plan.limits.traffic = traffic(&[("c", 1.0)]);
    plan.arrivals.weights = vec![1.0];
    control.send(Control::Reload(Box::new(plan), None)).unwrap();
    let supplier = supply(&bench.pool);
    let played = bench.player().play(&orders);
    bench.pool.stop();
    supplier.join().unwrap();
    let labels: Vec<(String, u64)> = played.tally.started.iter().map(|(l, n)| (l.to_string(), *n)).collect();
    assert_eq!(labels, [("c".to_owned(), 10)]);
}
