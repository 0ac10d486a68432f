//! Writes all sessions of a side into one capture, for programs that read one file.
//!
//! The sessions come one after the other, with an hour of silence between them. Times within a session stay as they
//! are. The silence is longer than any flow timeout, so equal addresses in two sessions are two flows.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use netssm_fidelity::{Captures, each_session};
use netssm_wire::capture::Record;

/// Microseconds of silence between sessions.
const BETWEEN_US: i64 = 3600 * 1_000_000;

/// Time of the first packet, in microseconds since 1970: September 2020. Programs take times near 1970 for a broken
/// clock.
const FIRST_US: i64 = 1_600_000_000 * 1_000_000;

/// Writes the sessions of `captures` to a pcap at `path`. Gives the number of packets.
///
/// # Errors
/// If captures cannot be listed or the file cannot be written.
pub(super) fn sessions(captures: &Captures, path: &Path) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(File::create(path)?);
    head(&mut out)?;
    let (mut at_us, mut packets, mut written) = (FIRST_US, 0, Ok(()));
    each_session(captures, |records| {
        let start_ns = records.iter().map(|record| record.time_ns).min().unwrap_or(0);
        let since = |record: &Record| record.time_ns.saturating_sub(start_ns) / 1000;
        written = records
            .iter()
            .try_for_each(|record| packet(&mut out, at_us.saturating_add(since(record)), record));
        packets += records.len() as u64;
        let length = records.iter().map(since).max().unwrap_or(0);
        at_us = at_us.saturating_add(length).saturating_add(BETWEEN_US);
        written.is_ok()
    })?;
    written?;
    out.flush()?;
    Ok(packets)
}

/// Writes the file header of a pcap: microseconds, little endian, Ethernet.
fn head(out: &mut impl Write) -> io::Result<()> {
    [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 262_144, 1]
        .iter()
        .try_for_each(|word| out.write_all(&word.to_le_bytes()))
}

fn packet(out: &mut impl Write, at_us: i64, record: &Record) -> io::Result<()> {
    // The format ends in 2106. A clock that jumped by decades is not worth an error.
    let seconds = u32::try_from(at_us / 1_000_000).unwrap_or(u32::MAX);
    let length = u32::try_from(record.frame.len()).map_err(io::Error::other)?;
    let words = [seconds, (at_us % 1_000_000) as u32, length, record.wire_len.max(length)];
    words.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))?;
    out.write_all(&record.frame)
}

/// Writes a capture for tests: UDP packets of one flow at these times in microseconds.
#[cfg(test)]
pub(super) fn example(path: &Path, times_us: &[i64]) {
    let mut out = File::create(path).expect("a file");
    head(&mut out).expect("written");
    for &at_us in times_us {
        let mut frame =
            vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 38, 0, 1, 0, 0, 64, 17, 0, 0];
        frame.extend([10, 0, 0, 2, 198, 18, 0, 1, 0x9c, 0x41, 0, 99, 0, 18, 0, 0]); // no UDP checksum
        frame.resize(frame.len() + 10, 0x61);
        let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let record = Record { time_ns: at_us * 1000, wire_len: frame.len() as u32, frame };
        packet(&mut out, at_us, &record).expect("written");
    }
}

#[cfg(test)]
mod tests {
    use netssm_wire::capture::Capture;

    use super::*;

    #[test]
    fn sessions_lie_an_hour_apart_and_keep_their_times() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("in")).expect("a folder");
        example(&dir.path().join("in/a.pcap"), &[5_000_000, 5_250_000, 900_000_000]);
        example(&dir.path().join("in/b.pcap"), &[7, 9]);
        let out = dir.path().join("out.pcap");
        let captures = Captures::of(vec![dir.path().join("in")]);
        assert_eq!(sessions(&captures, &out).expect("written"), 5);
        let mut capture = Capture::open(&out).expect("a capture");
        let mut times = Vec::new();
        while let Some(record) = capture.next_record().expect("a record") {
            times.push(record.time_ns / 1000 - FIRST_US);
        }
        let hour = BETWEEN_US;
        // The silence of 15 minutes splits the first file into two sessions.
        assert_eq!(times, [0, 250_000, 250_000 + hour, 250_000 + 2 * hour, 250_002 + 2 * hour]);
    }
}
