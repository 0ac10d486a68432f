//! Settings of a capture directory, and its errors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Longest prefix of a file name, so that the whole name stays below the 255 bytes that file systems allow.
const LONGEST_PREFIX: usize = 100;

/// How captures are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingConfig {
    /// Where they go; made if its parent is there.
    pub directory: PathBuf,
    /// How their names begin. Only files with exactly this prefix are ever counted, deleted or recovered.
    pub prefix: String,
    /// A file ends before it would grow beyond this many bytes; 0 for no limit. One frame always fits.
    pub max_bytes: u64,
    /// A file ends at every multiple of this many seconds on the wall clock (UTC, by the time of the
    /// packets); 0 for no limit.
    pub max_seconds: u64,
    /// A file ends after this many packets; 0 for no limit.
    pub max_packets: u64,
    /// The oldest captures are deleted so that those of this prefix, labels and the open file included, never
    /// take more than this many bytes; 0 for no limit. With a cap, a file is at most a third of it.
    pub directory_bytes: u64,
    /// How often a full disk is looked at again.
    pub probe: Duration,
    /// Bytes that must be free before writing goes on after the disk was full. More than one look can lose
    /// (128 KiB), or the end of each attempt would free just enough for the next.
    pub room: u64,
}

impl RollingConfig {
    /// Captures in `directory`, with the defaults of a profile.
    pub fn new(directory: impl Into<PathBuf>) -> RollingConfig {
        RollingConfig {
            directory: directory.into(),
            prefix: "netssmd".into(),
            max_bytes: 100_000_000,
            max_seconds: 60,
            max_packets: 0,
            directory_bytes: 10_000_000_000,
            probe: Duration::from_secs(1),
            room: 512 * 1024,
        }
    }

    /// Checks what can be checked without the disk.
    ///
    /// # Errors
    /// [`RollingError::Prefix`] for a prefix that is empty, hidden, too long, or has bytes that are awkward
    /// in a file name.
    pub fn validate(&self) -> Result<(), RollingError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ok = !self.prefix.is_empty()
            && self.prefix.len() <= LONGEST_PREFIX
            && !self.prefix.starts_with('.')
            && self.prefix.chars().all(fine);
        if ok { Ok(()) } else { Err(RollingError::Prefix(self.prefix.clone())) }
    }

    /// `max_bytes` as it applies, 0 for none: with a cap on the directory there must be room for the open
    /// file, the one that is being finished, and one to keep.
    pub(super) fn file_bytes(&self) -> u64 {
        match (self.max_bytes, self.directory_bytes) {
            (max, 0) => max,
            (0, cap) => cap / 3,
            (max, cap) => max.min(cap / 3),
        }
    }
}

/// Why captures cannot be written. A full disk is not among these: it passes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollingError {
    /// The prefix cannot begin a file name.
    #[error("capture prefix {0:?} must be 1 to 100 letters, digits, '-', '_' or '.', and not begin with '.'")]
    Prefix(String),
    /// A file or directory refuses.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// libpcap refuses.
    #[error("cannot write a capture at {}: {message}", path.display())]
    Pcap {
        /// The file.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// Another process writes captures of this prefix into this directory.
    #[error("another process writes captures with prefix {prefix:?} in {}", directory.display())]
    Busy {
        /// The directory.
        directory: PathBuf,
        /// The prefix.
        prefix: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_make_bad_names_are_refused() {
        let with =
            |prefix: &str| RollingConfig { prefix: prefix.into(), ..RollingConfig::new("x") }.validate();
        for good in ["netssmd", "a", "lab-7_b.c"] {
            with(good).unwrap();
        }
        for bad in ["", ".hidden", "a/b", "a b", "ä", &"x".repeat(101)] {
            assert!(with(bad).unwrap_err().to_string().contains("must be"), "{bad}");
        }
    }

    #[test]
    fn a_cap_leaves_room_for_three_files() {
        let bytes = |max_bytes, directory_bytes| {
            RollingConfig { max_bytes, directory_bytes, ..RollingConfig::new("x") }.file_bytes()
        };
        assert_eq!(bytes(0, 0), 0);
        assert_eq!(bytes(100, 0), 100);
        assert_eq!(bytes(0, 150), 50);
        assert_eq!(bytes(80, 150), 50);
        assert_eq!(bytes(20, 150), 20);
    }
}
