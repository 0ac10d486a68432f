//! Fakes made of real captures: each must fail the measures that it spoils, by more than real traffic differs from real
//! traffic, and no other.
//!
//! | fake | kept | spoilt |
//! |---|---|---|
//! | shuffled | frames and times of a session | which frame comes when |
//! | i.i.d. time | frames and their order | times: gaps drawn one by one from the real ones of the label |
//! | random bytes | times, lengths, hosts and protocols | every other byte of the headers |
//! | copy | everything | nothing but that it is no new session |

#[path = "../../tokens/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use netssm_fidelity::analyses::{memorise, similarity};
use netssm_fidelity::{Captures, Compared, Distance, Evaluation, Input, Side};
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

/// The mean distance over the bytes of a header.
fn header(compared: &similarity::Compared, name: &str) -> f64 {
    compared.headers[name].seen.expect("packets with the header on both sides").jsd
}

#[test]
fn random_bytes_fail_in_what_headers_say_and_not_in_how_much_comes_when() {
    let Some(dir) = data() else { return };
    let (mut frames, floor) = (read(&dir.join("iot/val")), side(&read(&dir.join("iot/train"))));
    let real = side(&frames);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for (_, frame) in frames.values_mut().flatten() {
        if frame.len() < 34 || frame[12..15] != [8, 0, 0x45] {
            continue;
        }
        for (place, byte) in frame.iter_mut().enumerate().skip(15) {
            // Length, fragment, protocol and addresses stay.
            if !matches!(place, 16 | 17 | 20 | 21 | 23 | 26..34) {
                *byte = random.random();
            }
        }
    }
    let fake = side(&frames);
    let judged = Judged::of(&real, &fake, &floor);
    judged.same(&["gap.session.all", "lag1.all", "burst.packets", "size.all", "session."]);
    // Ports are part of the flow: every packet is one of its own, and nothing follows anything.
    judged.fails(&["flows.session", "flows.packets", "gap.session.forward"], 2.0);
    assert!(judged.rows["order.seq"].distance.is_none() || judged.sizes("order.seq").0 > 0.3);
    let input = Input::new(&real, &fake, Some(&floor));
    let wanted = |name: &str| matches!(name, "similarity" | "discriminate");
    let all = Evaluation::of(&input, &wanted, &mut |_| true).expect("not stopped");
    let similarity = all.similarity.expect("asked for");
    let of_floor = similarity.floor.expect("a second set");
    for name in ["tcp", "udp"] {
        let (distance, floor) = (header(&similarity.compared, name), header(&of_floor, name));
        eprintln!("similarity of {name}: {distance:.3}, floor {floor:.3}");
        // Sequence numbers, windows and checksums of real headers are as good as random already.
        assert!(distance > 2.0 * floor, "{name}: {distance}, floor {floor}");
    }
    let told = all.discriminate.expect("asked for").synthetic.by_session.expect("enough sessions");
    assert!(told.auc > 0.95 && told.apart, "{told:?}");
}

#[test]
fn a_copy_fails_as_one_and_nowhere_else() {
    let Some(dir) = data() else { return };
    let (frames, floor) = (read(&dir.join("iot/val")), side(&read(&dir.join("iot/train"))));
    let (real, copy) = (side(&frames), side(&frames));
    let judged = Judged::of(&real, &copy, &floor);
    judged.same(&[""]);
    let mut input = Input::new(&real, &copy, Some(&floor));
    input.memorise = memorise::Options { training: Some(&real), ..memorise::Options::default() };
    let wanted = |name: &str| matches!(name, "similarity" | "discriminate" | "memorise");
    let all = Evaluation::of(&input, &wanted, &mut |_| true).expect("not stopped");
    assert!(all.gate().is_err());
    let similarity = all.similarity.expect("asked for");
    for name in ["tcp", "udp"] {
        assert!(header(&similarity.compared, name).abs() < 1e-9, "{name}");
    }
    let told = all.discriminate.expect("asked for").synthetic.by_session.expect("enough sessions");
    assert!(!told.apart && told.auc < 0.6, "{told:?}");
    let memorising = all.memorise.expect("asked for");
    assert!(!memorising.runs.is_empty() && !memorising.neighbours.is_empty());
    assert!(memorising.runs.iter().all(|runs| runs.copied == Some(true)), "{:?}", memorising.runs);
    assert!(memorising.neighbours.iter().all(|level| level.copied == Some(true)));
}
