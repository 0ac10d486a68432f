//! Leases, policies, plans and labels, on hand-made frames.
#![allow(clippy::print_stdout, reason = "what was skipped")]

mod rewrite_support;

use std::sync::Arc;
use std::time::Duration;

use netssm_replay::label::{LabelRecord, LabelTracker};
use netssm_replay::rewrite::*;
use netssm_replay::rewrite::{PlanError, RewriteError};
use netssm_wire::MacAddr;
use netssm_wire::checksum::{Check, verify};
use netssm_wire::flow::community_id;
use netssm_wire::frame::Layout;
use netssm_wire::session::Session;
use rewrite_support::frames::*;
use rewrite_support::{plan, replay};

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
        let mut replay = rewriter.begin_replay(session.clone(), seed).unwrap();
        let frames: Vec<_> = replay.by_ref().map(Result::unwrap).collect();
        let hosts: std::collections::HashSet<_> =
            frames.iter().flat_map(|f| [source(f), destination(f)]).collect();
        assert_eq!(hosts.len(), 3);
        assert!(hosts.into_iter().all(|host| seen.insert(host)), "replay {seed} shares a host");
        running.push((replay, frames));
    }
    let error = rewriter.begin_replay(session.clone(), 99).unwrap_err();
    assert_eq!(
        error,
        RewriteError::AddressesExhausted { side: Side::Client, wanted: 1, free: 0, in_use: 14 },
        "{error}"
    );
    // The lease ends when the replay and its last frame are gone.
    let (replay, frames) = running.pop().unwrap();
    drop(replay);
    assert!(rewriter.begin_replay(session.clone(), 99).is_err());
    drop(frames);
    assert!(rewriter.begin_replay(session.clone(), 99).is_ok());
    drop(running);
    assert_eq!(allocator.leased(), 0);
    // Another plan on the same allocator, as after a reload.
    let other = Rewriter::new(tight, allocator).unwrap();
    assert!(other.begin_replay(session, 99).is_ok());
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
    let reasons: Vec<&str> = out.iter().map(|item| item.as_ref().unwrap_err().reason().as_str()).collect();
    assert_eq!(
        reasons,
        ["not_ip", "unknown_protocol", "loopback", "icmp_type", "length", "headers", "source_route"]
    );
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
    let mut replay = rewriter(plan()).begin_replay(Arc::new(small()), 1).unwrap();
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
        rewriter(plan()).begin_replay(Arc::new(session(frames.collect())), 1)
    };
    assert!(scan(64_000).is_ok());
    let error = scan(64_400).unwrap_err();
    assert!(matches!(error, RewriteError::PortsExhausted { protocol: 17, .. }), "{error}");
}

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
    let tuple = out[1].flow().unwrap().initiator.reversed();
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
