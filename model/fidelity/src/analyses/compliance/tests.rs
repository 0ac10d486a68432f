//! Connections by hand with known rows, and sides that must or must not differ.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::testing::with_options;
use super::*;
use crate::input::session::Direction;
use crate::input::session::Segment;
use crate::rows::collect::Collected;
use crate::rows::handshake;
use crate::testing::Frames;
use netssm_wire::tcp::{Flags, Seq};

const OFFER: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
const PLAIN: [u8; 4] = [2, 4, 5, 0xb4];
const STAMP: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 10, 0, 0, 0, 9];
const SACK: [u8; 12] = [1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0];

/// A transfer in good order that both ends close, from a time on.
fn transfer(frames: &mut Frames, at: i64, port: u16) {
    frames.handshake(at, port);
    frames.tcp(at + 30, (port, 443), "PA", (101, 501), 200);
    for i in 0..20 {
        frames.tcp(at + 40 + i64::from(i) * 10, (443, port), "A", (501 + i * 1000, 301), 1000);
        frames.tcp(at + 45 + i64::from(i) * 10, (port, 443), "A", (301, 1501 + i * 1000), 0);
    }
    frames.tcp(at + 300, (port, 443), "FA", (301, 20_501), 0);
    frames.tcp(at + 310, (443, port), "FA", (20_501, 302), 0);
    frames.tcp(at + 320, (port, 443), "A", (302, 20_502), 0);
}

/// Rows that hold of the only TCP flow.
fn holds(frames: &Frames) -> BTreeSet<&'static str> {
    let session = frames.session("x");
    let facts = facts(&session);
    assert_eq!(facts.len(), 1);
    let rows = ROWS.iter().filter(|row| row.fact.is_some_and(|fact| fact(&facts[0].1).holds));
    rows.map(|row| row.name).collect()
}

fn only(frames: &Frames) -> FlowFacts {
    facts(&frames.session("x"))[0].1
}

#[test]
fn a_connection_by_the_rules_has_every_correct_row_and_no_other() {
    let mut frames = Frames::new();
    transfer(&mut frames, 0, 50001);
    let correct = ["handshake", "ack.progress", "seq.progress", "fin", "fin.ack", "closed"];
    assert_eq!(holds(&frames), BTreeSet::from(correct));
    let facts = only(&frames);
    assert_eq!((facts.segments, facts.syns, facts.syn_acks, facts.fins, facts.data), (47, 1, 1, 2, 21));
    assert_eq!((facts.jumps, facts.behind, facts.end), (0, 0, End::Closed));
    assert_eq!(
        (facts.fin_ack.cases, facts.handshake.cases),
        (Share { hits: 1, of: 1 }, Share { hits: 1, of: 1 })
    );
}

#[test]
fn every_end_is_told() {
    let end = |segments: &[(u16, &str, (u32, u32))]| {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        for (i, &(from, letters, numbers)) in segments.iter().enumerate() {
            let ports = if from == 443 { (443, 50001) } else { (50001, 443) };
            frames.tcp(100 + i as i64, ports, letters, numbers, 0);
        }
        (only(&frames).end, holds(&frames).contains("rst.established"))
    };
    assert_eq!(end(&[]), (End::Open, false));
    assert_eq!(end(&[(50001, "FA", (101, 501))]), (End::HalfClosed, false));
    let both = [(50001, "FA", (101, 501)), (443, "FA", (501, 102))];
    assert_eq!(end(&both), (End::Closing, false));
    assert_eq!(end(&[both[0], both[1], (50001, "A", (102, 502))]), (End::Closed, false));
    assert_eq!(end(&[(443, "R", (501, 0))]), (End::Reset, true));
    assert_eq!(end(&[(50001, "FA", (101, 501)), (443, "R", (501, 0))]), (End::ResetAfterFin, false));
    let mut refused = Frames::new();
    refused.tcp(0, (50001, 443), "S", (100, 0), 0);
    refused.tcp(1, (443, 50001), "RA", (0, 101), 0);
    assert_eq!((only(&refused).end, holds(&refused)), (End::Refused, BTreeSet::new()));
}

#[test]
fn a_flow_joined_in_the_middle_is_established_once_both_ends_acknowledge() {
    let mut frames = Frames::new();
    frames.tcp(0, (443, 50001), "A", (5000, 70), 100);
    frames.tcp(1, (443, 50001), "R", (5100, 0), 0);
    assert_eq!(only(&frames).end, End::Refused, "one end only");
    frames = Frames::new();
    frames.tcp(0, (443, 50001), "A", (5000, 70), 100);
    frames.tcp(1, (50001, 443), "A", (70, 5100), 0);
    frames.tcp(2, (50001, 443), "S", (9000, 0), 0);
    frames.tcp(3, (443, 50001), "R", (5100, 0), 0);
    assert_eq!(holds(&frames), BTreeSet::from(["ack.progress", "syn.late", "rst.established"]));
}

