//! Capture files: reads them with libpcap, as other programs do, hashes them, and makes them without the product's
//! code.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Packets and bytes of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of packets.
    pub packets: u64,
    /// Bytes on the wire, from the Ethernet header on.
    pub bytes: u64,
}

/// Calls `each` for every packet with its time in nanoseconds since the epoch, its length on the wire, and its captured
/// bytes.
///
/// # Panics
/// If the file is not a capture or ends in the middle of a packet.
#[track_caller]
pub fn for_each(file: &Path, mut each: impl FnMut(i64, u32, &[u8])) {
    let mut capture = pcap::Capture::from_file_with_precision(file, pcap::Precision::Nano)
        .unwrap_or_else(|error| panic!("{} is not a capture: {error}", file.display()));
    loop {
        match capture.next_packet() {
            Ok(packet) => {
                // With Precision::Nano, the field named for microseconds holds nanoseconds.
                let time = packet.header.ts.tv_sec * 1_000_000_000 + packet.header.ts.tv_usec;
                each(time, packet.header.len, packet.data);
            }
            Err(pcap::Error::NoMorePackets) => return,
            Err(error) => panic!("{} is cut or broken: {error}", file.display()),
        }
    }
}

/// Counts the packets and bytes of a capture.
///
/// # Panics
/// As [`for_each`], and if a packet was captured only in part.
#[track_caller]
#[must_use]
pub fn totals(file: &Path) -> Totals {
    let mut totals = Totals::default();
    for_each(file, |_, wire_len, bytes| {
        assert_eq!(bytes.len(), wire_len as usize, "{} has a cut packet", file.display());
        totals.packets += 1;
        totals.bytes += u64::from(wire_len);
    });
    totals
}

/// The finished captures of a directory, oldest first: names that end in `.pcap` and are not hidden.
///
/// # Panics
/// If the directory cannot be read.
#[track_caller]
#[must_use]
pub fn in_directory(directory: &Path) -> Vec<PathBuf> {
    files(directory, ".pcap")
}

/// The label files of a directory, oldest first: names that end in `.jsonl` and are not hidden.
///
/// # Panics
/// If the directory cannot be read.
#[track_caller]
#[must_use]
pub fn labels_in_directory(directory: &Path) -> Vec<PathBuf> {
    files(directory, ".jsonl")
}

#[track_caller]
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("read the directory").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(ending) && !name.starts_with('.')
        })
        .collect();
    files.sort(); // the names carry their time
    files
}

/// SHA-256 of a file's bytes, in hex.
///
/// # Panics
/// If it cannot be read.
#[track_caller]
#[must_use]
pub fn sha256(file: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))))
}

// ---- captures from scratch -----------------------------------------------------------------------------------

/// Writes a capture of `packets` UDP packets in flows of ten, `gap_us` microseconds apart. Lengths are right, checksums
/// are zero. It is input for `netssmd replay` and does not use the product's code.
///
/// # Panics
/// If the file cannot be written.
pub fn write_udp_capture(file: &Path, packets: u32, gap_us: u32) {
    let frames = (0..packets).map(|i| udp_frame(i / 10, i % 2 == 1, 18 + (i % 200) as u16));
    write_capture(file, frames, gap_us);
}

/// Writes a capture with one TCP connection and two UDP packets, a millisecond apart. The connection has a handshake
/// with MSS and timestamps, a request of 100 bytes, an answer of 300, and a close.
///
/// # Panics
/// If the file cannot be written.
pub fn write_mixed_capture(file: &Path) {
    let [fin, syn, psh, ack] = [1, 2, 8, 16];
    // Each side chooses its own initial sequence number: the client starts at 7,000, the server at 90,000.
    let frames = [
        tcp_frame(false, 7_000, 0, syn, 0),
        tcp_frame(true, 90_000, 7_001, syn | ack, 0),
        tcp_frame(false, 7_001, 90_001, ack, 0),
        tcp_frame(false, 7_001, 90_001, psh | ack, 100),
        tcp_frame(true, 90_001, 7_101, psh | ack, 300),
        tcp_frame(false, 7_101, 90_301, fin | ack, 0),
        tcp_frame(true, 90_301, 7_102, fin | ack, 0),
        tcp_frame(false, 7_102, 90_302, ack, 0),
        udp_frame(1, false, 40),
        udp_frame(1, true, 120),
    ];
    write_capture(file, frames.into_iter(), 1000);
}

