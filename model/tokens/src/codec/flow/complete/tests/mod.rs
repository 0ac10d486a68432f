//! Strict records against repair, tshark and Suricata.

mod maker;
mod tools;
#[path = "../../../../../tests/support/tshark.rs"]
mod tshark;

use std::net::Ipv6Addr;

use netssm_wire::{
    checksum::{self, Check},
    frame::{Layout, Stop},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::maker::Maker;
use super::*;
use crate::{
    codec::flow::{
        record::{Ether, Mac},
        strict::{broken_rule, needs_alert, ttls, words},
    },
    repair::Repair,
};

/// Packets of one session.
const SESSION: usize = 200;

/// Records with what repair makes of them and the whole frames: payload and padding are zeros, checksums right.
fn frames(seed: u64, packets: usize) -> Vec<(Record, Vec<u8>)> {
    let mut maker = Maker { rng: ChaCha8Rng::seed_from_u64(seed) };
    let mut frames = Vec::new();
    while frames.len() < packets {
        let (mut completion, mut repair) = (Completion::default(), Repair::new());
        for _ in 0..SESSION {
            let record = if maker.rng.random_bool(0.05) { maker.arp() } else { maker.ip() };
            assert_eq!(broken_rule(&record), None, "{record:?}");
            let raw = completion.complete(&record);
            let packet =
                repair.repair(&raw).unwrap_or_else(|why| panic!("dropped, {why}: {record:?}\n{raw:x?}"));
            let kinds: Vec<_> = repair.counts().kinds().collect();
            assert!(kinds.is_empty(), "{kinds:?}: {record:?}\n{:x?}\n{:x?}", raw.header, packet.header);
            assert_eq!(packet.header, raw.header);
            let told = match &record.frame {
                Frame::Ip(ip) => ip.told_len(),
                _ => 42,
            };
            assert!(packet.wire_len == told || packet.wire_len == record.wire_len);
            let mut frame = packet.header;
            frame.resize(record.wire_len as usize, 0);
            checksum::fill(&mut frame).expect("a whole frame");
            assert_eq!(Layout::parse(&frame).stop, Stop::Whole);
            let checks = checksum::verify(&frame);
            for check in [checks.ipv4, checks.transport] {
                assert!(matches!(check, Check::Good | Check::Absent), "{checks:?}");
            }
            frames.push((record, frame));
        }
    }
    frames
}

#[test]
fn strict_records_need_no_repair() {
    for seed in 0..5 {
        frames(seed, 4_000);
    }
}

#[test]
fn errors_quote_what_was_sent_or_what_could_have_been() {
    let mut maker = Maker { rng: ChaCha8Rng::seed_from_u64(3) };
    let mut completion = Completion::default();
    let mut quoted = 0;
    for _ in 0..5_000 {
        let record = maker.ip();
        let Frame::Ip(ip) = &record.frame else { continue };
        let may = completion.may_quote(ip.src, ip.dst);
        let raw = completion.complete(&record);
        let Transport::Icmp(icmp) = &ip.transport else { continue };
        if ip.protocol == protocol::IGMP || !is_error(ip.protocol, icmp.kind) {
            continue;
        }
        let quote = &raw.header[raw.header.len() - ip.payload_len as usize..];
        let layout = Layout::parse_ip(quote);
        assert_eq!(layout.addresses(quote).map(|pair| pair.0), Some(ip.dst));
        // No further than the quoted packet reaches.
        assert!(layout.l3_end().is_some_and(|end| end >= quote.len()));
        quoted += usize::from(may);
    }
    assert!(quoted > 100, "{quoted}");
}

/// A message between a host fe80::1:2:3 at 02:00:00:00:00:01 and `dst`, with `len` bytes behind its first eight.
fn message(kind: u16, dst: &str, len: u32) -> IpFrame {
    let (src, dst): (IpAddr, IpAddr) = ("fe80::1:2:3".parse().expect("one"), dst.parse().expect("one"));
    let words = words(protocol::ICMPV6, kind, dst, len).expect("no echo");
    let alert = needs_alert(protocol::ICMPV6, kind);
    let ether = Ether {
        src: [2, 0, 0, 0, 0, 1],
        dst: group_mac(dst).unwrap_or([2, 0, 0, 0, 0, 2]),
        tags: Default::default(),
    };
    IpFrame {
        ether,
        src,
        dst,
        protocol: protocol::ICMPV6,
        tos: 0,
        ttl: ttls(protocol::ICMPV6, kind).1,
        id: 0,
        fragment: 0,
        checksum: 0,
        options: Default::default(),
        label: 0,
        alert,
        transport: Transport::Icmp(Icmp { kind, checksum: 7, words, window: Default::default() }),
        payload_len: len,
        missing: 0,
    }
}

/// The completed header from the IPv6 destination on, without what stands between it and the message's body.
fn completed(completion: &mut Completion, ip: IpFrame) -> (Mac, Ipv6Addr, Vec<u8>) {
    let body_at = ip.ether.header_len() + ip.header_len();
    let record = Record { time_us: 0, wire_len: ip.told_len(), frame: Frame::Ip(ip) };
    assert_eq!(broken_rule(&record), None);
    let header = completion.complete(&record).header;
    assert_eq!(header.len(), record.wire_len as usize);
    let address = header[38..54].first_chunk::<16>().copied().expect("16 bytes");
    (header[..6].first_chunk().copied().expect("6 bytes"), address.into(), header[body_at..].to_vec())
}

#[test]
fn messages_get_the_group_and_the_body_of_their_rfc() {
    let mut completion = Completion::default();
    let v6 = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
    let link = |number| [number, 1, 2, 0, 0, 0, 0, 1].to_vec();
    let record = |group: &str| [&[4, 0, 0, 0][..], &v6(group).octets()].concat();
    // The group of each record was drawn: the message knows better.
    let drawn = "ff02::fb";
    let mut is = |kind, dst: &str, mac: [u8; 6], group: &str, body: Vec<u8>| {
        let got = completed(&mut completion, message(kind, dst, body.len() as u32));
        assert_eq!(got, (mac, v6(group), body), "{kind:#x} to {dst}");
    };
    is(0x8500, drawn, [0x33, 0x33, 0, 0, 0, 2], "ff02::2", link(1));
    is(0x8f00, drawn, [0x33, 0x33, 0, 0, 0, 0x16], "ff02::16", record("ff02::1:ff02:3"));
    is(
        0x8f00,
        drawn,
        [0x33, 0x33, 0, 0, 0, 0x16],
        "ff02::16",
        [record("ff02::1:ff02:3"), record(drawn)].concat(),
    );
    is(0x8300, drawn, [0x33, 0x33, 0, 0, 0, 0xfb], drawn, v6(drawn).octets().to_vec());
    is(0x8400, drawn, [0x33, 0x33, 0, 0, 0, 2], "ff02::2", v6(drawn).octets().to_vec());
    let solicitation = |target: &str| [v6(target).octets().to_vec(), link(1)].concat();
    is(0x8700, drawn, [0x33, 0x33, 0xff, 0, 0, 1], "ff02::1:ff00:1", solicitation("fe80::1"));
    is(0x8700, "fe80::9:8:7", [2, 0, 0, 0, 0, 2], "fe80::9:8:7", solicitation("fe80::9:8:7"));
    // That neighbour is known now.
    is(0x8700, drawn, [0x33, 0x33, 0xff, 8, 0, 7], "ff02::1:ff08:7", solicitation("fe80::9:8:7"));
    is(0x8700, "ff02::1:ff08:7", [0x33, 0x33, 0xff, 8, 0, 7], "ff02::1:ff08:7", solicitation("fe80::9:8:7"));
    let advertisement = [v6("fe80::1:2:3").octets().to_vec(), link(2)].concat();
    is(0x8800, "fe80::9:8:7", [2, 0, 0, 0, 0, 2], "fe80::9:8:7", advertisement.clone());
    is(0x8800, drawn, [0x33, 0x33, 0, 0, 0, 1], "ff02::1", advertisement);
    is(
        0x8600,
        drawn,
        [0x33, 0x33, 0, 0, 0, 1],
        "ff02::1",
        [vec![0; 8], link(1), vec![5, 1, 0, 0, 0, 0, 5, 220]].concat(),
    );
}

#[test]
fn any_record_gives_a_header() {
    // Records as a lenient decoder may make them: any bytes at all, cut anywhere.
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut completion = Completion::default();
    for (_, mut frame) in frames(11, 2_000) {
        for _ in 0..rng.random_range(0..6) {
            let at = rng.random_range(12..frame.len());
            frame[at] = rng.random();
        }
        let wire_len = frame.len() as u32;
        frame.truncate(rng.random_range(0..=frame.len()));
        let record = Record::parse(0, wire_len, &frame);
        let _ = completion.complete(&record);
    }
}
