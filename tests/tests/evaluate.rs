//! Case `evaluate`: compares captures, and computes a checkpoint's likelihood of them.

use std::path::Path;
use std::time::Duration;

use netssm_tests::binary::{self, Finished};
use netssm_tests::captures;
use netssm_tests::case::Case;
use serde_json::Value;

fn netssmd(args: &[&str]) -> Finished {
    binary::run(args, None, Duration::from_secs(120))
}

/// The output of a command that prints JSON.
#[track_caller]
fn json(args: &[&str]) -> Value {
    serde_json::from_str(&netssmd(args).expect_code(0).stdout).expect("JSON on standard output")
}

/// Writes captures of two labels, with `gap_us` microseconds between packets.
fn set(folder: &str, gap_us: u32) {
    for label in ["printer", "camera"] {
        let folder = Path::new(folder).join(label);
        std::fs::create_dir_all(&folder).expect("a new folder");
        for i in 0..3 {
            captures::write_udp_capture(&folder.join(format!("{i}.pcap")), 40 + i, gap_us);
        }
    }
}

#[test]
fn captures_are_compared_row_by_row() {
    let case = Case::open("evaluate");
    let (real, slow, out) = (case.path("real"), case.path("slow"), case.path("report"));
    set(&real, 1000);
    set(&slow, 7000);
    let args = ["evaluate", "--real", &real, "--synthetic", &slow, "--floor", &real, "--out", &out];
    let report = json(&[&args[..], &["--json"]].concat());
    let written = std::fs::read_to_string(Path::new(&out).join("report.json")).expect("the report");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), report);
    assert_eq!(report["real"]["sessions"], 6);
    for row in report["rows"].as_array().expect("rows") {
        let name = row["name"].as_str().expect("a name");
        let compared = &report["overall"][name];
        let size = |distance: &Value| {
            distance["ks"].as_f64().or(distance["difference"].as_f64()).unwrap_or_default()
        };
        assert_eq!(size(&compared["floor_distance"]), 0.0, "{name}: the same captures");
        let timed = name.starts_with("gap.") || name.ends_with(".duration") || name == "flows.start";
        assert_eq!(size(&compared["distance"]) > 0.5, timed, "{name}: {compared}");
    }
    assert_eq!(report["labels"].as_object().map(serde_json::Map::len), Some(2));
    let table = netssmd(&args).expect_code(0).stdout;
    assert!(table.contains("gap.session.all") && table.contains("camera"), "{table}");
    // The page loads nothing from elsewhere, and it holds every part of the report.
    let page = std::fs::read_to_string(Path::new(&out).join("index.html")).expect("the page");
    for part in ["<h1>netssmd evaluate</h1>", "<svg ", "gap.session.forward", "The IDS", "Over session time"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("://"), "something from elsewhere");
}

#[test]
fn parts_are_chosen_and_the_gate_decides_the_exit_code() {
    let case = Case::open("evaluate");
    let (real, out) = (case.path("real"), case.path("report"));
    set(&real, 1000);
    let args = ["evaluate", "--real", &real, "--synthetic", &real, "--out", &out];
    let only = netssmd(&[&args[..], &["--only", "baseline"]].concat()).expect_code(0).stdout;
    assert!(only.contains("Time drawn independently") && !only.contains("TCP order"), "{only}");
    let skipped = json(&[&args[..], &["--skip", "baseline,ids", "--json"]].concat());
    assert!(skipped["baseline"].is_null() && skipped["ids"].is_null() && skipped["overtime"].is_object());
    assert_eq!(skipped["format"], 2);
    let wrong = netssmd(&[&args[..], &["--only", "no-such-part"]].concat()).expect_code(64).stderr;
    assert!(wrong.contains("baseline"), "the parts that there are: {wrong}");
    // The real captures themselves must not be given away. The report is written all the same.
    let _ = std::fs::remove_file(Path::new(&out).join("report.json"));
    let closed = netssmd(&[&args[..], &["--skip", "ids", "--gate"]].concat()).expect_code(1).stderr;
    assert!(closed.contains("the gate is closed"), "{closed}");
    assert!(Path::new(&out).join("report.json").is_file());
}

#[test]
fn generated_captures_are_cut_into_their_sessions() {
    let case = Case::open("evaluate");
    let (real, made, out) = (case.path("real"), case.path("made.pcap"), case.path("report"));
    set(&real, 1000);
    let generate = ["generate", "--label", "youtube", "--sessions", "4", "--packets", "20", "--rate", "50"];
    let _ = netssmd(&[&generate[..], &["--device", "cpu", "--out", &made]].concat()).expect_code(0);
    let report = json(&["evaluate", "--real", &real, "--synthetic", &made, "--out", &out, "--json"]);
    assert_eq!(report["synthetic"]["labels"]["youtube"], 4);
    assert_eq!(report["only_synthetic"], serde_json::json!(["youtube"]));
    assert_eq!(report["labels"], serde_json::json!({}));
}

