//! What the tests over captures share: where the captures are, how a check says that it did not run, and small captures
//! made on the spot.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod tshark;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Prints why a check did not run; with NETSSMD_REQUIRE_ALL=1 that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("NETSSMD_REQUIRE_ALL").is_none_or(|value| value != "1"), "required, but {why}");
    eprintln!("SKIPPED: {why}");
}

/// The folder of real captures: `NETSSMD_DATA`, else `../shared/data` beside the workspace.
pub(crate) fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("NETSSMD_DATA").map_or(beside, PathBuf::from);
    let there = dir.join("MANIFEST.tsv").is_file();
    if !there {
        skipped("the captures are not there (NETSSMD_DATA)");
    }
    there.then_some(dir)
}

/// Every capture below a folder, in order.
pub(crate) fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Writes an Ethernet capture with microseconds; frames come with their time in microseconds.
pub(crate) fn write_pcap(path: &Path, frames: &[(u64, Vec<u8>)]) {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
        out.extend(word.to_le_bytes());
    }
    for (micros, frame) in frames {
        let len = frame.len() as u32;
        for word in [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, len, len] {
            out.extend(word.to_le_bytes());
        }
        out.extend_from_slice(frame);
    }
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(path, out).expect("written");
}

/// Which way a TCP segment goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// A TCP segment between 192.168.7.9:`port` and 93.184.216.34:443, without options, with `payload` bytes of 0xee.
pub(crate) fn tcp(
    way: Way,
    port: u16,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    payload: usize,
) -> Vec<u8> {
    let macs = [[0x3c, 0x5a, 0xb4, 1, 2, 3], [0xa4, 0x77, 0x33, 4, 5, 6]];
    let hosts = [[192, 168, 7, 9], [93, 184, 216, 34]];
    let ports = [port, 443];
    let (from, to) = if way == Way::Up { (0, 1) } else { (1, 0) };
    let mut frame = [&macs[to][..], &macs[from], &[8, 0, 0x45, 0]].concat();
    frame.extend(((40 + payload) as u16).to_be_bytes());
    frame.extend([0x12, 0x34, 0x40, 0, 64, 6, 0xaa, 0xbb]);
    frame.extend([hosts[from], hosts[to]].concat());
    frame.extend([ports[from].to_be_bytes(), ports[to].to_be_bytes()].concat());
    frame.extend([sequence.to_be_bytes(), acknowledgement.to_be_bytes()].concat());
    frame.extend([0x50, flags, 0xfa, 0xf0, 0xcc, 0xdd, 0, 0]);
    frame.resize(frame.len() + payload, 0xee);
    frame
}

/// A connection of nine segments that starts at `micros`: handshake, a request and its answer, both closing.
pub(crate) fn connection(port: u16, micros: u64) -> Vec<(u64, Vec<u8>)> {
    let (client, server) = (0x1111_0000 + u32::from(port), 0x9999_0000 + u32::from(port));
    let segments = [
        tcp(Way::Up, port, 0x02, client, 0, 0),
        tcp(Way::Down, port, 0x12, server, client + 1, 0),
        tcp(Way::Up, port, 0x10, client + 1, server + 1, 0),
        tcp(Way::Up, port, 0x18, client + 1, server + 1, 100),
        tcp(Way::Down, port, 0x18, server + 1, client + 101, 700),
        tcp(Way::Up, port, 0x10, client + 101, server + 701, 0),
        tcp(Way::Up, port, 0x11, client + 101, server + 701, 0),
        tcp(Way::Down, port, 0x11, server + 701, client + 102, 0),
        tcp(Way::Up, port, 0x10, client + 102, server + 702, 0),
    ];
    segments.into_iter().enumerate().map(|(index, frame)| (micros + 1_000 * index as u64, frame)).collect()
}
