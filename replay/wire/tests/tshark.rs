//! Our verdict on checksums is tshark's, frame by frame, over the application captures and the odd ones.
//!
//! All records go into one file in Ethernet form, so that tshark starts once, and sees what we made of other
//! link types.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use netssm_wire::capture::{Capture, Record};
use netssm_wire::checksum::{Check, verify};
use netssm_wire::frame::{Layout, Net, Stop, Transport};

/// Status fields of tshark: 0 bad, 1 good, 2 not verified, 3 not present.
const FIELDS: [&str; 6] = ["ip", "tcp", "udp", "icmp", "icmpv6", "igmp"];

/// Sampled from the manifest: everything odd, all applications.
const FOLDERS: [&str; 2] = ["apps/", "oddities/"];

fn sample(dir: &Path) -> Vec<(String, Record)> {
    let manifest = std::fs::read_to_string(dir.join("MANIFEST.tsv")).unwrap();
    // What we fill in ourselves is in it too.
    let made = |(name, frame): (&str, Vec<u8>)| {
        (format!("made/{name}"), Record { time_ns: 0, wire_len: frame.len() as u32, frame })
    };
    let mut records: Vec<_> = common::frames().into_iter().map(made).collect();
    for path in manifest.lines().skip(1).filter_map(|line| line.split('\t').next()) {
        if FOLDERS.iter().any(|folder| path.starts_with(folder))
            && let Ok(mut capture) = Capture::open(&dir.join(path))
        {
            while let Ok(Some(record)) = capture.next_record() {
                records.push((path.to_owned(), record));
            }
        }
    }
    records
}

fn write(records: &[(String, Record)]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tshark-sample.pcap");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let put = |out: &mut dyn Write, words: &[u32]| {
        words.iter().for_each(|word| out.write_all(&word.to_le_bytes()).unwrap());
    };
    put(&mut out, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]);
    for (index, (_, record)) in records.iter().enumerate() {
        put(&mut out, &[index as u32, 0, record.frame.len() as u32, record.wire_len]);
        out.write_all(&record.frame).unwrap();
    }
    out.flush().unwrap();
    path
}

fn tshark(path: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(path).args(["-T", "fields", "-E", "occurrence=f"]);
    let options = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE"];
    // Reassembled datagrams would be verified in their last fragment.
    for option in options.iter().chain(&["ip.defragment:FALSE", "ipv6.defragment:FALSE"]) {
        command.args(["-o", option]);
    }
    for field in FIELDS {
        command.args(["-e", &format!("{field}.checksum.status")]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn status(check: Check) -> &'static str {
    match check {
        Check::Bad => "0",
        Check::Good => "1",
        Check::Unverifiable => "2",
        Check::Absent => "3",
    }
}

/// Whether a difference is one that we mean.
fn meant(path: &str, theirs: &str, ours: Check, layout: &Layout, wire_len: u32) -> bool {
    // tshark verifies what it can of an IP length beyond the frame on the wire, or of a malformed header, and
    // shows no field where it gives up. We hold such a frame to be unverifiable.
    let beyond = layout.l3_end().is_some_and(|end| end > wire_len as usize);
    let malformed = matches!(layout.stop, Stop::Invalid(..));
    if ours == Check::Unverifiable && (beyond || malformed) && ["", "0"].contains(&theirs) {
        return true;
    }
    // Home address options of a wrong length: tshark takes the address all the same, or gives up on the
    // packet.
    path == "oddities/ipv6-mobility-dstopts.pcap" && ours == Check::Bad
}

#[test]
fn verdicts_are_tsharks() {
    let Some(dir) = common::data_dir() else { return };
    if Command::new("tshark").arg("-v").output().is_err() {
        assert!(!common::require_all(), "tshark is not installed");
        eprintln!("SKIPPED: tshark is not installed");
        return;
    }
    let records = sample(&dir);
    let rows = tshark(&write(&records));
    assert_eq!(rows.len(), records.len());
    let (mut counts, mut differences) = ([0u64; 4], Vec::new());
    for ((path, record), row) in records.iter().zip(&rows) {
        let layout = Layout::parse(&record.frame);
        let checks = verify(&record.frame);
        let mut compare = |column: usize, ours: Check| {
            counts[ours as usize] += 1;
            if row[column] != status(ours) && !meant(path, &row[column], ours, &layout, record.wire_len) {
                differences
                    .push(format!("{path}: {} {:?}, ours {ours:?}: {layout:?}", FIELDS[column], row[column]));
            }
        };
        // A header that the walk did not take for IPv4 may still be one to tshark.
        if matches!(layout.net, Net::Ipv4(_)) && !row[0].is_empty() {
            compare(0, checks.ipv4);
        }
        match layout.transport {
            Transport::Tcp { .. } => compare(1, checks.transport),
            Transport::Udp { .. } => compare(2, checks.transport),
            Transport::Icmp { .. } => compare(3, checks.transport),
            Transport::Icmpv6 { .. } => compare(4, checks.transport),
            Transport::Igmp { .. } => compare(5, checks.transport),
            Transport::None | Transport::Other { .. } => {}
        }
    }
    eprintln!("good, bad, absent, unverifiable: {counts:?}");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(counts.iter().all(|count| *count > 0), "a verdict that is never given is not tested: {counts:?}");
}
