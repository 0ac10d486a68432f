//! Case `same-seed`: the same seed gives the same bytes.

use std::path::Path;
use std::time::Duration;

use netssm_tests::case::Case;
use netssm_tests::{binary, captures};

/// Name and hash of each file of a run.
type Hashes = Vec<(String, String)>;

fn generate(flags: &[&str]) -> Hashes {
    let case = Case::open("same-seed");
    let out = case.path("s.pcap");
    let mut args = vec!["generate", "--label", "youtube", "--label", "HueBridge", "--sessions", "6"];
    args.extend(["--packets", "10", "--device", "cpu", "--out", &out]);
    args.extend(flags);
    let _ = binary::run(&args, None, Duration::from_secs(120)).expect_code(0);
    hashes(case.out.path())
}

fn run(from: &str, to: &str) -> Hashes {
    let case = Case::open("same-seed");
    let profile = case.fill_with("profile.toml", &[(from, to)]);
    let args = ["run", "--profile", &profile, "--virtual-clock"];
    let _ = binary::run(&args, None, Duration::from_secs(120)).expect_code(0);
    let hashes = hashes(&case.out.path().join("captures"));
    assert!(hashes.len() >= 4, "several captures with labels: {hashes:?}");
    hashes
}

fn hashes(folder: &Path) -> Hashes {
    let mut files = captures::in_directory(folder);
    files.extend(captures::labels_in_directory(folder));
    let name = |file: &Path| file.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let hashes: Hashes = files.iter().map(|file| (name(file), captures::sha256(file))).collect();
    assert!(!hashes.is_empty(), "no file in {}", folder.display());
    hashes
}

#[test]
fn generate_gives_the_same_bytes_for_the_same_seed_only() {
    let first = generate(&["--seed", "5"]);
    assert_eq!(first, generate(&["--seed", "5"]), "a second time");
    assert_eq!(
        first,
        generate(&["--seed", "5", "--batch", "2", "--threads", "1"]),
        "another batch and thread count"
    );
    let eight = generate(&["--seed", "5", "--precision", "int8"]);
    for (a, b) in first.iter().zip(&eight) {
        assert_ne!(a.1, b.1, "{} in another precision", a.0);
    }
    let again = ["--seed", "5", "--precision", "int8", "--batch", "2", "--threads", "1"];
    assert_eq!(eight, generate(&again), "eight bits, another batch and thread count");
    let other = generate(&["--seed", "6"]);
    assert_eq!(first.len(), other.len());
    for (a, b) in first.iter().zip(&other) {
        assert_ne!(a.1, b.1, "{} for another seed", a.0);
    }
}

#[test]
fn the_daemon_on_a_virtual_clock_gives_the_same_bytes_for_the_same_seed_only() {
    let first = run("seed = 42", "seed = 42");
    assert_eq!(first, run("seed = 42", "seed = 42"), "a second time");
    assert_eq!(
        first,
        run("device = \"cpu\"", "device = \"cpu\"\nbatch = 3\nthreads = 1"),
        "another batch and thread count"
    );
    let other: Vec<String> = run("seed = 42", "seed = 43").into_iter().map(|(_, hash)| hash).collect();
    assert!(first.iter().all(|(_, hash)| !other.contains(hash)), "another seed");
}
