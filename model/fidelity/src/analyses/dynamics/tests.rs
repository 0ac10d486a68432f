//! Sessions by hand with known segments, and sides that must or must not differ.

use super::names::tests::answer;
use super::*;
use crate::page::Item;
use crate::testing::Frames;

/// A client that asks `pieces` times over one connection and gets `size` bytes, and some more each time.
fn stream(port: u16, pieces: u32, size: u32) -> Frames {
    let mut frames = Frames::new();
    frames.handshake(0, port);
    let (mut up, mut down) = (101, 501);
    for piece in 0..pieces {
        let at = 100 + i64::from(piece) * 1000;
        frames.tcp(at, (port, 443), "PA", (up, down), 250);
        up += 250;
        let bytes = size + piece;
        frames.tcp(at + 10, (443, port), "PA", (down, up), bytes as usize);
        down += bytes;
    }
    frames
}

fn side(streams: &[(&str, u32, u32)]) -> Side {
    Side::of(
        streams.iter().map(|&(label, pieces, size)| stream(50001, pieces, size).session(label)).collect(),
    )
}

#[test]
fn segments_are_counted_and_averaged_by_sender() {
    let real = side(&[("a", 3, 1000), ("a", 1, 500)]);
    let found = analyse(&real, &real, None, &Options::default());
    let expected = Looked {
        sessions: 2,
        with_segments: 2,
        flows: 2,
        senders: 2,
        segments: 4,
        bytes: 3503,
        ..Looked::default()
    };
    assert_eq!(found.real, expected);
    assert_eq!(found.samples.real.raw, [500.0, 1000.0, 1001.0, 1002.0]);
    assert_eq!(found.samples.real.average, [500.0, 1001.0]);
    assert_eq!(found.samples.real.count, [1.0, 3.0]);
}

#[test]
fn identical_sides_are_no_distance_apart_and_random_values_are() {
    let real = side(&[("a", 40, 1000), ("b", 25, 60), ("b", 30, 9)]);
    let found = analyse(&real, &real, Some(&real), &Options::default());
    for e in &found.evaluations {
        for same in [e.together.synthetic, e.together.floor, e.pairs.synthetic, e.pairs.floor] {
            let d = same.expect("values");
            for zero in [d.mean_delta, d.median_delta, d.std_delta, d.ks, d.kl, d.emd] {
                assert_eq!(zero, Some(0.0), "{}", e.name);
            }
        }
    }
    let raw = &found.evaluations[1];
    assert_eq!(raw.pairs.synthetic.map(|d| d.pairs), Some(3));
    assert!(raw.together.random.and_then(|d| d.ks).is_some_and(|ks| ks > 0.1), "{raw:?}");
    let again = analyse(&real, &real, Some(&real), &Options::default());
    assert_eq!(found.evaluations, again.evaluations);
    let seed = analyse(&real, &real, None, &Options { seed: 1, ..Options::default() });
    assert_ne!(found.evaluations[1].together.random, seed.evaluations[1].together.random);
}

#[test]
fn other_sizes_and_counts_show_and_pairs_are_within_a_label() {
    let real = side(&[("a", 10, 1000), ("b", 10, 100), ("c", 10, 7)]);
    let synthetic = side(&[("b", 20, 100), ("a", 10, 5000), ("d", 1, 1)]);
    let found = analyse(&real, &synthetic, None, &Options::default());
    let [_, raw, count] = &found.evaluations[..] else { panic!("three evaluations") };
    // Medians of a: 4000 apart, of b: 5.
    let d = raw.pairs.synthetic.expect("pairs");
    assert_eq!((d.pairs, d.mean_delta, d.median_delta), (2, Some(2002.5), Some(2002.5)));
    assert_eq!(count.pairs.synthetic.and_then(|d| d.mean_delta), Some(5.0));
    assert!(raw.together.synthetic.and_then(|d| d.ks).is_some_and(|ks| ks > 0.2));
}

