//! Any tokens on the flow codec: no panic, a mask with at least one bit, and what a mask allows means something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_tokens::codec::flow::{Parameters, Pushed, SessionReader, Slots, vocab::EOS};

fuzz_target!(|input: (u8, u64, Vec<u16>)| {
    let (choice, seed, tokens) = input;
    let slots = if choice & 1 == 0 { Slots::Recent } else { Slots::Fixed };
    let parameters = Parameters { fine: choice & 2 == 0, slots };
    let mut session = SessionReader::new(parameters, seed, choice & 4 == 0);
    let mut only_legal = true;
    for number in tokens {
        let mask = session.legal();
        assert!(mask.count() > 0);
        // An odd number is any token; an even one picks among the legal.
        let token = match number & 1 {
            0 => mask.tokens().nth(usize::from(number >> 1) % mask.count() as usize).expect("one of them"),
            _ => number >> 1,
        };
        let legal = mask.has(token);
        let taken = session.push(token);
        assert!(!only_legal || !legal || taken != Pushed::Ignored || EOS.has(token), "{token} was legal");
        only_legal &= legal || taken == Pushed::Ignored;
    }
});
