//! Where hosts, MAC endpoints and groups go, on hand-made frames.
#![allow(clippy::print_stdout, reason = "what was skipped")]

mod rewrite_support;

use netssm_replay::rewrite::*;
use netssm_wire::MacAddr;
use netssm_wire::checksum::{Check, verify};
use rewrite_support::frames::*;
use rewrite_support::{plan, replay};

#[test]
fn clients_and_servers_go_to_their_prefixes_and_directions() {
    let out = frames(
        plan(),
        vec![up(6, &tcp((50_000, 443), 0, 0, 2, &[], 0)), down(6, &tcp((443, 50_000), 0, 1, 0x12, &[], 0))],
    );
    assert!(source(&out[0]).starts_with("11.200.") || source(&out[0]).starts_with("11.201."));
    assert!(destination(&out[0]).starts_with("11.22"));
    assert_eq!((source(&out[0]), destination(&out[0])), (destination(&out[1]), source(&out[1])));
    assert_eq!([out[0].direction(), out[1].direction()], [Direction::ToServer, Direction::ToClient]);
    let flow = *out[1].flow().unwrap();
    assert!(!flow.from_initiator);
    assert_eq!((flow.initiator.src.to_string(), flow.initiator.dst_port), (source(&out[0]), 443));
    assert!(flow.initiator.src_port >= 49_152, "ephemeral ports are drawn from the dynamic range");
    // Both MAC endpoints are locally administered, differ, and are not the session's.
    let (a, b) = (&out[0].bytes()[..6], &out[0].bytes()[6..12]);
    assert!(a != b && a[0] & 3 == 2 && b[0] & 3 == 2);
}

#[test]
fn a_local_server_with_global_clients_is_on_the_server_side() {
    let out = frames(
        plan(),
        vec![down(6, &tcp((50_000, 443), 0, 0, 2, &[], 0)), up(6, &tcp((443, 50_000), 0, 1, 0x12, &[], 0))],
    );
    assert_eq!([out[0].direction(), out[1].direction()], [Direction::ToServer, Direction::ToClient]);
}

#[test]
fn mid_stream_and_datagram_flows_have_their_initiator_by_port() {
    // The server is seen first.
    let out = frames(
        plan(),
        vec![down(6, &tcp((443, 50_000), 1, 1, 0x10, &[], 10)), down(17, &udp(53, 40_000, 40))],
    );
    for frame in &out {
        assert_eq!(frame.direction(), Direction::ToClient);
        assert!(!frame.flow().unwrap().from_initiator);
    }
}

