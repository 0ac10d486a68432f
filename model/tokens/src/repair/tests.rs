//! Repair of single fields, on packets that a model nearly got right. Properties over any bytes are in
//! `tests/properties.rs`.

use super::*;

const LINK: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn v4(protocol: u8, source: [u8; 4], destination: [u8; 4], body: &[u8]) -> Vec<u8> {
    let total = (20 + body.len()) as u8;
    let head = [0x45, 0, 0, total, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    [&LINK[..], &[8, 0], &head, &source, &destination, body].concat()
}

fn v6(next: u8, source: u8, destination: u8, body: &[u8]) -> Vec<u8> {
    let address = |last| [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let head = [0x60, 0, 0, 0, 0, body.len() as u8, next, 255];
    [&LINK[..], &[0x86, 0xdd], &head, &address(source), &address(destination), body].concat()
}

fn tcp(flags: u8) -> Vec<u8> {
    [
        &[0xc0, 0, 1, 187, 0, 0, 0, 1, 0, 0, 0, if flags & 0x10 != 0 { 1 } else { 0 }][..],
        &[0x50, flags, 1, 0, 0, 0, 0, 0],
    ]
    .concat()
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [198, 18, 0, 1];

/// The outcome for one packet and what it took.
fn one(bytes: &[u8]) -> (Result<Packet, RepairDrop>, Vec<RepairKind>) {
    let mut repair = Repair::new();
    let outcome = repair.repair(&RawPacket::new(bytes.to_vec()));
    (outcome, repair.counts().kinds().map(|(kind, _)| kind).collect())
}

#[test]
fn a_legal_packet_is_left_alone() {
    for bytes in [
        v4(6, CLIENT, SERVER, &tcp(0x02)),
        v6(6, 1, 2, &tcp(0x18)),
        v4(17, CLIENT, SERVER, &[0xc0, 0, 1, 187, 0, 8, 0, 0]),
        v4(1, CLIENT, SERVER, &[8, 0, 0, 0, 0, 1, 0, 1]),
        [
            &[0xff; 6][..],
            &LINK[6..],
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &LINK[6..],
            &CLIENT,
            &[0; 6],
            &[10, 0, 0, 9],
        ]
        .concat(),
    ] {
        let (outcome, kinds) = one(&bytes);
        assert_eq!(outcome.map(|packet| (packet.wire_len as usize, packet.header)), Ok((bytes.len(), bytes)));
        assert_eq!(kinds, []);
    }
}

#[test]
fn fields_are_set_right_and_counted() {
    use RepairKind::{
        Fragment, IpHeaderLength, IpLength, IpReservedFlag, IpVersion, SourceMac, TcpDataOffset, Ttl,
    };
    let good = v4(6, CLIENT, SERVER, &tcp(0x10));
    for (at, byte, kind) in [
        (6, 0x03, SourceMac),
        (14, 0x65, IpVersion),
        (14, 0x42, IpHeaderLength),
        (17, 20, IpLength),
        (20, 0xc0, IpReservedFlag),
        (21, 9, Fragment),
        (22, 0, Ttl),
        (46, 0x20, TcpDataOffset),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        let (outcome, kinds) = one(&bad);
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
        let expected = if kind == SourceMac { [&good[..6], &[2], &good[7..]].concat() } else { good.clone() };
        assert_eq!(outcome.map(|packet| packet.header), Ok(expected), "{kind}");
    }
}

#[test]
fn zero_padding_is_no_payload_and_lengths_have_a_ceiling() {
    let good = v4(6, CLIENT, SERVER, &tcp(0x10));
    let mut padded = good.clone();
    padded.resize(106, 0);
    let (outcome, kinds) = one(&padded);
    assert_eq!(outcome.map(|packet| (packet.wire_len, packet.header)), Ok((54, good.clone())));
    assert_eq!(kinds, []);
    let mut huge = good;
    huge[16] = 0xff;
    let (outcome, kinds) = one(&huge);
    assert_eq!(outcome.map(|packet| packet.wire_len), Ok(1514));
    assert_eq!(kinds, [RepairKind::IpLength]);
}

#[test]
fn groups_get_their_mac_and_hosts_a_mac_endpoints() {
    let mdns = [20, 233, 20, 233, 0, 25, 0, 0];
    let to = |bytes: Vec<u8>| one(&bytes).0.map(|packet| packet.header[..6].to_vec());
    assert_eq!(to(v4(17, CLIENT, [224, 0, 0, 251], &mdns)), Ok(vec![1, 0, 0x5e, 0, 0, 251]));
    assert_eq!(to(v4(17, CLIENT, [255; 4], &mdns)), Ok(vec![0xff; 6]));
    let mut grouped = v4(17, CLIENT, [10, 0, 0, 9], &mdns);
    grouped[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(to(grouped), Ok(vec![2, 0, 10, 0, 0, 9]));
    let mut subnet = v4(17, CLIENT, [10, 0, 0, 255], &mdns);
    subnet[..6].fill(0xff);
    assert_eq!(to(subnet), Ok(vec![0xff; 6]));
}

#[test]
fn what_cannot_be_is_dropped() {
    let dropped = |bytes: Vec<u8>| one(&bytes).0.map(|packet| packet.wire_len);
    assert_eq!(dropped(vec![0; 13]), Err(RepairDrop::Short));
    assert_eq!(dropped([&LINK[..], &[0x88, 0x8e, 0, 0]].concat()), Err(RepairDrop::Ethertype));
    assert_eq!(dropped(v4(47, CLIENT, SERVER, &[0; 8])), Err(RepairDrop::Protocol));
    assert_eq!(dropped(v4(6, CLIENT, CLIENT, &tcp(2))), Err(RepairDrop::Address));
    assert_eq!(dropped(v4(6, [224, 0, 0, 1], SERVER, &tcp(2))), Err(RepairDrop::Address));
    assert_eq!(dropped(v4(6, CLIENT, [224, 0, 0, 1], &tcp(2))), Err(RepairDrop::Address));
    assert_eq!(dropped(v4(6, [0; 4], SERVER, &tcp(2))), Err(RepairDrop::Address));
    assert_eq!(dropped(v4(17, CLIENT, SERVER, &[0, 0, 0, 53, 0, 8, 0, 0])), Err(RepairDrop::Port));
    assert_eq!(dropped(v4(6, CLIENT, SERVER, &[1; 19])), Err(RepairDrop::Short));
    assert_eq!(
        dropped(v4(2, CLIENT, [224, 0, 0, 1], &[0x16, 0, 0, 0, 10, 0, 0, 1])),
        Err(RepairDrop::Message)
    );
    assert_eq!(dropped(v6(58, 1, 2, &[135, 0, 0, 0, 0, 0, 0, 0, 1])), Err(RepairDrop::Short));
    let three_tags = [&LINK[..], &[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0]].concat();
    assert_eq!(dropped(three_tags), Err(RepairDrop::Ethertype));
}

#[test]
fn an_error_quotes_the_packet_it_answers() {
    let unreachable = |code| v4(1, SERVER, CLIENT, &[3, code, 0, 0, 0, 0, 0, 0]);
    assert_eq!(one(&unreachable(3)).0, Err(RepairDrop::NothingToQuote));
    let mut repair = Repair::new();
    let mut push = |bytes: Vec<u8>| repair.repair(&RawPacket::new(bytes));
    let query = v4(17, CLIENT, SERVER, &[0xc0, 0, 0x30, 0x39, 0, 8, 0, 0]);
    push(query.clone()).expect("legal");
    push(v4(6, CLIENT, [198, 18, 0, 2], &tcp(2))).expect("legal");
    let error = push(unreachable(3)).expect("has something to quote");
    assert_eq!(error.header.len(), 14 + 20 + 8 + 28);
    assert_eq!((error.wire_len as usize, error.header[17]), (error.header.len(), 56));
    let quote = &error.header[42..];
    assert_eq!(quote[12..28], query[26..42], "addresses and ports");
    assert_ne!(quote[10..12], [0, 0], "the quoted header has its checksum");
    // A router on the way complains about the latest packet; the host itself is not the destination of that one.
    let late =
        push(v4(1, [198, 18, 9, 9], CLIENT, &[11, 0, 0, 0, 0, 0, 0, 0])).expect("has something to quote");
    assert_eq!(late.header[42 + 16..42 + 20], [198, 18, 0, 2]);
    let port = push(v4(1, [198, 18, 9, 9], CLIENT, &[3, 3, 0, 0, 0, 0, 0, 0]));
    assert_eq!(port, Err(RepairDrop::NothingToQuote), "only the host itself knows its ports");
}

#[test]
fn discovery_keeps_legal_options_and_the_hop_limit() {
    let target = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let mac = [1, 1, 2, 0, 0, 0, 0, 1];
    let message = [&[135, 7, 0, 0, 0, 0, 0, 0][..], &target, &mac, &mac, &[77, 1, 0, 0, 0, 0, 0, 0]].concat();
    let mut bytes = v6(58, 1, 2, &message);
    bytes[21] = 64;
    let (outcome, kinds) = one(&bytes);
    let packet = outcome.expect("legal");
    assert_eq!((packet.header[21], packet.header[55], packet.header.len()), (255, 0, 14 + 40 + 24 + 8));
    assert_eq!(kinds, [RepairKind::IpLength, RepairKind::Ttl, RepairKind::IcmpCode, RepairKind::MessageBody]);
    // A listener report with a router alert before it.
    let record = [&[4, 0, 0, 0, 0xff, 2][..], &[0; 13], &[0xfb]].concat();
    let report = [&[58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 1][..], &record].concat();
    let mut bytes = v6(0, 1, 0, &report);
    bytes[38..54].copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);
    bytes[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 0x16]);
    bytes[21] = 1;
    let (outcome, kinds) = one(&bytes);
    assert_eq!((outcome.map(|packet| packet.header), kinds), (Ok(bytes), vec![]));
}

#[test]
fn counts_add_up_over_sessions() {
    let mut sum = RepairCounts::default();
    for bytes in
        [v4(6, CLIENT, SERVER, &tcp(0)), v4(6, CLIENT, CLIENT, &tcp(2)), v4(6, CLIENT, SERVER, &tcp(2))]
    {
        let mut repair = Repair::new();
        let _ = repair.repair(&RawPacket::new(bytes));
        sum.merge(repair.counts());
    }
    assert_eq!((sum.packets(), sum.repaired(), sum.dropped()), (3, 1, 1));
    assert_eq!((sum.kind(RepairKind::TcpFlags), sum.drops(RepairDrop::Address)), (1, 1));
    let names: std::collections::HashSet<_> = RepairKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), RepairKind::ALL.len());
    assert!(RepairKind::ALL.iter().enumerate().all(|(index, &kind)| kind as usize == index));
    assert!(RepairDrop::ALL.iter().enumerate().all(|(index, &why)| why as usize == index));
}
