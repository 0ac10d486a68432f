//! Every file of the real captures gives packets or a clear error, and every frame in them a layout.
//!
//! The number of packets must be the manifest's (made by a reader that is not ours), but for the files listed
//! here with the reason.

mod common;

use std::path::Path;

use netssm_wire::capture::{Capture, CaptureError};
use netssm_wire::checksum;
use netssm_wire::frame::Layout;

/// What a file that does not read to its end gives.
struct Odd {
    path: &'static str,
    /// Records before the error, those without Ethernet form included; `None`: as the manifest says.
    records: Option<u64>,
    /// Part of the error's message.
    message: &'static str,
}

const fn odd(path: &'static str, records: Option<u64>, message: &'static str) -> Odd {
    Odd { path, records, message }
}

/// Files that end in an error. A record count of its own means that libpcap gives less (or more) than the
/// tolerant reader behind the manifest: it refuses unknown versions, interfaces that differ in link type or
/// snapshot length, and a second pcapng section in the other byte order; and it gives an empty record where
/// that reader stops.
const ODD: [Odd; 21] = [
    odd("caplen-4294967295.pcap", None, "invalid packet capture length 4294967295"),
    odd("corrupt-caplen-4325376.pcap", None, "invalid packet capture length 4325376"),
    odd("corrupt-cut-in-body-nanosecond.pcap", Some(1), "tried to read 16 header bytes, only got 2"),
    odd("cut-in-record-body.pcap", None, "tried to read 78 captured bytes, only got 71"),
    odd("cut-in-record-header.pcap", None, "tried to read 16 header bytes, only got 9"),
    odd("file-gzip-named-pcap.pcap", None, "unknown file format"),
    odd("file-header-cut.pcap", None, "truncated dump file"),
    odd("file-magic-unknown.pcap", None, "unknown file format"),
    odd("file-version-99.pcap", Some(0), "unsupported pcap savefile version 99.7"),
    odd("file-zero-bytes.pcap", None, "truncated dump file"),
    odd("linktype-chdlc-104.pcap", Some(0), "link type 104 (C_HDLC)"),
    odd("linktype-fddi-10.pcap", Some(0), "link type 10 (FDDI)"),
    odd("linktype-nflog-239.pcap", Some(0), "link type 239 (NFLOG)"),
    odd("linktype-ppi-192-nanosecond.pcap", Some(0), "link type 192 (PPI)"),
    odd("linktype-ppp-9-fragments.pcap", Some(0), "link type 9 (PPP)"),
    odd("linktype-radiotap-127.pcap", Some(0), "link type 127 (IEEE802_11_RADIO)"),
    odd("linktype-unknown-65535.pcap", Some(0), "link type 65535"),
    odd("pcapng-block-length-wrong.pcapng", None, "block size 2147483644 > maximum"),
    odd("pcapng-epb-without-interface.pcapng", None, "before any Interface Description"),
    odd(
        "pcapng-mixed-linktypes.pcapng",
        Some(0),
        "different from the snapshot length of the first interface",
    ),
    odd("pcapng-unknown-block-and-two-sections.pcapng", Some(1), "> maximum 16777216"),
];

/// Records read, those without Ethernet form among them, and the error at the end if there was one.
fn read(path: &Path) -> (u64, Option<CaptureError>) {
    let mut capture = match Capture::open(path) {
        Ok(capture) => capture,
        Err(error) => return (0, Some(error)),
    };
    let mut records = 0;
    let error = loop {
        match capture.next_record() {
            Ok(Some(record)) => {
                records += 1;
                assert!(record.wire_len as usize >= record.frame.len(), "{path:?}");
                let layout = Layout::parse(&record.frame);
                assert!(layout.payload_at().is_none_or(|at| at <= record.frame.len()), "{path:?}");
                let mut filled = record.frame.clone();
                if checksum::fill(&mut filled).is_ok() {
                    assert_ne!(checksum::verify(&filled).transport, checksum::Check::Bad, "{path:?}");
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(matches!(capture.next_record(), Ok(None)), "{path:?}: records after the end");
    (records + capture.unmapped(), error)
}

#[test]
fn every_file_gives_its_packets_or_a_clear_error() {
    let Some(dir) = common::data_dir() else { return };
    let manifest = std::fs::read_to_string(dir.join("MANIFEST.tsv")).unwrap();
    let (mut files, mut total) = (0, 0);
    for line in manifest.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (path, packets): (&str, u64) = (fields[0], fields[5].parse().unwrap());
        let (records, error) = read(&dir.join(path));
        match (error.map(|e| e.to_string()), ODD.iter().find(|o| path == format!("oddities/{}", o.path))) {
            (None, None) => assert_eq!(records, packets, "{path}"),
            (Some(message), Some(odd)) => {
                assert_eq!(records, odd.records.unwrap_or(packets), "{path}");
                assert!(message.contains(odd.message) && message.contains(path), "{message}");
            }
            (got, _) => panic!("{path}: {records} records of {packets}, then {got:?}"),
        }
        files += 1;
        total += records;
    }
    eprintln!("{total} records of {files} files");
    assert!(files > 0);
}
