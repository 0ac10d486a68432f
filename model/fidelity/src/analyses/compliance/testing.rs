//! Segments with options, by hand.

use crate::testing::Frames;

/// As [`Frames::tcp`] without data, with option bytes, a multiple of 4.
pub(super) fn with_options(
    frames: &mut Frames,
    at_us: i64,
    ports: (u16, u16),
    letters: &str,
    numbers: (u32, u32),
    options: &[u8],
) {
    assert!(options.len().is_multiple_of(4));
    frames.tcp(at_us, ports, letters, numbers, 0);
    let record = frames.records.last_mut().expect("just added");
    record.frame.extend_from_slice(options);
    record.wire_len = record.frame.len() as u32;
    let length = (record.frame.len() - 14) as u16;
    record.frame[16..18].copy_from_slice(&length.to_be_bytes());
    record.frame[46] = (5 + options.len() as u8 / 4) << 4;
}
