//! "Sent" means on the wire: a real veth pair, its counters, and a capture at the far end, which all must
//! agree.

mod support;

use std::sync::Arc;

use netssm_replay::clock::{Clock, SystemClock, WallTime};
use netssm_replay::guard::Refusal;
use netssm_replay::interface::Interface;
use netssm_replay::rewrite::TestbedFrame;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceError, InterfaceSink, MtuPolicy};
use netssm_replay::sink::{DropReason, Sink, SinkError, SinkStats};
use support::capture::FarEnd;
use support::frames::{frames, guard, tagged_frames};
use support::netns::{Wire, available};

const NOW: WallTime = WallTime(0);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn config(qdisc_bypass: bool) -> InterfaceConfig {
    InterfaceConfig { qdisc_bypass, ..InterfaceConfig::new("tx0") }
}

fn open(config: InterfaceConfig) -> Result<Box<InterfaceSink>, SinkError> {
    InterfaceSink::open(config, guard(&["tx0"]), clock()).map(Box::new)
}

fn send_all(mut sink: Box<InterfaceSink>, frames: &[TestbedFrame]) -> SinkStats {
    for frame in frames {
        sink.send_frame(frame, NOW).unwrap();
    }
    sink.close().unwrap()
}

/// Every number there is about what was sent must be the same one.
fn assert_all_agree(wire: &Wire, stats: SinkStats, sent: &[TestbedFrame], arrived: &[Vec<u8>]) {
    let n = sent.len() as u64;
    assert_eq!((stats.offered, stats.frames, stats.queued, stats.dropped.total()), (n, n, 0, 0));
    assert_eq!(stats.bytes, sent.iter().map(|f| f.len() as u64).sum::<u64>());
    let own = stats.wire.unwrap();
    assert_eq!((own.tx_packets, own.tx_bytes), (n, stats.bytes), "the interface as the sink read it");
    assert_eq!(wire.near.counter("tx0", "tx_packets"), n, "the interface as sysfs has it");
    assert_eq!(wire.far.counter("rx0", "rx_packets"), n, "the far end");
    assert_eq!(arrived.len() as u64, n, "the capture");
    for (i, (a, b)) in sent.iter().zip(arrived).enumerate() {
        assert_eq!(a.bytes(), b, "frame {i}, in order and whole");
    }
}

#[test]
fn one_frame_some_and_many_arrive_exactly() {
    if !available("one_frame_some_and_many_arrive_exactly") {
        return;
    }
    for bypass in [true, false] {
        for count in [1, 179, 100_000] {
            let wire = Wire::new("count");
            let far = FarEnd::listen(&wire.far, "rx0");
            let sent = frames(count, 72);
            let stats = wire.near.within(|| send_all(open(config(bypass)).unwrap(), &sent));
            assert_all_agree(&wire, stats, &sent, &far.stop());
        }
    }
}

/// Keeps this thread on the core where it is. The shaper's timer runs where it was set, and frames that leave a queue
/// on two cores wait at the far end in two queues: the kernel's order then, not the sink's.
fn stay_on_one_core() {
    let mut here = nix::sched::CpuSet::new();
    here.set(nix::sched::sched_getcpu().unwrap()).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &here).unwrap();
}

#[test]
fn a_queue_that_is_full_slows_the_sender_and_loses_nothing() {
    if !available("a_queue_that_is_full_slows_the_sender_and_loses_nothing") {
        return;
    }
    // A shaper with a queue of a few hundred frames in front of the wire: it refuses most frames at first.
    let wire = Wire::new("shaped");
    let shape = "qdisc add dev tx0 root tbf rate 20mbit burst 5kb limit 20000";
    let shaped = wire.near.exec("tc", &shape.split(' ').collect::<Vec<_>>());
    assert!(shaped.status.success(), "{}", String::from_utf8_lossy(&shaped.stderr));
    let far = FarEnd::listen(&wire.far, "rx0");
    let sent = frames(20_000, 72);
    let stats = wire.near.within(|| {
        stay_on_one_core();
        send_all(open(config(false)).unwrap(), &sent)
    });
    assert!(stats.retries > 100, "the queue was full: {stats:?}");
    assert_all_agree(&wire, stats, &sent, &far.stop());
}

