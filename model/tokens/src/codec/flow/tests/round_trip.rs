//! Random frames of every protocol come back byte for byte, with their time and their length on the wire.

use proptest::prelude::*;

use super::{Captured, PARAMETERS, Random, assert_legal, frames, round_trip as check};
use crate::codec::flow::{
    Parameters,
    vocab::{ARP, ESC, IP_OPTIONS, MAC, NEW, OPTIONS_LITERAL, SNAP, SYN_OPTIONS, VLAN, WIRE_LEN},
};

#[test]
fn any_session_comes_back() {
    for seed in 0..600_u64 {
        let mut random = Random(seed << 32);
        let session = frames::session(&mut random, 60);
        check(PARAMETERS[seed as usize % 4], &session);
    }
}

#[test]
fn a_long_session_with_more_flows_than_there_are_slots_comes_back() {
    for parameters in PARAMETERS {
        check(parameters, &frames::crowd(&mut Random(99), 3_000));
    }
}

/// What a mask never has although encoders write it.
const ENCODER_ONLY: [crate::codec::flow::vocab::Class; 8] =
    [ESC, MAC, VLAN, WIRE_LEN, SNAP, OPTIONS_LITERAL, IP_OPTIONS, ARP];

#[test]
fn what_the_encoder_writes_is_legal_but_for_what_only_encoders_write() {
    let templates = crate::codec::flow::vocab::Class { first: SYN_OPTIONS.at(20), len: 2, name: "" };
    let links = crate::codec::flow::vocab::Class { first: NEW.at(4), len: 2, name: "" };
    let exempt: Vec<_> = ENCODER_ONLY.into_iter().chain([templates, links]).collect();
    for seed in 0..60_u64 {
        let session = frames::session(&mut Random(seed << 32 | 7), 60);
        assert_legal(PARAMETERS[seed as usize % 4], &session, &exempt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_come_back(frames in proptest::collection::vec(
        (any::<i64>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..120)), 1..20)) {
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(time, wire_len, bytes)| Captured { time_us: time >> 8, wire_len, bytes })
            .collect();
        check(Parameters::default(), &frames);
    }
}
