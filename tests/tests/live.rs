//! Case `live`: the shipped model sends on a wire while Suricata reads the captures.

use std::path::Path;
use std::time::Duration;

use netssm_tests::addresses::Addresses;
use netssm_tests::captures::{self, Totals};
use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::follower::Follower;
use netssm_tests::need;
use netssm_tests::netns::{FAR, NEAR, Testbed};
use netssm_tests::receiver::Receiver;
use netssm_tests::wait::Stopwatch;

/// Seconds that the daemon runs, unless `NETSSMD_LIVE_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// Time for Suricata to read the last captures. It starts to read a capture three seconds after it appears.
const CATCH_UP: Duration = Duration::from_secs(15);

#[test]
fn suricata_follows_what_the_shipped_model_sends() {
    if !need::root() {
        return;
    }
    let seconds = std::env::var("NETSSMD_LIVE_SECONDS")
        .map_or(SECONDS, |text| text.parse().expect("NETSSMD_LIVE_SECONDS is a number"));
    let case = Case::open("live");
    let profile = case.fill("profile.toml");
    let directory = case.out.path().join("captures");
    std::fs::create_dir(&directory).expect("a new folder");
    let testbed = Testbed::new();
    let receiver = Receiver::start(&testbed.far, FAR, Path::new(&case.path("far.pcap")));
    let Some(suricata) = Follower::start(&directory) else { return };

    let period = format!("{seconds}s");
    let args = ["run", "--profile", &profile, "--for", &period, "--json"];
    let began = Stopwatch::start();
    let mut daemon = Daemon::start(&args, Some(&testbed.near), &[]);
    daemon.wait_until(
        "suricata has read packets that are not old",
        Duration::from_secs(seconds.max(20)),
        |_| suricata.so_far().is_some_and(|seen| seen.packets > 0),
    );
    let first = began.elapsed();
    let status = daemon.wait(Duration::from_secs(seconds + 120));
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    let ran = began.elapsed();

    // The same packets were sent, arrived, and were written.
    let summary = daemon.summary();
    let received = receiver.finish();
    let sent = summary.only("interface");
    assert_eq!((sent.frames, sent.bytes), (received.packets, received.bytes), "{summary:?}");
    assert!(sent.dropped.values().all(|&frames| frames == 0), "{summary:?}");
    assert_eq!(sent.frames, testbed.near.counters(NEAR).tx_packets);
    let files = captures::in_directory(&directory);
    let mut written = Totals::default();
    for file in &files {
        let totals = captures::totals(file);
        written.packets += totals.packets;
        written.bytes += totals.bytes;
    }
    assert_eq!(written, Totals { packets: sent.frames, bytes: sent.bytes });
    assert!(sent.frames > 20 * seconds, "next to nothing was sent: {summary:?}");

    let verdict = suricata.finish(CATCH_UP);
    eprintln!(
        "{:.0} s: {} packets, {} bytes in {} captures; suricata read the first after {:.0} s: {verdict:?}",
        ran.as_secs_f64(),
        sent.frames,
        sent.bytes,
        files.len(),
        first.as_secs_f64()
    );
    verdict.assert_clean(sent.frames);
    assert!(verdict.tcp_sessions > 0, "{verdict:?}");

    let Some(data) = need::data() else { return };
    for folder in ["requet/train", "iot/train"] {
        let secret = Addresses::of_folder(&data.join(folder));
        assert!(secret.macs.len() > 10 && secret.v4.len() > 100, "the search has something to look for");
        let found = secret.found_in(&received.file, |_| false);
        assert_eq!(found, Vec::<String>::new(), "{folder}");
        eprintln!("{folder}: {} MACs, {} IPv4, {} IPv6", secret.macs.len(), secret.v4.len(), secret.v6.len());
    }
    // Some of these captures were made anonymous with addresses that are words. So only address fields are compared
    // here.
    let (secret, own) = (Addresses::of_folder(&data.join("apps")), Addresses::of_folder(&directory));
    eprintln!("apps: {} MACs, {} IPv4, {} IPv6", secret.macs.len(), secret.v4.len(), secret.v6.len());
    assert!(secret.macs.is_disjoint(&own.macs));
    assert!(secret.v4.is_disjoint(&own.v4), "{:?}", secret.v4.intersection(&own.v4));
    assert!(secret.v6.is_disjoint(&own.v6), "{:?}", secret.v6.intersection(&own.v6));
}
