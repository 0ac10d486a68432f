//! Fakes made of real captures: each must fail the measures that it spoils, by more than real traffic differs from real traffic, and
//! no other.
//!
//! | fake | kept | spoilt |
//! |---|---|---|
//! | shuffled | frames and times of a session | which frame comes when |
//! | i.i.d. time | frames and their order | times: gaps drawn one by one from the real ones of the label |

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use netssm_model::fidelity::{Captures, Compared, Distance, Evaluation, Input, Side};
use netssm_wire::capture::Capture;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{captures, data, write_pcap};

/// Packets of a session that are looked at: enough for connections to open, close and overlap, and soon done.
const PACKETS: usize = 400;

/// A capture: time in microseconds and frame.
type Frames = Vec<(u64, Vec<u8>)>;

/// The first packets of every capture below a folder, by path below it.
fn read(folder: &Path) -> BTreeMap<String, Frames> {
    let mut all = BTreeMap::new();
    for path in captures(folder) {
        let Ok(mut capture) = Capture::open(&path) else { continue };
        let mut frames = Frames::new();
        while let Ok(Some(record)) = capture.next_record()
            && frames.len() < PACKETS
        {
            frames.push((u64::try_from(record.time_ns / 1000).expect("since 1970"), record.frame));
        }
        let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
        all.insert(name, frames);
    }
    all
}

/// A side of captures in memory.
fn side(captures: &BTreeMap<String, Frames>) -> Side {
    let dir = tempfile::tempdir().expect("a folder");
    captures.iter().for_each(|(name, frames)| write_pcap(&dir.path().join(name), frames));
    // Drawn gaps may be long; they must not part what is one session on the other side.
    let captures = Captures { silence: None, ..Captures::of(vec![dir.path().to_owned()]) };
    Side::measure(&captures, &()).expect("captures that can be read")
}

fn label(name: &str) -> &str {
    name.split('/').next().expect("a folder")
}

/// The fake against what it was made of, with other real sessions as floor.
struct Judged {
    rows: BTreeMap<&'static str, Compared>,
}

impl Judged {
    fn of(real: &Side, fake: &Side, floor: &Side) -> Self {
        let input = Input::new(real, fake, Some(floor));
        let all = Evaluation::of(&input, &|_| false, &mut |_| true).expect("not stopped");
        Self { rows: all.report.overall }
    }

    fn sizes(&self, row: &str) -> (f64, f64) {
        let row = &self.rows[row];
        (row.distance.expect("a distance").size(), row.floor_distance.expect("a floor").size())
    }

    #[track_caller]
    fn same(&self, rows: &[&str]) {
        let begins = |name: &str| rows.iter().any(|prefix| name.starts_with(prefix));
        for name in self.rows.keys().copied().filter(|name| begins(name)) {
            let distance = self.rows[name].distance.map_or(0.0, |distance| distance.size());
            assert!(distance == 0.0, "{name}: {distance}");
        }
    }

    /// At least `times` as far as real is from real.
    #[track_caller]
    fn fails(&self, rows: &[&str], times: f64) {
        for row in rows {
            let (distance, floor) = self.sizes(row);
            eprintln!("{row}: {distance:.3}, floor {floor:.3}");
            assert!(distance > times * floor, "{row}: {distance}, floor {floor}");
        }
    }

    /// The same for the earth mover's distance, where a few large values decide.
    #[track_caller]
    fn moves(&self, rows: &[&str], times: f64) {
        let emd = |distance: Option<Distance>| match distance {
            Some(Distance::Sample { emd, .. }) => emd,
            other => panic!("{other:?}"),
        };
        for row in rows {
            let (distance, floor) = (emd(self.rows[row].distance), emd(self.rows[row].floor_distance));
            eprintln!("{row}: EMD {distance:.3}, floor {floor:.3}");
            assert!(distance > times * floor, "{row}: {distance}, floor {floor}");
        }
    }
}

#[test]
fn a_shuffled_set_fails_where_order_counts_and_nowhere_else() {
    let Some(dir) = data() else { return };
    let (mut frames, floor) = (read(&dir.join("iot/val")), side(&read(&dir.join("iot/train"))));
    let real = side(&frames);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for frames in frames.values_mut() {
        let (times, mut packets): (Vec<u64>, Vec<Vec<u8>>) = std::mem::take(frames).into_iter().unzip();
        packets.shuffle(&mut random);
        *frames = times.into_iter().zip(packets).collect();
    }
    let judged = Judged::of(&real, &side(&frames), &floor);
    // What packets are there and when any packet comes is as it was.
    judged.same(&["gap.session.all", "lag1.all", "lag1.plain", "burst.packets", "size.all", "session."]);
    judged.same(&["flows.session", "flows.packets", "flows.bytes"]);
    judged.fails(&["order.seq", "order.ack", "order.flows", "handshake.completed", "handshake.flows"], 5.0);
    judged.fails(&["gap.flow.all", "flows.duration", "flows.switch", "flows.run"], 2.0);
}

#[test]
fn independent_gaps_fail_in_the_order_of_time_and_nowhere_else() {
    let Some(dir) = data() else { return };
    let (mut frames, floor) = (read(&dir.join("iot/val")), side(&read(&dir.join("iot/train"))));
    let real = side(&frames);
    let mut pools: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (name, frames) in &frames {
        let gaps = frames.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
        pools.entry(label(name).to_owned()).or_default().extend(gaps);
    }
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for (name, frames) in &mut frames {
        let pool = &pools[label(name)];
        for number in 1..frames.len() {
            frames[number].0 = frames[number - 1].0 + pool[random.random_range(0..pool.len())];
        }
    }
    let judged = Judged::of(&real, &side(&frames), &floor);
    judged.same(&["size.", "order.", "handshake.", "session.packets", "session.bytes"]);
    judged.same(&["flows.session", "flows.packets", "flows.bytes", "flows.switch", "flows.run"]);
    // Right by construction, but for the luck of the draw.
    let (gaps, _) = judged.sizes("gap.session.all");
    assert!(gaps < 0.02, "{gaps}");
    judged.fails(&["lag1.all", "lag1.plain"], 2.0);
    judged.moves(&["burst.packets"], 2.0);
}
