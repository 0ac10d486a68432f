//! Sequence numbers, identifications, fragments and quoted packets, on hand-made frames.
#![allow(clippy::print_stdout, reason = "what was skipped")]

mod rewrite_support;

use netssm_replay::rewrite::*;
use netssm_wire::checksum::{Check, verify};
use rewrite_support::frames::*;
use rewrite_support::{plan, replay};

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
        assert!(datagram.iter().all(|f| f.flow().is_some_and(|flow| flow.id.index() == 0)));
    }
}

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

#[test]
fn icmp_times_are_of_the_replays_clocks() {
    let message = |kind: u8, times: [u32; 3]| {
        [&[kind, 0, 0, 0, 0, 1, 0, 1][..], &times.map(u32::to_be_bytes).concat()].concat()
    };
    let session = session(vec![
        up(1, &message(13, [1_000, 0, 0])),
        down(1, &message(14, [1_000, 5_000, 5_001])),
        up(1, &message(13, [u32::from_be_bytes(LOCAL), 0, 0])),
    ]);
    let rewriter = rewriter(plan());
    let times = |seed| -> Vec<[u32; 3]> {
        let out = replay(&rewriter, &session, seed);
        out.iter().map(|frame| [42, 46, 50].map(|at| word(frame.as_ref().unwrap().bytes(), at))).collect()
    };
    let (a, b) = (times(1), times(2));
    assert_eq!((a[0][1], a[0][2], a[1][0]), (0, 0, a[0][0]), "a request has no answer yet");
    assert_eq!(a[1][2], a[1][1] + 1);
    assert!(a[0][0] != 1_000 && a[1][1] != 5_000 && a[2][0] != u32::from_be_bytes(LOCAL), "{a:?}");
    assert!(a[0][0] != b[0][0] && a[1][1] != b[1][1], "fresh for each replay");
}
