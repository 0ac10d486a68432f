//! Properties over random, mutated and cut frames: nothing panics, the layout keeps its promises,
//! checksums that are filled in verify.

mod common;

use netssm_wire::checksum::{self, Check, Stored, Sum};
use netssm_wire::flow::community_id;
use netssm_wire::frame::{Layout, Net, Stop, Transport};
use netssm_wire::icmp::{Version, neighbour_options};
use netssm_wire::{ipv4, quote, tcp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Everything that must hold for any bytes at all.
fn holds(frame: &[u8]) {
    let layout = Layout::parse(frame);
    promises(frame, &layout);
    promises(frame, &Layout::parse_ip(frame));
    for version in [Version::V4, Version::V6] {
        assert!(quote::range(version, frame).is_none_or(|range| frame.get(range).is_some()));
    }
    assert!(neighbour_options(frame).all(|option| option.at < frame.len()));
    let before = checksum::verify(frame);
    let mut filled = frame.to_vec();
    if checksum::fill(&mut filled).is_ok() {
        let after = checksum::verify(&filled);
        assert!(matches!(after.ipv4, Check::Good | Check::Absent), "{after:?}");
        // A fragment's is left alone, and zero is bad in UDP over IPv6.
        assert!(after.transport != Check::Bad || layout.fragment().is_some(), "{after:?}");
        assert!(
            after.transport == Check::Good
                || after.transport == before.transport
                || before.transport == Check::Absent
        );
        let mut again = filled.clone();
        checksum::fill(&mut again).unwrap();
        assert_eq!(again, filled, "filling twice changes something");
    } else {
        assert_eq!(filled, frame, "a frame that cannot be filled was changed");
    }
}

/// What the module docs of `frame` promise.
fn promises(frame: &[u8], layout: &Layout) {
    let fits = |at: usize, len: usize| assert!(frame.get(at..at + len).is_some(), "{layout:?}");
    match layout.net {
        Net::None => assert!(layout.stop != Stop::Whole),
        Net::Arp { at } => fits(at, 8),
        Net::Ipv4(ip) => {
            fits(ip.at, 20);
            assert!((20..=60).contains(&ip.header_len) && frame[ip.at] >> 4 == 4);
        }
        Net::Ipv6(ip) => {
            fits(ip.at, 40);
            assert!(
                ip.transport_at >= ip.at + 40 && ip.transport_at <= frame.len() && frame[ip.at] >> 4 == 6
            );
        }
        Net::Other { at } => fits(at, 0),
    }
    match layout.transport {
        Transport::None => {}
        Transport::Tcp { at, header_len } => {
            fits(at, 20);
            assert!((20..=60).contains(&header_len));
        }
        Transport::Udp { at }
        | Transport::Icmp { at }
        | Transport::Icmpv6 { at }
        | Transport::Igmp { at } => {
            fits(at, 8);
        }
        Transport::Other { at, .. } => fits(at, 0),
    }
    assert!(layout.payload_at().is_none_or(|at| at <= frame.len()));
    if let Some(tuple) = layout.five_tuple(frame) {
        assert_eq!(community_id(&tuple, 0).len(), 30);
        assert_eq!(tuple.reversed().reversed().key(), tuple.key());
    }
}

#[test]
fn known_frames_hold_and_are_whole_and_cut_as_expected() {
    for (name, frame) in common::frames() {
        eprintln!("{name}");
        holds(&frame);
        let layout = Layout::parse(&frame);
        assert_eq!(layout.stop, Stop::Whole, "{name}");
        let checks = checksum::verify(&frame);
        let unverifiable = name.contains("fragment");
        let none = ["arp", "lldp", "esp"].contains(&name);
        let want = if unverifiable {
            Check::Unverifiable
        } else if none {
            Check::Absent
        } else {
            Check::Good
        };
        assert_eq!(checks.transport, want, "{name}");
        for len in 0..frame.len() {
            holds(&frame[..len]);
            let cut = Layout::parse(&frame[..len]);
            let headers = layout.payload_at().or(layout.l4_at());
            if headers.is_some_and(|end| len < end) {
                assert!(matches!(cut.stop, Stop::Cut(_)), "{name} cut to {len}: {cut:?}");
            }
        }
    }
}

#[test]
fn cut_tcp_options_are_a_value() {
    // 74 bytes of SYN kept to 72, as many captures have it.
    let frame = common::frame(&[], &common::v4(6, &common::tcp(tcp::Flags::SYN, &common::SYN_OPTIONS, b"")));
    let cut = &frame[..72];
    let layout = Layout::parse(cut);
    let Transport::Tcp { at, header_len } = layout.transport else { panic!("{layout:?}") };
    let view = tcp::View::new(&cut[at..]).unwrap();
    assert_eq!((header_len, view.options().len(), layout.payload_at()), (40, 18, None));
    let last = tcp::OptionWalk::new(view.options()).last();
    assert_eq!(last, Some((17, tcp::TcpOption::Malformed(&[3]))));
    assert_eq!(layout.five_tuple(cut), Layout::parse(&frame).five_tuple(&frame));
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds = common::frames();
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (0..seeds.len(), vec(change, 0..6), any::<prop::sample::Index>(), any::<bool>(), vec(any::<u8>(), 0..9))
        .prop_map(move |(seed, changes, end, cut, tail)| {
            let mut frame = seeds[seed].1.clone();
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            if cut {
                frame.truncate(end.index(frame.len() + 1));
            }
            frame.extend(tail);
            frame
        })
}

/// Random bytes behind an ethertype, so that the walk gets past it.
fn typed() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0040]);
    let first = prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0x00]);
    (kinds, first, vec(any::<u8>(), 0..200)).prop_map(|(kind, first, rest)| {
        let mut frame = vec![2; 12];
        frame.extend(kind.to_be_bytes());
        frame.push(first);
        frame.extend(rest);
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32768,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_hold(frame in vec(any::<u8>(), 0..200)) {
        holds(&frame);
    }

    #[test]
    fn random_bytes_behind_a_type_hold(frame in typed()) {
        holds(&frame);
    }

    #[test]
    fn mutated_frames_hold(frame in mutated()) {
        holds(&frame);
    }

    #[test]
    fn incremental_equals_full(mut data in vec(any::<u8>(), 2..80), at: prop::sample::Index, new in vec(any::<u8>(), 2..9)) {
        let at = at.index(data.len()) / 2 * 2;
        // An odd piece is padded where a byte stands, unless it is the end: take the word with it.
        let room = data.len() - at;
        let len = if new.len() >= room { room } else { new.len() / 2 * 2 };
        let new = &new[..len];
        let before = Sum::default().bytes(&data).stored();
        let old = data[at..at + len].to_vec();
        data[at..at + len].copy_from_slice(new);
        let (full, fast) = (Sum::default().bytes(&data).stored(), before.replace(&old, new));
        // Of the two zeros of ones' complement either may come out.
        let zeros = [Stored(0), Stored(0xffff)];
        prop_assert!(fast == full || zeros.contains(&fast) && zeros.contains(&full), "{fast:?} {full:?}");
    }

    #[test]
    fn ipv4_options_of_any_bytes_are_walked(bytes in vec(any::<u8>(), 0..60)) {
        for option in ipv4::Options::new(&bytes) {
            let _ = option.final_destination();
        }
    }
}