#[test]
fn numbers_that_go_wrong_break_their_rows() {
    let broken = |numbers: (u32, u32), payload, from: u16| {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.tcp(30, (443, 50001), "A", (501, 101), 1000);
        frames.tcp(40, (50001, 443), "A", (101, 1501), 0);
        frames.tcp(50, if from == 443 { (443, 50001) } else { (50001, 443) }, "A", numbers, payload);
        let rows = holds(&frames);
        let off: Vec<_> =
            ["seq.progress", "ack.progress"].into_iter().filter(|row| !rows.contains(row)).collect();
        (off, rows.contains("ack.beyond"), only(&frames).jumps, only(&frames).behind)
    };
    assert_eq!(broken((1501, 101), 10, 443), (vec![], false, 0, 0), "the next");
    assert_eq!(broken((501, 101), 1000, 443), (vec![], false, 0, 1), "a retransmission");
    assert_eq!(broken((1500, 101), 1, 443), (vec![], false, 0, 0), "a keep-alive");
    assert_eq!(broken((1502, 101), 10, 443), (vec!["seq.progress"], false, 1, 0), "a jump");
    assert_eq!(broken((400, 101), 10, 443), (vec!["seq.progress"], false, 0, 1), "before the first number");
    assert_eq!(broken((101, 501), 0, 50001), (vec!["ack.progress"], false, 0, 0), "an ACK that goes back");
    assert_eq!(broken((101, 1502), 0, 50001), (vec![], true, 0, 0), "an ACK of what was not sent");
}

#[test]
fn a_late_syn_is_unexpected_unless_it_is_answered_or_repeats() {
    let mut frames = Frames::new();
    frames.handshake(0, 50001);
    frames.tcp(30, (50001, 443), "S", (100, 0), 0); // again
    frames.tcp(31, (443, 50001), "SA", (500, 101), 0); // again
    assert!(!holds(&frames).contains("syn.late"));
    frames.tcp(32, (50001, 443), "S", (9000, 0), 0);
    assert!(holds(&frames).contains("syn.late"));
    assert_eq!(only(&frames).handshake.cases, Share { hits: 1, of: 1 });
    frames.tcp(33, (443, 50001), "SA", (7000, 9001), 0); // so the old connection is gone
    frames.tcp(34, (50001, 443), "A", (9001, 7001), 0);
    let facts = only(&frames);
    assert_eq!(facts.handshake.cases, Share { hits: 2, of: 2 });
    assert_eq!(facts.late_syn.cases, Share { hits: 1, of: 6 });
    assert_eq!((facts.jumps, facts.seq_progress.holds), (0, true));
}

#[test]
fn a_port_used_again_after_the_end_is_a_new_connection() {
    let mut frames = Frames::new();
    transfer(&mut frames, 0, 50001);
    frames.tcp(400, (50001, 443), "S", (7, 0), 0);
    frames.tcp(410, (443, 50001), "SA", (9, 8), 0);
    let facts = only(&frames);
    assert_eq!(facts.handshake.cases, Share { hits: 1, of: 2 });
    assert_eq!((facts.late_syn.holds, facts.end, facts.closed.holds), (false, End::Open, true));
    assert!(facts.seq_progress.holds && facts.ack_progress.holds);
}

#[test]
fn flags_that_exclude_each_other_conflict() {
    for (letters, conflict) in [
        ("SF", true),
        ("SR", true),
        ("FRA", true),
        ("", true),
        ("P", true),
        ("F", true),
        ("FA", false),
        ("R", false),
    ] {
        let mut frames = Frames::new();
        frames.tcp(0, (50001, 443), letters, (1, 1), 0);
        assert_eq!(holds(&frames).contains("flags.conflict"), conflict, "{letters}");
    }
}

/// A handshake with the options that each end's SYN has, and an ACK of the client with options of its own.
fn with_offers(client: &[u8], server: &[u8], then: &[u8]) -> Frames {
    let mut frames = Frames::new();
    with_options(&mut frames, 0, (50001, 443), "S", (100, 0), client);
    with_options(&mut frames, 10, (443, 50001), "SA", (500, 101), server);
    with_options(&mut frames, 20, (50001, 443), "A", (101, 501), then);
    frames
}

