//! The rewriter and the allowlist were written apart from each other, from the same rules. Here they must
//! agree: what the rewriter lets out of real captures and of damaged packets, the allowlist lets pass. A
//! frame that it refused would stop a daemon that runs for weeks.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netssm_replay::guard::Allowlist;
use netssm_replay::rewrite::{AddressPlan, Allocator, GroupPolicy, Rewriter, VlanId};
use netssm_wire::capture::read_session;
use netssm_wire::session::{Origin, Packet, Session};
use proptest::prelude::*;
use support::frames::{nets, plan};

/// Frames that passed and packets that the rewriter dropped.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    dropped: usize,
}

fn two_families(multicast: GroupPolicy, vlan: Option<u16>) -> AddressPlan {
    AddressPlan {
        clients: nets(&["10.10.0.0/16", "fd00:10:10::/64"]),
        servers: nets(&["10.20.0.0/16", "fd00:10:20::/64"]),
        vlan: vlan.map(|id| VlanId::new(id).unwrap()),
        multicast,
        ..plan()
    }
}

/// Every frame of one replay in that testbed must pass its allowlist.
fn check(plan: &AddressPlan, session: Session, name: &str) -> Tally {
    let allowed: Vec<_> = plan.clients.iter().chain(&plan.servers).copied().collect();
    let allow = Allowlist::for_plan(plan, &allowed).unwrap();
    let rewriter = Rewriter::new(plan.clone(), Allocator::new()).unwrap();
    let mut tally = Tally::default();
    // A session with more hosts than the prefixes hold is not what this is about.
    let Ok(replay) = rewriter.begin_replay(Arc::new(session), 3) else { return tally };
    for (i, frame) in replay.enumerate() {
        match frame {
            Ok(frame) => {
                if let Err(violation) = allow.check(frame.bytes()) {
                    panic!(
                        "{name}, packet {i}: {violation}: {:02x?}",
                        &frame.bytes()[..frame.len().min(120)]
                    );
                }
                tally.passed += 1;
            }
            Err(_) => tally.dropped += 1,
        }
    }
    tally
}

fn data() -> Option<PathBuf> {
    let named = std::env::var_os("NETSSMD_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let found = named.into_iter().chain([beside]).find(|p| p.is_dir());
    if found.is_none() {
        let required = std::env::var("NETSSMD_REQUIRE_ALL").is_ok_and(|v| v == "1");
        assert!(!required, "the captures are missing: set NETSSMD_DATA");
        eprintln!("SKIPPED: no captures; set NETSSMD_DATA to where they are");
    }
    found
}

fn captures(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
        let path = entry.path();
        if path.is_dir() {
            captures(&path, out);
        } else if entry.metadata().unwrap().len() < 1 << 20 {
            out.push(path); // large ones hold more of the same
        }
    }
}

#[test]
fn what_is_made_of_real_captures_passes() {
    let Some(data) = data() else { return };
    let mut paths = Vec::new();
    for part in ["apps", "oddities"] {
        captures(&data.join(part), &mut paths);
    }
    paths.sort();
    let mut total = Tally::default();
    for path in &paths {
        let Ok(captured) = read_session(path, "real", 1) else { continue };
        for (multicast, vlan) in [(GroupPolicy::Keep, None), (GroupPolicy::Drop, Some(9))] {
            let plan = two_families(multicast, vlan);
            let tally = check(&plan, captured.session.clone(), &path.display().to_string());
            total.passed += tally.passed;
            total.dropped += tally.dropped;
        }
    }
    eprintln!("{} captures: {total:?}", paths.len());
    assert!(total.passed > 10_000, "{total:?}");
}

/// Frames of every kind that carries addresses, to be damaged.
fn specimens() -> Vec<Vec<u8>> {
    let v4 = |protocol: u8, dst: [u8; 4], upper: &[u8]| {
        let mut f = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]].concat();
        f.extend([8, 0, 0x45, 0]);
        f.extend((20 + upper.len() as u16).to_be_bytes());
        f.extend([0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1]);
        f.extend(dst);
        f.extend(upper);
        f
    };
    let v6 = |next: u8, dst: u8, upper: &[u8]| {
        let mut f = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]].concat();
        f.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        f.extend((upper.len() as u16).to_be_bytes());
        f.extend([next, 255]);
        for last in [1, dst] {
            f.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        f.extend(upper);
        f
    };
    let server = [198, 18, 0, 1];
    let tcp = [0xc0, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
    let udp = [0xc0, 0, 0, 53, 0, 8, 0, 0];
    let quoted = v4(17, [10, 0, 0, 1], &udp)[14..].to_vec();
    let quoted6 = v6(17, 1, &udp)[14..].to_vec();
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let mut neighbour = vec![135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    neighbour.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    let mut advert = vec![134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    advert.extend([3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8]);
    advert.extend([0; 12]);
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 198, 18, 0, 1];
    let arp_for = |target: [u8; 4]| [&arp[..24], &target].concat();
    let ethernet = |kind: [u8; 2], body: &[u8]| [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &kind, body].concat();
    let plain = v4(6, server, &tcp);
    vec![
        v4(17, server, &udp),
        v4(17, [224, 0, 0, 251], &udp),
        v4(1, server, &with(&[8, 0, 0, 0, 0, 1, 0, 1], &[0; 24])),
        v4(1, server, &with(&[3, 1, 0, 0, 0, 0, 0, 0], &quoted)),
        v4(1, server, &with(&[5, 1, 0, 0, 10, 0, 0, 9], &quoted)),
        v4(2, [224, 0, 0, 22], &[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 5]),
        v6(6, 2, &tcp),
        v6(17, 2, &udp),
        v6(58, 2, &neighbour),
        v6(58, 2, &advert),
        v6(58, 2, &with(&[1, 4, 0, 0, 0, 0, 0, 0], &quoted6)),
        v6(0, 2, &with(&[58, 0, 5, 2, 0, 0, 1, 0], &[143, 0, 0, 0, 0, 0, 0, 0])),
        ethernet([8, 6], &arp),
        ethernet([8, 6], &arp_for([0; 4])),
        ethernet([8, 6], &arp_for([224, 0, 0, 1])),
        ethernet([8, 6], &arp_for([255; 4])),
        ethernet([8, 6], &arp_for([169, 254, 7, 7])),
        ethernet([8, 6], &arp_for([10, 0, 0, 255])),
        with(&with(&plain[..12], &[0x81, 0, 0, 5]), &plain[12..]),
        plain,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_made_of_damaged_packets_passes(
        picks in proptest::collection::vec(
            (0usize..20, proptest::collection::vec((0usize..90, any::<u8>()), 0..4), 0usize..40),
            1..12,
        ),
        keep in any::<bool>(),
    ) {
        let specimens = specimens();
        let packets = picks.into_iter().enumerate().map(|(i, (which, flips, more))| {
            let mut header = specimens[which].clone();
            for (at, value) in flips {
                let at = at % header.len();
                header[at] = value;
            }
            let wire_len = (header.len() + more) as u32;
            Packet { time: Duration::from_millis(i as u64), wire_len, header }
        });
        let session = Session {
            label: "damaged".into(),
            seed: 5,
            origin: Origin::Captured,
            packets: packets.collect(),
        };
        let groups = if keep { GroupPolicy::Keep } else { GroupPolicy::Drop };
        check(&two_families(groups, None), session, "damaged");
    }
}
