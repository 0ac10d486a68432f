//! One capture being written, and how much of it is known to be on the disk.
//!
//! libpcap's `Savefile` writes through a stdio buffer and says nothing when a write fails: a full disk shows
//! in a flush at best, and after it every later record is swallowed. So the file is flushed every [`CHUNK`]
//! bytes, and then its length must be what the records add up to. Only then do its frames count as written,
//! and go into the labels. Otherwise the file is cut back to the last length that was right, which is the end
//! of a whole record.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Seek, Write};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use pcap::{Capture, Linktype, Precision, Savefile};

use super::directory::Paths;
use crate::clock::WallTime;
use crate::label::LabelTracker;
use crate::rewrite::{FlowId, TestbedFrame};

/// Bytes of records between two looks at the length of the file: what a full disk can lose. Each look is a
/// write and an fstat.
pub(super) const CHUNK: u64 = 128 * 1024;
/// Bytes of the file header and of a record header.
pub(super) const FILE_HEADER: u64 = 24;
pub(super) const RECORD_HEADER: u64 = 16;
/// Room set aside for labels at first, and at least this much more at a time.
const LABEL_STEP: u64 = 16 * 1024;
/// Bytes that the label line of one flow takes at most, beside the label itself.
const LABEL_LINE: u64 = 768;

/// A capture that frames are being added to.
pub(super) struct OpenFile {
    pub(super) paths: Paths,
    savefile: Savefile,
    /// The same file, to measure, cut and sync it.
    capture: File,
    labels: File,
    /// Bytes set aside for labels, and how many the flows so far need at most.
    label_room: u64,
    label_need: u64,
    flows: HashSet<(u64, Option<FlowId>)>,
    tracker: LabelTracker,
    /// Written since the last look.
    pending: Vec<(TestbedFrame, WallTime)>,
    pending_bytes: u64,
    /// What the file held at the last look.
    pub(super) length: u64,
    pub(super) frames: u64,
}

/// Frames and their bytes (without record headers) that a look has confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl OpenFile {
    /// Creates both hidden files, writes the header, and sets room aside for labels.
    pub(super) fn create(paths: Paths) -> io::Result<OpenFile> {
        let made = Self::try_create(paths.clone());
        if made.is_err() {
            let _ = fs::remove_file(&paths.capture_part);
            let _ = fs::remove_file(&paths.labels_part);
        }
        made
    }

    fn try_create(paths: Paths) -> io::Result<OpenFile> {
        let dead = Capture::dead_with_precision(Linktype::ETHERNET, Precision::Nano).map_err(from_pcap)?;
        let mut savefile = dead.savefile(&paths.capture_part).map_err(from_pcap)?;
        savefile.flush().map_err(from_pcap)?;
        let capture = File::options().write(true).open(&paths.capture_part)?;
        check_length(&capture, FILE_HEADER)?;
        let labels = File::create(&paths.labels_part)?;
        let mut file = OpenFile {
            paths,
            savefile,
            capture,
            labels,
            label_room: 0,
            label_need: 0,
            flows: HashSet::new(),
            tracker: LabelTracker::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            length: FILE_HEADER,
            frames: 0,
        };
        file.reserve_labels()?;
        Ok(file)
    }

    /// Length of the file with everything written so far.
    pub(super) fn full_length(&self) -> u64 {
        self.length + self.pending_bytes
    }

    /// Frames in the file with everything written so far.
    pub(super) fn full_frames(&self) -> u64 {
        self.frames + self.pending.len() as u64
    }

    /// Bytes that the two files take, or may take, on the disk.
    pub(super) fn footprint(&self) -> u64 {
        self.full_length() + self.label_room
    }

    /// Frames not confirmed yet.
    pub(super) fn pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Whether it is time to look.
    pub(super) fn is_look_due(&self) -> bool {
        self.pending_bytes >= CHUNK
    }

    /// Adds a frame. `at` must be within what a capture can say: 1970 to 2106.
    pub(super) fn write(&mut self, frame: &TestbedFrame, at: WallTime) {
        let len = frame.len() as u32; // the rewriter makes no frame above 64 KiB
        // With nanosecond precision libpcap takes nanoseconds where the field says microseconds.
        let ts = libc::timeval { tv_sec: at.secs(), tv_usec: i64::from(at.subsec_nanos()) };
        let header = pcap::PacketHeader { ts, caplen: len, len };
        self.savefile.write(&pcap::Packet { header: &header, data: frame.bytes() });
        self.pending_bytes += RECORD_HEADER + u64::from(len);
        self.pending.push((frame.clone(), at));
    }

    /// Flushes and looks whether everything is in the file. If so, what was pending is confirmed and
    /// labelled.
    pub(super) fn look(&mut self) -> io::Result<Confirmed> {
        if self.pending.is_empty() {
            return Ok(Confirmed::default());
        }
        self.savefile.flush().map_err(from_pcap)?;
        check_length(&self.capture, self.full_length())?;
        self.length = self.full_length();
        let mut confirmed = Confirmed::default();
        for (frame, at) in self.pending.drain(..) {
            confirmed.frames += 1;
            confirmed.bytes += frame.len() as u64;
            self.tracker.observe(&frame, at.as_nanos());
            let session = frame.session();
            if self.flows.insert((session.id(), frame.flow().map(|f| f.id))) {
                // JSON writes a control character of the label as six bytes.
                self.label_need += LABEL_LINE + 6 * session.label().len() as u64;
            }
        }
        self.pending_bytes = 0;
        self.frames += confirmed.frames;
        Ok(confirmed)
    }

    /// Sets room aside for the labels of all flows so far, so that the file can be finished on a disk that is
    /// full.
    pub(super) fn reserve_labels(&mut self) -> io::Result<()> {
        if self.label_room > self.label_need {
            return Ok(());
        }
        let room = (self.label_need + LABEL_STEP).next_multiple_of(LABEL_STEP);
        match fallocate(&self.labels, FallocateFlags::empty(), 0, room as i64) {
            // File systems without it (NFS before 4.2, ZFS): then finishing may have to wait for room.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                self.label_room = room;
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Ends writing. What is pending is lost; the file is cut back to its last confirmed length.
    pub(super) fn seal(self) -> io::Result<Sealed> {
        let OpenFile { paths, savefile, capture, labels, mut tracker, length, frames, .. } = self;
        // Closing flushes what stdio still holds, so it comes before the cut.
        drop(savefile);
        let mut lines = Vec::new();
        for record in tracker.drain() {
            serde_json::to_writer(&mut lines, &record)?;
            lines.push(b'\n');
        }
        Ok(Sealed { paths, capture, labels, lines, length, frames })
    }

    /// Throws both files away.
    pub(super) fn discard(self) -> io::Result<()> {
        let paths = self.paths.clone();
        drop(self);
        fs::remove_file(&paths.capture_part)?;
        fs::remove_file(&paths.labels_part)
    }
}

/// A capture that gets no more frames and is not visible yet.
pub(super) struct Sealed {
    pub(super) paths: Paths,
    capture: File,
    labels: File,
    lines: Vec<u8>,
    pub(super) length: u64,
    pub(super) frames: u64,
}

impl Sealed {
    /// Bytes of both files.
    pub(super) fn footprint(&self) -> u64 {
        self.length + self.lines.len() as u64
    }

    /// Cuts, writes the labels and syncs both. May be tried again.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.capture.set_len(self.length)?;
        self.labels.rewind()?;
        self.labels.write_all(&self.lines)?;
        self.labels.set_len(self.lines.len() as u64)?;
        self.labels.sync_all()?;
        self.capture.sync_all()
    }
}

