//! One session of hand-made frames for each promise of the rewriter.
#![allow(clippy::print_stdout, reason = "what was measured, and what was skipped")]

mod rewrite_support;

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::error::{PlanError, RewriteError};
use netssm_replay::label::{LabelRecord, LabelTracker};
use netssm_replay::rewrite::*;
use netssm_wire::MacAddr;
use netssm_wire::checksum::{Check, verify};
use netssm_wire::flow::community_id;
use netssm_wire::frame::Layout;
use netssm_wire::session::{Packet, Session, Timing};
use rewrite_support::{plan, replay};

// ---- frames ---------------------------------------------------------------------------------------------------------

/// Local hosts 10.0.0.k and global ones 198.18.0.k, as canonical sessions have them.
const LOCAL: [u8; 4] = [10, 0, 0, 1];
const GATEWAY: [u8; 4] = [10, 0, 0, 2];
const GLOBAL: [u8; 4] = [198, 18, 0, 1];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const EVERYBODY: [u8; 6] = [0xff; 6];

fn ethernet(from: [u8; 6], to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), body].concat()
}

fn ipv4_with(id: u16, fragment: u16, protocol: u8, src: [u8; 4], dst: [u8; 4], body: &[u8]) -> Vec<u8> {
    let total = (20 + body.len()) as u16;
    let mut out = vec![0x45, 0];
    for word in [total, id, fragment] {
        out.extend(word.to_be_bytes());
    }
    out.extend([64, protocol, 0, 0]);
    [&out[..], &src, &dst, body].concat()
}

fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], body: &[u8]) -> Vec<u8> {
    ipv4_with(0, 0x4000, protocol, src, dst, body)
}

fn ipv6(next: u8, src: [u8; 16], dst: [u8; 16], body: &[u8]) -> Vec<u8> {
    [&[0x60, 0, 0, 0][..], &(body.len() as u16).to_be_bytes(), &[next, 255], &src, &dst, body].concat()
}

fn udp(src: u16, dst: u16, payload: usize) -> Vec<u8> {
    let mut out = [src, dst, (8 + payload) as u16, 0].map(u16::to_be_bytes).concat();
    out.resize(8 + payload, 0x77);
    out
}

