//! The far end of a wire: captures everything that arrives, with a buffer that loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::netns::Netns;

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
            let capture = capture.promisc(true).snaplen(65_535).buffer_size(256 << 20).timeout(50);
            let mut capture = capture.open().unwrap();
            ready.send(()).unwrap();
            let mut frames = Vec::new();
            loop {
                match capture.next_packet() {
                    Ok(packet) => frames.push(packet.data.to_vec()),
                    // All that was sent before the stop has been handed over when a wait ends empty after it.
                    Err(pcap::Error::TimeoutExpired) if stopped.load(Ordering::Acquire) => break,
                    Err(pcap::Error::TimeoutExpired) => {}
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
