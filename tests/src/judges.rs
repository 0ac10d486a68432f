//! External programs that judge a capture: Suricata and tshark.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::binary::finish;
use crate::need;

/// What Suricata says about a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suricata {
    /// Packets that it decoded (`decoder.pkts`).
    pub packets: u64,
    /// Packets that it could not decode (`decoder.invalid`).
    pub invalid: u64,
    /// Segments that its TCP engine refused for their checksum (`tcp.invalid_checksum`).
    pub tcp_invalid_checksum: u64,
    /// Alerts about wrong checksums of any protocol, by the name of the rule.
    pub checksum_alerts: Vec<String>,
    /// TCP sessions that it followed (`tcp.sessions`).
    pub tcp_sessions: u64,
    /// Decoder and stream events that occurred: name and count.
    pub events: Vec<(String, u64)>,
}

/// Runs `suricata -k all -r` on a capture. `None` if Suricata is not installed; the test has then said so.
///
/// # Panics
/// If Suricata fails or writes no statistics.
#[track_caller]
#[must_use]
pub fn suricata(capture: &Path) -> Option<Suricata> {
    if !need::tool("suricata") {
        return None;
    }
    let logs = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("suricata");
    arguments(&mut command, capture, logs.path());
    let finished = finish(command, None, Duration::from_secs(300)).expect_code(0);
    let verdict = verdict(logs.path());
    Some(verdict.unwrap_or_else(|| panic!("no statistics in eve.json; it said: {}", finished.stderr)))
}

/// Adds Suricata's arguments: read `captures`, check every checksum, write to `logs`.
pub(crate) fn arguments(command: &mut Command, captures: &Path, logs: &Path) {
    let rules = need::workspace().join("tests/cases/judges/checksum.rules");
    command.args(["-c", "/etc/suricata/suricata.yaml", "-k", "all", "-r"]).arg(captures);
    command.arg("-l").arg(logs).arg("-S").arg(&rules);
    command.args(["--set", "stats.enabled=yes", "--set", "stream.checksum-validation=yes"]);
}

/// The verdict of a Suricata that logs to `logs`. `None` before its first statistics. While it runs, its last line may
/// be incomplete, so that line is left out.
#[track_caller]
pub(crate) fn verdict(logs: &Path) -> Option<Suricata> {
    let eve = std::fs::read_to_string(logs.join("eve.json")).ok()?;
    let whole = eve.rfind('\n').map_or("", |end| &eve[..end]);
    let mut checksum_alerts = Vec::new();
    let mut stats = None;
    for line in whole.lines() {
        // There are many other events, which need not be parsed.
        if !line.contains(r#""event_type":"alert""#) && !line.contains(r#""event_type":"stats""#) {
            continue;
        }
        let event: serde_json::Value = serde_json::from_str(line).expect("eve.json has JSON lines");
        match event["event_type"].as_str() {
            Some("alert") => {
                checksum_alerts.push(event["alert"]["signature"].as_str().unwrap_or_default().to_owned());
            }
            Some("stats") => stats = Some(event["stats"].clone()), // the last one has the totals
            _ => {}
        }
    }
    let stats = stats?;
    let number = |pointer: &str| stats.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let mut events = Vec::new();
    collect(&stats["decoder"]["event"], "decoder", &mut events);
    collect(&stats["stream"], "stream", &mut events);
    Some(Suricata {
        packets: number("/decoder/pkts"),
        invalid: number("/decoder/invalid"),
        tcp_invalid_checksum: number("/tcp/invalid_checksum"),
        tcp_sessions: number("/tcp/sessions"),
        checksum_alerts,
        events,
    })
}

impl Suricata {
    /// Asserts that Suricata saw `packets` packets, found each one valid and every checksum right.
    #[track_caller]
    pub fn assert_clean(&self, packets: u64) {
        assert_eq!(self.packets, packets, "packets that suricata saw: {self:?}");
        assert_eq!(self.invalid, 0, "decoder.invalid: {self:?}");
        assert_eq!(self.tcp_invalid_checksum, 0, "tcp.invalid_checksum: {self:?}");
        assert!(self.checksum_alerts.is_empty(), "wrong checksums: {self:?}");
    }
}

fn collect(value: &serde_json::Value, name: &str, into: &mut Vec<(String, u64)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map {
                collect(inner, &format!("{name}.{key}"), into);
            }
        }
        serde_json::Value::Number(number) => {
            let count = number.as_u64().unwrap_or(0);
            if count > 0 {
                into.push((name.to_owned(), count));
            }
        }
        _ => {}
    }
}

/// What tshark finds wrong in a capture: one line for each bad packet, with its number, protocols and reason. `None` if
/// tshark is not installed; the test has then said so.
///
/// A packet is bad if a dissector marks it as malformed, or if its IPv4, TCP, UDP, ICMP, ICMPv6 or IGMP checksum is
/// wrong.
///
/// # Panics
/// If tshark fails.
#[track_caller]
#[must_use]
pub fn tshark_complaints(capture: &Path) -> Option<Vec<String>> {
    if !need::tool("tshark") {
        return None;
    }
    // The status of a checksum is 0 for "bad", 1 for "good" and 2 for "unverified".
    const BAD: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 \
        || udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 \
        || igmp.checksum.status == 0";
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(capture);
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    command.args(["-Y", BAD, "-T", "fields", "-E", "separator=/s"]);
    for field in ["frame.number", "frame.protocols", "_ws.malformed", "_ws.expert.message"] {
        command.args(["-e", field]);
    }
    let finished = finish(command, None, Duration::from_secs(300)).expect_code(0);
    Some(finished.stdout.lines().map(str::to_owned).collect())
}

/// The values of one tshark field in the packets that pass `filter`, one line per packet that has the field. `None` if
/// tshark is not installed; the test has then said so.
///
/// # Panics
/// If tshark fails.
#[track_caller]
#[must_use]
pub fn tshark_field(capture: &Path, filter: &str, field: &str) -> Option<Vec<String>> {
    if !need::tool("tshark") {
        return None;
    }
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(capture).args(["-Y", filter, "-T", "fields", "-e", field]);
    let finished = finish(command, None, Duration::from_secs(300)).expect_code(0);
    Some(finished.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