fn check_length(file: &File, expected: u64) -> io::Result<()> {
    let got = file.metadata()?.len();
    if got == expected {
        return Ok(());
    }
    // stdio has eaten the errno; a write that comes up short is a disk without room unless proven otherwise.
    let likely = "a write came up short, most likely: No space left on device";
    let message = format!("{likely} (the file has {got} bytes, expected {expected})");
    Err(io::Error::new(io::ErrorKind::StorageFull, message))
}

fn from_pcap(error: pcap::Error) -> io::Error {
    match error {
        pcap::Error::ErrnoError(errno) => io::Error::from_raw_os_error(errno.0),
        other => io::Error::other(other.to_string()),
    }
}

/// Whether `room` bytes can be had; leaves nothing behind.
pub(super) fn probe(path: &std::path::Path, room: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let asked = match fallocate(&file, FallocateFlags::empty(), 0, room as i64) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => write_zeros(&file, room),
        other => other.map_err(Into::into),
    };
    drop(file);
    fs::remove_file(path)?;
    asked
}

fn write_zeros(mut file: &File, room: u64) -> io::Result<()> {
    let zeros = [0; 4096];
    for _ in 0..room.div_ceil(zeros.len() as u64) {
        file.write_all(&zeros)?;
    }
    file.sync_data() // where blocks are given out late, only this says
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::LabelRecord;
    use std::net::{IpAddr, Ipv6Addr};

    #[test]
    fn the_longest_label_line_fits_the_room_set_aside_for_it() {
        let longest = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
        let label = "\u{1}".repeat(40);
        let record = LabelRecord {
            session: u64::MAX,
            label: label.clone(),
            src: longest,
            src_port: u16::MAX,
            dst: longest,
            dst_port: u16::MAX,
            protocol: u8::MAX,
            community_id: format!("1:{}", "x".repeat(28)),
            model: "f".repeat(64),
            precision: "int8".into(),
            seed: u64::MAX,
            replay_seed: u64::MAX,
            timing: "captured".into(),
            first_ns: i64::MIN,
            last_ns: i64::MIN,
            packets_to_server: u64::MAX,
            packets_to_client: u64::MAX,
            bytes_to_server: u64::MAX,
            bytes_to_client: u64::MAX,
        };
        let line = serde_json::to_string(&record).unwrap() + "\n";
        let room = LABEL_LINE + 6 * label.len() as u64;
        assert!(line.len() as u64 <= room, "{} of {room}", line.len());
    }

    #[test]
    fn a_probe_tells_room_and_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("probe");
        probe(&path, 1 << 20).unwrap();
        assert!(!path.exists());
        probe(&path, 1 << 60).unwrap_err();
        assert!(!path.exists());
        write_zeros(&File::create(&path).unwrap(), 5_000).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 8_192);
    }
}
