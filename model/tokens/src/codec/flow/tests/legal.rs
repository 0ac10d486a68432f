//! What the masks allow is sound and has one form only.

use std::collections::HashMap;

use netssm_wire::{
    checksum::{self, Check},
    frame::{Layout, Stop},
    tcp::{Flags, kind},
};

use super::{
    PARAMETERS, Parameters, Random,
    walk::{self, Walk},
};
use crate::{
    codec::{
        Decoder, RawPacket, Step,
        flow::{
            record::{Frame, Record},
            strict::broken_rule,
            transport::Transport,
        },
    },
    repair::Repair,
};

/// Packets of a session.
const PACKETS: usize = 400;

/// Tokens to sample in a test.
fn budget() -> usize {
    let told = std::env::var("NETSSM_FLOW_TOKENS").ok().and_then(|tokens| tokens.parse().ok());
    told.unwrap_or(300_000)
}

/// Samples sessions until the budget is spent; `seeds` tells tests apart.
fn sessions(seeds: u64, mut each: impl FnMut(Parameters, u64) -> usize) {
    let (mut tokens, mut seed) = (0, seeds << 24);
    while tokens < budget() {
        tokens += each(PARAMETERS[seed as usize % PARAMETERS.len()], seed);
        seed += 1;
    }
    eprintln!("{tokens} tokens in {} sessions", seed - (seeds << 24));
}

/// Whole frames with right checksums come of a packet that needs no repair.
fn assert_sound(raw: &RawPacket, repair: &mut Repair) {
    let packet = repair.repair(raw).unwrap_or_else(|why| panic!("dropped, {why}: {raw:x?}"));
    let kinds: Vec<_> = repair.counts().kinds().collect();
    assert!(kinds.is_empty() && repair.counts().repaired() == 0, "{kinds:?}: {raw:x?}");
    assert_eq!(packet.header, raw.header);
    let mut frame = packet.header;
    frame.resize(packet.wire_len as usize, 0);
    checksum::fill(&mut frame).expect("a whole frame");
    assert_eq!(Layout::parse(&frame).stop, Stop::Whole, "{frame:x?}");
    let checks = checksum::verify(&frame);
    assert!([checks.ipv4, checks.transport].iter().all(|check| matches!(check, Check::Good | Check::Absent)));
}

/// Kinds of the options of a list.
fn kinds(mut options: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind @ 1..=255, after @ ..] = options {
        let len = if *kind == 1 { 1 } else { usize::from(after[0]) };
        kinds.push(*kind);
        options = &options[len..];
    }
    kinds
}

/// Timestamps stand in the segments of a connection whose ends both offered them, but for resets, and in no other; an
/// answer offers timestamps and window scaling only if it was asked (RFC 7323 sections 2.2 and 3.2).
fn assert_agreed(records: &[Record]) {
    let (scale, timestamps) = (kind::WINDOW_SCALE, kind::TIMESTAMPS);
    let mut offers: HashMap<_, [Option<Vec<u8>>; 2]> = HashMap::new();
    for record in records {
        let Frame::Ip(ip) = &record.frame else { continue };
        let Transport::Tcp(tcp) = &ip.transport else { continue };
        let (from, to) = ((ip.src, tcp.ports.0), (ip.dst, tcp.ports.1));
        let side = usize::from(from > to);
        let [this, other] = {
            let offers = offers.entry(if from > to { (to, from) } else { (from, to) }).or_default();
            if tcp.flags & (Flags::SYN | Flags::ACK) == Flags::SYN {
                *offers = [None, None];
            }
            let [low, high] = offers;
            if side == 0 { [low, high] } else { [high, low] }
        };
        let here = kinds(&tcp.options);
        if tcp.flags.contains(Flags::SYN) {
            if let (Some(asked), true) = (&other, tcp.flags.contains(Flags::ACK)) {
                for kind in [scale, timestamps] {
                    assert!(
                        asked.contains(&kind) || !here.contains(&kind),
                        "{kind} was not asked: {record:?}"
                    );
                }
            }
            *this = Some(here);
        } else if let (Some(this), Some(other), false) = (this, other, tcp.flags.contains(Flags::RST)) {
            let agreed = this.contains(&timestamps) && other.contains(&timestamps);
            assert_eq!(here.contains(&timestamps), agreed, "{record:?}");
        }
    }
}

#[test]
fn strict_sessions_are_sound_and_encode_to_the_same_tokens() {
    sessions(1, |parameters, seed| {
        let mut walk = Walk::new(parameters, seed, true);
        let (mut decoder, mut repair) = (walk::decoder(parameters, seed), Repair::new());
        while walk.records.len() < PACKETS {
            match decoder.push(walk.step().into()) {
                Step::Packet(raw) => assert_sound(&raw, &mut repair),
                step => assert_eq!(step, Step::Need),
            }
        }
        let tokens = walk.end();
        for record in &walk.records {
            assert_eq!(broken_rule(record), None, "{record:?}");
        }
        assert!(
            walk.records.windows(2).all(|pair| pair[0].time_us <= pair[1].time_us),
            "time never goes back"
        );
        assert_agreed(&walk.records);
        walk.assert_canonical();
        tokens
    });
}

#[test]
fn faithful_sessions_encode_to_the_same_tokens() {
    sessions(2, |parameters, seed| {
        let mut walk = Walk::new(parameters, seed, false);
        while walk.records.len() < PACKETS {
            walk.step();
        }
        let tokens = walk.end();
        walk.assert_canonical();
        tokens
    });
}

#[test]
fn a_prompt_of_any_kind_can_be_continued() {
    for seed in 0..80_u64 {
        let parameters = PARAMETERS[seed as usize % 4];
        let mut random = Random(seed << 32);
        let frames = if seed % 2 == 0 {
            super::frames::session(&mut random, 80)
        } else {
            super::tcp::capture(&mut random, 80, [usize::MAX, 96, 72, 68, 54][seed as usize / 2 % 5])
        };
        let (mut decoder, mut repair) = (walk::decoder(parameters, seed), Repair::new());
        let prompt = [crate::codec::flow::vocab::DIR.at(0), crate::codec::flow::vocab::RATE.at(0)];
        let tokens = super::round_trip(parameters, &frames).concat();
        for token in prompt.into_iter().chain(tokens) {
            decoder.push(token.into());
        }
        let _ = decoder.flush();
        for _ in 0..1_500 {
            let words = decoder.legal().expect("a mask");
            let mut mask = crate::codec::flow::mask::Mask::default();
            (0..1_024)
                .filter(|&token| words[usize::from(token) / 64] >> (token % 64) & 1 == 1)
                .for_each(|token| mask.add(token));
            let token = walk::choose(&mask, &mut random);
            if let Step::Packet(raw) = decoder.push(token.into())
                && seed % 2 == 1
            {
                // Broken frames teach addresses that do not fit: no sampler mends that.
                assert_sound(&raw, &mut repair);
            }
        }
    }
}
