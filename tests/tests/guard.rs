//! Case `guard`: the guard's rules in the kernel, seen from outside: by nft, by the kernel's neighbour table, and at
//! the far end.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::need;
use netssm_tests::netns::{FAR, NEAR, Testbed};
use netssm_tests::receiver::Receiver;
use netssm_tests::wait::{Stopwatch, pause};
use nix::sys::signal::Signal;

/// An address of the near interface, for which the far end sends ARP requests. It lies in the profile's server range.
const HOST: &str = "10.20.255.1";

/// Names of netssmd's tables in the near namespace.
fn tables(testbed: &Testbed) -> Vec<String> {
    let text = testbed.near.shell("nft list tables");
    text.lines().filter_map(|line| line.strip_prefix("table netdev netssmd_")).map(str::to_owned).collect()
}

/// Whether the near host answers the far end's ARP request for [`HOST`].
fn host_answers(testbed: &Testbed) -> bool {
    testbed.far.shell(&format!("ip neigh flush dev {FAR}"));
    testbed.far.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in the far namespace");
        let _ = socket.send_to(b"anybody there?", (HOST, 9)); // the kernel asks by ARP before it sends this
    });
    let began = Stopwatch::start();
    while began.elapsed() < Duration::from_secs(4) {
        // The kernel sends three requests, a second apart. Then the entry is FAILED, or it has a MAC address.
        let entry = testbed.far.shell(&format!("ip neigh show {HOST} dev {FAR}"));
        if entry.contains("lladdr") {
            return true;
        }
        if entry.contains("FAILED") {
            return false;
        }
        pause(Duration::from_millis(50));
    }
    false
}

fn start<'a>(case: &Case, testbed: &'a Testbed) -> Daemon<'a> {
    let profile = case.fill("profile.toml");
    Daemon::start(&["run", "--profile", &profile, "--json"], Some(&testbed.near), &[])
}

#[test]
fn the_host_is_silent_while_it_runs_and_itself_again_after() {
    if !need::root() || !need::tool("nft") {
        return;
    }
    let case = Case::open("guard");
    let testbed = Testbed::new();
    testbed.near.shell(&format!("ip addr add {HOST}/16 dev {NEAR}"));
    testbed.far.shell(&format!("ip addr add 10.20.255.2/16 dev {FAR}"));
    assert!(host_answers(&testbed), "without the daemon the host answers, so silence will mean something");
    let before = testbed.near.counters(NEAR).tx_packets;

    let mut daemon = start(&case, &testbed);
    // The rules must be up before the first packet. So once a packet was sent, the table must exist.
    daemon.wait_until("the first packet is sent", Duration::from_secs(60), |_| {
        testbed.near.counters(NEAR).tx_packets > before || tables(&testbed).len() == 1
    });
    assert_eq!(tables(&testbed).len(), 1);
    daemon.wait_ready(Duration::from_secs(60));
    assert!(!host_answers(&testbed), "the host answers test traffic");
    daemon.terminate(Duration::from_secs(20));

    assert_eq!(tables(&testbed), Vec::<String>::new(), "the table is gone");
    let sent = daemon.summary().only("interface").frames;
    assert_eq!(testbed.near.counters(NEAR).tx_packets - before, sent, "only our frames left");
    assert!(host_answers(&testbed), "the host is itself again");
}

#[test]
fn a_deleted_table_stops_sending_within_a_second() {
    if !need::root() || !need::tool("nft") {
        return;
    }
    let case = Case::open("guard");
    let testbed = Testbed::new();
    let mut daemon = start(&case, &testbed);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("it sends", Duration::from_secs(20), |_| testbed.near.counters(NEAR).tx_packets > 50);
    let table = tables(&testbed).pop().expect("our table");

    testbed.near.shell(&format!("nft delete table netdev netssmd_{table}"));
    pause(Duration::from_secs(1));
    let after_a_second = testbed.near.counters(NEAR).tx_packets;
    daemon.wait_until("the metric shows it", Duration::from_secs(5), |daemon| {
        daemon.metrics().sum("netssmd_guard_failures_total") == 1.0
    });
    let status = daemon.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("the guard's rules are gone"), "{}", daemon.log());
    assert_eq!(
        testbed.near.counters(NEAR).tx_packets,
        after_a_second,
        "sending went on for more than a second"
    );
    assert_eq!(daemon.summary().only("interface").frames, after_a_second);
}

#[test]
fn a_killed_daemon_leaves_the_interface_shut_until_the_next_start() {
    if !need::root() || !need::tool("nft") {
        return;
    }
    let case = Case::open("guard");
    let testbed = Testbed::new();
    testbed.near.shell(&format!("ip addr add {HOST}/16 dev {NEAR}"));
    testbed.far.shell(&format!("ip addr add 10.20.255.2/16 dev {FAR}"));
    let mut daemon = start(&case, &testbed);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.signal(Signal::SIGKILL);
    let _ = daemon.wait(Duration::from_secs(5));
    assert_eq!(tables(&testbed).len(), 1, "nobody was left to take the table down");
    assert!(!host_answers(&testbed), "it fails closed");

    let mut again = start(&case, &testbed);
    again.wait_ready(Duration::from_secs(60));
    assert_eq!(tables(&testbed).len(), 1, "the dead one's table is cleared away");
    again.terminate(Duration::from_secs(20));
    assert_eq!(tables(&testbed), Vec::<String>::new());
    assert!(host_answers(&testbed));
}

#[test]
fn nothing_leaves_before_the_guard_is_up() {
    if !need::root() {
        return;
    }
    // Without nft the rules cannot be installed. Then no frame leaves, the exit code is 1, and the message says what is
    // wrong.
    let case = Case::open("guard");
    let profile = case.fill("profile.toml");
    let testbed = Testbed::new();
    testbed.near.shell(
        "for nft in $(find /usr/sbin /sbin /usr/local/sbin -name nft); do mount --bind /dev/null $nft; done",
    );
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let mut daemon = Daemon::start(&["run", "--profile", &profile], Some(&testbed.near), &[]);
    let status = daemon.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("cannot run nft"), "{}", daemon.log());
    assert_eq!(receiver.finish().packets, 0);
}