#[test]
fn a_session_in_another_order_has_other_segments() {
    let frames = stream(50001, 60, 1000);
    let mut shuffled = Frames::new();
    let n = frames.records.len();
    shuffled.records = (0..n).map(|i| frames.records[i * 50 % n].clone()).collect();
    assert_eq!(n, 123);
    let (real, other) = (Side::of(vec![frames.session("a")]), Side::of(vec![shuffled.session("a")]));
    let raw = analyse(&real, &other, None, &Options::default()).evaluations[1].together.synthetic;
    assert!(raw.and_then(|d| d.ks).is_some_and(|ks| ks > 0.3), "{raw:?}");
}

#[test]
fn servers_by_name_come_from_the_answers_and_else_from_the_real_side() {
    let named = |with_answer: bool| {
        let mut frames = Frames::new();
        if with_answer {
            let message = answer();
            frames.udp(0, (53, 40000), message.len());
            let frame = &mut frames.records[0].frame;
            let at = frame.len() - message.len();
            frame[at..].copy_from_slice(&message);
        }
        frames.records.extend(stream(50001, 5, 100).records);
        Side::of(vec![frames.session("a")])
    };
    let by = |names: &str| Options { servers: Servers::Names(vec![names.to_owned()]), ..Options::default() };
    let (with, without) = (named(true), named(false));
    let found = analyse(&with, &without, Some(&with), &by("video.example"));
    let borrowed = |side: &Looked| (side.segments, side.borrowed_addresses);
    assert_eq!((borrowed(&found.real), borrowed(&found.synthetic)), ((5, false), (5, true)));
    let text = |chapter: &crate::page::Chapter, part: &str| {
        chapter.items.iter().any(|item| matches!(item, Item::Text(text) if text.contains(part)))
    };
    assert!(text(&found.chapter(), "No DNS answer of the synthetic side"));
    let found = analyse(&with, &with, None, &by("elsewhere.example"));
    assert_eq!((found.real.flows, found.real.segments), (0, 0));
    assert!(text(&found.chapter(), "real side has no segments: none of its flows"));
    let other = side(&[("elsewhere", 3, 10)]);
    let found = analyse(&with, &other, None, &Options::default());
    assert!(found.evaluations[1].pairs.synthetic.is_none());
    assert!(text(&found.chapter(), "none could be paired"));
}

#[test]
fn sides_without_anything_have_a_chapter_that_says_so() {
    let mut arp = Frames::new();
    arp.arp(0);
    let nothing = [Side::of(Vec::new()), Side::of(vec![arp.session("a"), Frames::new().session("b")])];
    let real = side(&[("a", 3, 10)]);
    for other in &nothing {
        for (one, two) in [(&real, other), (other, &real), (other, other)] {
            let found = analyse(one, two, Some(other), &Options::default());
            let chapter = found.chapter();
            assert!(chapter.verdict.contains("not both sides"), "{}", chapter.verdict);
            let json = serde_json::to_string(&found).expect("plain values");
            assert!(!json.contains("NaN"));
        }
    }
}

#[test]
fn the_chapter_has_tables_that_fit_and_curves_that_ascend() {
    let (real, other) = (side(&[("a", 500, 10), ("b", 2, 1)]), side(&[("a", 30, 2000), ("b", 1, 1)]));
    let chapter = analyse(&real, &other, Some(&real), &Options::default()).chapter();
    assert!(chapter.verdict.contains("floor 0.00, random"), "{}", chapter.verdict);
    let mut plots = 0;
    for item in &chapter.items {
        match item {
            Item::Table(table) => assert!(table.rows.iter().all(|row| row.len() == table.head.len())),
            Item::Plot(plot) => {
                plots += 1;
                assert_eq!(plot.curves.len(), 3, "{}", plot.caption);
                for curve in &plot.curves {
                    assert!(curve.points.windows(2).all(|w| w[0].0 <= w[1].0) && curve.points.len() <= 400);
                    assert!(curve.points.iter().all(|(x, y)| x.is_finite() && y.is_finite()));
                }
            }
            Item::Text(_) => {}
        }
    }
    assert_eq!(plots, 5);
}