fn tcp(ports: (u16, u16), seq: u32, ack: u32, flags: u8, options: &[u8], payload: usize) -> Vec<u8> {
    let mut out = [ports.0, ports.1].map(u16::to_be_bytes).concat();
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([((20 + options.len()) / 4 * 16) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(options);
    out.resize(out.len() + payload, 0x77);
    out
}

/// From the local host through the gateway, or back.
fn up(protocol: u8, body: &[u8]) -> Vec<u8> {
    ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4(protocol, LOCAL, GLOBAL, body))
}

fn down(protocol: u8, body: &[u8]) -> Vec<u8> {
    ethernet(GATEWAY_MAC, MAC, 0x0800, &ipv4(protocol, GLOBAL, LOCAL, body))
}

fn session(frames: Vec<Vec<u8>>) -> Session {
    let packet = |(i, header): (usize, Vec<u8>)| Packet {
        time: Duration::from_millis(i as u64),
        wire_len: header.len() as u32,
        header,
    };
    let packets = frames.into_iter().enumerate().map(packet).collect();
    Session { label: "test".into(), seed: 5, model: "abcd".into(), timing: Timing::Drawn, packets }
}

fn rewriter(plan: AddressPlan) -> Rewriter {
    Rewriter::new(plan, Allocator::new()).unwrap()
}

fn frames(plan: AddressPlan, frames: Vec<Vec<u8>>) -> Vec<TestbedFrame> {
    replay(&rewriter(plan), &session(frames), 1).into_iter().map(Result::unwrap).collect()
}

fn source(frame: &TestbedFrame) -> String {
    Layout::parse(frame.bytes()).addresses(frame.bytes()).unwrap().0.to_string()
}

fn destination(frame: &TestbedFrame) -> String {
    Layout::parse(frame.bytes()).addresses(frame.bytes()).unwrap().1.to_string()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

// ---- addresses ------------------------------------------------------------------------------------------------------

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
    assert!(!flow.from_opener);
    assert_eq!((flow.opener.src.to_string(), flow.opener.dst_port), (source(&out[0]), 443));
    assert!(flow.opener.src_port >= 49_152, "ephemeral ports are drawn from the dynamic range");
    // Both stations are locally administered, differ, and are not the session's.
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
fn mid_stream_and_datagram_flows_have_their_opener_by_port() {
    // The server is seen first.
    let out = frames(
        plan(),
        vec![down(6, &tcp((443, 50_000), 1, 1, 0x10, &[], 10)), down(17, &udp(53, 40_000, 40))],
    );
    for frame in &out {
        assert_eq!(frame.direction(), Direction::ToClient);
        assert!(!frame.flow().unwrap().from_opener);
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
    let shout = ethernet(MAC, EVERYBODY, 0x0800, &ipv4(17, LOCAL, [10, 0, 0, 255], &udp(137, 137, 50)));
    let dhcp = ethernet(MAC, EVERYBODY, 0x0800, &ipv4(17, [0; 4], [255; 4], &udp(68, 67, 300)));
    let out = frames(plan(), vec![mdns.clone(), shout.clone(), dhcp.clone()]);
    assert_eq!((destination(&out[0]), &out[0].bytes()[..6]), ("224.0.0.251".into(), &mdns[..6]));
    assert_eq!((destination(&out[1]), &out[1].bytes()[..6]), ("11.201.255.255".into(), &EVERYBODY[..]));
    assert_eq!((source(&out[2]), destination(&out[2])), ("0.0.0.0".into(), "255.255.255.255".into()));
    // The DHCP client hardware address is the station's new one.
    assert_eq!(out[2].bytes()[42 + 28..42 + 34], out[2].bytes()[6..12]);
    let drop = AddressPlan { multicast: GroupPolicy::Drop, ..plan() };
    let dropped = replay(&rewriter(drop), &session(vec![mdns, shout, dhcp, up(17, &udp(1, 2, 3))]), 1);
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

// ---- numbers --------------------------------------------------------------------------------------------------------

#[test]
fn tcp_numbers_move_together_and_anew_for_each_replay() {
    let stamp =
        |value: u32, echo: u32| [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat();
    let sack = [&[1, 1, 5, 10][..], &101u32.to_be_bytes(), &201u32.to_be_bytes()].concat();
    let session = session(vec![
        up(6, &tcp((50_000, 443), 0, 0, 2, &stamp(1, 0), 0)),
        down(6, &tcp((443, 50_000), 0, 1, 0x12, &stamp(1, 1), 0)),
        up(6, &tcp((50_000, 443), 1, 1, 0x18, &stamp(5, 1), 100)),
        up(6, &tcp((50_000, 443), 101, 1, 0x18, &stamp(6, 1), 100)),
        down(6, &tcp((443, 50_000), 1, 1, 0x10, &sack, 0)),
    ]);
    let rewriter = rewriter(plan());
    let numbers = |seed| -> Vec<[u32; 4]> {
        let out = replay(&rewriter, &session, seed);
        let four = |frame: &TestbedFrame| [38, 42, 58, 62].map(|at| word(frame.bytes(), at));
        out.iter().map(|f| four(f.as_ref().unwrap())).collect()
    };
    let (a, b) = (numbers(1), numbers(2));
    let (client, server) = (a[0][0], a[1][0]);
    assert_eq!(a[1][1], client.wrapping_add(1));
    assert_eq!([a[2][0], a[2][1]], [client.wrapping_add(1), server.wrapping_add(1)]);
    assert_eq!(a[4][2..], [client.wrapping_add(101), client.wrapping_add(201)], "sack");
    assert_eq!(a[0][3], 0, "a syn echoes nothing");
    assert_eq!((a[1][3], a[2][2].wrapping_sub(a[0][2]), a[2][3]), (a[0][2], 4, a[1][2]), "timestamps");
    assert!(a[0][0] != b[0][0] && a[1][0] != b[1][0] && a[0][2] != b[0][2], "fresh for each replay");
    assert_eq!(numbers(1), a);
}

#[test]
fn a_retransmission_repeats_its_bytes_and_overlaps_agree() {
    let out = frames(
        plan(),
        vec![
            up(6, &tcp((50_000, 6000), 0, 0, 2, &[], 0)),
            up(6, &tcp((50_000, 6000), 1, 1, 0x18, &[], 300)),
            up(6, &tcp((50_000, 6000), 1, 1, 0x18, &[], 300)),
            up(6, &tcp((50_000, 6000), 101, 1, 0x18, &[], 400)),
        ],
    );
    assert_eq!(out[1].bytes()[54..], out[2].bytes()[54..]);
    assert_eq!(out[1].bytes()[154..], out[3].bytes()[54..254]);
    assert_ne!(out[1].bytes()[54..86], out[1].bytes()[86..118], "content is not constant");
}

#[test]
fn ip_identifications_count_per_source() {
    let out = frames(
        plan(),
        vec![
            up(17, &udp(40_000, 9999, 20)),
            up(17, &udp(40_000, 9999, 20)),
            down(17, &udp(9999, 40_000, 20)),
            up(17, &udp(40_000, 9999, 20)),
        ],
    );
    let id = |i: usize| u16::from_be_bytes([out[i].bytes()[18], out[i].bytes()[19]]);
    assert_eq!((id(1), id(3)), (id(0).wrapping_add(1), id(0).wrapping_add(2)));
    assert_ne!(id(2), id(0).wrapping_add(3));
}

#[test]
fn fragments_share_an_identification_and_make_one_good_datagram() {
    let whole = udp(40_000, 9000, 3000);
    let part = |from: usize, to: usize, more: bool| {
        let flags = (from / 8) as u16 | if more { 0x2000 } else { 0 };
        let body = &whole[from..to];
        ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4_with(0, flags, 17, LOCAL, GLOBAL, body))
    };
    // Twice, since identification 0 does not tell datagrams apart.
    let parts = [part(0, 1480, true), part(1480, 2960, true), part(2960, 3008, false)];
    let out = frames(plan(), [parts.clone(), parts].concat());
    let id = |i: usize| u16::from_be_bytes([out[i].bytes()[18], out[i].bytes()[19]]);
    assert!(id(0) == id(1) && id(1) == id(2) && id(3) == id(4) && id(0) != id(3));
    for datagram in out.chunks(3) {
        let body: Vec<u8> = datagram.iter().flat_map(|f| f.bytes()[34..].to_vec()).collect();
        assert_eq!(body.len(), 3008);
        // Put together as one packet, its checksum is good.
        let head = &datagram[0].bytes()[..34];
        let mut one = [head, &body].concat();
        one[16..18].copy_from_slice(&3028u16.to_be_bytes());
        one[20..22].copy_from_slice(&[0, 0]);
        assert_eq!(verify(&one).transport, Check::Good);
        assert!(datagram.iter().all(|f| f.flow().is_some_and(|flow| flow.index == 0)));
    }
}

// ---- quotes ---------------------------------------------------------------------------------------------------------

#[test]
fn a_quoted_packet_is_what_was_sent() {
    let sent = ipv4(17, LOCAL, GLOBAL, &udp(40_000, 7777, 40));
    let unreachable = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &sent].concat();
    let cut = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &sent[..28]].concat();
    let from_router = ipv4(1, [10, 0, 0, 9], LOCAL, &cut);
    let out = frames(
        plan(),
        vec![
            ethernet(MAC, GATEWAY_MAC, 0x0800, &sent),
            down(1, &unreachable),
            ethernet(GATEWAY_MAC, MAC, 0x0800, &from_router),
        ],
    );
    let (sent, whole, cut) = (out[0].bytes(), out[1].bytes(), out[2].bytes());
    let quoted = &whole[42..];
    assert_eq!(quoted.len(), sent.len() - 14);
    // All but the time to live and so on is equal; here nothing changed it.
    assert_eq!(quoted, &sent[14..]);
    assert_eq!((&cut[42..62], &cut[62..68]), (&sent[14..34], &sent[34..40]));
    for frame in &out {
        let checks = verify(frame.bytes());
        assert_eq!((checks.ipv4, checks.transport), (Check::Good, Check::Good));
    }
}

#[test]
fn a_quoted_tcp_header_has_the_new_numbers() {
    let sent = ipv4(6, LOCAL, GLOBAL, &tcp((50_000, 81), 7, 0, 2, &[], 0));
    for keep in [28, 36, 40] {
        let error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &sent[..keep]].concat();
        let out = frames(plan(), vec![ethernet(MAC, GATEWAY_MAC, 0x0800, &sent), down(1, &error)]);
        let (sent, error) = (out[0].bytes(), out[1].bytes());
        assert_eq!(error[42..62], sent[14..34], "ip header, {keep}");
        assert_eq!(error[62..70], sent[34..42], "ports and sequence number, {keep}");
        if keep == 40 {
            assert_eq!(error[70..], sent[42..], "the rest");
        }
    }
}

#[test]
fn a_quote_that_cannot_be_read_is_replaced() {
    for quote in [
        vec![0xee; 36],
        ipv4(50, LOCAL, [8, 8, 8, 8], &[0xaa; 16]),
        ipv4_with(1, 3, 17, LOCAL, [8, 8, 8, 8], &[0xaa; 16]),
    ] {
        let out = frames(plan(), vec![down(1, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &quote].concat())]);
        let bytes = out[0].bytes();
        assert_eq!((&bytes[42 + 12..42 + 16], &bytes[42 + 16..42 + 20]), (&bytes[30..34], &bytes[26..30]));
        assert_eq!((bytes[42], bytes[51]), (0x45, 17));
        assert!(!bytes.windows(4).any(|w| w == [8, 8, 8, 8] || w == [0xee; 4] || w == [0xaa; 4]));
    }
}