#[test]
fn a_queue_that_stays_full_ends_the_sink_after_its_patience() {
    if !available("a_queue_that_stays_full_ends_the_sink_after_its_patience") {
        return;
    }
    let wire = Wire::new("stuck");
    let shape = "qdisc add dev tx0 root tbf rate 1kbit burst 100b limit 1000";
    assert!(wire.near.exec("tc", &shape.split(' ').collect::<Vec<_>>()).status.success());
    let sent = frames(50, 72);
    wire.near.within(|| {
        let patience = std::time::Duration::from_millis(200);
        let mut sink = open(InterfaceConfig { patience, ..config(false) }).unwrap();
        let error =
            sent.iter().try_for_each(|f| sink.send_frame(f, NOW)).and_then(|()| sink.flush()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("interface tx0 has taken no frame for 2"), "{text}");
        let stats = sink.close().unwrap();
        assert_eq!(stats.offered, stats.frames + stats.dropped.total());
        assert!(stats.dropped.get(DropReason::Interface) > 0);
    });
}

#[test]
fn frames_above_the_mtu_are_dropped_or_refused() {
    if !available("frames_above_the_mtu_are_dropped_or_refused") {
        return;
    }
    let wire = Wire::new("mtu");
    wire.near.ip("link set tx0 mtu 1000");
    let far = FarEnd::listen(&wire.far, "rx0");
    let (fits, over) = (frames(2, 1014), frames(1, 1015));
    let (tagged, tagged_over) = (tagged_frames(1, 1014), tagged_frames(1, 1015));
    wire.near.within(|| {
        let mut sink = open(config(true)).unwrap();
        for frame in [&fits[0], &over[0], &fits[1], &tagged[0], &tagged_over[0]] {
            sink.send_frame(frame, NOW).unwrap();
        }
        let stats = sink.close().unwrap();
        assert_eq!((stats.offered, stats.frames, stats.dropped.get(DropReason::OverMtu)), (5, 3, 2));

        let mut sink = open(InterfaceConfig { mtu_policy: MtuPolicy::Refuse, ..config(true) }).unwrap();
        sink.send_frame(&fits[0], NOW).unwrap();
        let error = sink.send_frame(&over[0], NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a frame of 1015 bytes is longer than interface tx0 takes (1014 bytes with its tags)"
        );
        let again = sink.send_frame(&fits[0], NOW).unwrap_err().to_string();
        assert!(again.starts_with("interface tx0 was given up earlier: a frame of 1015 bytes"), "{again}");
        let stats = sink.close().unwrap();
        assert_eq!(
            (stats.offered, stats.frames, stats.dropped.total()),
            (3, 1, 2),
            "what came before is sent"
        );
    });
    let arrived = far.stop();
    let expected = [&fits[0], &fits[1], &tagged[0], &fits[0]];
    assert_eq!(arrived.len(), expected.len());
    for (a, b) in arrived.iter().zip(expected) {
        assert_eq!(a, b.bytes());
    }
}

#[test]
fn an_mtu_lowered_while_running_is_noticed_frame_by_frame() {
    if !available("an_mtu_lowered_while_running_is_noticed_frame_by_frame") {
        return;
    }
    let wire = Wire::new("lower");
    let (long, short) = (frames(1, 1500), frames(2, 72));
    let far = FarEnd::listen(&wire.far, "rx0");
    wire.near.within(|| {
        let mut sink = open(config(true)).unwrap();
        wire.near.ip("link set tx0 mtu 600");
        for frame in [&short[0], &long[0], &short[1]] {
            sink.send_frame(frame, NOW).unwrap();
        }
        let stats = sink.close().unwrap();
        assert_eq!((stats.frames, stats.dropped.get(DropReason::OverMtu), stats.queued), (2, 1, 0));
    });
    assert_eq!(far.stop().len(), 2);
}

#[test]
fn an_interface_that_goes_down_or_away_ends_the_sink_with_its_reason() {
    if !available("an_interface_that_goes_down_or_away_ends_the_sink_with_its_reason") {
        return;
    }
    let sent = frames(10, 72);
    type Break = fn(&Wire);
    let cases: [(&str, Break, &str); 3] = [
        ("down", |w| drop(w.near.ip("link set tx0 down")), "interface tx0 is down: ip link set dev tx0 up"),
        ("peer", |w| drop(w.far.ip("link set rx0 down")), "interface tx0 has no carrier: is the far end up?"),
        ("gone", |w| drop(w.near.ip("link del tx0")), "interface tx0 has disappeared"),
    ];
    for bypass in [true, false] {
        for (tag, break_it, message) in cases {
            let wire = Wire::new(tag);
            wire.near.within(|| {
                let mut sink = open(config(bypass)).unwrap();
                for frame in &sent[..4] {
                    sink.send_frame(frame, NOW).unwrap();
                }
                sink.flush().unwrap();
                break_it(&wire);
                for frame in &sent[4..] {
                    sink.send_frame(frame, NOW).unwrap();
                }
                let error = sink.flush().unwrap_err();
                assert_eq!(error.to_string(), message, "bypass {bypass}");
                assert!(sink.send_frame(&sent[0], NOW).is_err(), "for good");
                let stats = sink.close().unwrap();
                assert_eq!((stats.offered, stats.frames, stats.queued), (11, 4, 0), "{tag}, bypass {bypass}");
                assert_eq!(stats.dropped.total(), 7);
            });
            if tag != "gone" {
                assert_eq!(wire.near.counter("tx0", "tx_packets"), 4, "{tag}, bypass {bypass}");
            }
        }
    }
}