#[test]
fn fixed_macs_and_vlan_are_written() {
    let (client, server) = (MacAddr([2, 1, 1, 1, 1, 1]), MacAddr([2, 9, 9, 9, 9, 9]));
    let with = AddressPlan {
        client_mac: MacPolicy::Fixed(client),
        server_mac: MacPolicy::Fixed(server),
        vlan: Some(VlanId::new(300).unwrap()),
        ..plan()
    };
    let tagged = {
        let mut frame = up(17, &udp(40_000, 5000, 50));
        frame.splice(12..12, [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
        frame
    };
    let out = frames(with, vec![tagged.clone()]);
    let bytes = out[0].bytes();
    assert_eq!((&bytes[..6], &bytes[6..12]), (&server.0[..], &client.0[..]));
    assert_eq!(bytes[12..18], [0x81, 0, 0x01, 0x2c, 0x08, 0]);
    assert_eq!(bytes.len(), tagged.len() - 4);
    let without = frames(plan(), vec![tagged.clone()]);
    assert_eq!((without[0].len(), &without[0].bytes()[12..14]), (tagged.len() - 8, &[8, 0][..]));
}

#[test]
fn arp_is_mapped_like_the_frames_and_unknown_targets_stay_zero() {
    let arp = |operation: u8, from: ([u8; 6], [u8; 4]), to: ([u8; 6], [u8; 4])| {
        [&[0, 1, 8, 0, 6, 4, 0, operation][..], &from.0, &from.1, &to.0, &to.1, &[0; 18]].concat()
    };
    let out = frames(
        plan(),
        vec![
            ethernet(MAC, EVERYBODY, 0x0806, &arp(1, (MAC, LOCAL), ([0; 6], GATEWAY))),
            ethernet(GATEWAY_MAC, MAC, 0x0806, &arp(2, (GATEWAY_MAC, GATEWAY), (MAC, LOCAL))),
            ethernet(MAC, EVERYBODY, 0x0806, &arp(1, (MAC, [0; 4]), ([0; 6], LOCAL))),
            ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4(17, LOCAL, GATEWAY, &udp(40_000, 53, 30))),
        ],
    );
    let (ask, answer, probe, query) = (out[0].bytes(), out[1].bytes(), out[2].bytes(), out[3].bytes());
    assert_eq!((&ask[..6], &ask[32..38]), (&EVERYBODY[..], &[0; 6][..]));
    assert_eq!((&ask[6..12], &ask[28..32], &ask[38..42]), (&query[6..12], &query[26..30], &query[30..34]));
    assert_eq!(&ask[22..28], &ask[6..12], "the sender in the packet is the one in the header");
    assert_eq!((&answer[22..28], &answer[28..32]), (&query[..6], &query[30..34]));
    assert_eq!((&answer[32..38], &answer[38..42]), (&query[6..12], &query[26..30]));
    assert_eq!((&probe[28..32], &probe[38..42]), (&[0; 4][..], &query[26..30]));
    assert!(ask[42..].iter().all(|b| *b == 0));
}

#[test]
fn groups_stay_and_a_subnets_broadcast_becomes_the_clients() {
    let mdns = ethernet(
        MAC,
        [1, 0, 0x5e, 0, 0, 0xfb],
        0x0800,
        &ipv4(17, LOCAL, [224, 0, 0, 251], &udp(5353, 5353, 40)),
    );
    let broadcast = ethernet(MAC, EVERYBODY, 0x0800, &ipv4(17, LOCAL, [10, 0, 0, 255], &udp(137, 137, 50)));
    let dhcp = ethernet(MAC, EVERYBODY, 0x0800, &ipv4(17, [0; 4], [255; 4], &udp(68, 67, 300)));
    let out = frames(plan(), vec![mdns.clone(), broadcast.clone(), dhcp.clone()]);
    assert_eq!((destination(&out[0]), &out[0].bytes()[..6]), ("224.0.0.251".into(), &mdns[..6]));
    assert_eq!((destination(&out[1]), &out[1].bytes()[..6]), ("11.201.255.255".into(), &EVERYBODY[..]));
    assert_eq!((source(&out[2]), destination(&out[2])), ("0.0.0.0".into(), "255.255.255.255".into()));
    // The DHCP client hardware address is the new one of the MAC endpoint.
    assert_eq!(out[2].bytes()[42 + 28..42 + 34], out[2].bytes()[6..12]);
    let drop = AddressPlan { multicast: GroupPolicy::Drop, ..plan() };
    let dropped = replay(&rewriter(drop), &session(vec![mdns, broadcast, dhcp, up(17, &udp(1, 2, 3))]), 1);
    assert!(dropped[..3].iter().all(|item| matches!(item, Err(Dropped::Group))));
    assert!(dropped[3].is_ok());
}

#[test]
fn neighbour_discovery_follows_its_hosts() {
    let host = |first: [u8; 2], last: u8| {
        let mut ip = [0; 16];
        ip[..2].copy_from_slice(&first);
        ip[15] = last;
        ip
    };
    let (asker, target, global) = (host([0xfe, 0x80], 1), host([0xfe, 0x80], 2), host([0x20, 0x01], 2));
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2];
    let mut ask = vec![135, 0, 0, 0, 0, 0, 0, 0];
    ask.extend(target);
    ask.extend([1, 1]);
    ask.extend(MAC);
    let mut answer = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
    answer.extend(target);
    answer.extend([2, 1]);
    answer.extend(GATEWAY_MAC);
    let out = frames(
        plan(),
        vec![
            ethernet(MAC, [0x33, 0x33, 0xff, 0, 0, 2], 0x86dd, &ipv6(58, asker, group, &ask)),
            ethernet(GATEWAY_MAC, MAC, 0x86dd, &ipv6(58, target, asker, &answer)),
            ethernet(GATEWAY_MAC, MAC, 0x86dd, &ipv6(17, global, asker, &udp(40_000, 9, 20))),
        ],
    );
    let (ask, answer, other) = (out[0].bytes(), out[1].bytes(), out[2].bytes());
    let new_target = &answer[22..38];
    assert!(new_target.starts_with(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0]) && new_target[8..] != target[8..]);
    assert_eq!(&ask[54 + 8..54 + 24], new_target, "the target that is asked for");
    assert_eq!(&ask[54 - 3..54], &new_target[13..], "its solicited-node group");
    assert_eq!(&ask[3..6], &new_target[13..], "and the group's ethernet address");
    assert_eq!(&other[22 + 13..38], &new_target[13..], "its other address shares the low bits");
    assert_eq!((&ask[54 + 26..54 + 32], &answer[54 + 26..54 + 32]), (&ask[6..12], &answer[6..12]));
    for frame in &out {
        assert_eq!(verify(frame.bytes()).transport, Check::Good);
    }
}

