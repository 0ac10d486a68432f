//! TCP with loss, reordering and duplication, at every snapshot length that captures in use have.

use super::{PARAMETERS, Parameters, Random, Scenario, assert_legal, escapes, price, round_trip, tcp};
use crate::codec::flow::vocab::{SNAP, SYN_OPTIONS};

const SNAP_LENS: [usize; 5] = [usize::MAX, 96, 72, 68, 54];

#[test]
fn captures_of_lossy_networks_come_back() {
    for seed in 0..60_u64 {
        for (at, snap_len) in SNAP_LENS.into_iter().enumerate() {
            let frames = tcp::capture(&mut Random(seed << 32), 400, snap_len);
            round_trip(PARAMETERS[(seed as usize + at) % 4], &frames);
        }
    }
}

#[test]
fn every_token_of_a_lossy_capture_is_legal() {
    let templates = crate::codec::flow::vocab::Class { first: SYN_OPTIONS.at(20), len: 2, name: "" };
    for seed in 0..12_u64 {
        let frames = tcp::capture(&mut Random(seed << 32 | 3), 300, SNAP_LENS[seed as usize % 5]);
        assert_legal(Parameters::default(), &frames, &[SNAP, templates]);
    }
}

#[test]
fn nothing_is_escaped_and_little_is_spent() {
    for seed in 0..10_u64 {
        let frames = tcp::capture(&mut Random(seed << 32 | 9), 400, usize::MAX);
        let packets = round_trip(Parameters::default(), &frames);
        assert_eq!(escapes(&packets), 0);
        let tokens: usize = packets.iter().map(Vec::len).sum();
        assert!(tokens < 10 * frames.len(), "{tokens} tokens for {} packets", frames.len());
    }
    let quiet = tcp::connection(&mut Random(1), Scenario::default(), 0);
    assert!(price(&quiet) < 6.0, "{} tokens a packet without loss", price(&quiet));
}
