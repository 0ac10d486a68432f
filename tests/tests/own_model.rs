//! Case `own-model`: from a user's own captures to a corpus, to a model, to sessions.

use std::path::Path;
use std::time::Duration;

use netssm_tests::binary::{self, Finished};
use netssm_tests::captures;
use netssm_tests::case::Case;

#[track_caller]
fn netssmd(args: &[&str]) -> Finished {
    binary::run(args, None, Duration::from_secs(120)).expect_code(0)
}

/// Steps in the log of a training run, oldest first.
fn steps(run: &Path) -> Vec<u64> {
    let log = std::fs::read_to_string(run.join("train.jsonl")).expect("the run's log");
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a JSON object a line"));
    events.filter_map(|event| event["step"].as_u64()).collect()
}

#[test]
fn own_captures_become_a_model_and_the_model_becomes_sessions() {
    let case = Case::open("own-model");
    let config = case.folder.join("tiny.toml").to_string_lossy().into_owned();
    let at = |name: &str| case.path(name);
    // Each capture has another length, because prepare reads equal captures only once.
    for (folder, packets) in [("captures/web", 20), ("captures/camera", 40), ("more/printer", 60)] {
        std::fs::create_dir_all(at(folder)).expect("a new folder");
        for i in 0..6 {
            captures::write_udp_capture(Path::new(&at(&format!("{folder}/{i}.pcap"))), packets + i, 1000);
        }
    }

    netssmd(&["prepare", "--in", &at("captures"), "--out", &at("corpus")]);
    netssmd(&[
        "train",
        "--corpus",
        &at("corpus"),
        "--config",
        &config,
        "--out",
        &at("run"),
        "--device",
        "cpu",
    ]);
    let run = case.out.path().join("run");
    assert_eq!(steps(&run).last(), Some(&150));
    // Resumes the run for ten more steps.
    netssmd(&[
        "train",
        "--corpus",
        &at("corpus"),
        "--config",
        &config,
        "--out",
        &at("run"),
        "--resume",
        "--steps",
        "160",
        "--device",
        "cpu",
    ]);
    assert_eq!(steps(&run).last(), Some(&160));
    let first = at("run/best");

    let generate = |model: &str, label: &str| {
        let out = at("generated.pcap");
        let _ = std::fs::remove_file(&out);
        let args = [
            "generate",
            "--model",
            model,
            "--label",
            label,
            "--sessions",
            "2",
            "--packets",
            "4",
            "--out",
            &out,
        ];
        binary::run(&args, None, Duration::from_secs(120))
    };
    let _ = generate(&first, "camera").expect_code(0);
    let refused = generate(&first, "printer").expect_code(64);
    assert!(refused.stderr.contains("camera") && refused.stderr.contains("web"), "{}", refused.stderr);

    // Fine-tunes with a label that the first model does not know.
    netssmd(&["prepare", "--in", &at("more"), "--extend", &first, "--out", &at("corpus2")]);
    netssmd(&[
        "train",
        "--corpus",
        &at("corpus2"),
        "--config",
        &config,
        "--out",
        &at("run2"),
        "--init",
        &first,
        "--device",
        "cpu",
    ]);
    let second = at("run2/best");
    for label in ["camera", "web", "printer"] {
        let _ = generate(&second, label).expect_code(0);
    }
}
