//! Views never fail once made, and option walks give every byte back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_wire::icmp::{Version, neighbour_options};
use netssm_wire::{ipv4, quote, tcp};

fuzz_target!(|bytes: &[u8]| {
    let mut out = Vec::new();
    ipv4::Options::new(bytes).for_each(|option| {
        let _ = option.final_destination();
        option.emit(&mut out);
    });
    assert_eq!(out, bytes);
    out.clear();
    tcp::OptionWalk::new(bytes).for_each(|(at, option)| {
        assert_eq!(at, out.len());
        option.emit(&mut out);
    });
    assert_eq!(out, bytes);

    if let Some(view) = ipv4::View::new(bytes) {
        assert!(view.options().len() <= 40 && view.header_len() <= 60);
    }
    if let Some(view) = tcp::View::new(bytes) {
        assert!(view.options().len() <= 40 && view.header_len() <= 60);
    }
    let mut copy = bytes.to_vec();
    if let Some(mut view) = tcp::ViewMut::new(&mut copy) {
        let flags = view.view().flags();
        view.set_flags(flags);
        view.options_mut().reverse();
        view.options_mut().reverse();
    }
    assert_eq!(copy, bytes);
    for version in [Version::V4, Version::V6] {
        assert!(quote::range(version, bytes).is_none_or(|range| bytes.get(range).is_some()));
    }
    assert!(neighbour_options(bytes).all(|option| option.at < bytes.len()));
});
