//! Each header type alone: emit is the inverse of parse, views never fail once made, option walks give every
//! byte back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netssm_wire::header::{Header, Wire};
use netssm_wire::icmp::{Version, neighbour_options, quoted};
use netssm_wire::{arp, ethernet, icmp, ipv4, ipv6, tcp, udp};

fn inverse<R: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let header = Header::<R>::parse(bytes);
    let mut out = Vec::new();
    header.emit(&mut out);
    assert_eq!(out.len(), header.emit_len());
    assert_eq!(out, bytes[..out.len()]);
    if header.whole().is_some() {
        assert_eq!(Header::<R>::parse(&out), header);
    }
    let _ = header.stop();
}

fuzz_target!(|bytes: &[u8]| {
    inverse::<ethernet::Repr>(bytes);
    inverse::<arp::Repr>(bytes);
    inverse::<ipv4::Repr>(bytes);
    inverse::<ipv6::Repr>(bytes);
    inverse::<tcp::Repr>(bytes);
    inverse::<udp::Repr>(bytes);
    inverse::<icmp::Repr>(bytes);

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
    if let Header::Whole(header) = icmp::Repr::parse(bytes) {
        let _ = (header.message_v4(), header.message_v6());
    }
    if let Header::Whole(header) = ipv6::Repr::parse(bytes) {
        for extension in header.extensions() {
            assert!(extension.options().count() <= bytes.len());
            let _ = (extension.fragment(), extension.authentication(), extension.routing());
        }
    }
    for version in [Version::V4, Version::V6] {
        assert!(quoted(version, bytes).is_none_or(|range| bytes.get(range).is_some()));
    }
    assert!(neighbour_options(bytes).all(|option| option.at < bytes.len()));
});
