//! Case `thousand-sessions`: generated traffic as an IDS, a dissector and a privacy officer see it.
//!
//! The capture is generated once, and several tests judge it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use netssm_tests::addresses::Addresses;
use netssm_tests::case::Case;
use netssm_tests::{binary, captures, judges, need};
use serde::Deserialize;
use serde_json::Value;

const SESSIONS: usize = 1000;
/// Packets per session. They are few because a thousand sessions, and four programs that read them, must fit in a test.
const PACKETS: &str = "24";
/// Prefixes that no capture of the training data uses (RFC 2544, RFC 3849). So any training address in the result is a
/// leak.
const CLIENTS: &str = "198.18.0.0/16,2001:db8:c::/64";
const SERVERS: &str = "198.19.0.0/16,2001:db8:5::/64";

/// The generated capture, its label file, and the program's report. The folder lives as long as the test program.
static GENERATED: LazyLock<(Case, PathBuf, PathBuf, Value)> = LazyLock::new(|| {
    let case = Case::open("thousand-sessions");
    let out = case.path("sessions.pcap");
    let mut args = vec!["generate", "--packets", PACKETS, "--seed", "2024", "--out", &out];
    let sessions = SESSIONS.to_string();
    args.extend(["--sessions", &sessions, "--batch", "64", "--clients", CLIENTS, "--servers", SERVERS]);
    args.extend(["--rate", "20", "--json"]);
    for label in LABELS {
        args.extend(["--label", label]);
    }
    let finished = binary::run(&args, None, Duration::from_secs(600)).expect_code(0);
    eprintln!("generated {SESSIONS} sessions of {PACKETS} packets in {:.1} s", finished.took.as_secs_f64());
    let capture = PathBuf::from(&out);
    let labels = capture.with_extension("labels.jsonl");
    let report = serde_json::from_str(&finished.stdout).expect("a report");
    (case, capture, labels, report)
});

/// Labels of the shipped model, generated in equal parts.
const LABELS: [&str; 4] = ["youtube", "HueBridge", "WeMoSwitch", "Aria"];

/// The fields of a label file's line that these tests read.
#[derive(Debug, Deserialize)]
struct Flow {
    session: u64,
    label: String,
    src: IpAddr,
    dst: IpAddr,
    community_id: String,
    model: String,
    timing: String,
    packets_to_server: u64,
    packets_to_client: u64,
    bytes_to_server: u64,
    bytes_to_client: u64,
}

fn flows() -> Vec<Flow> {
    let text = std::fs::read_to_string(&GENERATED.2).expect("labels beside the capture");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn suricata_finds_no_invalid_packet_and_no_wrong_checksum() {
    let packets = captures::totals(&GENERATED.1).packets;
    let Some(verdict) = judges::suricata(&GENERATED.1) else { return };
    eprintln!("{verdict:?}");
    verdict.assert_clean(packets);
    assert!(verdict.tcp_sessions > 0, "no TCP session that Suricata could follow: {verdict:?}");
}

#[test]
fn nothing_had_to_be_repaired_or_left_out() {
    let report = &GENERATED.3;
    eprintln!("{report}");
    assert_eq!((report["packets_repaired"].as_u64(), report["failed_sessions"].as_u64()), (Some(0), Some(0)));
    assert_eq!((&report["repairs"], &report["dropped"]), (&serde_json::json!({}), &serde_json::json!({})));
    assert_eq!(report["packets_written"], report["packets_generated"]);
}

#[test]
fn tshark_finds_nothing_malformed() {
    let Some(complaints) = judges::tshark_complaints(&GENERATED.1) else { return };
    assert!(complaints.is_empty(), "{} packets, the first: {:?}", complaints.len(), complaints.first());
}

#[test]
fn no_address_of_the_training_data_comes_back() {
    let Some(data) = need::data() else { return };
    for folder in ["requet/train", "iot/train"] {
        let secret = Addresses::of_folder(&data.join(folder));
        eprintln!("{folder}: {} MACs, {} IPv4, {} IPv6", secret.macs.len(), secret.v4.len(), secret.v6.len());
        assert!(secret.macs.len() > 10 && secret.v4.len() > 100, "the search has something to look for");
        assert_eq!(secret.found_in(&GENERATED.1, |_| false), Vec::<String>::new(), "{folder}");
    }
}

#[test]
fn there_are_a_thousand_sessions_of_every_label_asked_for_on_more_than_one_flow() {
    let flows = flows();
    let mut sessions: BTreeMap<u64, (&str, usize)> = BTreeMap::new();
    for flow in &flows {
        let entry = sessions.entry(flow.session).or_insert((&flow.label, 0));
        assert_eq!(entry.0, flow.label, "a session has one label");
        entry.1 += 1;
        assert_eq!(flow.model.len(), 64, "the SHA-256 of the weights");
        assert_eq!(flow.timing, "learned");
        for address in [flow.src, flow.dst] {
            assert!(is_in_plan(address), "{address} is not of the plan");
        }
    }
    // A session that holds only ARP has no five-tuple, so it has no line.
    assert!(sessions.len() > SESSIONS * 9 / 10, "{} sessions have a flow", sessions.len());
    let labels: BTreeSet<&str> = sessions.values().map(|(label, _)| *label).collect();
    assert_eq!(labels, LABELS.into());
    let several = sessions.values().filter(|(_, flows)| *flows > 1).count();
    assert!(several > 0, "no session has more than one flow");
}

#[test]
fn every_packet_belongs_to_a_labelled_flow_by_tshark_s_community_id() {
    let Some(ids) = community_ids(&GENERATED.1) else { return };
    let flows = flows();
    let labelled: BTreeSet<&str> = flows.iter().map(|flow| flow.community_id.as_str()).collect();
    let seen: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let unknown: Vec<_> = seen.difference(&labelled).take(5).collect();
    assert!(unknown.is_empty(), "flows without a label: {unknown:?}");
    let absent: Vec<_> = labelled.difference(&seen).take(5).collect();
    assert!(absent.is_empty(), "labels without a packet: {absent:?}");
    let counted: u64 = flows.iter().map(|flow| flow.packets_to_server + flow.packets_to_client).sum();
    assert_eq!(counted, ids.len() as u64, "packets of the label file and of tshark");
    let bytes: u64 = flows.iter().map(|flow| flow.bytes_to_server + flow.bytes_to_client).sum();
    assert!(bytes <= captures::totals(&GENERATED.1).bytes);
}

/// The Community ID of every packet that has one. tshark computes it in a post-dissector that is off by default.
fn community_ids(capture: &Path) -> Option<Vec<String>> {
    if !need::tool("tshark") {
        return None;
    }
    let mut tshark = std::process::Command::new("tshark");
    tshark.args(["-n", "--enable-protocol", "communityid", "-r"]).arg(capture);
    tshark.args(["-Y", "communityid", "-T", "fields", "-e", "communityid"]);
    let finished = binary::finish(tshark, None, Duration::from_secs(300)).expect_code(0);
    Some(finished.stdout.lines().map(str::to_owned).collect())
}

fn is_in_plan(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let octets = v4.octets();
            // Group, link-local and unspecified addresses are not mapped.
            (octets[0] == 198 && octets[1] & 0xfe == 18)
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_link_local()
                || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.segments()[..2] == [0x2001, 0xdb8]
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.is_unspecified()
        }
    }
}
