//! Tokens that nobody checked: nothing panics, and nothing grows.

use super::{PARAMETERS, Random, walk};
use crate::{
    codec::{
        Decoder, Step,
        flow::{Pushed, SessionReader, vocab},
    },
    repair::Repair,
};

/// An ICMP error that quotes as much as an IP packet holds, and Ethernet.
const LONGEST: usize = 65_535 + 22;
/// Tokens of one session.
const SESSION: usize = 20_000;

fn budget() -> usize {
    let told = std::env::var("NETSSM_FLOW_TOKENS").ok().and_then(|tokens| tokens.parse().ok());
    told.unwrap_or(400_000)
}

#[test]
fn any_tokens_are_read_without_a_panic() {
    let (mut random, mut pushed, mut packets) = (Random(4), 0, 0);
    while pushed < budget() {
        let seed = pushed as u64;
        let parameters = PARAMETERS[random.below(4)];
        let (mut decoder, mut repair) = (walk::decoder(parameters, seed), Repair::new());
        let bytes_in = random.of(&[2, 4, 100]);
        for _ in 0..SESSION {
            // Bytes and beginnings of packets, mostly, or nothing ever comes to an end.
            let token = match random.below(bytes_in) {
                0 => random.below(1 << 16) as u32,
                1 => random.below(1_030) as u32,
                2 => u32::from(vocab::TIME_EXACT.at(random.below(16))),
                3 => u32::from(random.of(vocab::CLASSES).at(0)),
                _ => random.below(256) as u32,
            };
            // The end would end it.
            if token == u32::from(vocab::EOS.at(0)) {
                continue;
            }
            if let Step::Packet(raw) = decoder.push(token) {
                packets += 1;
                assert!(raw.header.len() <= LONGEST, "{} bytes", raw.header.len());
                let _ = repair.repair(&raw);
            }
        }
        assert!(decoder.legal().expect("a mask").iter().any(|&word| word != 0));
        pushed += SESSION;
    }
    eprintln!("{pushed} tokens, {packets} packets");
    assert!(packets > 100, "only {packets} packets came of it");
}

#[test]
fn legal_tokens_among_others_lead_nowhere_bad() {
    let (mut random, mut pushed) = (Random(5), 0);
    while pushed < budget() {
        let mut session = SessionReader::new(PARAMETERS[random.below(4)], pushed as u64, random.one_in(2));
        let mut records = 0;
        for _ in 0..SESSION / 10 {
            let mask = session.legal();
            let token =
                if random.one_in(20) { random.below(1_024) as u16 } else { walk::choose(&mask, &mut random) };
            if !vocab::EOS.has(token) {
                records += usize::from(matches!(session.push(token), Pushed::Record(_)));
            }
        }
        assert!(records > 10, "the session got stuck after {records} packets");
        pushed += SESSION / 10;
    }
}

#[test]
fn tokens_beyond_sixteen_bits_are_ignored() {
    let mut decoder = walk::decoder(PARAMETERS[0], 1);
    for token in [1 << 16, u32::MAX, 1_024, 65_535] {
        assert_eq!(decoder.push(token), Step::Need);
    }
    assert!(decoder.flush().is_none());
}
