//! Case `metrics`: compares the page for Prometheus with the documents and with the kernel's counters.

use std::collections::BTreeSet;
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::daemon::{Daemon, Metrics};
use netssm_tests::need;
use netssm_tests::netns::{NEAR, Testbed};

/// The families in `docs/metrics.md`: the names in the first column of its tables.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(need::workspace().join("docs/metrics.md")).expect("docs/metrics.md");
    text.lines()
        .filter_map(|line| line.strip_prefix("| `netssmd_"))
        .map(|rest| format!("netssmd_{}", rest.split(['`', '{']).next().unwrap_or_default()))
        .collect()
}

/// The families of a page, by its `# TYPE` lines.
fn typed(metrics: &Metrics) -> BTreeSet<String> {
    let types = metrics.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_page_agrees_with_the_documents_and_with_the_kernel() {
    if !need::root() {
        return;
    }
    let case = Case::open("metrics");
    let profile = case.fill("profile.toml");
    let testbed = Testbed::new();
    let mut daemon = Daemon::start(&["run", "--profile", &profile, "--json"], Some(&testbed.near), &[]);
    daemon.wait_until("/live answers", Duration::from_secs(30), |d| matches!(d.get("/live"), Ok((200, _))));
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("a capture is finished", Duration::from_secs(30), |daemon| {
        daemon.metrics().sum("netssmd_capture_rotations_total") >= 1.0
    });
    let metrics = daemon.metrics();

    let (written, served) = (documented(), typed(&metrics));
    let undocumented: Vec<_> = served.difference(&written).collect();
    assert!(undocumented.is_empty(), "not in docs/metrics.md: {undocumented:?}");
    // A family without a sample is not on the page. This one needs a faulty packet before it has a sample.
    let unseen: Vec<_> =
        written.difference(&served).filter(|name| *name != "netssmd_repairs_total").collect();
    assert!(unseen.is_empty(), "in docs/metrics.md but not on the page: {unseen:?}");
    for name in &served {
        assert!(metrics.text.contains(&format!("# HELP {name} ")), "{name} has no HELP");
    }

    assert_eq!(metrics.sum("netssmd_build_info"), 1.0);
    assert_eq!(metrics.sum("netssmd_model_info"), 1.0);
    assert!(metrics.text.contains("netssmd_model_info{sha256=\""), "the model is named by its hash");
    for family in ["tokens", "packets", "sessions"] {
        assert!(metrics.sum(&format!("netssmd_{family}_generated_total")) > 0.0, "no {family} generated");
    }
    assert_eq!(
        metrics.sum("netssmd_send_lateness_seconds_count"),
        metrics.sum_where("netssmd_send_lateness_seconds_bucket", "le=\"+Inf\"")
    );
    assert!(metrics.sum_where("netssmd_packets_sent_total", &format!("interface=\"{NEAR}\"")) > 0.0);
    assert!(metrics.sum("netssmd_bytes_sent_total") >= 42.0 * metrics.sum("netssmd_packets_sent_total"));
    // No metric's label carries an address.
    let addresses = metrics.text.lines().filter(|line| line.contains("10.10.") || line.contains("10.20."));
    assert_eq!(addresses.count(), 0);
    // While the daemon runs, the page may be behind the interface's counter, by what the player has not reported yet.
    // It must never be ahead.
    let told = metrics.sum("netssmd_packets_sent_total") as u64;
    assert!(told <= testbed.near.counters(NEAR).tx_packets, "the page reports what was not sent");

    assert!(matches!(daemon.get("/nothing"), Ok((404, _))));
    daemon.terminate(Duration::from_secs(20));
}

#[test]
fn metrics_are_off_when_the_profile_says_so() {
    if !need::root() {
        return;
    }
    let case = Case::open("metrics");
    let profile = case.fill_with("profile.toml", &[("[guard]", "[metrics]\nlisten = \"off\"\n\n[guard]")]);
    let testbed = Testbed::new();
    let mut daemon = Daemon::start(&["run", "--profile", &profile, "--for", "2s"], Some(&testbed.near), &[]);
    daemon.wait_until("it sends", Duration::from_secs(60), |_| testbed.near.counters(NEAR).tx_packets > 0);
    assert!(daemon.get("/metrics").is_err(), "something listens");
    assert_eq!(
        testbed.near.shell("cat /proc/thread-self/net/tcp").lines().count(),
        1,
        "no TCP socket at all"
    );
    assert_eq!(daemon.wait(Duration::from_secs(20)).code(), Some(0), "{}", daemon.log());
}
