//! The measure over sides made by hand: it says 0 for the same, much for random bytes, and feels the seed packet.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::page::Item;
use crate::testing::Frames;

/// Sessions of `flows` connections, with labels in turn.
fn sessions(count: u16, flows: u16, labels: &[&str]) -> Vec<CapturedSession> {
    let session = |i: u16| {
        let mut frames = Frames::new();
        for flow in 0..flows {
            frames.handshake(100 * i64::from(flow), 50_000 + 10 * i + flow);
            frames.tcp(100 * i64::from(flow) + 50, (50_000 + 10 * i + flow, 443), "PA", (101, 501), 300);
        }
        frames.udp(9_000, (40_000 + i, 53), 30);
        frames.session(labels[usize::from(i) % labels.len()])
    };
    (0..count).map(session).collect()
}

fn tcp(compared: &Compared) -> Distances {
    compared.headers["tcp"].bytes.expect("tcp on both sides")
}

const ZERO: Distances = Distances { jsd: 0.0, tvd: 0.0, hd: 0.0 };

#[test]
fn identical_sides_have_no_distance() {
    let real = Side::of(sessions(12, 3, &["a", "b"]));
    let got = analyse(&real, &real, Some(&real), &Options::default());
    let zero = |compared: &Compared| {
        assert_eq!((compared.mix, compared.all_headers), (Some(ZERO), Some(ZERO)));
        for name in ["ipv4", "tcp", "udp"] {
            let header = &compared.headers[name];
            for mean in [header.bytes, header.seen, header.by_field, header.by_bit] {
                assert_eq!(mean, Some(ZERO), "{name}");
            }
            assert!(header.fields.values().all(|distances| *distances == ZERO), "{name}");
        }
    };
    zero(&got.compared);
    zero(got.floor.as_ref().expect("a floor"));
    zero(got.label_mean.as_ref().expect("labels"));
    assert_eq!(got.labels.keys().collect::<Vec<_>>(), ["a", "b"]);
    got.labels.values().for_each(|label| zero(&label.compared));
    let [of_real, of_synthetic] = &got.ones["tcp"];
    assert_eq!((of_real, of_real.len()), (of_synthetic, 160));
    assert_eq!(got.floor_from, Some(FloorFrom::SecondSet));
    assert!(got.chapter().verdict.contains("0.000 / 0.000 / 0.000"), "{}", got.chapter().verdict);
}

#[test]
fn random_bytes_fail_strongly() {
    let real = Side::of(sessions(40, 4, &["a"]));
    // As captures: the Ethernet and IP headers can be read, everything in TCP is random but a legal offset.
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let random = (0..40).map(|_| {
        let mut frames = Frames::new();
        for at in 0..16 {
            frames.tcp(at, (50_000, 443), "A", (1, 1), 60);
        }
        for record in &mut frames.records {
            rng.fill_bytes(&mut record.frame[34..]);
            record.frame[46] |= 0x50;
        }
        frames.session("a")
    });
    let got = analyse(&real, &Side::of(random.collect()), None, &Options::default());
    let (far, floor) = (tcp(&got.compared), tcp(got.floor.as_ref().expect("halves")));
    assert!(far.tvd > 0.6 && far.jsd > 0.5 && far.hd > 0.6, "{far:?}");
    assert!(floor.tvd < 0.1 * far.tvd, "{floor:?}");
    // Of the option bytes that random data offsets make, each is absent in some packets as in the real ones.
    let seen = got.compared.headers["tcp"].seen.expect("tcp on both sides");
    assert!(seen.tvd >= far.tvd, "{seen:?}");
    // The baselines: random bytes are apart everywhere; random fields are better, as they have the options right.
    let bytes = tcp(got.random_bytes.as_ref().expect("a baseline"));
    let fields = tcp(got.random_fields.as_ref().expect("a baseline"));
    assert!(bytes.tvd > 0.95 && bytes.jsd > 0.8 && bytes.hd > 0.9, "{bytes:?}");
    assert!(fields.tvd < 0.5 && fields.tvd > 3.0 * floor.tvd, "{fields:?}");
}

#[test]
fn the_seed_packet_can_be_left_out() {
    let make = |seed: &str, rest: &str| {
        let mut frames = Frames::new();
        frames.tcp(0, (50_001, 443), seed, (1, 2), 0);
        frames.tcp(9, (50_001, 443), rest, (1, 2), 0);
        Side::of(vec![frames.session("a")])
    };
    let of = |synthetic: &Side, skip| {
        let got = analyse(&make("S", "A"), synthetic, None, &Options { skip, ..Options::default() });
        got.compared.headers["tcp"].fields["tcp_syn"].tvd
    };
    // The same seed hides half of the difference; another seed is all of it.
    assert_eq!((of(&make("S", "S"), 0), of(&make("S", "S"), 1)), (0.5, 1.0));
    assert_eq!((of(&make("A", "A"), 0), of(&make("A", "A"), 1)), (0.5, 0.0));
}

