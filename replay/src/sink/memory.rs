//! A sink that keeps what it is sent: for tests and for measuring everything in front of a real sink.

use super::{CloseError, DropReason, Sink, SinkError, SinkStats};
use crate::clock::WallTime;
use crate::guard::Guard;
use crate::rewrite::TestbedFrame;

/// One frame kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When it belonged.
    pub at: WallTime,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Keeps frames in memory, without bound. Guarded like every other sink.
#[derive(Debug)]
pub struct MemorySink {
    guard: Guard,
    kept: Vec<Kept>,
    stats: SinkStats,
}

impl MemorySink {
    /// An empty one.
    pub fn new(guard: Guard) -> MemorySink {
        MemorySink { guard, kept: Vec::new(), stats: SinkStats::default() }
    }

    /// What was sent so far, in order.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Takes out what was sent so far.
    pub fn take(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.kept)
    }
}

impl Sink for MemorySink {
    fn name(&self) -> &str {
        "memory"
    }

    fn send(&mut self, frame: &TestbedFrame, at: WallTime) -> Result<(), SinkError> {
        self.stats.offered += 1;
        if let Err(refusal) = self.guard.admit(frame) {
            self.stats.dropped.add(DropReason::Guard, 1);
            return Err(refusal.into());
        }
        self.stats.frames += 1;
        self.stats.bytes += frame.len() as u64;
        self.kept.push(Kept { at, bytes: frame.bytes().to_vec() });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn tick(&mut self, _now: WallTime) -> Result<(), SinkError> {
        Ok(())
    }

    fn stats(&self) -> SinkStats {
        self.stats
    }

    fn close(self: Box<Self>) -> Result<SinkStats, CloseError> {
        Ok(self.stats)
    }
}
