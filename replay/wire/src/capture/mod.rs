//! Captures in: pcap and pcapng through libpcap, every supported link type brought to Ethernet form.
//!
//! libpcap knows the formats (both byte orders, micro- and nanoseconds, modified headers, pcapng sections,
//! resolutions and offsets) and bounds what it allocates by the link type's largest record, not by what a
//! record claims. What it refuses, an interface of another link type inside one pcapng file for example, is
//! an error here too, never a silent end.
//!
//! [`find_captures`] says which files there are below some folders, [`Labels`] which label each one has; [`Progress`]
//! follows a run over them.
//!
//! ```no_run
//! # fn main() -> Result<(), netssm_wire::capture::CaptureError> {
//! let mut capture = netssm_wire::capture::Capture::open("trace.pcap".as_ref())?;
//! while let Some(record) = capture.next_record()? {
//!     println!("{} ns: {} of {} bytes", record.time_ns, record.frame.len(), record.wire_len);
//! }
//! # Ok(())
//! # }
//! ```

mod files;
mod labels;
mod link;
mod progress;
mod session;

use std::fmt;
use std::path::{Path, PathBuf};

use pcap::{Linktype, Offline, Precision};

pub use files::{InputError, find_captures};
pub use labels::Labels;
pub use link::{host_mac, to_ethernet};
pub use progress::Progress;
pub use session::{CapturedSession, read_session};

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file is not there, not readable, or not a capture.
    #[error("cannot open capture {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// libpcap's reason.
        source: pcap::Error,
    },
    /// libpcap's interface takes text.
    #[error("cannot open capture {path}: the path is not valid utf-8")]
    Path {
        /// The file.
        path: PathBuf,
    },
    /// The link type has no Ethernet form here.
    #[error(
        "capture {path} has link type {number}{name}: expected ethernet (1), raw ip (12, 14, 101, 228, 229), linux \
         cooked (113, 276) or bsd loopback (0, 108)"
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// Number as libpcap gives it.
        number: i32,
        /// libpcap's name in brackets with a space before, or nothing.
        name: String,
    },
    /// The file ends early or is damaged after some records.
    #[error("capture {path}, record {record}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Number of the record that failed, from 0: so many before it were good.
        record: u64,
        /// libpcap's reason.
        source: pcap::Error,
    },
}

/// Link types that are brought to Ethernet form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// BSD loopback with the address family in the capturing host's byte order (0).
    Null,
    /// Ethernet (1).
    Ethernet,
    /// IPv4 or IPv6 without a link header (12, 14, 101).
    RawIp,
    /// OpenBSD loopback with the address family in network byte order (108).
    Loop,
    /// Linux cooked, version 1 (113).
    LinuxSll,
    /// IPv4 without a link header (228).
    Ipv4,
    /// IPv6 without a link header (229).
    Ipv6,
    /// Linux cooked, version 2 (276).
    LinuxSll2,
}

impl LinkType {
    /// By number, as in a file's header or from libpcap, which gives 12 for 101.
    pub fn from_number(number: i32) -> Option<LinkType> {
        Some(match number {
            0 => LinkType::Null,
            1 => LinkType::Ethernet,
            12 | 14 | 101 => LinkType::RawIp,
            108 => LinkType::Loop,
            113 => LinkType::LinuxSll,
            228 => LinkType::Ipv4,
            229 => LinkType::Ipv6,
            276 => LinkType::LinuxSll2,
            _ => return None,
        })
    }

    /// Bytes of the link header that Ethernet's 14 replace.
    pub fn header_len(self) -> usize {
        match self {
            LinkType::RawIp | LinkType::Ipv4 | LinkType::Ipv6 => 0,
            LinkType::Null | LinkType::Loop => 4,
            LinkType::Ethernet => 14,
            LinkType::LinuxSll => 16,
            LinkType::LinuxSll2 => 20,
        }
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkType::Null => "bsd loopback",
            LinkType::Ethernet => "ethernet",
            LinkType::RawIp => "raw ip",
            LinkType::Loop => "openbsd loopback",
            LinkType::LinuxSll => "linux cooked",
            LinkType::Ipv4 => "raw ipv4",
            LinkType::Ipv6 => "raw ipv6",
            LinkType::LinuxSll2 => "linux cooked 2",
        })
    }
}

