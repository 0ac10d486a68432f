//! A frame whose checksums could be filled verifies, and filling it again changes nothing; one that could not
//! is as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_wire::checksum::{Check, fill, verify};
use netssm_wire::frame::Layout;

fuzz_target!(|frame: &[u8]| {
    let _ = verify(frame);
    let mut filled = frame.to_vec();
    if fill(&mut filled).is_err() {
        assert_eq!(filled, frame);
        return;
    }
    let checks = verify(&filled);
    assert!(matches!(checks.ipv4, Check::Good | Check::Absent), "{checks:?}");
    if Layout::parse(&filled).fragment().is_none() {
        assert!(matches!(checks.transport, Check::Good | Check::Absent), "{checks:?}");
    }
    let once = filled.clone();
    assert_eq!(fill(&mut filled), Ok(()));
    assert_eq!(filled, once);
});
