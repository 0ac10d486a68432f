//! Frames from fuzz input: a record is a byte that chooses how the frame begins, a length, and that many bytes. The
//! beginnings save the fuzzer from finding Ethernet types and versions by chance.

/// The session that `data` describes.
pub fn frames(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let [start, len, rest @ ..] = data {
        let (bytes, after) = rest.split_at(usize::from(*len).min(rest.len()));
        let start: &[u8] = match start % 10 {
            0 => &[],
            1 => &[8, 0, 0x45],
            2 => &[8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1],
            3 => {
                &[8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 198, 18, 0, 1, 0xc0, 0, 0, 53]
            }
            4 => &[8, 0, 0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 198, 18, 0, 1, 10, 0, 0, 1],
            5 => &[8, 0, 0x46, 0, 0, 40, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 22, 148, 4, 0, 0],
            6 => &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 58, 255],
            7 => &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 6, 64],
            8 => &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            _ => &[0x81, 0, 0, 7, 8, 0, 0x45],
        };
        let macs: &[u8] = if start.is_empty() { &[] } else { &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2] };
        frames.push([macs, start, bytes].concat());
        data = after;
    }
    frames
}
