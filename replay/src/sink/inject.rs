//! How fast a sink takes frames: what `netssmd bench inject` and the bench of this crate measure with.

use std::time::Duration;

use super::{Sink, SinkError};
use crate::clock::{Clock, WallTime};
use crate::rewrite::TestbedFrame;

/// What one run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Frames that the kernel took in the run.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long that took, the last flush included.
    pub elapsed: Duration,
}

impl Measurement {
    /// Frames a second.
    pub fn pps(&self) -> f64 {
        self.frames as f64 / self.elapsed.as_secs_f64()
    }

    /// Bits a second, as the frames are long: without preamble, gap and frame check sequence.
    pub fn bps(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.elapsed.as_secs_f64()
    }
}

/// Sends `total` frames at top speed, going round `frames` in order, and flushes. The guard looks at each one
/// as always.
///
/// # Errors
/// Those of [`Sink::send_frame`] and [`Sink::flush`]. With no `frames` nothing is sent.
pub fn measure(
    sink: &mut dyn Sink,
    frames: &[TestbedFrame],
    total: u64,
    clock: &dyn Clock,
) -> Result<Measurement, SinkError> {
    let before = sink.stats();
    let start = clock.now();
    if !frames.is_empty() {
        let rounds = frames.iter().cycle().take(usize::try_from(total).unwrap_or(usize::MAX));
        for frame in rounds {
            sink.send_frame(frame, WallTime(0))?;
        }
    }
    sink.flush()?;
    let elapsed = clock.now().since(start);
    let after = sink.stats();
    Ok(Measurement { frames: after.frames - before.frames, bytes: after.bytes - before.bytes, elapsed })
}
