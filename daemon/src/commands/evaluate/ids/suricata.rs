//! Runs Suricata on one capture, with a configuration of its own.
//!
//! The machine's configuration is not used: it differs between machines and may write anywhere. The configuration here
//! keeps Suricata's defaults, checks all checksums (`-k all`), and has no rules unless the user gives some. Its one
//! log, eve.json, holds alerts, and statistics at the end. Suricata detects application protocols without rules.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process;
use super::{Asked, Kind, Verdict};

/// Name of the count of packets that Suricata could not decode.
pub(super) const INVALID: &str = "invalid packets";

/// The configuration. Its timeouts are those of Suricata's own example, shorter than the silence between sessions.
const CONFIG: &str = "%YAML 1.1
---
stats:
  enabled: yes
  # Once, at the end.
  interval: 86400
  decoder-events: yes
  stream-events: yes
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - alert
        - stats
logging:
  default-log-level: warning
  outputs:
    - console:
        enabled: yes
flow-timeouts:
  default: {new: 30, established: 300, closed: 0}
  tcp: {new: 60, established: 600, closed: 60}
  udp: {new: 30, established: 300}
  icmp: {new: 30, established: 300}
";

/// Suricata's version. `None` if it is not installed.
pub(super) fn version() -> Option<String> {
    let told = process::version("suricata", "-V")?;
    let number = told.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Some(number.unwrap_or("(unknown version)").to_owned())
}

/// Runs Suricata on a capture and gives what it says.
pub(super) fn judge(asked: &Asked<'_>) -> Result<Verdict, String> {
    let write = |name: &str, text: &str| {
        let path = asked.logs.join(name);
        std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    let (config, none) = (write("suricata.yaml", CONFIG)?, write("none.rules", "")?);
    let mut command = Command::new("suricata");
    // A single thread sees all packets in order, so the same capture gives the same counts.
    command.arg("-c").arg(config).args(["--runmode", "single", "-k", "all", "-r"]).arg(asked.capture);
    command.arg("-l").arg(asked.logs).arg("-S").arg(asked.rules.unwrap_or(&none));
    process::run(&mut command, &asked.logs.join("output.txt"), asked.limit, asked.stop)?;
    read(&asked.logs.join("eve.json"))
}

fn read(eve: &Path) -> Result<Verdict, String> {
    let file = File::open(eve).map_err(|error| format!("it left no eve.json: {error}"))?;
    let (mut alerts, mut stats) = (BTreeMap::<String, u64>::new(), None);
    // There may be millions of alerts, so the file is read line by line.
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| format!("its eve.json cannot be read: {error}"))?;
        let Ok(mut event) = serde_json::from_str::<Value>(&line) else { continue };
        match event["event_type"].as_str() {
            Some("alert") => {
                let signature = event["alert"]["signature"].as_str().unwrap_or("without a name");
                *alerts.entry(signature.to_owned()).or_default() += 1;
            }
            Some("stats") => stats = Some(event["stats"].take()), // the last one has the totals
            _ => {}
        }
    }
    let mut verdict = verdict(&stats.ok_or("it wrote no statistics")?);
    alerts.iter().for_each(|(signature, count)| verdict.add(Kind::Alert, signature, *count));
    Ok(verdict)
}

fn verdict(stats: &Value) -> Verdict {
    let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let mut verdict =
        Verdict { packets: number("/decoder/pkts"), flows: number("/flow/total"), ..Verdict::default() };
    // A count of 0 is shown too if another side has some.
    verdict.add(Kind::Decoder, INVALID, number("/decoder/invalid"));
    verdict.add(Kind::Decoder, "TCP segments with a wrong checksum", number("/tcp/invalid_checksum"));
    let mut all = |kind: Kind, pointer: &str| {
        let mut leaves = Vec::new();
        collect(stats.pointer(pointer).unwrap_or(&Value::Null), String::new(), &mut leaves);
        leaves.into_iter().for_each(|(name, count)| verdict.add(kind, &name, count));
    };
    all(Kind::Decoder, "/decoder/event");
    all(Kind::Stream, "/stream");
    all(Kind::FlowState, "/flow/end/state");
    all(Kind::Application, "/app_layer/flow");
    verdict
}

/// Collects all counters below `value`, with dotted names.
fn collect(value: &Value, name: String, into: &mut Vec<(String, u64)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                collect(inner, name, into);
            }
        }
        Value::Number(count) => into.push((name, count.as_u64().unwrap_or(0))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::merge;
    use super::*;

    #[test]
    fn statistics_and_alerts_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let eve = dir.path().join("eve.json");
        let stats = r#"{"event_type":"stats","stats":{"decoder":{"pkts":9,"invalid":2,"event":{"ipv4":{"opt_pad_required":1,"x":0}}},
            "tcp":{"invalid_checksum":3},"flow":{"total":4,"end":{"state":{"new":1,"closed":3}}},
            "stream":{"pkt_retransmission":5},"app_layer":{"flow":{"tls":2,"http":0}}}}"#;
        let alert = r#"{"event_type":"alert","alert":{"signature":"a"}}"#;
        let text = format!("{alert}\n{alert}\n{}\n{{half", stats.replace('\n', ""));
        std::fs::write(&eve, text).expect("written");
        let verdict = read(&eve).expect("a verdict");
        assert_eq!((verdict.packets, verdict.flows), (9, 4));
        for (kind, name, count) in [
            (Kind::Decoder, INVALID, 2),
            (Kind::Decoder, "ipv4.opt_pad_required", 1),
            (Kind::Stream, "pkt_retransmission", 5),
            (Kind::FlowState, "closed", 3),
            (Kind::Application, "tls", 2),
            (Kind::Application, "http", 0),
            (Kind::Alert, "a", 2),
        ] {
            assert_eq!(verdict.count(kind, name), count, "{name}");
        }
        std::fs::write(&eve, alert).expect("written");
        assert!(read(&eve).is_err() && read(&dir.path().join("none")).is_err());
    }

    #[test]
    fn it_judges_a_capture() {
        if version().is_none() {
            let required = std::env::var_os("NETSSMD_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!required, "required, but suricata is not installed");
            eprintln!("SKIPPED: suricata is not installed");
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let (capture, rules) = (dir.path().join("a.pcap"), dir.path().join("a.rules"));
        merge::example(&capture, &[1_600_000_000_000_000, 1_600_000_000_100_000]);
        std::fs::write(&rules, "alert udp any any -> any 99 (msg:\"port 99\"; sid:1;)\n").expect("written");
        let asked = Asked {
            capture: &capture,
            packets: 2,
            logs: dir.path(),
            rules: Some(&rules),
            limit: Duration::from_secs(60),
            stop: &|| false,
        };
        let verdict = judge(&asked).expect("a verdict");
        assert_eq!((verdict.packets, verdict.flows, verdict.count(Kind::Decoder, INVALID)), (2, 1, 0));
        // It alerts once per packet or once per flow, depending on the version.
        assert!((1..=2).contains(&verdict.count(Kind::Alert, "port 99")), "{verdict:?}");
    }
}
