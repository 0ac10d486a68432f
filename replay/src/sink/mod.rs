//! Sinks: where frames go. An interface, rolling captures, or a stream.
//!
//! A sink takes [`TestbedFrame`]s only, holds a [`Guard`](crate::guard::Guard) from its construction on, and
//! belongs to one thread. It may queue frames; call [`Sink::flush`] whenever no packet is due.
//!
//! **What the numbers mean.** [`SinkStats::frames`] counts frames that the kernel has taken: on the transmit
//! path of the interface, or in the file up to a length that was checked. A frame in a queue is in
//! [`SinkStats::queued`], one that went nowhere is in [`SinkStats::dropped`] under its reason, and every
//! frame offered is in exactly one of the three: `offered == frames + queued + dropped.total()`.

pub mod afpacket;
pub mod inject;
pub mod rolling;
pub mod stream;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::clock::WallTime;
use crate::guard::{Refusal, Tripped};
use crate::rewrite::TestbedFrame;

pub use crate::drop_reason::{DropReason, Drops};
pub use afpacket::InterfaceError;
pub use rolling::RollingError;
pub use stream::StreamError;

/// Where frames go.
pub trait Sink: Send {
    /// Name for metrics and logs: the interface, or "pcap".
    fn name(&self) -> &str;

    /// Takes one frame that belongs at `at` on the wall clock (captures and labels carry that time). `Ok`
    /// means taken care of: sent, queued, or dropped and counted.
    ///
    /// # Errors
    /// [`SinkError`] when this frame and all later ones cannot be delivered. The frame is then counted as
    /// dropped.
    fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError>;

    /// Pushes out what is queued.
    ///
    /// # Errors
    /// As [`Sink::send_frame`].
    fn flush(&mut self) -> Result<(), SinkError>;

    /// To be called about once a second also when nothing is sent: closes a capture whose time is over, looks
    /// for room on a disk that was full, notices an interface that went down.
    ///
    /// # Errors
    /// As [`Sink::send_frame`].
    fn tick(&mut self, now: WallTime) -> Result<(), SinkError>;

    /// The numbers so far.
    fn stats(&self) -> SinkStats;

    /// What has happened since the last call, oldest first; the caller logs and counts it.
    fn take_events(&mut self) -> Vec<SinkEvent> {
        Vec::new()
    }

    /// Completes what is open, and waits for it: a capture becomes visible, and all events are there to be
    /// taken. Sending may go on. To be called before the last [`Sink::take_events`]; [`Sink::close`] does it
    /// anyway.
    ///
    /// # Errors
    /// As [`Sink::send_frame`].
    fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()
    }

    /// Flushes, finishes files, closes sockets. What could not be delivered is counted as dropped in the
    /// numbers returned.
    ///
    /// # Errors
    /// The first failure, together with the final numbers.
    fn close(self: Box<Self>) -> Result<SinkStats, CloseError>;
}

/// A sink that failed to close. It displays as [`CloseError::error`].
#[derive(Debug)]
pub struct CloseError {
    /// The final numbers.
    pub stats: Box<SinkStats>,
    /// What failed first.
    pub error: SinkError,
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for CloseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Why a sink cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The guard refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The interface refuses.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The capture directory refuses. A full disk is not among this: see [`SinkEvent::Stalled`].
    #[error(transparent)]
    Rolling(#[from] RollingError),
    /// The pipe or device refuses.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<Tripped> for SinkError {
    fn from(tripped: Tripped) -> SinkError {
        SinkError::Refused(tripped.into())
    }
}

/// The numbers of a sink, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Frames passed to [`Sink::send_frame`].
    pub offered: u64,
    /// Frames that the kernel took.
    pub frames: u64,
    /// Bytes of these frames, Ethernet header included, frame check sequence not.
    pub bytes: u64,
    /// Frames taken but not yet pushed out.
    pub queued: u64,
    /// Frames that went nowhere.
    pub dropped: Drops,
    /// Times that the kernel had no room and a frame was offered to it again (interfaces only).
    pub retries: u64,
    /// The interface's own counters since the sink was opened (interfaces only).
    pub wire: Option<WireCounters>,
    /// What the capture sink has done to files (captures only).
    pub files: Option<FileCounters>,
}

/// The interface's own counters since the sink was opened; they count every sender's frames. Where nothing else
/// sends on the interface, `tx_packets == frames`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounters {
    /// Frames transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Frames that the driver dropped. Those that we offered again are in here too.
    pub tx_dropped: u64,
    /// Frames that failed in the driver.
    pub tx_errors: u64,
}

/// What the capture sink has done to files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCounters {
    /// Captures finished: complete, synced and visible.
    pub finished: u64,
    /// Captures deleted to keep the directory under its cap.
    pub deleted: u64,
    /// Times that writing stopped for want of room.
    pub stalls: u64,
    /// Whether it is stopped now.
    pub stalled: bool,
    /// Bytes of the directory that belong to this prefix, open file included.
    pub directory_bytes: u64,
}

/// What a sink has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkEvent {
    /// A capture is complete and visible, with its label file.
    Finished {
        /// The capture.
        path: PathBuf,
        /// Frames in it.
        frames: u64,
        /// Its length in bytes.
        bytes: u64,
        /// Why it ended.
        why: FinishReason,
    },
    /// An old capture and its label file were deleted to keep the directory under its cap.
    Deleted {
        /// The capture.
        path: PathBuf,
        /// Bytes freed.
        bytes: u64,
    },
    /// Writing stopped: frames are dropped and counted from here on.
    Stalled {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: String,
        /// Frames lost that had been queued for the file.
        lost: u64,
    },
    /// There is room again and writing goes on.
    Resumed {
        /// The directory.
        path: PathBuf,
        /// Frames dropped since [`SinkEvent::Stalled`], those lost then included.
        dropped: u64,
    },
    /// A hidden file of a process that died was completed (it lacked only its last rename) or removed.
    Recovered {
        /// The visible capture, or the hidden file that is gone.
        path: PathBuf,
        /// Its length in bytes.
        bytes: u64,
        /// Whether it is visible now.
        kept: bool,
    },
}

/// Why a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The next frame would have made it too long.
    Bytes,
    /// It had its number of packets.
    Packets,
    /// A multiple of the period has passed on the wall clock.
    Time,
    /// The disk is full.
    Stall,
    /// The sink was closed.
    Close,
}

impl FinishReason {
    /// Value of the metric's `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Bytes => "bytes",
            FinishReason::Packets => "packets",
            FinishReason::Time => "time",
            FinishReason::Stall => "stall",
            FinishReason::Close => "close",
        }
    }
}
