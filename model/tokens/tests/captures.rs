//! The codec and the canonical form over real captures: everything is carried or counted, and nothing leads back.
//!
//! Needs the captures (`NETSSMD_DATA`, else `../shared/data` beside the workspace).

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use netssm_tokens::{
    codec::{BytesCodec, Codec, Form, FrameRef, RawPacket, SessionEnd, Step, Vocab, Width},
    repair::{Repair, RepairDrop},
};
use netssm_wire::{
    capture::Capture,
    frame::{Layout, Net, Stop},
};

/// Addresses in the places where a frame has addresses, with the MACs.
fn addresses(frame: &[u8]) -> (HashSet<IpAddr>, HashSet<[u8; 6]>) {
    let layout = Layout::parse(frame);
    let mac = |at: usize| frame.get(at..).and_then(<[u8]>::first_chunk::<6>).copied();
    let v4 = |at: usize| frame.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|&ip| IpAddr::from(ip));
    let mut ips: HashSet<IpAddr> =
        layout.addresses(frame).map(|(s, d)| [s, d]).into_iter().flatten().collect();
    let mut macs: HashSet<[u8; 6]> = [mac(0), mac(6)].into_iter().flatten().collect();
    if let Net::Arp { at } = layout.net {
        ips.extend([v4(at + 14), v4(at + 24)].into_iter().flatten());
        macs.extend([mac(at + 8), mac(at + 18)].into_iter().flatten());
    }
    (ips, macs)
}

/// Addresses that say nothing about anybody, or that the canonical form itself hands out.
fn is_public_knowledge(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let ours = matches!(ip.octets(), [10, 0, ..] | [198, 18 | 19, ..] | [169, 254, ..]);
            ours || ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified() || ip.is_loopback()
        }
        IpAddr::V6(ip) => {
            let solicited = ip.octets()[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
            let small = ip.octets()[2..14] == [0; 12] || ip.segments()[1] == 0xdb8;
            ip.is_multicast() && (!solicited || ip.octets()[13] == 0)
                || ip.is_unspecified()
                || ip.is_loopback()
                || small
        }
    }
}

#[test]
fn canonical_sessions_are_whole_legal_and_anonymous() {
    let Some(data) = support::data() else { return };
    let codec = BytesCodec::new(Vocab::new(&["x"]).expect("a label"), Width::Variable, Form::Canonical);
    let (mut carried, mut skips, mut repairs) = (0_u64, BTreeMap::<&str, u64>::new(), BTreeMap::new());
    let mut drops = BTreeMap::<&str, u64>::new();
    for path in
        ["apps", "iot/val", "requet/val"].iter().flat_map(|folder| support::captures(&data.join(folder)))
    {
        let Ok(mut capture) = Capture::open(&path) else { continue };
        let mut encoder = codec.encoder("x").expect("a label");
        let (mut tokens, mut packets) = (Vec::new(), 0);
        let (mut real_ips, mut real_macs) = (HashSet::new(), HashSet::new());
        while let Ok(Some(record)) = capture.next_record() {
            let (ips, macs) = addresses(&record.frame);
            real_ips.extend(ips);
            real_macs.extend(macs);
            match encoder.push(FrameRef::from(&record), &mut tokens) {
                Ok(()) => packets += 1,
                Err(skip) => *skips.entry(skip.as_str()).or_default() += 1,
            }
            if packets == 4_000 {
                break;
            }
        }
        encoder.finish(SessionEnd::Ended, &mut tokens);
        real_ips.retain(|ip| !is_public_knowledge(ip));
        real_macs.retain(|mac| mac[0] & 1 == 0 && *mac != [0; 6] && mac[..3] != [2, 0, 0]);

        let mut decoder = codec.decoder(0);
        let mut repair = Repair::new();
        let mut decoded = 0;
        for &token in &tokens {
            let Step::Packet(packet) = decoder.push(token.into()) else { continue };
            decoded += 1;
            assert_eq!(Layout::parse(&packet.header).stop, Stop::Whole, "{}", path.display());
            let (ips, macs) = addresses(&packet.header);
            assert!(ips.is_disjoint(&real_ips), "{}: {ips:?}", path.display());
            assert!(macs.is_disjoint(&real_macs), "{}: {macs:?}", path.display());
            if let Err(why) = repair.repair(&RawPacket::new(packet.header)) {
                *drops.entry(why.as_str()).or_default() += 1;
            }
        }
        assert_eq!(decoded, packets, "{}", path.display());
        carried += packets;
        for (kind, count) in repair.counts().kinds() {
            *repairs.entry(kind.as_str()).or_insert(0) += count;
        }
        assert_eq!(repair.counts().drops(RepairDrop::Unrepairable), 0);
    }
    let skipped: u64 = skips.values().sum();
    eprintln!("{carried} packets carried, {skipped} skipped: {skips:?}");
    eprintln!("repairs of real packets: {repairs:?}; drops: {drops:?}");
    assert!(carried > 90_000, "only {carried} packets");
    assert!(skipped * 20 < carried, "more than one in twenty was skipped");
    // Real traffic is legal: what repair finds there would be its own mistakes.
    let repaired: u64 = repairs.values().sum();
    assert!(repaired * 20 < carried, "{repaired} repairs of {carried} real packets");
}

#[test]
fn no_file_makes_the_encoder_panic() {
    let Some(data) = support::data() else { return };
    let mut pushed = 0_u64;
    for form in [Form::Canonical, Form::Raw] {
        for width in [Width::Variable, Width::Fixed(94)] {
            let codec = BytesCodec::new(Vocab::new(&["x"]).expect("a label"), width, form);
            for path in support::captures(&data.join("oddities")) {
                let Ok(mut capture) = Capture::open(&path) else { continue };
                let mut encoder = codec.encoder("x").expect("a label");
                let mut decoder = codec.decoder(0);
                let mut tokens = Vec::new();
                while let Ok(Some(record)) = capture.next_record() {
                    pushed += u64::from(encoder.push(FrameRef::from(&record), &mut tokens).is_ok());
                }
                encoder.finish(SessionEnd::Ended, &mut tokens);
                tokens.iter().for_each(|&token| drop(decoder.push(token.into())));
            }
        }
    }
    assert!(pushed > 1_000, "only {pushed} packets");
}
