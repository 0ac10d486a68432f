//! Strict records checked by tshark and Suricata.

use std::{fs, path::Path, process::Command};

use super::{
    Frame, IpFrame, Record, Transport, frames,
    tshark::{only_headers, output},
};

const PACKETS: usize = 20_000;

fn write_pcap<'a>(path: &Path, frames: impl Iterator<Item = &'a [u8]>) {
    let mut out: Vec<u8> = [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for (index, frame) in frames.enumerate() {
        let (micros, len) = (1_000 * index as u32, frame.len() as u32);
        let head = [1_700_000_000 + micros / 1_000_000, micros % 1_000_000, len, len];
        out.extend(head.map(u32::to_le_bytes).concat());
        out.extend_from_slice(frame);
    }
    fs::write(path, out).expect("written");
}

/// The frames that tshark faults. It dissects no further than the transport headers, as payload is zeros here.
fn faults(config: &Path, capture: &Path) -> Option<String> {
    let mut lines = String::new();
    // It takes the cut packet in a quote for a whole one, whose checksum is then wrong as in any capture: so once
    // without errors, and once without the checksums that they quote.
    const ERROR: &str = "icmp.type == 3 || icmp.type == 11 || icmpv6.type == 1 || icmpv6.type == 3";
    for (transport, frames) in [("TRUE", format!("!({ERROR})")), ("FALSE", ERROR.to_owned())] {
        let bad =
            ["ip", "tcp", "udp", "icmp", "icmpv6", "igmp"].map(|name| format!("{name}.checksum.status == 0"));
        let faults = format!(
            "({frames}) && (_ws.malformed || _ws.short || _ws.expert.severity == 0x00800000 || {})",
            bad.join(" || ")
        );
        let mut tshark = only_headers(config)?;
        tshark.args(["-o", "ip.check_checksum:TRUE"]);
        for protocol in ["tcp", "udp"] {
            tshark.args(["-o", &format!("{protocol}.check_checksum:{transport}")]);
        }
        lines += &output(tshark.args(["-Y", &faults, "-r"]).arg(capture))?;
    }
    Some(lines)
}

/// A frame with one bit turned over in its last byte but `from_end`.
fn spoilt(frames: &[(Record, Vec<u8>)], kind: u16, from_end: usize) -> Vec<u8> {
    let is = |record: &Record| matches!(&record.frame, Frame::Ip(IpFrame { transport: Transport::Icmp(icmp), .. }) if icmp.kind == kind);
    let mut frame =
        frames.iter().find(|(record, frame)| is(record) && frame.len() > 62).expect("one").1.clone();
    let at = frame.len() - from_end;
    frame[at] ^= 1;
    frame
}

#[test]
fn tools_find_nothing_wrong() {
    let frames = frames(1_000, PACKETS);
    let dir = tempfile::tempdir().expect("a folder");
    let capture = dir.path().join("strict.pcap");
    write_pcap(&capture, frames.iter().map(|(_, frame)| frame.as_slice()));
    match faults(dir.path(), &capture) {
        None => eprintln!("SKIPPED: tshark is not installed"),
        Some(lines) => {
            assert!(lines.is_empty(), "tshark:\n{lines}");
            // The same question about frames with a fault each, so that silence means something.
            let faulty = [spoilt(&frames, 0x0301, 1), spoilt(&frames, 0x8700, 1), spoilt(&frames, 0x8f00, 1)];
            write_pcap(&capture, faulty.iter().map(Vec::as_slice));
            assert_eq!(faults(dir.path(), &capture).expect("it ran before").lines().count(), faulty.len());
            write_pcap(&capture, frames.iter().map(|(_, frame)| frame.as_slice()));
        }
    }
    let mut suricata = Command::new("suricata");
    suricata
        .args(["-k", "all", "-S", "/dev/null", "--set", "stats.decoder-events=true", "-l"])
        .arg(dir.path());
    if output(suricata.arg("-r").arg(&capture)).is_none() {
        eprintln!("SKIPPED: suricata is not installed");
        return;
    }
    let log = fs::read_to_string(dir.path().join("eve.json")).expect("suricata's log");
    let stats =
        log.lines().rev().find(|line| line.contains("\"event_type\":\"stats\"")).expect("its statistics");
    let stats: serde_json::Value = serde_json::from_str(stats).expect("json");
    let decoder = &stats["stats"]["decoder"];
    assert_eq!(decoder["pkts"], frames.len(), "suricata read them all");
    assert_eq!(decoder["invalid"], 0, "{decoder:#}");
    eprintln!("suricata's events: {}", decoder["event"]);
}
