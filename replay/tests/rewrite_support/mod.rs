//! What the tests of rewriting and payload share: captures as sessions, plans, and the judges tshark and Suricata.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod frames;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use netssm_replay::rewrite::*;
use netssm_wire::capture::read_session;
use netssm_wire::frame::{Layout, Net, Transport};
use netssm_wire::session::Session;

/// Says that a test cannot run here; fails instead where everything must run.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var("NETSSMD_REQUIRE_ALL").as_deref() != Ok("1"), "NETSSMD_REQUIRE_ALL=1, but: {why}");
    println!("SKIPPED: {why}");
}

/// The folder of captures outside the repository.
pub(crate) fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let found = std::env::var_os("NETSSMD_DATA").map_or(beside, PathBuf::from);
    if found.join("MANIFEST.tsv").is_file() {
        return Some(found);
    }
    skipped(&format!("no captures at {} (set NETSSMD_DATA)", found.display()));
    None
}

/// Every capture below a folder, in order of path.
pub(crate) fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The first `limit` packets of a capture as a session; `None` for files that are no captures.
pub(crate) fn session(path: &Path, limit: usize) -> Option<Session> {
    let mut session = read_session(path, "test", 4711).ok()?.session;
    session.packets.truncate(limit);
    Some(session)
}

/// A session as a model gives it: headers, the first 12 bytes of DNS messages, no identification and no checksum.
pub(crate) fn headers_only(mut session: Session) -> Session {
    for packet in &mut session.packets {
        let frame = &mut packet.header;
        let layout = Layout::parse(frame);
        if let Net::Ipv4(ip) = layout.net {
            for at in [4, 5, 10, 11] {
                frame[ip.at + at] = 0;
            }
        }
        let (checksum, keep) = match layout.transport {
            Transport::Tcp { at, .. } => (at + 16, layout.payload_at()),
            Transport::Udp { at } => {
                let dns =
                    frame[at..at + 4].chunks(2).any(|port| matches!(port, [0, 53] | [20, 233] | [20, 235]));
                (at + 6, layout.payload_at().map(|at| if dns { at + 12 } else { at }))
            }
            Transport::Icmp { at } | Transport::Icmpv6 { at } | Transport::Igmp { at } => (at + 2, None),
            Transport::None | Transport::Other { .. } => continue,
        };
        frame[checksum..checksum + 2].fill(0);
        frame.truncate(keep.unwrap_or(frame.len()));
    }
    session
}

/// A plan with prefixes of both families that no capture of the data set uses.
pub(crate) fn plan() -> AddressPlan {
    let nets = |list: [&str; 2]| list.iter().map(|p| p.parse().unwrap()).collect();
    AddressPlan {
        clients: nets(["11.200.0.0/15", "fd77:1:2:3::/64"]),
        servers: nets(["11.220.0.0/15", "fd77:4:5:6::/64"]),
        client_mac: MacPolicy::PerHost,
        server_mac: MacPolicy::PerHost,
        vlan: None,
        ports: PortPolicy::Fresh,
        multicast: GroupPolicy::Keep,
    }
}

/// Every item of one replay.
pub(crate) fn replay(
    rewriter: &Rewriter,
    session: &Session,
    seed: u64,
) -> Vec<Result<TestbedFrame, Dropped>> {
    rewriter.begin_replay(Arc::new(session.clone()), seed).unwrap().collect()
}

/// Writes frames to a capture file, one microsecond apart.
pub(crate) struct Writer {
    file: pcap::Savefile,
    time_us: i64,
}

impl Writer {
    pub(crate) fn new(path: &Path) -> Writer {
        let dead = pcap::Capture::dead(pcap::Linktype::ETHERNET).unwrap();
        Writer { file: dead.savefile(path).unwrap(), time_us: 1_700_000_000_000_000 }
    }

    pub(crate) fn frame(&mut self, bytes: &[u8]) {
        self.time_us += 1;
        let ts = libc::timeval { tv_sec: self.time_us / 1_000_000, tv_usec: self.time_us % 1_000_000 };
        let len = u32::try_from(bytes.len()).unwrap();
        self.file.write(&pcap::Packet { header: &pcap::PacketHeader { ts, caplen: len, len }, data: bytes });
    }

    pub(crate) fn close(mut self) {
        self.file.flush().unwrap();
    }
}

/// Whether a program can be run.
pub(crate) fn tool(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok()
        || Command::new(program).arg("-V").output().is_ok();
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

/// Packets that tshark calls malformed, one line each: number, protocols, ports, what.
pub(crate) fn malformed(capture: &Path) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(capture);
    command.args(["-Y", "_ws.malformed || _ws.short", "-T", "fields", "-E", "separator= "]);
    for field in ["frame.number", "frame.protocols", "udp.port", "tcp.port", "_ws.malformed", "_ws.short"] {
        command.args(["-e", field]);
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "tshark: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

/// The counters that `suricata -k all` ends with.
pub(crate) fn suricata(capture: &Path, work: &Path) -> BTreeMap<String, u64> {
    let logs = work.join("suricata");
    std::fs::create_dir_all(&logs).unwrap();
    let _ = std::fs::remove_file(logs.join("stats.log"));
    let rules = work.join("no.rules");
    std::fs::write(&rules, "").unwrap();
    let out = Command::new("suricata")
        .args(["-k", "all", "--runmode", "single", "-S"])
        .arg(&rules)
        .args(["--set", "outputs.1.eve-log.enabled=no", "-l"])
        .arg(&logs)
        .arg("-r")
        .arg(capture)
        .output()
        .unwrap();
    assert!(out.status.success(), "suricata: {}", String::from_utf8_lossy(&out.stderr));
    let stats = std::fs::read_to_string(logs.join("stats.log")).expect("suricata writes stats.log");
    let mut counters = BTreeMap::new();
    for line in stats.lines() {
        let mut parts = line.split('|').map(str::trim);
        if let (Some(name), Some(_), Some(Ok(value))) =
            (parts.next(), parts.next(), parts.next().map(str::parse))
        {
            counters.insert(name.to_owned(), value);
        }
    }
    counters
}