/// Writes a pcap: microseconds, little endian, Ethernet.
fn write_capture(file: &Path, frames: impl Iterator<Item = Vec<u8>>, gap_us: u32) {
    let mut bytes = Vec::new();
    // Magic number (microseconds), version 2.4, zone, accuracy, snaplen, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for (i, frame) in frames.enumerate() {
        let length = u32::try_from(frame.len()).expect("a frame is short");
        let micros = i as u64 * u64::from(gap_us);
        for word in [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    std::fs::write(file, bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// An Ethernet and an IPv4 header for `length` bytes of transport, from the client or from the server.
fn ipv4_frame(back: bool, protocol: u8, length: u16) -> Vec<u8> {
    let (client, server) = ([192, 168, 7, 10], [192, 168, 7, 53]);
    let (from, to) = if back { (server, client) } else { (client, server) };
    let mut frame = Vec::new();
    frame.extend([2, 0, 0, 0, 0, to[3], 2, 0, 0, 0, 0, from[3], 8, 0]);
    frame.extend([0x45, 0]);
    frame.extend((20 + length).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend(from);
    frame.extend(to);
    frame
}

/// One UDP frame of the flow with number `flow`, from the client or from the server.
fn udp_frame(flow: u32, back: bool, payload: u16) -> Vec<u8> {
    let (client, server) = (20_000 + (flow % 20_000) as u16, 4_433_u16);
    let (from, to) = if back { (server, client) } else { (client, server) };
    let mut frame = ipv4_frame(back, 17, 8 + payload);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend((8 + payload).to_be_bytes());
    frame.extend([0, 0]);
    frame.resize(42 + usize::from(payload), 0);
    frame
}

/// One TCP frame between ports 51,000 and 443. It has a timestamps option, and a SYN also has MSS 1460.
fn tcp_frame(back: bool, sequence: u32, acknowledgement: u32, flags: u8, payload: u16) -> Vec<u8> {
    let (from, to) = if back { (443_u16, 51_000_u16) } else { (51_000, 443) };
    let mut options = Vec::new();
    if flags & 2 != 0 {
        options.extend([2, 4, 5, 0xb4]);
    }
    options.extend([1, 1, 8, 10]);
    options.extend(if back { [500_u32, 1_000] } else { [1_000, 500] }.map(u32::to_be_bytes).concat());
    let header = 20 + options.len() as u16;
    let mut frame = ipv4_frame(back, 6, header + payload);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend(sequence.to_be_bytes());
    frame.extend(acknowledgement.to_be_bytes());
    frame.extend([((header / 4) << 4) as u8, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    frame.extend(options);
    frame.extend((0..payload).map(|i| i as u8));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpcap_reads_what_we_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("made.pcap");
        write_udp_capture(&file, 25, 1_500_000);
        let mut times = Vec::new();
        for_each(&file, |time, wire_len, bytes| {
            assert_eq!(wire_len as usize, bytes.len());
            times.push(time);
        });
        assert_eq!(totals(&file).packets, 25);
        assert_eq!(times[1], 1_500_000_000);
        assert_eq!(times[24], 36_000_000_000);
    }

    #[test]
    fn tshark_follows_the_connection_that_we_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("mixed.pcap");
        write_mixed_capture(&file);
        assert_eq!(totals(&file).packets, 10);
        let Some(trouble) =
            crate::judges::tshark_field(&file, "tcp.analysis.flags || _ws.malformed", "frame.number")
        else {
            return;
        };
        assert!(trouble.is_empty(), "lost, repeated or malformed: {trouble:?}");
        let acknowledged = crate::judges::tshark_field(&file, "tcp.ack == 301", "frame.number");
        assert_eq!(acknowledged.unwrap_or_default().len(), 1, "the client acknowledges 300 bytes");
    }

    #[test]
    #[should_panic(expected = "is cut or broken")]
    fn a_cut_capture_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("cut.pcap");
        write_udp_capture(&file, 3, 1);
        let bytes = std::fs::read(&file).expect("just written");
        std::fs::write(&file, &bytes[..bytes.len() - 1]).expect("cut it");
        let _ = totals(&file);
    }
}