// ---- sessions -------------------------------------------------------------------------------------------------------

/// A session between a few hosts.
fn small() -> Session {
    session(vec![
        up(6, &tcp((50_000, 443), 0, 0, 2, &[], 0)),
        down(6, &tcp((443, 50_000), 0, 1, 0x12, &[], 0)),
        ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4(17, LOCAL, GATEWAY, &udp(50_001, 53, 40))),
    ])
}

#[test]
fn replays_that_run_together_share_no_address() {
    let allocator = Allocator::new();
    let nets = |p: &str| vec![p.parse().unwrap()];
    // Room for exactly twelve replays of one client and two servers.
    let tight = AddressPlan { clients: nets("10.50.0.0/28"), servers: nets("10.60.0.0/27"), ..plan() };
    let rewriter = Rewriter::new(tight.clone(), allocator.clone()).unwrap();
    let session = Arc::new(small());
    let mut running = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for seed in 0..14 {
        let mut replay = rewriter.begin(session.clone(), seed).unwrap();
        let frames: Vec<_> = replay.by_ref().map(Result::unwrap).collect();
        let hosts: std::collections::HashSet<_> =
            frames.iter().flat_map(|f| [source(f), destination(f)]).collect();
        assert_eq!(hosts.len(), 3);
        assert!(hosts.into_iter().all(|host| seen.insert(host)), "replay {seed} shares a host");
        running.push((replay, frames));
    }
    let error = rewriter.begin(session.clone(), 99).unwrap_err();
    assert_eq!(
        error,
        RewriteError::AddressesExhausted { side: Side::Client, wanted: 1, free: 0, in_use: 14 },
        "{error}"
    );
    // The lease ends when the replay and its last frame are gone.
    let (replay, frames) = running.pop().unwrap();
    drop(replay);
    assert!(rewriter.begin(session.clone(), 99).is_err());
    drop(frames);
    assert!(rewriter.begin(session.clone(), 99).is_ok());
    drop(running);
    assert_eq!(allocator.leased(), 0);
    // Another plan on the same allocator, as after a reload.
    let other = Rewriter::new(tight, allocator).unwrap();
    assert!(other.begin(session, 99).is_ok());
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    let bytes = |seed| -> Vec<Vec<u8>> {
        replay(&rewriter(plan()), &small(), seed).into_iter().map(|f| f.unwrap().into_bytes()).collect()
    };
    assert_eq!(bytes(3), bytes(3));
    assert_ne!(bytes(3), bytes(4));
    // Payload that names no address is the session's, not the replay's.
    assert_eq!(bytes(3)[2][42..], bytes(4)[2][42..]);
}

