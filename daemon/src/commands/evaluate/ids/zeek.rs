//! Runs Zeek on one capture and counts its weird events by name.
//!
//! Zeek writes its logs into its working directory. It runs with its default scripts only. It checks checksums, because
//! `-C` is not given, so wrong ones are weird events too.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process;
use super::{Asked, Kind, Verdict};

/// Zeek's version. `None` if it is not installed.
pub(super) fn version() -> Option<String> {
    let told = process::version("zeek", "--version")?;
    Some(told.rsplit(' ').next().unwrap_or_default().to_owned())
}

/// Runs Zeek on a capture and gives what it says.
pub(super) fn judge(asked: &Asked<'_>) -> Result<Verdict, String> {
    let mut command = Command::new("zeek");
    command.current_dir(asked.logs).arg("-r").arg(asked.capture).arg("LogAscii::use_json=T");
    process::run(&mut command, &asked.logs.join("output.txt"), asked.limit, asked.stop)?;
    Ok(read(asked.logs, asked.packets))
}

/// Reads Zeek's logs. Zeek writes no weird.log if nothing was weird.
fn read(logs: &Path, packets: u64) -> Verdict {
    let mut verdict = Verdict { packets, ..Verdict::default() };
    let lines = |name: &str| {
        let file = File::open(logs.join(name)).ok();
        file.into_iter().flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
    };
    verdict.flows = lines("conn.log").count() as u64;
    for line in lines("weird.log") {
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && let Some(name) = event["name"].as_str()
        {
            verdict.add(Kind::Weird, name, 1);
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::merge;
    use super::*;

    #[test]
    fn weirds_are_counted_by_name() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read(dir.path(), 3), Verdict { packets: 3, ..Verdict::default() });
        let weird = "{\"name\":\"bad_TCP_checksum\"}\n{\"name\":\"dns_unmatched_msg\"}\nhalf\n{\"name\":\"bad_TCP_checksum\"}\n";
        std::fs::write(dir.path().join("weird.log"), weird).expect("written");
        std::fs::write(dir.path().join("conn.log"), "{}\n{}\n").expect("written");
        let verdict = read(dir.path(), 3);
        assert_eq!((verdict.flows, verdict.count(Kind::Weird, "bad_TCP_checksum")), (2, 2));
    }

    #[test]
    fn it_judges_a_capture() {
        if version().is_none() {
            // Zeek is not required even with NETSSMD_REQUIRE_ALL: no package source that our machines reach has it.
            eprintln!("SKIPPED: zeek is not installed");
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let capture = dir.path().join("a.pcap");
        merge::example(&capture, &[1_600_000_000_000_000]);
        let (limit, logs) = (Duration::from_secs(60), dir.path());
        let asked = Asked { capture: &capture, packets: 1, logs, rules: None, limit, stop: &|| false };
        assert_eq!(judge(&asked).expect("a verdict").flows, 1);
    }
}
