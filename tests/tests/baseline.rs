//! Case `baseline`: the bytes codec still makes sessions that Suricata and tshark accept.

use std::path::Path;
use std::time::Duration;

use netssm_tests::case::{Case, baseline_model};
use netssm_tests::{binary, captures, judges};
use serde_json::Value;

#[test]
fn the_bytes_checkpoint_makes_legal_sessions_with_drawn_times() {
    let case = Case::open("baseline");
    let (model, out) = (baseline_model().to_string_lossy().into_owned(), case.path("sessions.pcap"));
    let mut args = vec!["generate", "--model", &model, "--label", "youtube", "--label", "HueBridge"];
    args.extend(["--sessions", "60", "--packets", "16", "--seed", "3", "--out", &out, "--json"]);
    let finished = binary::run(&args, None, Duration::from_secs(300)).expect_code(0);
    let report: Value = serde_json::from_str(&finished.stdout).expect("a report");
    eprintln!("{:.1} s: {report}", finished.took.as_secs_f64());
    assert!(report["packets_repaired"].as_u64().is_some_and(|repaired| repaired > 0), "{report}");

    let labels = std::fs::read_to_string(case.path("sessions.labels.jsonl")).expect("labels");
    assert!(labels.lines().count() > 60 && labels.lines().all(|line| line.contains(r#""timing":"drawn""#)));
    assert!(labels.lines().all(|line| line.contains(r#""precision":"f32""#)));
    let capture = Path::new(&out);
    let totals = captures::totals(capture);
    assert_eq!(Some(totals.packets), report["packets_written"].as_u64());
    if let Some(verdict) = judges::suricata(capture) {
        verdict.assert_clean(totals.packets);
    }
    if let Some(complaints) = judges::tshark_complaints(capture) {
        assert!(complaints.is_empty(), "{} packets, the first: {:?}", complaints.len(), complaints.first());
    }
}
