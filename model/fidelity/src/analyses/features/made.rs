//! Sessions drawn at random, for the tests of classifiers: look-ups and connections whose sizes and gaps come in
//! bursts.

use std::path::PathBuf;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::input::read::Captures;
use crate::side::Side;
use crate::testing::Frames;

/// What kind of service: its port, how long its answers are and how fast it is.
#[derive(Clone, Copy)]
pub(crate) struct TrafficKind {
    pub(crate) port: u16,
    pub(crate) answer: usize,
    pub(crate) gap_us: i64,
}

pub(crate) const WEB: TrafficKind = TrafficKind { port: 443, answer: 1200, gap_us: 2_000 };
pub(crate) const CAMERA: TrafficKind = TrafficKind { port: 8883, answer: 300, gap_us: 40_000 };

/// A session of a few flows: short gaps within a burst, long ones between bursts.
pub(crate) fn session(rng: &mut ChaCha8Rng, kind: TrafficKind) -> Frames {
    let mut frames = Frames::new();
    let mut now = rng.random_range(0..1_000_000);
    let mut wait = |rng: &mut ChaCha8Rng, us: i64| {
        now += rng.random_range(us / 2..us * 3 / 2 + 1);
        now
    };
    for flow in 0..rng.random_range(2..5) {
        let port = 50_000 + flow * 7;
        let asked = wait(rng, kind.gap_us * 10);
        frames.udp(asked, (port + 3, 53), rng.random_range(30..45));
        frames.udp(wait(rng, 9_000), (53, port + 3), rng.random_range(60..200));
        let (mut seq, mut ack) = (1000, 5000);
        frames.tcp(wait(rng, 500), (port, kind.port), "S", (seq, 0), 0);
        frames.tcp(wait(rng, kind.gap_us), (kind.port, port), "SA", (ack, seq + 1), 0);
        (seq, ack) = (seq + 1, ack + 1);
        frames.tcp(wait(rng, 100), (port, kind.port), "A", (seq, ack), 0);
        for _ in 0..rng.random_range(2..6) {
            let question = rng.random_range(100..400);
            frames.tcp(wait(rng, kind.gap_us * 20), (port, kind.port), "PA", (seq, ack), question as usize);
            seq += question;
            for _ in 0..rng.random_range(3..9) {
                let answer = kind.answer + rng.random_range(0..100_usize);
                frames.tcp(wait(rng, 60), (kind.port, port), "A", (ack, seq), answer);
                ack += answer as u32;
            }
            frames.tcp(wait(rng, 60), (port, kind.port), "A", (seq, ack), 0);
        }
    }
    frames
}

/// The same packets at times drawn one by one from the session's own gaps.
pub(crate) fn shuffle_gaps(frames: &mut Frames, rng: &mut ChaCha8Rng) {
    let gaps: Vec<i64> = frames.records.windows(2).map(|p| p[1].time_ns - p[0].time_ns).collect();
    for at in 1..frames.records.len() {
        frames.records[at].time_ns = frames.records[at - 1].time_ns + gaps[rng.random_range(0..gaps.len())];
    }
}

/// As many packets of the same lengths, all bytes drawn at random.
pub(crate) fn random_bytes(frames: &mut Frames, rng: &mut ChaCha8Rng) {
    frames.records.iter_mut().for_each(|record| rng.fill(&mut record.frame[..]));
}

/// The first packets of the sessions in a folder of real captures (`NETSSMD_DATA`). Says so where they are not there;
/// with `NETSSMD_REQUIRE_ALL=1` that is a failure.
pub(crate) fn real(folder: &str, max_packets: u64) -> Option<Side> {
    let dir = std::env::var_os("NETSSMD_DATA").map(|dir| PathBuf::from(dir).join(folder));
    let Some(dir) = dir.filter(|dir| dir.is_dir()) else {
        let required = std::env::var_os("NETSSMD_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "required, but the captures are not there (NETSSMD_DATA)");
        eprintln!("SKIPPED: the captures are not there (NETSSMD_DATA)");
        return None;
    };
    let mut captures = Captures::of(vec![dir]);
    captures.max_packets = max_packets;
    Some(Side::measure(&captures, &()).expect("captures"))
}
