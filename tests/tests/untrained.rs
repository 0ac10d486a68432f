//! Case `untrained`: every packet that a model with random weights writes is legal.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use netssm_model::checkpoint::Checkpoint;
use netssm_model::generate::{GenerateOptions, Generator, Limit, SessionRequest};
use netssm_tests::case::Case;
use netssm_tests::models::{protocols, write_untrained};
use netssm_tests::{binary, captures, judges};
use netssm_tokens::codec::CodecChoice;
use netssm_tokens::codec::flow::{Parameters, Slots};
use serde_json::Value;

/// All protocols that a strict flow session may hold: ARP; ICMP, IGMP, TCP and UDP over IPv4; TCP, UDP and ICMPv6 over
/// IPv6.
const PROTOCOLS: [&str; 8] = ["arp", "4/1", "4/2", "4/6", "4/17", "6/6", "6/17", "6/58"];

/// Generates `sessions` sessions with an untrained model of these `parameters` and this `loudness`, and has them
/// judged.
#[track_caller]
fn judge(parameters: Parameters, loudness: f64, sessions: u64, packets: &str) {
    let case = Case::open("untrained");
    let model = case.path("model");
    let labels = ["web", "camera", "call"];
    write_untrained(Path::new(&model), &CodecChoice::Flow(parameters), &labels, 7, loudness);
    let out = case.path("sessions.pcap");
    let count = sessions.to_string();
    let mut args = vec!["generate", "--model", &model, "--sessions", &count, "--packets", packets];
    args.extend([
        "--seed", "11", "--batch", "64", "--rate", "20", "--device", "cpu", "--out", &out, "--json",
    ]);
    labels.iter().for_each(|label| args.extend(["--label", label]));
    let finished = binary::run(&args, None, Duration::from_secs(300)).expect_code(0);

    // No packet is repaired or dropped, neither in generation nor in rewriting.
    let report: Value = serde_json::from_str(&finished.stdout).expect("a report");
    eprintln!("{sessions} sessions in {:.1} s: {report}", finished.took.as_secs_f64());
    for (field, expected) in [
        ("sessions", sessions.into()),
        ("failed_sessions", 0.into()),
        ("packets_repaired", 0.into()),
        ("repairs", serde_json::json!({})),
        ("repairs_by_label", serde_json::json!({})),
        ("dropped", serde_json::json!({})),
        ("packets_written", report["packets_generated"].clone()),
    ] {
        assert_eq!(report[field], expected, "{field}");
    }

    let capture = Path::new(&out);
    let totals = captures::totals(capture);
    assert_eq!(Some(totals.packets), report["packets_generated"].as_u64());
    let found = protocols(capture);
    eprintln!("{found:?}");
    for protocol in PROTOCOLS {
        assert!(found.contains_key(protocol), "no packet of {protocol}: {found:?}");
    }
    assert_eq!(found.len(), PROTOCOLS.len(), "{found:?}");
    // No segment acknowledges data that was not sent.
    let report_dir = case.path("report");
    let compared = binary::run(
        &["evaluate", "--real", &out, "--synthetic", &out, "--out", &report_dir, "--only", "rows", "--json"],
        None,
        Duration::from_secs(300),
    );
    let compared: Value = serde_json::from_str(&compared.expect_code(0).stdout).expect("a report");
    let beyond = &compared["overall"]["order.ack.beyond"]["synthetic"];
    assert_eq!(beyond["hits"], 0, "{beyond}");
    assert!(beyond["of"].as_u64().is_some_and(|of| of > 100), "{beyond}");
    if let Some(verdict) = judges::suricata(capture) {
        eprintln!("{verdict:?}");
        verdict.assert_clean(totals.packets);
    }
    if let Some(complaints) = judges::tshark_complaints(capture) {
        assert!(complaints.is_empty(), "{} packets, the first: {:?}", complaints.len(), complaints.first());
    }
}

#[test]
fn a_thousand_sessions_of_a_model_that_knows_nothing() {
    judge(Parameters::default(), 1.0, 1000, "26");
}

#[test]
fn a_thousand_sessions_of_one_that_is_set_in_its_ways() {
    judge(Parameters { fine: false, slots: Slots::Fixed }, 30.0, 1000, "26");
}

#[test]
fn long_sessions() {
    judge(Parameters { fine: false, ..Parameters::default() }, 5.0, 60, "1500");
}

/// The packet times of a session as the model wrote them, in nanoseconds since the first packet.
fn written(generator: &mut Generator, seed: u64, packets: u64) -> Vec<i64> {
    let request =
        SessionRequest { id: 0, label: "web".into(), seed, limit: Limit::Packets(packets), prompt: None };
    let mut times = Vec::new();
    let mut take = |generated: netssm_model::generate::Generated| {
        times.extend(generated.session.packets.iter().map(|packet| packet.time.as_nanos() as i64));
    };
    let _ = generator
        .run(&mut std::iter::once(request), &mut take, &mut |_| ControlFlow::Continue(()))
        .expect("one session");
    times
}

#[test]
fn a_capture_has_the_times_that_the_model_wrote() {
    let case = Case::open("untrained");
    let model = case.path("model");
    write_untrained(Path::new(&model), &CodecChoice::default(), &["web"], 7, 1.0);
    let checkpoint = Checkpoint::open(Path::new(&model)).expect("just written");
    let mut generator = Generator::new(&checkpoint, GenerateOptions::default()).expect("a generator");
    let (mut packets, mut gaps) = (0, BTreeSet::new());
    for seed in 1..=12 {
        let out = case.path(&format!("{seed}.pcap"));
        let number = seed.to_string();
        let args = [
            "generate",
            "--model",
            &model,
            "--label",
            "web",
            "--packets",
            "300",
            "--seed",
            &number,
            "--out",
            &out,
        ];
        let _ = binary::run(&args, None, Duration::from_secs(60)).expect_code(0);
        let labels = std::fs::read_to_string(case.path(&format!("{seed}.labels.jsonl"))).expect("labels");
        // A session that holds only ARP has no flow.
        let Some(flow) = labels.lines().next() else { continue };
        let flow: Value = serde_json::from_str(flow).expect("a JSON object a line");
        assert_eq!(flow["timing"], "learned");
        let mut times = Vec::new();
        captures::for_each(Path::new(&out), |time, _, _| times.push(time));
        let first = times[0];
        times.iter_mut().for_each(|time| *time -= first);
        assert_eq!(
            times,
            written(&mut generator, flow["seed"].as_u64().expect("a seed"), 300),
            "seed {seed}"
        );
        packets += times.len();
        gaps.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
    }
    assert!(packets > 100 && gaps.len() > packets / 4, "{packets} packets, {} different gaps", gaps.len());
    assert!(gaps.iter().all(|gap| *gap >= 0 && gap % 1_000 == 0), "whole microseconds, never back: {gaps:?}");
}
