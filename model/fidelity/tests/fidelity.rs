//! The measures on real captures: what the captures' own list says of them, and what a real side says against itself.

#[path = "../../tokens/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use netssm_fidelity::{Captures, Distance, SessionBuilder, Side, Value, compare};
use netssm_wire::capture::Capture;
use netssm_wire::frame::protocol;
use support::data;

/// Packets, flows and seconds of each capture by path, from the list that comes with them.
fn manifest(dir: &Path) -> BTreeMap<String, (usize, usize, f64)> {
    let text = std::fs::read_to_string(dir.join("MANIFEST.tsv")).expect("a list");
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("a header").split('\t').collect();
    let column = |name: &str| names.iter().position(|n| *n == name).expect("a column");
    let (path, packets, flows, duration) =
        (column("path"), column("packets"), column("flows"), column("duration_s"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let count = |at: usize| cells[at].parse().ok();
        Some((cells[path].to_owned(), (count(packets)?, count(flows)?, cells[duration].parse().ok()?)))
    };
    lines.filter_map(row).collect()
}

#[test]
fn packets_flows_and_durations_are_those_of_the_list() {
    let Some(dir) = data() else { return };
    let (mut files, mut other_flows) = (0, Vec::new());
    for (path, (packets, flows, seconds)) in manifest(&dir) {
        // Made to be hard to read; what is a packet there is a matter of taste.
        // And one holds PPPoE, into which frames are not followed here.
        if path.starts_with("oddities/") || path == "apps/management/syslog.pcap" {
            continue;
        }
        let Ok(mut capture) = Capture::open(&dir.join(&path)) else { continue };
        let mut session = SessionBuilder::new(None);
        while let Ok(Some(record)) = capture.next_record() {
            session.push(&record);
        }
        let session = session.finish();
        assert_eq!(session.packets.len(), packets, "{path}");
        assert!((session.duration_us() as f64 / 1e6 - seconds).abs() < 0.01, "{path}");
        // The list takes all of an address pair without ports for one flow, so that is done here too; ICMP errors it
        // counts by what they quote, so captures with any are left out.
        if session
            .flows
            .iter()
            .any(|flow| flow.first.protocol == 1 && matches!(flow.first.src_port, 3 | 5 | 11))
        {
            continue;
        }
        let joined: BTreeSet<_> = session
            .flows
            .iter()
            .map(|flow| {
                let key = flow.first.key();
                let ports =
                    if protocol::has_ports(key.protocol) { (key.low_port, key.high_port) } else { (0, 0) };
                let ends = (key.low.min(key.high), key.low.max(key.high));
                (key.protocol, ends, ports)
            })
            .collect();
        if joined.len() != flows {
            other_flows.push((path, joined.len(), flows));
        }
        files += 1;
    }
    assert!(files > 600, "{files} captures");
    assert!(other_flows.is_empty(), "{} of {files}: {other_flows:?}", other_flows.len());
}

#[test]
fn real_traffic_is_like_itself_and_other_traffic_is_not() {
    let Some(dir) = data() else { return };
    let side = |folder: &str| {
        let mut captures = Captures::of(vec![dir.join(folder)]);
        captures.max_packets = 1000;
        Side::measure(&captures, &()).expect("captures that can be read")
    };
    let (requet, other, iot) = (side("requet/val"), side("requet/train"), side("iot/val"));
    let report = compare(&requet, &iot, Some(&other), 1000);
    let ks = |row: &str, floor: bool| {
        let row = &report.overall[row];
        match if floor { row.floor_distance } else { row.distance } {
            Some(Distance::Sample { ks, .. }) => ks,
            other => panic!("{other:?}"),
        }
    };
    for row in ["gap.session.all", "size.all", "flows.packets", "session.duration"] {
        assert!(ks(row, true) < ks(row, false), "{row}: {} {}", ks(row, true), ks(row, false));
    }
    // Real stacks keep their numbers in order, and a cut capture shows it as a whole one does.
    for row in ["order.seq", "order.ack"] {
        for side in [report.overall[row].real, report.overall[row].synthetic, report.overall[row].floor] {
            let Some(Value::Share { share, .. }) = side else { panic!("{row}: {side:?}") };
            assert!(share > 0.9, "{row}: {share}");
        }
    }
}
