//! A file of any bytes gives records and then an end or an error; each record keeps what `Record` promises.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use netssm_wire::capture::{Capture, LinkType, to_ethernet};
use netssm_wire::frame::Layout;

fuzz_target!(|bytes: &[u8]| {
    // Link headers on their own, since few mutations of a file get that far.
    if let [number, data @ ..] = bytes {
        let links = [0, 1, 12, 108, 113, 228, 229, 276];
        let link = LinkType::from_number(links[usize::from(*number) % links.len()]).expect("in the list");
        if let Some((frame, wire_len)) = to_ethernet(link, data, u32::from(*number)) {
            assert!(wire_len as usize >= frame.len());
            let _ = Layout::parse(&frame);
        }
    }
    // libpcap reads files only; /dev/shm keeps them off the disk.
    let path = PathBuf::from(format!("/dev/shm/netssm-wire-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("/dev/shm is writable");
    if let Ok(mut capture) = Capture::open(&path) {
        while let Ok(Some(record)) = capture.next_record() {
            assert!(record.wire_len as usize >= record.frame.len());
            assert!(record.frame.len() <= bytes.len() + 14);
            let _ = Layout::parse(&record.frame);
        }
        assert!(matches!(capture.next_record(), Ok(None)));
    }
    let _ = std::fs::remove_file(&path);
});
