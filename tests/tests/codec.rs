//! Case `codec`: the codecs give back what they encode, with as few tokens as the documents claim.

use std::path::PathBuf;
use std::time::Duration;

use netssm_tests::binary::{self, Finished};
use netssm_tests::captures;
use netssm_tests::case::Case;
use netssm_tests::need;
use serde_json::Value;

fn codec(args: &[&str], files: &[PathBuf]) -> Finished {
    let files: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    binary::run(&[&["codec"], args, &files].concat(), None, Duration::from_secs(600))
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).expect("JSON on standard output")
}

#[test]
fn captures_come_back_and_those_that_cannot_be_read_are_named() {
    let case = Case::open("codec");
    let [good, noise, nowhere] =
        ["good.pcap", "noise.pcap", "nowhere.pcap"].map(|name| PathBuf::from(case.path(name)));
    captures::write_udp_capture(&good, 50, 1000);
    std::fs::write(&noise, "no capture").expect("written");
    for name in ["flow", "bytes"] {
        let finished = codec(&["roundtrip", "--codec", name], std::slice::from_ref(&good)).expect_code(0);
        assert!(finished.stdout.contains("exact"), "{}", finished.stdout);
        let mixed = codec(&["roundtrip", "--codec", name, "--json"], &[good.clone(), noise.clone()]);
        let mixed = json(&mixed.expect_code(0));
        assert_eq!(
            (mixed["total"]["packets"].as_u64(), mixed["total"]["differing"].as_u64()),
            (Some(50), Some(0))
        );
        assert!(mixed["unreadable"][0]["why"].as_str().is_some_and(|why| why.contains("noise.pcap")));
        let stats =
            json(&codec(&["stats", "--codec", name, "--json"], std::slice::from_ref(&good)).expect_code(0));
        let kinds = stats["kinds"].as_array().expect("a row a kind");
        assert_eq!(kinds.last().expect("all packets")["packets"].as_u64(), Some(50));
    }
    let folder = PathBuf::from(case.path("folder"));
    let empty = folder.join("empty");
    std::fs::create_dir_all(&empty).expect("made");
    std::fs::copy(&good, folder.join("inside.pcap")).expect("copied");
    let searched = json(&codec(&["roundtrip", "--json"], &[folder, empty]).expect_code(0));
    assert_eq!(searched["total"]["packets"].as_u64(), Some(50), "the one capture in the folder");
    assert!(searched["unreadable"][0]["why"].as_str().is_some_and(|why| why.contains("no capture in")));
    let nothing = codec(&["roundtrip"], &[noise, nowhere]).expect_code(1);
    assert!(nothing.stderr.contains("not a packet could be read of 2 captures"), "{}", nothing.stderr);
    let misplaced = codec(&["stats", "--width", "94"], std::slice::from_ref(&good)).expect_code(64);
    assert!(misplaced.stderr.contains("--width needs --codec bytes"), "{}", misplaced.stderr);
}

/// Folders of the captures outside the repository. Each has the largest number of tokens per packet that the flow codec
/// may need, over the first 8,000 packets of each file.
const CLAIMS: [(&str, f64); 3] = [("requet/val", 4.5), ("iot/val", 7.7), ("apps", 7.5)];

#[test]
fn the_flow_codec_is_exact_and_as_short_as_claimed() {
    let Some(data) = need::data() else { return };
    for (folder, claim) in CLAIMS {
        let finished =
            codec(&["roundtrip", "--codec", "flow", "--limit", "8000", "--json"], &[data.join(folder)]);
        let total = &json(&finished.expect_code(0))["total"];
        let number = |name: &str| total[name].as_f64().expect("a number");
        eprintln!(
            "{folder}: {} packets, {:.3} tokens a packet, {} escapes, {:.1} side bits a packet",
            number("packets"),
            number("tokens_per_packet"),
            number("escapes"),
            number("side_bits_per_packet")
        );
        assert_eq!(number("packets"), number("encoded"), "{folder}: everything is carried");
        assert!(number("tokens_per_packet") <= claim, "{folder}: {total}");
        assert!(number("escapes") < 0.002 * number("packets"), "{folder}: {total}");
    }
    // All other captures must come back too, however odd they are.
    let _ = codec(&["roundtrip", "--codec", "flow"], &[data.join("oddities")]).expect_code(0);
}
