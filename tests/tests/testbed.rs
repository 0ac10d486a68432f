//! The testbed itself is silent and loses nothing. Without this, the counts of the other tests would prove nothing.

use std::process::Command;
use std::time::Duration;

use netssm_tests::binary::finish;
use netssm_tests::captures;
use netssm_tests::need;
use netssm_tests::netns::{FAR, NEAR, Testbed};
use netssm_tests::receiver::Receiver;
use netssm_tests::wait::pause;

#[test]
fn an_idle_pair_carries_no_frame() {
    if !need::root() {
        return;
    }
    let testbed = Testbed::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start(&testbed.far, FAR, &folder.path().join("far.pcap"));
    // Router solicitations (within 1 s of link up) and duplicate address detection would show in this time.
    pause(Duration::from_secs(2));
    assert_eq!(receiver.finish().packets, 0);
    assert_eq!(testbed.near.counters(NEAR).tx_packets, 0);
}

#[test]
fn what_another_sender_sends_arrives_whole_and_is_counted() {
    if !need::root() || !need::tool("tcpreplay") {
        return;
    }
    let testbed = Testbed::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("in.pcap");
    captures::write_udp_capture(&input, 5_000, 10);
    let receiver = Receiver::start(&testbed.far, FAR, &folder.path().join("far.pcap"));
    let mut tcpreplay = Command::new("tcpreplay");
    tcpreplay.args(["--topspeed", "-i", NEAR]).arg(&input);
    let _ = finish(tcpreplay, Some(&testbed.near), Duration::from_secs(60)).expect_code(0);
    let received = receiver.finish();
    let sent = captures::totals(&input);
    assert_eq!((received.packets, received.bytes), (sent.packets, sent.bytes));
    assert_eq!(captures::totals(&received.file), sent);
    let counters = testbed.near.counters(NEAR);
    assert_eq!((counters.tx_packets, counters.tx_bytes), (sent.packets, sent.bytes));
    assert_eq!(testbed.far.counters(FAR).rx_packets, sent.packets);
}

#[test]
fn namespaces_do_not_outlive_their_handles() {
    if !need::root() {
        return;
    }
    let before = std::fs::read_to_string("/proc/net/dev").expect("our own interfaces");
    let testbed = Testbed::new();
    assert!(testbed.near.shell("cat /proc/thread-self/net/dev").contains(NEAR));
    assert!(testbed.near.shell("ls /sys/class/net").contains(NEAR), "/sys shows the namespace's interfaces");
    drop(testbed);
    assert_eq!(
        std::fs::read_to_string("/proc/net/dev").expect("our own interfaces").lines().count(),
        before.lines().count()
    );
}
