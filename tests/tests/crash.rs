//! Cases `kill-nine` and `full-disk`: every visible file in a capture directory is complete, whatever happens to the
//! daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use netssm_tests::captures;
use netssm_tests::case::Case;
use netssm_tests::daemon::Daemon;
use netssm_tests::need;
use netssm_tests::netns::Namespace;
use nix::sys::signal::Signal;

/// Asserts that each visible capture and its label file are complete. Gives the number of packets in all captures.
#[track_caller]
fn assert_complete(directory: &Path, files: &[PathBuf]) -> u64 {
    let labels = captures::labels_in_directory(directory);
    assert_eq!(labels.len(), files.len(), "a label file for each capture: {labels:?} for {files:?}");
    for file in &labels {
        let text = std::fs::read_to_string(file).expect("a visible file can be read");
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends in the middle of a line", file.display());
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
            assert!(value["community_id"].is_string(), "{line}");
        }
    }
    files.iter().map(|file| captures::totals(file).packets).sum()
}

#[test]
fn kill_nine_leaves_only_complete_captures() {
    if !need::root() {
        return;
    }
    let case = Case::open("kill-nine");
    let profile = case.fill("profile.toml");
    let directory = case.out.path().join("captures");
    let namespace = Namespace::new(); // for the metrics port, so that tests do not meet there

    let mut daemon = Daemon::start(&["run", "--profile", &profile], Some(&namespace), &[]);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("three captures are finished", Duration::from_secs(60), |_| {
        directory.is_dir() && captures::in_directory(&directory).len() >= 3
    });
    daemon.signal(Signal::SIGKILL);
    let status = daemon.wait(Duration::from_secs(5));
    assert_eq!(status.code(), None, "killed by a signal");

    let first = captures::in_directory(&directory);
    let packets = assert_complete(&directory, &first);
    assert_eq!(packets, 200 * first.len() as u64, "each visible capture has all of its 200 packets");
    let parts = std::fs::read_dir(directory.join(".netssmd.parts"))
        .expect("the hidden folder of what is being written");
    let parts: Vec<String> =
        parts.map(|part| part.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert!(
        parts.iter().any(|name| name.ends_with(".pcap.part")),
        "the capture that was open is hidden: {parts:?}"
    );

    let hashes: Vec<String> = first.iter().map(|file| captures::sha256(file)).collect();
    let mut again = Daemon::start(&["run", "--profile", &profile], Some(&namespace), &[]);
    again.wait_ready(Duration::from_secs(60));
    again.wait_until("it writes again", Duration::from_secs(60), |_| {
        captures::in_directory(&directory).len() > first.len()
    });
    again.terminate(Duration::from_secs(20));
    let after = captures::in_directory(&directory);
    assert_complete(&directory, &after);
    for (file, hash) in first.iter().zip(&hashes) {
        assert_eq!(&captures::sha256(file), hash, "{} is as it was", file.display());
    }
}

#[test]
fn a_full_disk_stops_writing_and_room_starts_it_again() {
    if !need::root() {
        return;
    }
    let case = Case::open("full-disk");
    let profile = case.fill("profile.toml");
    let directory = case.out.path().join("captures");
    let namespace = Namespace::new();
    std::fs::create_dir(&directory).expect("a new folder");
    let at = directory.to_string_lossy();
    namespace.shell(&format!("mount -t tmpfs -o size=4m tmpfs {at}"));
    namespace.shell(&format!("dd if=/dev/zero of={at}/ballast bs=1k count=3600 status=none"));

    let mut daemon = Daemon::start(&["run", "--profile", &profile, "--json"], Some(&namespace), &[]);
    daemon.wait_ready(Duration::from_secs(60));
    daemon.wait_until("the disk is full", Duration::from_secs(60), |daemon| {
        daemon.metrics().sum("netssmd_capture_stalled") == 1.0
    });
    let full = daemon.metrics();
    assert!(full.sum("netssmd_capture_stalls_total") >= 1.0, "{}", full.text);
    assert!(daemon.log().contains("No space left on device"), "the log says why:\n{}", daemon.log());
    assert!(matches!(daemon.get("/live"), Ok((200, _))), "it lives on");
    // The daemon continues to play, and counts the packets that it cannot write.
    daemon.wait_until("packets are dropped for want of room", Duration::from_secs(20), |daemon| {
        daemon.metrics().sum_where("netssmd_dropped_packets_total", "disk") > 100.0
    });

    let before = daemon.metrics().sum("netssmd_packets_written_total");
    namespace.shell(&format!("rm {at}/ballast"));
    daemon.wait_until("writing goes on", Duration::from_secs(20), |daemon| {
        let metrics = daemon.metrics();
        metrics.sum("netssmd_capture_stalled") == 0.0
            && metrics.sum("netssmd_packets_written_total") > before + 100.0
    });
    daemon.terminate(Duration::from_secs(20));

    let summary = daemon.summary();
    let capture = summary.only("capture");
    assert_eq!(
        capture.frames + capture.dropped.values().sum::<u64>(),
        summary.frames,
        "each frame was written or is counted as dropped: {summary:?}"
    );
    let packets = namespace.within(|| assert_complete(&directory, &captures::in_directory(&directory)));
    assert_eq!(packets, capture.frames, "what is said to be written is in the files");
}
