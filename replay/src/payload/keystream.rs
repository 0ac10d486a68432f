//! Pseudo-random bytes that can be read from any offset.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One of 2^64 byte streams of a key, made by ChaCha with 8 rounds.
///
/// Reading on from where the last read ended costs nothing extra; any other offset costs one block.
///
/// ```
/// use netssm_replay::payload::Keystream;
/// let mut stream = Keystream::new(7);
/// let (mut whole, mut part) = ([0; 100], [0; 30]);
/// stream.fill(1, 0, &mut whole);
/// stream.fill(1, 55, &mut part);
/// assert_eq!(whole[55..85], part);
/// ```
#[derive(Clone, Debug)]
pub struct Keystream {
    rng: ChaCha8Rng,
    stream: u64,
    /// Offset that the generator stands at, when that is at a word's start.
    at: Option<u64>,
}

/// The generator counts in words of this many bytes.
const WORD: u64 = 4;

impl Keystream {
    /// The streams of one key.
    pub fn new(key: u64) -> Keystream {
        Keystream { rng: ChaCha8Rng::seed_from_u64(key), stream: 0, at: Some(0) }
    }

    /// Fills `out` with the bytes of `stream` from `offset` on.
    pub fn fill(&mut self, stream: u64, offset: u64, out: &mut [u8]) {
        if out.is_empty() {
            return;
        }
        if self.stream != stream {
            self.rng.set_stream(stream);
            (self.stream, self.at) = (stream, None);
        }
        if self.at != Some(offset) {
            self.rng.set_word_pos(u128::from(offset / WORD));
        }
        let skip = (offset % WORD) as usize;
        let mut rest = &mut *out;
        if skip > 0 {
            let word = self.rng.next_u32().to_le_bytes();
            let (head, tail) = rest.split_at_mut(rest.len().min(WORD as usize - skip));
            head.copy_from_slice(&word[skip..skip + head.len()]);
            rest = tail;
        }
        self.rng.fill_bytes(rest);
        let end = offset.wrapping_add(out.len() as u64);
        self.at = end.is_multiple_of(WORD).then_some(end);
    }
}

/// Maps each byte to one of 0x50 to 0x5f and 0x70 to 0x7f.
///
/// Protocol detectors that guess from content look for small numbers, for 0x80 and above, or for words; none of
/// Wireshark's takes such bytes for a protocol of its own. [`ports`](super::ports) says how this was found.
pub(super) fn mask(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = *byte & 0x2f | 0x50;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_a_window_on_the_same_bytes() {
        let mut stream = Keystream::new(99);
        let mut whole = vec![0; 3000];
        stream.fill(5, 0, &mut whole);
        for (from, len) in
            [(0, 1), (1, 3), (3, 2), (2, 1000), (1002, 1), (1003, 700), (2999, 1), (255, 258), (0, 0)]
        {
            let mut part = vec![0; len];
            stream.fill(5, from as u64, &mut part);
            assert_eq!(part, whole[from..from + len], "{from}+{len}");
        }
        let mut again = vec![0; 3000];
        let mut at = 0;
        for len in [4, 1, 1, 2, 1460, 0, 1460, 72] {
            stream.fill(5, at as u64, &mut again[at..at + len]);
            at += len;
        }
        assert_eq!(again, whole);
    }

    #[test]
    fn streams_and_keys_differ() {
        let read = |key, stream| {
            let mut out = [0; 16];
            Keystream::new(key).fill(stream, 0, &mut out);
            out
        };
        assert_ne!(read(1, 0), read(2, 0));
        assert_ne!(read(1, 0), read(1, 1));
        assert_eq!(read(1, 1), read(1, 1));
        let mut stream = Keystream::new(1);
        let (mut a, mut b) = ([0; 5], [0; 5]);
        stream.fill(1, 0, &mut a);
        stream.fill(0, 0, &mut b);
        assert_eq!((&a[..], &b[..]), (&read(1, 1)[..5], &read(1, 0)[..5]));
    }
}