#[test]
fn a_checkpoint_s_likelihood_is_told_by_label() {
    let case = Case::open("evaluate");
    let (real, list) = (case.path("real"), case.path("labels.csv"));
    set(&real, 1000);
    std::fs::write(&list, "printer/,youtube\ncamera/,{folder}\n").expect("written");
    let args = ["evaluate", "--likelihood", "--real", &real, "--labels", &list, "--max-packets", "10"];
    let told = json(&[&args[..], &["--device", "cpu", "--json"]].concat());
    assert_eq!(told["unknown_labels"], serde_json::json!(["camera"]));
    assert_eq!(told["labels"]["youtube"]["packets"], 30);
    let (nats, tokens) = (&told["total"]["nats"], &told["total"]["tokens"]);
    let (nats, tokens) = (nats.as_f64().expect("a number"), tokens.as_u64().expect("a number"));
    assert!(nats > 0.0 && nats.is_finite() && tokens >= 30, "{told}");
    let table = netssmd(&args).expect_code(0).stdout;
    assert!(table.contains("youtube") && table.contains("nats/packet"), "{table}");
}

#[test]
fn servers_services_and_seeds_are_chosen() {
    let case = Case::open("evaluate");
    let (real, out, list) = (case.path("real"), case.path("report"), case.path("services.csv"));
    set(&real, 1000);
    // A third label, so that services differ from labels.
    let (printers, phones) = (Path::new(&real).join("printer"), Path::new(&real).join("phone"));
    std::fs::create_dir_all(&phones).expect("a new folder");
    for i in 0..3 {
        let name = format!("{i}.pcap");
        std::fs::copy(printers.join(&name), phones.join(&name)).expect("copied");
    }
    std::fs::write(&list, "label,service\nprinter,office\ncamera,security\nphone,office\n").expect("written");
    let args = ["evaluate", "--real", &real, "--synthetic", &real, "--out", &out, "--json"];
    let with = |more: &[&str]| json(&[&args[..], &["--only", "dynamics,utility,similarity"], more].concat());
    // The flows have ephemeral client ports and the server port 4433.
    for (more, flows, words) in [
        (&[][..], 0, "ports 443, 80"),
        (&["--server-port", "4433"][..], 42, "ports 4433"),
        (
            &["--server-prefix", "10.0.0.0/8,192.168.7.53/32"][..],
            42,
            "addresses in 10.0.0.0/8, 192.168.7.53/32",
        ),
        (&["--server-name", "example.org"][..], 0, "names below example.org"),
    ] {
        let dynamics = &with(more)["dynamics"];
        assert_eq!(
            (&dynamics["real"]["flows"], &dynamics["servers"]),
            (&flows.into(), &words.into()),
            "{more:?}"
        );
    }
    let report = with(&["--services", &list, "--seed-packets", "1"]);
    let levels = report["utility"]["levels"].as_array().expect("levels");
    assert_eq!(levels[1]["classes"], serde_json::json!(["office", "security"]), "{levels:?}");
    let packets = |report: &Value| report["similarity"]["real"]["packets"].as_u64().expect("a number");
    assert_eq!(packets(&report) + 9, packets(&with(&[])), "one of each session");
    std::fs::write(&list, "printer\n").expect("written");
    let bad = netssmd(&[&args[..], &["--services", &list]].concat()).expect_code(78).stderr;
    assert!(bad.contains("line 1: expected two columns (label, service)"), "{bad}");
    let odd = netssmd(&[&args[..], &["--allow", "10.0.0.0/33"]].concat()).expect_code(64).stderr;
    assert!(odd.contains("a prefix such as"), "{odd}");
}

#[test]
fn what_is_wrong_is_told_with_its_exit_code() {
    let case = Case::open("evaluate");
    let (real, empty, out) = (case.path("real"), case.path("empty"), case.path("report"));
    set(&real, 1000);
    std::fs::create_dir_all(&empty).expect("a new folder");
    let list = case.path("labels.csv");
    std::fs::write(&list, "one column\n").expect("written");
    let _ = netssmd(&["evaluate", "--real", &real]).expect_code(64);
    let nothing = netssmd(&["evaluate", "--real", &real, "--synthetic", &empty, "--out", &out]);
    assert!(nothing.expect_code(1).stderr.contains("synthetic captures"));
    let bad = netssmd(&["evaluate", "--real", &real, "--synthetic", &real, "--out", &out, "--labels", &list]);
    assert!(bad.expect_code(78).stderr.contains("line 1: expected two columns"));
    let unknown = netssmd(&["evaluate", "--likelihood", "--real", &real, "--device", "cpu"]);
    let stderr = unknown.expect_code(1).stderr;
    assert!(stderr.contains("camera, printer") && stderr.contains("youtube"), "{stderr}");
}
