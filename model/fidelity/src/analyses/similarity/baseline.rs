//! Two random generators for comparison, and the real set against itself.
//!
//! *Random bytes*: as many packets as the real set has, every byte of every header of the layout there and drawn
//! uniformly. *Random fields*: the real packets with their structure (which headers, how long, version and protocol)
//! and every other bit drawn uniformly. This is the result of a generator that knows the formats and no values.
//!
//! *Halves*: without a second real set, the sessions of the real one are split into two random halves, label by label,
//! several times, and the halves are compared. They have half the sessions, so this floor is higher than that of a
//! second set of full size.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::counts::{ABSENT, Counts};
use super::nprint::{HEADERS, IPV4, IPV6, TCP, start};
use crate::input::session::CapturedSession;

/// Random bytes are drawn so many at a time.
const BLOCK: usize = 4096;

/// Uniform bytes for `packets` packets.
pub(super) fn random_bytes(packets: u64, seed: u64) -> Counts {
    let mut random = Random::new(seed, 0);
    let mut counts = Counts { packets, headers: [packets; HEADERS.len()], ..Counts::default() };
    for byte in &mut counts.bytes {
        (0..packets).for_each(|_| byte[usize::from(random.byte())] += 1);
    }
    counts
}

/// Uniform bytes of TCP headers alone.
pub(super) fn random_tcp(packets: u64, seed: u64) -> Counts {
    let mut random = Random::new(seed, 0);
    let mut counts = Counts::default();
    counts.headers[TCP] = packets;
    for byte in &mut counts.bytes[start(TCP)..][..HEADERS[TCP].len] {
        (0..packets).for_each(|_| byte[usize::from(random.byte())] += 1);
    }
    counts
}

/// The structure of `real` with uniform values.
pub(super) fn random_fields(real: &Counts, seed: u64) -> Counts {
    let mut random = Random::new(seed, 1);
    let mut counts = real.clone();
    for (header, about) in HEADERS.iter().enumerate() {
        for byte in 0..about.len {
            let kept = structure(header, byte);
            let values = &mut counts.bytes[start(header) + byte];
            let real = *values;
            values[..ABSENT].fill(0);
            for (value, count) in (0..=u8::MAX).zip(real) {
                (0..count).for_each(|_| values[usize::from(value & kept | random.byte() & !kept)] += 1);
            }
        }
    }
    counts
}

/// The bits of a byte that say what follows, and how much.
fn structure(header: usize, byte: usize) -> u8 {
    match (header, byte) {
        (IPV4, 0) => 0xff,             // version and header length
        (IPV4, 9) | (IPV6, 6) => 0xff, // protocol, next header
        (IPV6, 0) => 0xf0,             // version
        (TCP, 12) => 0xf0,             // data offset
        _ => 0,
    }
}

/// Both halves of the sessions, label by label, shuffled by `seed` and `split`. Of a label with one session, one half
/// has none.
pub(super) fn halves<'a>(
    sessions: &BTreeMap<Option<&'a str>, Vec<&'a CapturedSession>>,
    seed: u64,
    split: u64,
) -> [BTreeMap<Option<&'a str>, Vec<&'a CapturedSession>>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(2 + split); // 0 and 1 are the random packets
    let mut halves = [BTreeMap::new(), BTreeMap::new()];
    let mut next = 0; // alternates on over the labels, so that the halves are equal
    for (label, sessions) in sessions {
        let mut shuffled = sessions.clone();
        shuffled.shuffle(&mut rng);
        for session in shuffled {
            halves[next].entry(*label).or_insert_with(Vec::new).push(session);
            next = 1 - next;
        }
    }
    halves
}

/// Uniform bytes from a seed.
struct Random {
    rng: ChaCha8Rng,
    block: [u8; BLOCK],
    at: usize,
}

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, block: [0; BLOCK], at: BLOCK }
    }

    fn byte(&mut self) -> u8 {
        if self.at == BLOCK {
            self.rng.fill_bytes(&mut self.block);
            self.at = 0;
        }
        self.at += 1;
        self.block[self.at - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::nprint::UDP;
    use super::*;
    use crate::testing::Frames;

    fn real() -> Vec<CapturedSession> {
        let mut frames = Frames::new();
        for i in 0..200 {
            frames.handshake(100 * i, 50_000 + i as u16);
        }
        vec![frames.session("x")]
    }

    #[test]
    fn random_bytes_are_everywhere() {
        let counts = random_bytes(5_120, 7);
        assert_eq!(counts, random_bytes(5_120, 7));
        for byte in &counts.bytes {
            assert_eq!((byte.iter().sum::<u64>(), byte[ABSENT]), (5_120, 0));
            assert!(byte[..ABSENT].iter().all(|count| (1..60).contains(count)), "uniform");
        }
        assert_ne!(counts, random_bytes(5_120, 8));
    }

    #[test]
    fn random_fields_keep_the_structure() {
        let sessions = real();
        let real = Counts::of(&[&sessions[0]], &Options::default());
        let counts = random_fields(&real, 7);
        assert_eq!((counts.headers, counts.mix, counts.packets), (real.headers, real.mix, real.packets));
        assert_eq!(counts.byte(IPV4, 0), real.byte(IPV4, 0));
        assert_eq!(counts.byte(IPV4, 9), real.byte(IPV4, 9));
        let offsets: u64 = (0..16).map(|low| counts.byte(TCP, 12)[0x50 | low]).sum();
        assert_eq!(offsets, 600);
        for at in 0..60 {
            assert_eq!(counts.byte(TCP, at)[ABSENT], real.byte(TCP, at)[ABSENT], "{at}");
        }
        assert!(counts.byte(TCP, 13).iter().filter(|count| **count > 0).count() > 100, "any flags");
        assert_eq!(counts.byte(UDP, 0).iter().sum::<u64>(), 0);
    }

    #[test]
    fn halves_share_no_session_and_have_the_same_labels() {
        let make = |label| {
            let mut frames = Frames::new();
            frames.handshake(0, 50_001);
            frames.session(label)
        };
        let sessions: Vec<CapturedSession> =
            (0..11).map(|i| make(if i % 2 == 0 { "a" } else { "b" })).collect();
        let mut by_label = BTreeMap::<_, Vec<_>>::new();
        sessions.iter().for_each(|s| by_label.entry(s.label.as_deref()).or_default().push(s));
        let sizes =
            |half: &BTreeMap<_, Vec<&CapturedSession>>| half.values().map(Vec::len).collect::<Vec<_>>();
        let [one, two] = halves(&by_label, 1, 0);
        assert_eq!((sizes(&one), sizes(&two)), (vec![3, 3], vec![3, 2]));
        for there in one.values().flatten() {
            assert!(!two.values().flatten().any(|here| std::ptr::eq(*here, *there)));
        }
        let same = |a: &[&CapturedSession], b: &[&CapturedSession]| {
            a.iter().zip(b).all(|(a, b)| std::ptr::eq(*a, *b))
        };
        assert!(same(&one[&Some("a")], &halves(&by_label, 1, 0)[0][&Some("a")]));
        let other = (1..9).any(|split| !same(&one[&Some("a")], &halves(&by_label, 1, split)[0][&Some("a")]));
        assert!(other, "splits differ");
    }
}