#[test]
fn a_family_without_prefix_is_dropped_not_leaked() {
    let v4_only = AddressPlan {
        clients: vec!["10.50.0.0/16".parse().unwrap()],
        servers: vec!["10.60.0.0/16".parse().unwrap()],
        ..plan()
    };
    let global = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let v6 = ethernet(MAC, GATEWAY_MAC, 0x86dd, &ipv6(17, global(1), global(2), &udp(40_000, 443, 40)));
    let out = replay(&rewriter(v4_only), &session(vec![v6, up(17, &udp(40_000, 443, 40))]), 1);
    assert_eq!(out[0].as_ref().unwrap_err(), &Dropped::NoPrefix);
    assert!(out[1].is_ok());
}

#[test]
fn what_is_not_understood_is_dropped_with_its_reason() {
    let lldp = ethernet(MAC, [1, 0x80, 0xc2, 0, 0, 0xe], 0x88cc, &[0; 46]);
    let gre = up(47, &[0; 40]);
    let loopback =
        ethernet(MAC, GATEWAY_MAC, 0x0800, &ipv4(17, [127, 0, 0, 1], [127, 0, 0, 1], &udp(1, 2, 3)));
    let router_list = up(1, &[9, 0, 0, 0, 1, 2, 0, 0, 8, 8, 8, 8, 0, 0, 0, 0]);
    let mut long = up(17, &udp(1, 2, 3));
    long[16] = 0x40;
    let cut = up(6, &tcp((1, 2), 0, 0, 2, &[2, 4, 5, 0xb4], 0))[..40].to_vec();
    let routed = {
        let mut body = vec![17, 2, 0, 1, 0, 0, 0, 0];
        body.extend([0x20; 16]);
        body.extend(udp(1, 2, 3));
        let ip = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        ethernet(MAC, GATEWAY_MAC, 0x86dd, &ipv6(43, ip(1), ip(2), &body))
    };
    let out =
        replay(&rewriter(plan()), &session(vec![lldp, gre, loopback, router_list, long, cut, routed]), 1);
    let reasons: Vec<&str> = out.iter().map(|item| item.as_ref().unwrap_err().reason()).collect();
    assert_eq!(reasons, ["not_ip", "protocol", "loopback", "icmp_type", "length", "headers", "source_route"]);
}