#[test]
fn a_dead_link_is_noticed_also_when_nothing_is_sent() {
    if !available("a_dead_link_is_noticed_also_when_nothing_is_sent") {
        return;
    }
    let wire = Wire::new("idle");
    wire.near.within(|| {
        let mut sink = open(config(true)).unwrap();
        sink.tick(NOW).unwrap();
        wire.far.ip("link set rx0 down");
        let error = sink.tick(NOW).unwrap_err();
        assert_eq!(error.to_string(), "interface tx0 has no carrier: is the far end up?");
    });
}

#[test]
fn an_interface_that_cannot_be_used_is_refused_at_once() {
    if !available("an_interface_that_cannot_be_used_is_refused_at_once") {
        return;
    }
    let wire = Wire::new("open");
    wire.near.within(|| {
        let unnamed = InterfaceSink::open(config(true), guard(&["other0"]), clock()).unwrap_err();
        assert_eq!(
            unnamed.to_string(),
            "refused by the allowlist: interface \"tx0\" is not among the allowed ones"
        );
        let missing =
            InterfaceSink::open(InterfaceConfig::new("nope0"), guard(&["nope0"]), clock()).unwrap_err();
        assert_eq!(missing.to_string(), "there is no interface \"nope0\" (there are: lo, tx0)");
        wire.near.ip("tuntap add dev tun0 mode tun");
        let tun = InterfaceSink::open(InterfaceConfig::new("tun0"), guard(&["tun0"]), clock()).unwrap_err();
        assert!(matches!(tun, SinkError::Interface(InterfaceError::NotEthernet { .. })), "{tun}");
        wire.far.ip("link set rx0 down");
        let carrier = open(config(true)).unwrap_err();
        assert_eq!(carrier.to_string(), "interface tx0 has no carrier: is the far end up?");
        wire.near.ip("link set tx0 down");
        let down = open(config(true)).unwrap_err();
        assert_eq!(down.to_string(), "interface tx0 is down: ip link set dev tx0 up");
    });
}

#[test]
fn a_tripped_gate_drops_what_is_queued() {
    if !available("a_tripped_gate_drops_what_is_queued") {
        return;
    }
    let wire = Wire::new("gate");
    let sent = frames(5, 72);
    wire.near.within(|| {
        let guard = guard(&["tx0"]);
        let gate = Arc::clone(guard.gate());
        let mut sink = Box::new(InterfaceSink::open(config(true), guard, clock()).unwrap());
        for frame in &sent {
            sink.send_frame(frame, NOW).unwrap();
        }
        gate.trip("the test says so");
        let error = sink.flush().unwrap_err();
        assert!(matches!(error, SinkError::Refused(Refusal::Stopped(_))), "{error}");
        assert_eq!(error.to_string(), "sending was stopped: the test says so");
        let stats = sink.close().unwrap();
        assert_eq!((stats.frames, stats.dropped.get(DropReason::Guard)), (0, 5));
    });
    assert_eq!(wire.near.counter("tx0", "tx_packets"), 0);
}

#[test]
fn facts_of_a_veth_tell_its_far_end() {
    if !available("facts_of_a_veth_tell_its_far_end") {
        return;
    }
    let wire = Wire::new("facts");
    wire.near.ip("link set tx0 mtu 1400");
    wire.near.ip("link add here0 type veth peer name here1");
    wire.near.within(|| {
        let tx0 = Interface::find("tx0").unwrap();
        assert_eq!((tx0.link.mtu, tx0.link.veth, tx0.link.lower_elsewhere), (1400, true, true));
        assert!(tx0.up && tx0.running && tx0.link.passes() && tx0.mac.is_some() && !tx0.loopback);
        let (a, b) = (Interface::find("here0").unwrap(), Interface::find("here1").unwrap());
        assert_eq!((a.link.lower, a.link.lower_elsewhere), (Some(b.index), false));
        assert!(!a.up && !a.link.passes());
    });
}