#[test]
fn timestamps_are_owed_once_agreed_on() {
    let gone = |frames: &Frames| only(frames).timestamps_gone;
    assert_eq!(gone(&with_offers(&OFFER, &PLAIN, &[])), Fact::default(), "not agreed on");
    let share = |hits, of| Fact { holds: hits > 0, cases: Share { hits, of } };
    assert_eq!(gone(&with_offers(&OFFER, &OFFER, &STAMP)), share(0, 1));
    let mut frames = with_offers(&OFFER, &OFFER, &[]);
    assert_eq!(gone(&frames), share(1, 1));
    frames.tcp(30, (443, 50001), "RA", (501, 101), 0);
    assert_eq!(gone(&frames), share(1, 1), "a RST may go without");
    // The SYNs were not captured; use shows the agreement.
    let mut joined = Frames::new();
    with_options(&mut joined, 0, (50001, 443), "A", (1, 1), &STAMP);
    with_options(&mut joined, 1, (443, 50001), "A", (1, 1), &[]);
    assert_eq!(gone(&joined), share(1, 1));
}

#[test]
fn options_have_their_place() {
    let rows = holds(&with_offers(&OFFER, &OFFER, &OFFER));
    for row in ["mss.outside", "wscale.outside", "sackok.outside"] {
        assert!(rows.contains(row), "{row}");
    }
    assert!(
        holds(&with_offers(&OFFER, &PLAIN, &SACK)).contains("sack.unasked"),
        "the server did not permit it"
    );
    let permitted = with_offers(&PLAIN, &OFFER, &SACK);
    assert!(!holds(&permitted).contains("sack.unasked"));
    assert_eq!(only(&permitted).options.sack, 1);
    // A SYN that was cut says nothing about what it may have had.
    let mut cut = with_offers(&OFFER, &OFFER, &SACK);
    cut.records[1].frame.truncate(58);
    assert_eq!((only(&cut).sack_unasked, only(&cut).cut_options), (Fact::default(), 1));
    assert!(holds(&with_offers(&OFFER, &OFFER, &[2, 9, 0, 0])).contains("options.broken"));
}

#[test]
fn captures_flows_and_cases_are_counted_apart() {
    let mut one = Frames::new();
    transfer(&mut one, 0, 50001);
    one.tcp(500, (50002, 443), "S", (1, 0), 0);
    one.udp(600, (40000, 53), 9);
    let mut without = Frames::new();
    without.arp(0);
    let mut wrong = Frames::new();
    wrong.handshake(0, 50003);
    wrong.records[1].frame[14] = 0x65;
    let side = Side::of(vec![
        one.session("a"),
        without.session("b"),
        wrong.session("b"),
        Frames::new().session("c"),
    ]);
    let found = analyse(&side, &side, None, &Options::default());
    let share = |hits, of| Share { hits, of };
    assert_eq!((found.real.captures, found.real.flows, found.real.segments), (2, 3, 50));
    let row = |name| found.real.rows[name];
    let handshake = RowCounts { captures: share(1, 2), flows: share(1, 3), cases: share(1, 3) };
    assert_eq!(row("handshake"), handshake);
    assert_eq!(row("fin"), RowCounts { captures: share(1, 2), flows: share(1, 3), cases: share(2, 50) });
    let version = RowCounts { captures: share(1, 2), flows: share(0, 0), cases: share(51, 52) };
    assert_eq!(row("ip.version"), version);
    let long = analyse(&side, &side, None, &Options { min_segments: 2 });
    assert_eq!(long.real.flows, 2);
}

