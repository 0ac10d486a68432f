//! The far end of a wire: captures everything that arrives, with a buffer that loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use netssm_replay::clock::{Clock, SystemClock};

use super::netns::Netns;

/// A block of the ring is handed over when it is full or this old.
const RETIRE_MS: i32 = 20;
/// Quiet after which nothing more is under way.
const QUIET: Duration = Duration::from_millis(150);

/// A capture that runs until it is stopped.
pub struct FarEnd {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl FarEnd {
    /// Captures on an interface of `namespace`; returns when it listens.
    pub fn listen(namespace: &Netns, interface: &'static str) -> FarEnd {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = namespace.spawn(move || {
            let capture = pcap::Capture::from_device(interface).unwrap();
            let capture = capture.promisc(true).snaplen(65_535).buffer_size(256 << 20).timeout(RETIRE_MS);
            // Without blocking: libpcap's wait does not end by itself while nothing arrives.
            let mut capture = capture.open().unwrap().setnonblock().unwrap();
            ready.send(()).unwrap();
            let clock = SystemClock::new();
            let (mut frames, mut last) = (Vec::new(), clock.now());
            loop {
                match capture.next_packet() {
                    Ok(packet) => {
                        frames.push(packet.data.to_vec());
                        last = clock.now();
                    }
                    Err(pcap::Error::TimeoutExpired) => {
                        if !stopped.load(Ordering::Acquire) {
                            last = clock.now();
                        } else if clock.now().since(last) > QUIET {
                            break;
                        }
                        clock.sleep_until(clock.now() + Duration::from_millis(2));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            let stats = capture.stats().unwrap();
            assert_eq!((stats.dropped, stats.if_dropped), (0, 0), "the capture itself must lose nothing");
            frames
        });
        is_ready.recv().unwrap();
        FarEnd { stop, thread }
    }

    /// Stops and gives what arrived, in order.
    pub fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}
