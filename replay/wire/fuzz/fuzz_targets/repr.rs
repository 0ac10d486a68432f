//! Whole frames as values: emit is the inverse of parse, and reading again gives the same values.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_wire::packet::FrameRepr;

fuzz_target!(|frame: &[u8]| {
    let repr = FrameRepr::parse(frame);
    let bytes = repr.emit();
    assert_eq!(bytes, frame);
    assert_eq!(FrameRepr::parse(&bytes), repr);
    let mut repr = repr;
    if let Some(ip) = repr.ip_mut() {
        ip.set_lengths();
        let _ = repr.emit();
    }
});
