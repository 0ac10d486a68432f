//! The capture directory: names, the hidden place for unfinished files, the lock, recovery, the cap.
//!
//! A capture is `PREFIX-20260131T235959.000000001Z-000042.pcap`: the UTC time of its first packet and a
//! number that goes on from one run to the next, so that names never repeat and their order is the order of
//! writing. Its labels are beside it, `.labels.jsonl` instead of `.pcap`.
//!
//! Unfinished files are in `.PREFIX.parts/`, a hidden *directory* and not hidden names: Suricata reads every
//! regular file of a directory that it follows, names with a dot included, but does not descend.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::config::{RollingConfig, RollingError};
use crate::clock::WallTime;
use crate::sink::SinkEvent;

/// End of a capture's name.
const CAPTURE: &str = ".pcap";
/// End of a label file's name.
const LABELS: &str = ".labels.jsonl";
/// What follows that in the name of an unfinished file.
const PART: &str = ".part";

/// The four paths of one capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) capture: PathBuf,
    pub(super) labels: PathBuf,
    pub(super) capture_part: PathBuf,
    pub(super) labels_part: PathBuf,
}

impl Paths {
    /// Makes a synced capture visible, labels first, so that no capture is ever seen without them. May be
    /// tried again.
    pub(super) fn publish(&self) -> Result<(), RollingError> {
        for (from, to) in [(&self.labels_part, &self.labels), (&self.capture_part, &self.capture)] {
            match fs::rename(from, to) {
                // A second try after the first rename worked and the other did not.
                Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
                Err(e) => return Err(io_error("rename", from)(e)),
                Ok(()) => {}
            }
        }
        for dir in [self.capture.parent(), self.capture_part.parent()].into_iter().flatten() {
            let synced = File::open(dir).and_then(|d| d.sync_all());
            synced.map_err(io_error("sync directory", dir))?;
        }
        Ok(())
    }
}

/// A directory that this process alone writes captures of one prefix into.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    parts: PathBuf,
    prefix: String,
    /// Number of the next capture.
    next: u64,
    /// Bytes of each finished capture with its labels, by number: oldest first. Readers may have deleted some
    /// since the last scan.
    finished: BTreeMap<(u64, String), u64>,
    /// Sum of `finished`.
    bytes: u64,
    /// Captures finished since the last scan.
    unscanned: usize,
    /// Held for its lock, which ends with the process however that ends.
    _lock: File,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RollingError {
    move |source| RollingError::Io { action, path: path.to_owned(), source }
}

