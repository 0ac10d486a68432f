//! A capture into something that is already there: a pipe, a terminal's redirection, a character device.
//!
//! The bytes are those of a capture file (pcap, nanosecond times, Ethernet), written as frames come. Nothing can be
//! renamed, cut back or synced here, so there is no label file and no protection against a reader that goes away: then
//! writing fails, and what was queued counts as dropped.

use std::io::{self, Write};

use super::{CloseError, DropReason, Sink, SinkError, SinkStats};
use crate::clock::WallTime;
use crate::guard::Guard;
use crate::rewrite::TestbedFrame;

/// First field of a pcap file whose times have nanoseconds, in the byte order of the rest.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// Version of the pcap format.
const VERSION: (u16, u16) = (2, 4);
/// Longest record that the header promises: the same as in our capture files, so that the bytes are equal.
const SNAPLEN: u32 = 65_535;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// Bytes collected before a write: a pipe of the default size takes this much at once.
const CHUNK: usize = 64 * 1024;

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {name}")]
pub struct StreamError {
    /// What the stream was called by the user.
    pub name: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Writes a capture into `W`.
#[derive(Debug)]
pub struct StreamSink<W> {
    name: String,
    to: W,
    guard: Guard,
    buffer: Vec<u8>,
    /// Bytes of the frames in `buffer`, without record headers.
    queued_bytes: u64,
    stats: SinkStats,
}

impl<W: Write + Send> StreamSink<W> {
    /// A capture into `to`, which messages call `name`. The file header is written with the first frames.
    pub fn new(name: impl Into<String>, to: W, guard: Guard) -> StreamSink<W> {
        let mut buffer = Vec::with_capacity(2 * CHUNK);
        buffer.extend(MAGIC_NANOSECONDS.to_ne_bytes());
        buffer.extend(VERSION.0.to_ne_bytes());
        buffer.extend(VERSION.1.to_ne_bytes());
        buffer.extend([0; 8]); // time zone and accuracy, which nobody uses
        buffer.extend(SNAPLEN.to_ne_bytes());
        buffer.extend(ETHERNET.to_ne_bytes());
        StreamSink { name: name.into(), to, guard, buffer, queued_bytes: 0, stats: SinkStats::default() }
    }

    fn push(&mut self) -> Result<(), SinkError> {
        if self.stats.queued == 0 {
            return Ok(());
        }
        let written = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
        self.buffer.clear();
        let (frames, bytes) = (self.stats.queued, self.queued_bytes);
        (self.stats.queued, self.queued_bytes) = (0, 0);
        match written {
            Ok(()) => {
                self.stats.frames += frames;
                self.stats.bytes += bytes;
                Ok(())
            }
            Err(source) => {
                self.stats.dropped.add(DropReason::Stream, frames);
                Err(StreamError { name: self.name.clone(), source }.into())
            }
        }
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn name(&self) -> &str {
        "pcap"
    }

    fn send_frame(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.stats.offered += 1;
        if let Err(refusal) = self.guard.admit_frame(frame) {
            self.stats.dropped.add(DropReason::Guard, 1);
            return Err(refusal.into());
        }
        let Ok(seconds) = u32::try_from(at.secs()) else {
            self.stats.dropped.add(DropReason::Time, 1);
            return Ok(());
        };
        let length = frame.len() as u32; // the rewriter makes no frame above 64 KiB
        for field in [seconds, at.subsec_nanos(), length, length] {
            self.buffer.extend(field.to_ne_bytes());
        }
        self.buffer.extend(frame.bytes());
        self.stats.queued += 1;
        self.queued_bytes += frame.len() as u64;
        if self.buffer.len() >= CHUNK { self.push() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.push()
    }

    fn tick(&mut self, _now: WallTime) -> Result<(), SinkError> {
        Ok(())
    }

    fn stats(&self) -> SinkStats {
        self.stats
    }

    fn close(mut self: Box<Self>) -> Result<SinkStats, CloseError> {
        let pushed = self.push().and_then(|()| {
            // As a file without packets never appears, a stream without packets is no success either.
            if self.stats.frames > 0 {
                return Ok(());
            }
            let source = io::Error::other("not a single packet was there to be written");
            Err(StreamError { name: self.name.clone(), source }.into())
        });
        let stats = self.stats;
        pushed.map(|()| stats).map_err(|error| CloseError { stats: Box::new(stats), error })
    }
}