#[test]
fn identical_sides_are_no_distance_apart_and_a_shuffled_one_fails() {
    let mut frames = Frames::new();
    (0..6).for_each(|i| transfer(&mut frames, i * 1000, 50_001 + i as u16));
    let real = Side::of(vec![frames.session("a")]);
    let same = analyse(&real, &real, Some(&real), &Options::default());
    assert_eq!(same.real, same.synthetic);
    assert_eq!(same.distance(&same.synthetic).map(|(mean, _, worst)| (mean, worst)), Some((0.0, 0.0)));
    // A permutation that is no order in time: a multiplier prime to the number of packets.
    let mut shuffled = Frames::new();
    let n = frames.records.len();
    shuffled.records = (0..n).map(|i| frames.records[i * 101 % n].clone()).collect();
    let times: Vec<i64> = frames.records.iter().map(|record| record.time_ns).collect();
    shuffled.records.iter_mut().zip(times).for_each(|(record, time)| record.time_ns = time);
    let result = analyse(&real, &Side::of(vec![shuffled.session("a")]), Some(&real), &Options::default());
    for row in ["seq.progress", "ack.progress"] {
        assert_eq!(result.real.rows[row].flows, Share { hits: 6, of: 6 }, "{row}");
        assert_eq!(result.synthetic.rows[row].flows.hits, 0, "{row}");
    }
    assert_eq!(result.synthetic.rows["ack.beyond"].flows.hits, 6);
    assert!(result.synthetic.rows["handshake"].flows.hits < 3);
    let (mean, ..) = result.distance(&result.synthetic).expect("TCP on both sides");
    assert!(mean > 0.2, "{mean}");
    // Options and flags are where they were.
    for row in ["flags.conflict", "mss.outside", "ip.version", "fin"] {
        assert_eq!(result.real.rows[row], result.synthetic.rows[row], "{row}");
    }
}

#[test]
fn the_chapter_shows_all_sides_and_says_what_is_missing() {
    let mut frames = Frames::new();
    transfer(&mut frames, 0, 50001);
    let (real, empty) = (Side::of(vec![frames.session("a")]), Side::of(Vec::new()));
    let chapter = analyse(&real, &real, Some(&real), &Options::default()).chapter();
    assert!(
        chapter.verdict.contains("0.0 points") && chapter.verdict.contains("floor 0.0"),
        "{}",
        chapter.verdict
    );
    let tables: Vec<_> = chapter
        .items
        .iter()
        .filter_map(|item| if let crate::page::Item::Table(t) = item { Some(t) } else { None })
        .collect();
    assert_eq!(tables.len(), 6);
    for table in &tables {
        assert!(table.rows.iter().all(|row| row.len() <= table.head.len()), "{}", table.caption);
    }
    assert_eq!(
        tables[1].rows[0],
        ["Correct handshakes found", "100.0 %", "100.0 %", "100.0 %", "100.0 %", "100.0 %"]
    );
    let without = analyse(&real, &empty, None, &Options::default());
    let chapter = without.chapter();
    assert!(chapter.verdict.contains("not both sides"));
    assert!(
        chapter
            .items
            .iter()
            .any(|item| matches!(item, crate::page::Item::Text(text) if text.contains("synthetic")))
    );
    let json = serde_json::to_value(&without).expect("plain values");
    assert_eq!(json["real"]["rows"]["handshake"]["flows"]["hits"], 1);
    assert_eq!(json["real"]["ends"]["closed"], 1);
    assert_eq!(json["definitions"][0]["published"]["single_real"], 70.2);
}

#[test]
fn flows_with_a_handshake_are_those_of_the_row_measure() {
    let mut frames = Frames::new();
    transfer(&mut frames, 0, 50001);
    frames.tcp(500, (50002, 443), "S", (1, 0), 0);
    frames.handshake(600, 50003);
    let session = frames.session("x");
    let mut rows = Collected::default();
    (handshake::MEASURE.add)(&session, &mut rows);
    let row = handshake::MEASURE.rows.iter().find(|row| row.name == "handshake.flows").expect("a row");
    let mine = facts(&session).iter().filter(|(_, facts)| facts.handshake.holds).count() as u64;
    assert_eq!(rows.cases(row).hits, mine);
}

proptest! {
    #[test]
    fn any_segments_are_judged_without_panic(
        segments in prop::collection::vec((any::<bool>(), any::<u8>(), 0_u32..5000, 0_u32..5000, 0_u32..3000, any::<[u8; 12]>()), 0..80),
    ) {
        let mut examiner = Examiner::default();
        for (forward, bits, seq, ack, payload, options) in segments {
            let by = if forward { Direction::Forward } else { Direction::Backward };
            let mut frames = Frames::new();
            with_options(&mut frames, 0, (50001, 443), "A", (0, 0), &options);
            // Around the wrap, and half the circle away.
            let number = |x: u32| Seq(if x.is_multiple_of(7) { x << 19 } else { x.wrapping_sub(2500) });
            let segment =
                Segment { seq: number(seq), ack: number(ack), flags: Flags::from_bits(u16::from(bits)), payload };
            examiner.take(by, &segment, &Seen::of(&frames.records[0].frame));
        }
        let facts = examiner.finish();
        for row in &ROWS {
            if let Some(fact) = row.fact {
                prop_assert!(fact(&facts).cases.hits <= fact(&facts).cases.of);
            }
        }
    }
}