#[test]
fn halves_of_the_real_side_are_the_floor_where_there_is_no_other() {
    let (real, synthetic) = (Side::of(sessions(9, 2, &["a", "b", "c"])), Side::of(sessions(4, 2, &["a"])));
    let got = analyse(&real, &synthetic, None, &Options::default());
    assert_eq!(got.floor_from, Some(FloorFrom::Halves));
    let floor = got.floor.as_ref().expect("a floor");
    // Client ports are of one session each, so halves differ in them and in nothing else but sizes of samples.
    assert!(floor.headers["tcp"].fields["tcp_sprt"].tvd > 0.0);
    assert_eq!(floor.headers["tcp"].fields["tcp_wsize"].tvd, 0.0);
    assert!(got.labels["a"].floor.is_some());
    assert_eq!(got, analyse(&real, &synthetic, None, &Options::default()));
    let other = analyse(&real, &synthetic, None, &Options { seed: 2, ..Options::default() });
    assert_ne!(got.floor, other.floor);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    assert_eq!(got, alone.install(|| analyse(&real, &synthetic, None, &Options::default())));
}

#[test]
fn whatever_a_side_lacks_is_named_and_nothing_panics() {
    let nothing = Side::default();
    let one = {
        let mut frames = Frames::new();
        frames.udp(0, (50_001, 53), 1);
        Side::of(vec![frames.session("a")])
    };
    let arp = {
        let mut frames = Frames::new();
        frames.arp(0);
        Side::of(vec![frames.session("a")])
    };
    let unlabelled = {
        let mut sessions = sessions(3, 1, &["a"]);
        sessions.iter_mut().for_each(|session| session.label = None);
        Side::of(sessions)
    };
    let sides = [&nothing, &one, &arp, &unlabelled];
    for real in sides {
        for synthetic in sides {
            for floor in [None, Some(&nothing), Some(&one)] {
                for options in [Options::default(), Options { packets: 0, skip: 9, splits: 0, seed: 0 }] {
                    let got = analyse(real, synthetic, floor, &options);
                    let chapter = got.chapter();
                    assert!(!chapter.verdict.is_empty());
                    let json = serde_json::to_value(&got).expect("plain values");
                    assert!(json["compared"]["headers"]["tcp"].is_object());
                }
            }
        }
    }
    let got = analyse(&one, &unlabelled, None, &Options::default());
    assert_eq!((got.floor_from, got.labels.len()), (None, 0));
    let chapter = got.chapter();
    let says =
        |part: &str| chapter.items.iter().any(|item| matches!(item, Item::Text(text) if text.contains(part)));
    assert!(says("TCP on the synthetic side only") && says("There is no floor"), "{chapter:?}");
    assert!(chapter.verdict.starts_with("UDP header bytes"), "{}", chapter.verdict);
    let got = analyse(&arp, &arp, None, &Options::default());
    assert_eq!(got.real.without_ip, 1);
    assert_eq!(got.chapter().verdict, "no header that both sides have");
}

#[test]
fn the_chapter_quotes_the_paper_and_ranks_the_fields() {
    let real = Side::of(sessions(40, 8, &["a", "b"]));
    let mut other = sessions(40, 8, &["a", "b"]);
    other.truncate(20);
    let got = analyse(&real, &Side::of(other), Some(&real), &Options::default());
    let chapter = got.chapter();
    let tables: Vec<_> = chapter
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Table(table) => Some(table),
            _ => None,
        })
        .collect();
    let flows = tables.last().expect("tables");
    let quoted: Vec<_> = flows.rows.iter().filter(|row| row[0].starts_with("* ")).collect();
    assert_eq!(quoted.len(), PUBLISHED.len());
    assert_eq!(*quoted[6], ["* NetSSM, fine-tuned", "0.02", "0.01", "0.02"]);
    assert_eq!(quoted[4][1..], ["0.16", "", ""]);
    assert!(tables.iter().all(|table| table.rows.iter().all(|row| row.len() <= table.head.len())));
    assert!(tables.iter().any(|table| table.caption.starts_with("By label")));
    let worst = chapter.items.iter().find_map(|item| match item {
        Item::Text(text) if text.starts_with("Farthest") => Some(text),
        _ => None,
    });
    assert!(worst.is_some_and(|text| text.contains("tcp_sprt")), "{worst:?}");
}