#[test]
fn a_users_capture_keeps_its_payload_and_a_models_session_does_not() {
    let capture =
        session(vec![up(17, &udp(40_000, 9000, 60)), up(6, &tcp((50_000, 443), 1, 1, 0x18, &[], 60))]);
    let kept = Rewriter::new(plan(), Allocator::new()).unwrap().payload(PayloadPolicy::Keep);
    for frame in replay(&kept, &capture, 1) {
        let frame = frame.unwrap();
        let at = Layout::parse(frame.bytes()).payload_at().unwrap();
        assert_eq!(frame.bytes()[at..], [0x77; 60]);
        assert_eq!(verify(frame.bytes()).transport, Check::Good);
    }
    let mut cut = capture.clone();
    cut.packets[0].header.truncate(62);
    for (frame, len) in replay(&kept, &cut, 1).into_iter().zip([false, true]) {
        let frame = frame.unwrap();
        let at = Layout::parse(frame.bytes()).payload_at().unwrap();
        assert_eq!(frame.bytes()[at..] == [0x77; 60], len, "only a whole frame keeps its payload");
    }
    for frame in replay(&rewriter(plan()), &capture, 1) {
        let frame = frame.unwrap();
        assert!(!frame.bytes().windows(4).any(|w| w == [0x77; 4]));
    }
}

#[test]
fn buffers_are_used_again() {
    let mut replay = rewriter(plan()).begin(Arc::new(small()), 1).unwrap();
    let first = replay.next().unwrap().unwrap();
    let place = first.bytes().as_ptr();
    replay.recycle(first);
    assert_eq!(replay.next().unwrap().unwrap().bytes().as_ptr(), place);
    assert_eq!((replay.len(), replay.peek_time()), (1, Some(Duration::from_millis(2))));
}

#[test]
fn a_host_with_more_ports_than_there_are_is_an_error() {
    let scan = |ports: u16| {
        let frames = (0..ports).map(|n| up(17, &udp(1024 + n, 1, 9)));
        rewriter(plan()).begin(Arc::new(session(frames.collect())), 1)
    };
    assert!(scan(64_000).is_ok());
    let error = scan(64_400).unwrap_err();
    assert!(matches!(error, RewriteError::PortsExhausted { protocol: 17, .. }), "{error}");
}

// ---- plans ----------------------------------------------------------------------------------------------------------

