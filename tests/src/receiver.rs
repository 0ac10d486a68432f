//! The far end of the veth pair: counts and keeps every frame that arrives, and proves that none was lost.
//!
//! libpcap reads the frames, without the product's code. Stopping is exact: after the order to stop, the receiver ends
//! only when it has read nothing for several times as long as the kernel may hold a frame back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::netns::Namespace;
use crate::wait::{Stopwatch, pause};

/// Size of the kernel's buffer, 256 MiB: enough for 100,000 full frames that arrive before the reader gets a core.
const BUFFER_BYTES: i32 = 256 << 20;
/// The kernel hands a block of frames over when the block is full, or after this time in milliseconds (TPACKET_V3).
const BLOCK_TIMEOUT_MS: i32 = 20;
/// After the order to stop, this much silence means that no block is still open.
const SILENCE: Duration = Duration::from_millis(200);

/// Listens on an interface until [`Receiver::finish`].
#[derive(Debug)]
pub struct Receiver {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Received>,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Number of frames.
    pub packets: u64,
    /// Bytes of these frames on the wire, from the Ethernet header on.
    pub bytes: u64,
    /// The capture that holds all of them.
    pub file: PathBuf,
}

impl Receiver {
    /// Starts to listen on `interface` in `namespace` and to write to `file`. When this returns, it listens.
    ///
    /// # Panics
    /// If the interface cannot be opened or the file cannot be created.
    #[must_use]
    pub fn start(namespace: &Namespace, interface: &str, file: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, file) = (Arc::clone(&stop), file.to_path_buf());
        let (opened, is_open) = mpsc::channel();
        let interface = interface.to_owned();
        // The socket stays in the namespace in which it was opened, whichever thread reads it.
        let capture = namespace.within(|| {
            pcap::Capture::from_device(interface.as_str())
                .expect("a capture handle")
                .promisc(true)
                .snaplen(262_144)
                .buffer_size(BUFFER_BYTES)
                .timeout(BLOCK_TIMEOUT_MS)
                .open()
                // A blocking read on a TPACKET_V3 ring returns only when there is a frame, see pcap(3), "timeout".
                .and_then(pcap::Capture::setnonblock)
                .unwrap_or_else(|error| panic!("listen on {interface}: {error}"))
        });
        let thread = std::thread::spawn(move || {
            opened.send(()).expect("the starter waits");
            listen(capture, &file, &told)
        });
        is_open.recv().expect("the receiver has started");
        Self { stop, thread }
    }

    /// Reads all frames that have arrived, and stops.
    ///
    /// # Panics
    /// If the kernel dropped a frame because the reader was too slow. No count would mean anything then.
    #[must_use]
    pub fn finish(self) -> Received {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(received) => received,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn listen(mut capture: pcap::Capture<pcap::Active>, file: &Path, stop: &AtomicBool) -> Received {
    let mut writer = capture.savefile(file).unwrap_or_else(|e| panic!("make {}: {e}", file.display()));
    let (mut packets, mut bytes) = (0, 0);
    let mut last_frame = Stopwatch::start();
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        match capture.next_packet() {
            Ok(packet) => {
                packets += 1;
                bytes += u64::from(packet.header.len);
                writer.write(&packet);
                last_frame = Stopwatch::start();
            }
            Err(pcap::Error::TimeoutExpired) if stopping && last_frame.elapsed() > SILENCE => break,
            Err(pcap::Error::TimeoutExpired) => {
                if !stopping {
                    last_frame = Stopwatch::start(); // silence counts from the stop on
                }
                pause(Duration::from_millis(1));
            }
            Err(error) => panic!("read from the far end: {error}"),
        }
    }
    writer.flush().expect("write the far end's capture");
    let stats = capture.stats().expect("libpcap's own counters");
    assert_eq!((stats.dropped, stats.if_dropped), (0, 0), "the receiver lost frames: {stats:?}");
    Received { packets, bytes, file: file.to_path_buf() }
}
