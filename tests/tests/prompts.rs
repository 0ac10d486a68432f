//! Case `prompts`: sessions that begin with packets of real captures.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use netssm_tests::binary::{self, Finished};
use netssm_tests::captures;
use netssm_tests::case::Case;
use serde_json::Value;

fn generate(out: &str, more: &[&str]) -> Finished {
    let always = ["generate", "--packets", "12", "--prompt-packets", "4", "--device", "cpu", "--out", out];
    binary::run(&[&always[..], more].concat(), None, Duration::from_secs(120))
}

/// Label and protocol of the first flow of each session.
fn openings(out: &str) -> Vec<(String, u64)> {
    let labels = std::fs::read_to_string(Path::new(out).with_extension("labels.jsonl")).expect("labels");
    let mut first: BTreeMap<u64, (u64, String, u64)> = BTreeMap::new();
    for line in labels.lines() {
        let flow: Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| flow[key].as_u64().expect("a number");
        let flow =
            (number("first_ns"), flow["label"].as_str().expect("a label").to_owned(), number("protocol"));
        let known = first.entry(number("session")).or_insert_with(|| flow.clone());
        if flow.0 < known.0 {
            *known = flow;
        }
    }
    first.into_values().map(|(_, label, protocol)| (label, protocol)).collect()
}

#[test]
fn sessions_take_the_captures_of_a_folder_in_turn() {
    let case = Case::open("prompts");
    let (folder, out) = (case.path("captures"), case.path("s.pcap"));
    std::fs::create_dir_all(&folder).expect("a new folder");
    captures::write_udp_capture(&Path::new(&folder).join("a.pcap"), 20, 1000);
    captures::write_mixed_capture(&Path::new(&folder).join("b.pcap"));
    let _ = generate(&out, &["--label", "youtube", "--sessions", "4", "--prompt", &folder]).expect_code(0);
    let protocols: Vec<u64> = openings(&out).into_iter().map(|(_, protocol)| protocol).collect();
    assert_eq!(protocols, [17, 6, 17, 6]);

    // A single file serves all sessions. A file that cannot be read is left out of a folder, but is an error if it is
    // the only one.
    let file = format!("{folder}/b.pcap");
    let _ = generate(&out, &["--label", "youtube", "--sessions", "2", "--prompt", &file]).expect_code(0);
    assert!(openings(&out).iter().all(|(_, protocol)| *protocol == 6));
    let noise = format!("{folder}/noise.pcap");
    std::fs::write(&noise, "no capture").expect("written");
    let left_out =
        generate(&out, &["--label", "youtube", "--sessions", "3", "--prompt", &folder]).expect_code(0);
    assert!(left_out.stderr.contains("noise.pcap"), "{}", left_out.stderr);
    let alone = generate(&out, &["--label", "youtube", "--prompt", &noise]).expect_code(1);
    assert!(alone.stderr.contains("noise.pcap"), "{}", alone.stderr);
}

#[test]
fn a_folder_named_like_a_label_is_for_that_label() {
    let case = Case::open("prompts");
    let (folder, out) = (case.path("captures"), case.path("s.pcap"));
    let labels = ["--label", "youtube", "--label", "Aria", "--sessions", "12", "--prompt", &folder];
    let inside = |label: &str| {
        let inside = Path::new(&folder).join(label);
        std::fs::create_dir_all(&inside).expect("a new folder");
        inside.join("x.pcap")
    };
    captures::write_udp_capture(&inside("youtube"), 20, 1000);
    let lacking = generate(&out, &labels).expect_code(1);
    assert!(lacking.stderr.contains("no prompt for the label \"Aria\""), "{}", lacking.stderr);
    captures::write_mixed_capture(&inside("Aria"));
    let _ = generate(&out, &labels).expect_code(0);
    let openings = openings(&out);
    assert!(openings.iter().any(|(label, _)| label == "Aria"), "{openings:?}");
    for (label, protocol) in openings {
        assert_eq!(protocol, if label == "Aria" { 6 } else { 17 }, "{label}");
    }
}