impl Directory {
    /// Makes the directory if need be, locks it, and clears up after a process that died in it. A capture
    /// that lacked only its last rename (its labels are visible already, and it was synced before they were)
    /// is completed. Any other unfinished one is removed: its labels died with the process, and a capture
    /// without labels would spoil a labelled set.
    pub(super) fn open(config: &RollingConfig) -> Result<(Directory, Vec<SinkEvent>), RollingError> {
        let path = config.directory.clone();
        if path.to_str().is_none() {
            let message = "libpcap takes only UTF-8 paths".to_owned();
            return Err(RollingError::Pcap { path, message });
        }
        let parts = path.join(format!(".{}.parts", config.prefix));
        for dir in [&path, &parts] {
            match fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error("create directory", dir)(e));
                }
                _ => {}
            }
        }
        let lock_path = parts.join("lock");
        let lock = File::create(&lock_path).map_err(io_error("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RollingError::Busy { directory: path, prefix: config.prefix.clone() });
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &lock_path)(e)),
        }
        let mut directory = Directory {
            path,
            parts,
            prefix: config.prefix.clone(),
            next: 0,
            finished: BTreeMap::new(),
            bytes: 0,
            unscanned: 0,
            _lock: lock,
        };
        let events = directory.recover()?;
        directory.rescan()?;
        directory.next = directory.finished.keys().next_back().map_or(0, |(n, _)| n + 1);
        Ok((directory, events))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the hidden place, to try for room with.
    pub(super) fn probe_path(&self) -> PathBuf {
        self.parts.join("probe")
    }

    /// Paths for the next capture, whose first packet is at `at`.
    pub(super) fn next_paths(&mut self, at: WallTime) -> Paths {
        let stem = format!("{}-{}-{:06}", self.prefix, at.compact_utc(), self.next);
        self.next += 1;
        self.paths(&stem)
    }

    fn paths(&self, stem: &str) -> Paths {
        Paths {
            capture: self.path.join(format!("{stem}{CAPTURE}")),
            labels: self.path.join(format!("{stem}{LABELS}")),
            capture_part: self.parts.join(format!("{stem}{CAPTURE}{PART}")),
            labels_part: self.parts.join(format!("{stem}{LABELS}{PART}")),
        }
    }

    /// Bytes of all finished captures of the prefix, labels included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes a capture that has become visible; `bytes` with its labels.
    pub(super) fn add(&mut self, paths: &Paths, bytes: u64) {
        let stem = paths.capture.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if let Some(number) = self.number(stem) {
            self.finished.insert((number, stem.to_owned()), bytes);
            self.bytes += bytes;
            self.unscanned += 1;
        }
    }

    /// Deletes the oldest captures until the finished ones take at most `limit` bytes.
    pub(super) fn shrink(&mut self, limit: u64) -> Result<Vec<SinkEvent>, RollingError> {
        let mut events = Vec::new();
        // A scan costs as much as there are files, so it is made after a share of that many.
        if self.bytes > limit && self.unscanned * 8 >= self.finished.len() {
            self.rescan()?;
        }
        while self.bytes > limit {
            let Some(((_, stem), bytes)) = self.finished.pop_first() else { break };
            self.bytes -= bytes;
            let Paths { capture, labels, .. } = self.paths(&stem);
            let there = capture.exists();
            // The capture first: labels without a capture harm nobody.
            for path in [&capture, &labels] {
                match fs::remove_file(path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error("delete", path)(e)),
                    _ => {}
                }
            }
            if there {
                events.push(SinkEvent::Deleted { path: capture, bytes });
            }
        }
        Ok(events)
    }

    /// Looks at what is there: a reader may have deleted captures that it is done with.
    fn rescan(&mut self) -> Result<(), RollingError> {
        let mut finished = BTreeMap::new();
        for (name, path) in self.names(&self.path)? {
            let stem = name.strip_suffix(CAPTURE).or_else(|| name.strip_suffix(LABELS));
            let Some((stem, number)) = stem.and_then(|s| Some((s, self.number(s)?))) else { continue };
            if let Ok(facts) = fs::metadata(&path) {
                *finished.entry((number, stem.to_owned())).or_insert(0) += facts.len();
            }
        }
        self.bytes = finished.values().sum();
        self.finished = finished;
        self.unscanned = 0;
        Ok(())
    }

    fn recover(&mut self) -> Result<Vec<SinkEvent>, RollingError> {
        let mut events = Vec::new();
        let names = self.names(&self.parts)?;
        for (name, part) in &names {
            let Some(stem) = name.strip_suffix(PART).and_then(|n| n.strip_suffix(CAPTURE)) else { continue };
            if self.number(stem).is_none() {
                continue;
            }
            let paths = self.paths(stem);
            let bytes = fs::metadata(part).map_or(0, |facts| facts.len());
            let kept = paths.labels.exists();
            if kept {
                fs::rename(part, &paths.capture).map_err(io_error("rename", part))?;
            } else {
                fs::remove_file(part).map_err(io_error("delete", part))?;
            }
            let path = if kept { paths.capture } else { part.clone() };
            events.push(SinkEvent::Recovered { path, bytes, kept });
        }
        for (name, part) in names {
            let labels = name.strip_suffix(PART).and_then(|n| n.strip_suffix(LABELS));
            if labels.is_some_and(|stem| self.number(stem).is_some()) || part == self.probe_path() {
                fs::remove_file(&part).map_err(io_error("delete", &part))?;
            }
        }
        Ok(events)
    }

    fn names(&self, dir: &Path) -> Result<Vec<(String, PathBuf)>, RollingError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
            let entry = entry.map_err(io_error("list", dir))?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.path()));
            }
        }
        names.sort(); // read_dir has no order; events should
        Ok(names)
    }

    /// The number in a stem of our own prefix, `None` for any other name. Exact, because what matches may be
    /// deleted.
    fn number(&self, stem: &str) -> Option<u64> {
        let rest = stem.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let (time, number) = rest.split_once('-')?;
        let form = b"dddddddd\x54dddddd.ddddddddd\x5a"; // T and Z
        let fits = |(&b, &f): (&u8, &u8)| if f == b'd' { b.is_ascii_digit() } else { b == f };
        let time_ok = time.len() == form.len() && time.as_bytes().iter().zip(form).all(fits);
        let number_ok = number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit());
        if time_ok && number_ok { number.parse().ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, prefix: &str) -> RollingConfig {
        RollingConfig { prefix: prefix.into(), ..RollingConfig::new(dir) }
    }

    fn open(dir: &Path, prefix: &str) -> (Directory, Vec<SinkEvent>) {
        Directory::open(&config(dir, prefix)).unwrap()
    }

    fn visible(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|n| !n.starts_with('.')).collect();
        names.sort();
        names
    }

    fn write(dir: &mut Directory, secs: i64, bytes: usize) -> Paths {
        let paths = dir.next_paths(WallTime::from_secs(secs));
        fs::write(&paths.capture_part, vec![0; bytes]).unwrap();
        fs::write(&paths.labels_part, "{}\n").unwrap();
        paths.publish().unwrap();
        dir.add(&paths, bytes as u64 + 3);
        paths
    }

    #[test]
    fn names_tell_time_and_order_and_go_on_after_a_restart() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut dir, _) = open(tmp.path(), "lab");
        write(&mut dir, 86_400, 10);
        write(&mut dir, 0, 10); // packet times need not grow; numbers do
        drop(dir);
        let (mut dir, events) = open(tmp.path(), "lab");
        assert!(events.is_empty());
        write(&mut dir, 1, 10);
        assert_eq!(
            visible(tmp.path()),
            [
                "lab-19700101T000000.000000000Z-000001.labels.jsonl",
                "lab-19700101T000000.000000000Z-000001.pcap",
                "lab-19700101T000001.000000000Z-000002.labels.jsonl",
                "lab-19700101T000001.000000000Z-000002.pcap",
                "lab-19700102T000000.000000000Z-000000.labels.jsonl",
                "lab-19700102T000000.000000000Z-000000.pcap",
            ]
        );
    }

    #[test]
    fn the_cap_deletes_the_oldest_of_the_own_prefix_only() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut other, _) = open(tmp.path(), "lab-b");
        let foreign = write(&mut other, 5, 100);
        fs::write(tmp.path().join("lab-notes.pcap"), "x").unwrap();
        let (mut dir, _) = open(tmp.path(), "lab");
        let all: Vec<Paths> = (0..4).map(|i| write(&mut dir, 100 - i, 100)).collect();
        assert_eq!(dir.bytes(), 4 * 103);
        let events = dir.shrink(220).unwrap();
        let gone: Vec<_> =
            all[..2].iter().map(|p| SinkEvent::Deleted { path: p.capture.clone(), bytes: 103 }).collect();
        assert_eq!(events, gone);
        assert!(!all[0].capture.exists() && !all[1].labels.exists() && all[2].capture.exists());
        assert!(foreign.capture.exists() && tmp.path().join("lab-notes.pcap").exists());
        fs::remove_file(&all[2].capture).unwrap(); // a reader deletes what it is done with; its labels stay
        dir.rescan().unwrap();
        assert_eq!(dir.bytes(), 106);
        dir.shrink(0).unwrap();
        assert!(!all[2].labels.exists() && !all[3].capture.exists());
        assert_eq!(visible(tmp.path()).len(), 3);
    }

    #[test]
    fn what_a_dead_process_left_is_completed_or_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut dir, _) = open(tmp.path(), "lab");
        let whole = dir.next_paths(WallTime(0));
        fs::write(&whole.capture_part, "capture").unwrap();
        fs::write(&whole.labels, "{}\n").unwrap(); // died between the two renames
        let cut = dir.next_paths(WallTime(0));
        fs::write(&cut.capture_part, "cut").unwrap();
        fs::write(&cut.labels_part, "").unwrap();
        fs::write(dir.probe_path(), "0").unwrap();
        drop(dir);
        let (dir, events) = open(tmp.path(), "lab");
        assert_eq!(
            events,
            [
                SinkEvent::Recovered { path: whole.capture.clone(), bytes: 7, kept: true },
                SinkEvent::Recovered { path: cut.capture_part.clone(), bytes: 3, kept: false },
            ]
        );
        assert!(whole.capture.exists() && !whole.capture_part.exists());
        assert!(!cut.capture_part.exists() && !cut.labels_part.exists() && !dir.probe_path().exists());
    }

    #[test]
    fn a_second_writer_is_refused_while_the_first_lives() {
        let tmp = tempfile::tempdir().unwrap();
        let (first, _) = open(tmp.path(), "lab");
        let error = Directory::open(&config(tmp.path(), "lab")).unwrap_err().to_string();
        assert!(error.starts_with("another process writes captures with prefix \"lab\" in "), "{error}");
        open(tmp.path(), "other");
        drop(first);
        open(tmp.path(), "lab");
        let error = Directory::open(&config(&tmp.path().join("no/parent"), "lab")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create directory "), "{error}");
    }
}
