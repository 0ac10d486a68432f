//! Frames on their way to the kernel, and how to wait when it has no room.

use std::time::Duration;

use crate::clock::{Clock, MonoTime};

/// First and longest pause before a refused frame is offered again. A veth's far end is emptied within tens
/// of microseconds once the kernel gets to run; a NIC's queue of 1000 long frames drains in 1.2 ms at 10
/// Gb/s.
const FIRST_PAUSE: Duration = Duration::from_micros(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// Frames waiting for the next system call, end to end in one buffer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) arena: Vec<u8>,
    /// Where each frame ends.
    pub(super) ends: Vec<usize>,
}

impl Batch {
    pub(super) fn push(&mut self, frame: &[u8]) {
        self.arena.extend_from_slice(frame);
        self.ends.push(self.arena.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
    }
}

/// How long the kernel has had no room, and how long to pause next.
#[derive(Debug, Default)]
pub(super) struct Wait {
    since: Option<MonoTime>,
    pause: Duration,
}

impl Wait {
    /// Pauses, a little longer each time; `Err` with the time waited when patience is at its end.
    pub(super) fn pause(&mut self, clock: &dyn Clock, patience: Duration) -> Result<(), Duration> {
        let now = clock.now();
        let waited = now.since(*self.since.get_or_insert(now));
        if waited >= patience {
            return Err(waited);
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        clock.sleep_until(now + self.pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MockClock, WallTime};

    #[test]
    fn frames_lie_end_to_end() {
        let mut batch = Batch::default();
        batch.push(&[1, 2, 3]);
        batch.push(&[4]);
        assert_eq!((batch.len(), batch.start(0), batch.start(1), batch.start(2)), (2, 0, 3, 4));
        assert_eq!(batch.arena, [1, 2, 3, 4]);
        batch.clear();
        assert_eq!((batch.len(), batch.arena.len()), (0, 0));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_patience_ends() {
        let clock = MockClock::new(MonoTime(0), WallTime(0));
        let mut wait = Wait::default();
        let patience = Duration::from_millis(20);
        let mut pauses = Vec::new();
        let waited = loop {
            let before = clock.now();
            match wait.pause(&clock, patience) {
                Ok(()) => pauses.push(clock.now().since(before)),
                Err(waited) => break waited,
            }
        };
        assert_eq!(pauses[..3], [10, 20, 40].map(Duration::from_micros));
        assert!(pauses.iter().all(|&p| p <= LONGEST_PAUSE) && pauses.last() == Some(&LONGEST_PAUSE));
        assert!(waited >= patience && waited < patience + LONGEST_PAUSE, "{waited:?}");
    }
}