/// One captured frame in Ethernet form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since 1970, as the file says: not ordered, and a fraction above a second is carried over.
    pub time_ns: i64,
    /// Length of the whole Ethernet-form frame in bytes; never less than `frame.len()`, whatever the file
    /// says.
    pub wire_len: u32,
    /// The frame's first bytes, perhaps all, perhaps none.
    pub frame: Vec<u8>,
}

/// A capture file being read.
pub struct Capture {
    path: PathBuf,
    link_type: LinkType,
    /// Not pcapng.
    classic: bool,
    /// `None` after the end or an error.
    file: Option<pcap::Capture<Offline>>,
    read: u64,
    unmapped: u64,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("path", &self.path)
            .field("link_type", &self.link_type)
            .field("read", &self.read)
            .field("unmapped", &self.unmapped)
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Opens a pcap or pcapng file.
    ///
    /// # Errors
    /// No such file, not a capture, or a link type without Ethernet form.
    pub fn open(path: &Path) -> Result<Capture, CaptureError> {
        let owned = || path.to_owned();
        // libpcap reads standard input for "-", which no caller here means.
        let named = if path == Path::new("-") { Path::new("./-") } else { path };
        if named.to_str().is_none() {
            return Err(CaptureError::Path { path: owned() });
        }
        let file = pcap::Capture::from_file_with_precision(named, Precision::Nano)
            .map_err(|source| CaptureError::Open { path: owned(), source })?;
        let Linktype(number) = file.get_datalink();
        let Some(link_type) = LinkType::from_number(number) else {
            let name = Linktype(number).get_name().map(|name| format!(" ({name})")).unwrap_or_default();
            return Err(CaptureError::LinkType { path: owned(), number, name });
        };
        // libpcap says 2 for every classic file, 1 for pcapng.
        let classic = file.major_version() != 1;
        Ok(Capture { path: owned(), link_type, classic, file: Some(file), read: 0, unmapped: 0 })
    }

    /// The file's link type; records come in Ethernet form whatever it is.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// How many records were passed over, because they hold nothing that Ethernet carries: no bytes to tell
    /// the protocol from, netlink messages in a cooked capture, an unknown address family.
    pub fn unmapped(&self) -> u64 {
        self.unmapped
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// A truncated or damaged file. The records before it remain good, and every later call gives `Ok(None)`.
    pub fn next_record(&mut self) -> Result<Option<Record>, CaptureError> {
        while let Some(file) = &mut self.file {
            match file.next_packet() {
                Ok(packet) => {
                    self.read += 1;
                    let time_ns =
                        nanoseconds(self.classic, packet.header.ts.tv_sec, packet.header.ts.tv_usec);
                    match to_ethernet(self.link_type, packet.data, packet.header.len) {
                        Some((frame, wire_len)) => return Ok(Some(Record { time_ns, wire_len, frame })),
                        None => self.unmapped += 1,
                    }
                }
                Err(pcap::Error::NoMorePackets) => self.file = None,
                Err(source) => {
                    self.file = None;
                    return Err(CaptureError::Record { path: self.path.clone(), record: self.read, source });
                }
            }
        }
        Ok(None)
    }
}

/// libpcap was asked for nanoseconds, which it puts where its type says microseconds. Saturates: a pcapng
/// file can say any 64-bit time. A classic file's seconds are unsigned, but libpcap takes them for signed
/// from 2038 on.
fn nanoseconds(classic: bool, seconds: i64, fraction: i64) -> i64 {
    let seconds = if classic { i64::from(seconds as u32) } else { seconds };
    seconds.saturating_mul(1_000_000_000).saturating_add(fraction)
}
