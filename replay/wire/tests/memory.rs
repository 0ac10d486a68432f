//! What a length field claims is not allocated. A process of its own, because it measures its peak.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use netssm_wire::capture::Capture;
use netssm_wire::frame::Layout;

/// Peak of the address space in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn read(path: &Path) {
    if let Ok(mut capture) = Capture::open(path) {
        while let Ok(Some(record)) = capture.next_record() {
            let _ = Layout::parse(&record.frame);
        }
    }
}

/// A pcap and a pcapng file whose second record claims 4 GiB, and one whose snapshot length is 4 GiB.
fn claims() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let write = |name: &str, words: &[u32]| {
        let path = dir.join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        words.iter().for_each(|word| file.write_all(&word.to_le_bytes()).unwrap());
        path
    };
    let head = |snaplen| [0xa1b2_c3d4, 0x0004_0002, 0, 0, snaplen, 1];
    let record = [1, 1, 4, 4, 0];
    let claim = [1, 1, u32::MAX, u32::MAX, 0];
    let section = [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28, 1, 20, 1, u32::MAX, 20];
    vec![
        write("claims.pcap", &[&head(65535)[..], &record, &claim].concat()),
        write("claims-snaplen.pcap", &[&head(u32::MAX)[..], &record, &claim].concat()),
        write("claims-block.pcapng", &[&section[..], &[6, 0xffff_fff0, 0, 0, 0, 64, 64]].concat()),
        write("claims-caplen.pcapng", &[&section[..], &[6, 36, 0, 0, 0, u32::MAX, u32::MAX, 0, 36]].concat()),
    ]
}

#[test]
fn claimed_lengths_are_not_allocated() {
    let mut paths = claims();
    if let Some(dir) = common::data_dir() {
        for entry in std::fs::read_dir(dir.join("oddities")).unwrap() {
            paths.push(entry.unwrap().path());
        }
    }
    let before = peak_kib();
    paths.iter().for_each(|path| read(path));
    let grown = peak_kib() - before;
    eprintln!("{} files grew the address space by {grown} KiB", paths.len());
    // libpcap's largest block is 16 MiB, and malloc gives threads arenas of 64 MiB of address space.
    assert!(grown < 128 * 1024, "{} files grew the address space by {grown} KiB", paths.len());
}
