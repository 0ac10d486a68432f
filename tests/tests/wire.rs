//! Case `sent-on-the-wire`: what netssmd counts as sent is exactly what was on the wire.

use std::path::Path;
use std::time::Duration;

use netssm_tests::binary;
use netssm_tests::captures::{self, Totals};
use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::need;
use netssm_tests::netns::{FAR, NEAR, Testbed};
use netssm_tests::receiver::Receiver;
use netssm_tests::summary::Summary;
use netssm_tests::wait::pause;
use nix::sys::signal::Signal;

/// Asserts that netssmd, the interface's counter, the far end and its capture agree. Gives the number of packets.
#[track_caller]
fn assert_agreement(testbed: &Testbed, receiver: Receiver, summary: &Summary) -> u64 {
    let received = receiver.finish();
    let counters = testbed.near.counters(NEAR);
    let sent = summary.only("interface");
    let sent = Totals { packets: sent.frames, bytes: sent.bytes };
    assert_eq!(
        sent,
        Totals { packets: counters.tx_packets, bytes: counters.tx_bytes },
        "the interface's counter"
    );
    assert_eq!(sent, Totals { packets: received.packets, bytes: received.bytes }, "the far end");
    assert_eq!(sent, captures::totals(&received.file), "the far end's capture");
    sent.packets
}

fn replay(packets: u32) {
    if !need::root() {
        return;
    }
    let case = Case::open("sent-on-the-wire");
    let input = case.path("in.pcap");
    captures::write_udp_capture(Path::new(&input), packets, 10);
    let testbed = Testbed::new();
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let args = ["replay", &input, "--interface", NEAR, "--speed", "top", "--json"];
    let finished = binary::run(&args, Some(&testbed.near), Duration::from_secs(60)).expect_code(0);
    let sent = assert_agreement(&testbed, receiver, &Summary::parse(&finished.stdout));
    assert_eq!(sent, u64::from(packets));
}

#[test]
fn one_packet() {
    replay(1);
}

#[test]
fn a_hundred_and_seventy_nine_packets() {
    replay(179);
}

#[test]
fn a_hundred_thousand_packets() {
    replay(100_000);
}

#[test]
fn a_replay_that_sigterm_stops() {
    if !need::root() {
        return;
    }
    let case = Case::open("sent-on-the-wire");
    let input = case.path("in.pcap");
    captures::write_udp_capture(Path::new(&input), 100_000, 500); // 50 seconds, so that the signal comes in the middle
    let testbed = Testbed::new();
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let args = ["replay", &input, "--interface", NEAR, "--json"];
    let mut daemon = Daemon::start(&args, Some(&testbed.near), &[]);
    daemon.wait_until("500 packets are sent", Duration::from_secs(20), |_| {
        testbed.near.counters(NEAR).tx_packets > 500
    });
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait(Duration::from_secs(5));
    assert_eq!(
        status.code(),
        Some(1),
        "a replay that was cut has not done what it was asked; {}",
        daemon.log()
    );
    let sent = assert_agreement(&testbed, receiver, &daemon.summary());
    assert!((500..100_000).contains(&sent), "{sent} packets are not the middle");
}

#[test]
fn a_daemon_that_sigterm_stops() {
    if !need::root() {
        return;
    }
    let case = Case::open("sent-on-the-wire");
    let profile = case.fill("profile.toml");
    let testbed = Testbed::new();
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let mut daemon = Daemon::start(&["run", "--profile", &profile, "--json"], Some(&testbed.near), &[]);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("1,000 packets are sent", Duration::from_secs(60), |daemon| {
        daemon.metrics().sum("netssmd_packets_sent_total") > 1000.0
    });
    daemon.terminate(Duration::from_secs(10));

    let summary = daemon.summary();
    let sent = assert_agreement(&testbed, receiver, &summary);
    assert!(sent > 1000, "{summary:?}");
    // Both outputs get every frame. Frames that the interface could not take are counted, by reason.
    let (interface, capture) = (summary.only("interface"), summary.only("capture"));
    assert_eq!(capture.frames, interface.frames + interface.dropped.values().sum::<u64>(), "{summary:?}");
    let mut written = Totals::default();
    for file in captures::in_directory(Path::new(&case.path("captures"))) {
        let totals = captures::totals(&file);
        written.packets += totals.packets;
        written.bytes += totals.bytes;
    }
    assert_eq!(written, Totals { packets: capture.frames, bytes: capture.bytes });
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_counts_still_agree() {
    if !need::root() {
        return;
    }
    let case = Case::open("sent-on-the-wire");
    let profile = case.fill_with("profile.toml", &[("grace_seconds = 0.5", "grace_seconds = 60")]);
    let testbed = Testbed::new();
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let mut daemon = Daemon::start(&["run", "--profile", &profile, "--json"], Some(&testbed.near), &[]);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("100 packets are sent", Duration::from_secs(60), |_| {
        testbed.near.counters(NEAR).tx_packets > 100
    });
    daemon.signal(Signal::SIGTERM);
    pause(Duration::from_millis(200)); // two signals at once are one
    daemon.signal(Signal::SIGTERM);
    let _ = daemon.wait(Duration::from_secs(5));
    assert_agreement(&testbed, receiver, &daemon.summary());
}