#[test]
fn fields_without_a_meaning_carry_nothing_over() {
    let here = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let everybody = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (mdns, mdns6) = ([224, 0, 0, 251], [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb]);
    let v4 = |parts: [&[u8]; 2]| {
        let body = ipv4(2, LOCAL, [224, 0, 0, 22], &parts.concat());
        ethernet(MAC, [1, 0, 0x5e, 0, 0, 22], 0x0800, &body)
    };
    let v6 = |parts: [&[u8]; 3]| {
        ethernet(MAC, [0x33, 0x33, 0, 0, 0, 1], 0x86dd, &ipv6(58, here, everybody, &parts.concat()))
    };
    let advertise = |option: [&[u8]; 2]| v6([&[134, 0, 0, 0, 64, 0, 7, 8], &[0; 8], &option.concat()]);
    // Junk wherever no RFC gives a meaning, the first of them beside a count with which it spells 10.0.0.1.
    let rewritten = |junk: [u8; 4]| {
        let [a, b, c, d] = junk;
        let robustness = c & 0xf0 | 2;
        let prefix = [3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 9, a, b, c, d];
        let messages = vec![
            v4([&[0x22, d, 0, 0, a, b, 0, 1, 4, 0, 0, 0], &mdns]),
            v4([&[0x16, d, 0, 0], &mdns]),
            v4([&[0x11, 100, 0, 0, 0, 0, 0, 0], &[robustness, 125, 0, 0]]),
            v6([&[143, d, 0, 0, a, b, 0, 1, 4, 0, 0, 0], &mdns6, &[]]),
            v6([&[131, d, 0, 0, a, b, c, d], &mdns6, &[]]),
            v6([&[130, d, 0, 0, 3, 232, a, b], &[0; 16], &[robustness, 125, 0, 0]]),
            advertise([&prefix, &[0; 16]]),
            advertise([&[5, 1, a, b, 0, 0, 5, 220], &[]]),
            advertise([&[26, 1, a, b, c, d, c, d], &[]]),
            advertise([&[25, 3, a, b, 0, 0, 0, 9], &here]),
        ];
        frames(plan(), messages).iter().map(|frame| frame.bytes().to_vec()).collect::<Vec<_>>()
    };
    let clean = rewritten([0; 4]);
    assert_eq!(rewritten([10, 0, 0xe0, 0xee]), clean);
    // What has a meaning is still there.
    assert_eq!(clean[0][34 + 4..], [0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251]);
    assert_eq!((clean[2][34 + 1], &clean[2][34 + 8..]), (100, &[2, 125, 0, 0][..]));
    assert_eq!((&clean[5][54 + 4..54 + 6], &clean[5][54 + 24..54 + 26]), (&[3, 232][..], &[2, 125][..]));
    assert_eq!(clean[6][54 + 16..54 + 28], [3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 9]);
    assert_eq!(clean[7][54 + 20..54 + 24], [0, 0, 5, 220]);
    assert_eq!(clean[9][54 + 20..54 + 24], [0, 0, 0, 9]);
}
