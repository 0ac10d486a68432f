//! A tshark that dissects headers only: what the tests of completion (among the unit tests) and of repair share.

use std::{fs, path::Path, process::Command};

/// Protocols that stay on.
const HEADERS: [&str; 17] = [
    "frame",
    "eth",
    "ethertype",
    "vlan",
    "arp",
    "ip",
    "ipv6",
    "ipv6.hopopts",
    "icmp",
    "icmpv6",
    "igmp",
    "tcp",
    "udp",
    "data",
    "_ws.malformed",
    "_ws.short",
    "_ws.expert",
];

/// Runs a tool and gives what it prints; `None` if it is not installed.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A tshark that dissects no further than the transport headers, as payload is zeros in these tests. `config` is a
/// folder for its configuration. `None` if it is not installed.
pub(crate) fn only_headers(config: &Path) -> Option<Command> {
    let list = output(Command::new("tshark").args(["-G", "protocols"]))?;
    let names = list.lines().filter_map(|line| line.split('\t').nth(2));
    let disabled: Vec<&str> = names.filter(|name| !HEADERS.contains(name)).collect();
    assert!(disabled.len() > 1_000, "tshark lists {} protocols", disabled.len());
    fs::write(config.join("disabled_protos"), disabled.join("\n") + "\n").expect("written");
    let mut tshark = Command::new("tshark");
    tshark.env("WIRESHARK_CONFIG_DIR", config);
    Some(tshark)
}