#[test]
fn bad_plans_say_what_is_wrong() {
    let with = |clients: &[&str], servers: &[&str]| AddressPlan {
        clients: clients.iter().map(|p| p.parse().unwrap()).collect(),
        servers: servers.iter().map(|p| p.parse().unwrap()).collect(),
        ..plan()
    };
    let message = |plan: AddressPlan| plan.validate().unwrap_err().to_string();
    assert_eq!(
        message(with(&[], &["10.1.0.0/16"])),
        "no client prefix: give at least one, for example 10.10.0.0/16"
    );
    assert_eq!(
        message(with(&["10.0.0.0/8"], &["10.1.0.0/16"])),
        "server prefix 10.1.0.0/16 overlaps client prefix 10.0.0.0/8"
    );
    assert_eq!(
        message(with(&["10.0.0.1/8"], &["11.1.0.0/16"])),
        "client prefix 10.0.0.1/8 has host bits set: expected 10.0.0.0/8"
    );
    assert_eq!(
        message(with(&["10.0.0.0/31"], &["11.1.0.0/16"])),
        "client prefix 10.0.0.0/31 is too small: the longest that can be used is /30"
    );
    assert_eq!(
        message(with(&["10.0.0.0/8"], &["fe80::/64"])),
        "server prefix fe80::/64 holds link-local addresses, which no host can be given"
    );
    let mac = AddressPlan { client_mac: MacPolicy::Fixed(MacAddr::BROADCAST), ..plan() };
    assert_eq!(message(mac), "client mac ff:ff:ff:ff:ff:ff is not a unicast address");
    assert_eq!(VlanId::new(4095), Err(PlanError::Vlan { id: 4095 }));
    assert!(Rewriter::new(with(&[], &[]), Allocator::new()).is_err());
}

// ---- labels ---------------------------------------------------------------------------------------------------------

#[test]
fn labels_add_up_flows_and_start_anew_with_each_file() {
    let rewriter = rewriter(plan());
    let mut tracker = LabelTracker::new();
    let out: Vec<_> = replay(&rewriter, &small(), 9).into_iter().map(Result::unwrap).collect();
    for (i, frame) in out.iter().enumerate() {
        tracker.observe(frame, 1_000 + i as i64);
    }
    tracker.observe(&out[0], 5_000);
    let records = tracker.drain();
    assert_eq!(records.len(), 2);
    let web = &records[0];
    assert_eq!((web.session, &*web.label, &*web.model, web.seed, web.replay_seed), (1, "test", "abcd", 5, 9));
    assert_eq!((web.first_ns, web.last_ns), (1_000, 5_000));
    assert_eq!((web.packets_to_server, web.packets_to_client), (2, 1));
    assert_eq!((web.bytes_to_server, web.bytes_to_client), (108, 54));
    assert_eq!((web.src.to_string(), web.dst_port, web.protocol), (source(&out[0]), 443, 6));
    let tuple = out[1].flow().unwrap().opener.reversed();
    assert_eq!(web.community_id, community_id(&tuple, 0));
    assert_eq!(tuple, Layout::parse(out[1].bytes()).five_tuple(out[1].bytes()).unwrap());
    let mut line = Vec::new();
    web.write_line(&mut line).unwrap();
    assert_eq!(serde_json::from_slice::<LabelRecord>(&line).unwrap(), *web);
    assert!(line.ends_with(b"\n") && line.iter().filter(|b| **b == b'\n').count() == 1);
    // The next file.
    assert!(tracker.is_empty());
    tracker.observe(&out[1], 9_000);
    let next = tracker.drain();
    assert_eq!((next[0].first_ns, next[0].packets_to_server, next[0].packets_to_client), (9_000, 0, 1));
    assert_eq!(next[0].community_id, web.community_id);
}

#[test]
fn arp_has_no_label_and_labels_hold_no_lease() {
    let allocator = Allocator::new();
    let rewriter = Rewriter::new(plan(), allocator.clone()).unwrap();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &MAC, &LOCAL, &[0; 6], &GATEWAY].concat();
    let mut tracker = LabelTracker::new();
    for frame in
        replay(&rewriter, &session(vec![ethernet(MAC, EVERYBODY, 0x0806, &arp), up(17, &udp(1, 2, 3))]), 1)
    {
        tracker.observe(&frame.unwrap(), 0);
    }
    assert_eq!((tracker.len(), allocator.leased()), (1, 0));
}
