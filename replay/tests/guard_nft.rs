//! The kernel's guard, seen from the far end: what a host says without it, and that it says nothing with it.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use netssm_replay::clock::{Clock, SystemClock, WallTime};
use netssm_replay::guard::nft::{NftError, NftGuard, NftPlan};
use netssm_replay::guard::watch::Watch;
use netssm_replay::guard::{Allowlist, Gate, POLL};
use netssm_replay::rewrite::GroupPolicy;
use netssm_replay::sink::Sink;
use netssm_replay::sink::afpacket::{InterfaceConfig, InterfaceSink};
use support::capture::FarEnd;
use support::frames::{CLIENTS, SERVERS, frames, guard, nets, tagged_frames};
use support::netns::{Netns, Wire, available};

const TESTER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const HOST: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 5);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 200);

fn allow() -> Allowlist {
    Allowlist::new(&nets(&[CLIENTS, SERVERS]), GroupPolicy::Keep)
}

fn install(send: &[&str], quiet: &[&str]) -> Result<NftGuard, NftError> {
    let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
    NftGuard::install(NftPlan { send: &own(send), quiet: &own(quiet), allow: &allow() })
}

/// A testbed host as careless as can be: an address on the test interface, ARP on, forwarding on, a route
/// onwards.
struct Careless {
    wire: Wire,
    beyond: Netns,
    mac: [u8; 6],
}

impl Careless {
    fn new(tag: &str) -> Careless {
        let wire = Wire::new(tag);
        let beyond = Netns::new(&format!("{tag}-c"));
        wire.near.ip(&format!("link add out0 type veth peer name in0 netns {}", beyond.name()));
        beyond.ip("link set in0 arp off addrgenmode none up");
        wire.near.ip("link set tx0 arp on");
        for (interface, address) in [("tx0", "10.10.0.1/16"), ("out0", "10.99.0.1/24")] {
            wire.near.ip(&format!("addr add {address} dev {interface}"));
            wire.near.ip(&format!("link set {interface} up"));
        }
        let neighbour =
            |address, dev| wire.near.ip(&format!("neigh add {address} lladdr 02:00:00:00:00:fe dev {dev}"));
        neighbour("10.99.0.5", "out0");
        neighbour("10.10.0.200", "tx0");
        for key in ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.tx0.rp_filter=0"]
        {
            assert!(wire.near.exec("sysctl", &["-qw", key]).status.success(), "{key}");
        }
        let link = wire.near.ip("link show tx0");
        let text = link.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
        let octets: Vec<u8> = text.split(':').map(|o| u8::from_str_radix(o, 16).unwrap()).collect();
        Careless { wire, beyond, mac: octets.try_into().unwrap() }
    }

    /// Provokes the host in every way, and says what it answered at the far end and what it sent on.
    fn provoke(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let far = FarEnd::listen(&self.wire.far, "rx0");
        let beyond = FarEnd::listen(&self.beyond, "in0");
        let provocations = [
            arp_request(HOST),
            tcp_syn(self.mac, HOST),
            udp(self.mac, HOST),
            echo_request(self.mac, HOST),
            udp(self.mac, BEYOND),
        ];
        self.wire.far.within(|| {
            let mut out = pcap::Capture::from_device("rx0").unwrap().open().unwrap();
            for frame in &provocations {
                out.sendpacket(&frame[..]).unwrap();
            }
        });
        // The host speaks unasked, too.
        assert!(
            self.wire.near.exec("ping", &["-V"]).status.success(),
            "ping is missing: tests/tools/deps.sh test"
        );
        self.wire.near.exec("ping", &["-c1", "-W1", "-q", "10.10.0.200"]);
        self.wire.near.exec("ping", &["-c1", "-W1", "-q", "10.10.0.201"]); // not in its ARP table
        let heard = far.stop().into_iter().filter(|f| f[6..12] != TESTER).collect();
        (heard, beyond.stop())
    }
}

fn ethernet(dst: [u8; 6], ethertype: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&dst[..], &TESTER, &ethertype, body].concat()
}

fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let body = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &TESTER, &FAR.octets(), &[0; 6], &target.octets()].concat();
    ethernet([0xff; 6], [8, 6], &body)
}

fn ipv4(mac: [u8; 6], dst: Ipv4Addr, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let mut body = vec![0x45, 0];
    body.extend((20 + upper.len() as u16).to_be_bytes());
    body.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    body.extend(FAR.octets());
    body.extend(dst.octets());
    body.extend(upper);
    let mut frame = ethernet(mac, [8, 0], &body);
    netssm_wire::checksum::fill(&mut frame).unwrap();
    frame
}

fn tcp_syn(mac: [u8; 6], dst: Ipv4Addr) -> Vec<u8> {
    ipv4(mac, dst, 6, &[0x9c, 0x40, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0])
}

fn udp(mac: [u8; 6], dst: Ipv4Addr) -> Vec<u8> {
    ipv4(mac, dst, 17, &[0x9c, 0x40, 0, 9, 0, 8, 0, 0])
}

fn echo_request(mac: [u8; 6], dst: Ipv4Addr) -> Vec<u8> {
    ipv4(mac, dst, 1, &[8, 0, 0, 0, 0, 1, 0, 1])
}

/// What kinds of answers there are among frames.
fn kinds(frames: &[Vec<u8>]) -> Vec<&'static str> {
    let mut kinds: Vec<_> = frames
        .iter()
        .map(|f| match (f[12], f[13], f.get(23), f.get(34)) {
            (8, 6, ..) if f[21] == 2 => "arp reply",
            (8, 6, ..) => "arp request",
            (8, 0, Some(6), _) => "tcp reset",
            (8, 0, Some(1), Some(0)) => "echo reply",
            (8, 0, Some(1), Some(3)) => "unreachable",
            (8, 0, Some(1), Some(8)) => "echo request",
            _ => "other",
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn the_host_answers_and_forwards_without_the_guard_and_is_silent_with_it() {
    if !available("the_host_answers_and_forwards_without_the_guard_and_is_silent_with_it") {
        return;
    }
    let host = Careless::new("quiet");
    let (heard, forwarded) = host.provoke();
    let all = ["arp reply", "arp request", "echo reply", "echo request", "tcp reset", "unreachable"];
    assert_eq!(kinds(&heard), all, "the provocations work");
    assert_eq!(forwarded.len(), 1, "and the host forwards");
    host.wire.near.within(|| {
        let mut guard = install(&["tx0"], &[]).unwrap();
        let (heard, forwarded) = host.provoke();
        assert_eq!(kinds(&heard), [""; 0]);
        assert_eq!(forwarded.len(), 0);
        let blocked = guard.blocked().unwrap();
        assert_eq!(blocked.ingress, 5, "each provocation");
        assert!(blocked.egress >= 2, "the host's own ping and ARP: {blocked:?}");
        guard.verify().unwrap();
        guard.remove().unwrap();
    });
    let tables = host.wire.near.exec("nft", &["list", "tables"]);
    assert_eq!(String::from_utf8_lossy(&tables.stdout), "", "nothing stays behind");
    assert_eq!(kinds(&host.provoke().0), all, "and the host is as it was");
}

#[test]
fn marked_frames_of_the_allowed_prefixes_pass_and_nothing_else() {
    if !available("marked_frames_of_the_allowed_prefixes_pass_and_nothing_else") {
        return;
    }
    for bypass in [true, false] {
        let wire = Wire::new("mark");
        let far = FarEnd::listen(&wire.far, "rx0");
        let sent = [frames(300, 90), tagged_frames(300, 90)].concat();
        wire.near.within(|| {
            let rules = install(&["tx0"], &[]).unwrap();
            let open = |mark| {
                let config = InterfaceConfig {
                    mark,
                    qdisc_bypass: bypass,
                    patience: Duration::from_millis(50),
                    ..InterfaceConfig::new("tx0")
                };
                InterfaceSink::open(config, guard(&["tx0"]), Arc::new(SystemClock::new())).unwrap()
            };
            let mut ours = Box::new(open(Some(rules.mark())));
            for frame in &sent {
                ours.send_frame(frame, WallTime(0)).unwrap();
            }
            assert_eq!(ours.close().unwrap().frames, 600, "bypass {bypass}");
            assert_eq!(rules.blocked().unwrap().egress, 0);

            // Without the mark, and with it but outside the prefixes.
            let mut unmarked = open(None);
            unmarked.send_frame(&sent[0], WallTime(0)).unwrap();
            let error = unmarked.flush().unwrap_err().to_string();
            assert!(error.starts_with("interface tx0 has taken no frame for "), "{error}");
            assert!(error.ends_with("or an egress rule drops it"), "{error}");
            drop(rules);
            let narrow = Allowlist::new(&nets(&[CLIENTS]), GroupPolicy::Keep);
            let names = ["tx0".to_owned()];
            let rules = NftGuard::install(NftPlan { send: &names, quiet: &[], allow: &narrow }).unwrap();
            let mut ours = open(Some(rules.mark()));
            ours.send_frame(&sent[0], WallTime(0)).unwrap();
            ours.flush().unwrap_err();
            assert!(rules.blocked().unwrap().egress > 0);
        });
        let arrived = far.stop();
        assert_eq!(arrived.len(), 600);
        assert!(arrived.iter().zip(&sent).all(|(a, b)| a == b.bytes()));
    }
}

#[test]
fn removed_or_changed_rules_are_noticed() {
    if !available("removed_or_changed_rules_are_noticed") {
        return;
    }
    let wire = Wire::new("gone");
    wire.near.within(|| {
        let nft =
            |arguments: &[&str]| assert!(wire.near.exec("nft", arguments).status.success(), "{arguments:?}");
        let mut guard = install(&["tx0"], &[]).unwrap();
        for _ in 0..25 {
            guard.verify().unwrap();
        }
        nft(&["add", "table", "inet", "someone_else"]);
        guard.verify().unwrap(); // what others do in their own tables is theirs
        let table = guard.table().to_owned();
        nft(&["flush", "chain", "netdev", &table, "ipv4_destination"]);
        let error = guard.verify().unwrap_err().to_string();
        assert_eq!(error, format!("the guard's rules were changed by someone else: table netdev {table}"));
        nft(&["flush", "ruleset"]);
        let error = guard.verify().unwrap_err().to_string();
        assert_eq!(error, format!("the guard's rules are gone: table netdev {table} no longer exists"));
        assert!(guard.verify().is_err(), "and stay gone");
        guard.remove().unwrap();
    });
}

#[test]
fn the_watch_trips_the_gate_within_a_poll() {
    if !available("the_watch_trips_the_gate_within_a_poll") {
        return;
    }
    let wire = Wire::new("watch");
    wire.near.within(|| {
        let clock = SystemClock::new();
        let gate = Arc::new(Gate::new());
        let rules = install(&["tx0"], &[]).unwrap();
        let table = rules.table().to_owned();
        let watch = Watch::start(rules, Arc::clone(&gate), POLL).unwrap();
        clock.sleep_until(clock.now() + Duration::from_millis(1_200));
        assert!(gate.is_open(), "two looks found nothing");
        assert!(wire.near.exec("nft", &["delete", "table", "netdev", &table]).status.success());
        let removed = clock.now();
        while gate.is_open() && clock.now().since(removed) < Duration::from_secs(5) {
            clock.sleep_until(clock.now() + Duration::from_millis(1));
        }
        let took = clock.now().since(removed);
        eprintln!("noticed after {took:?}");
        assert!(took < Duration::from_millis(900), "{took:?}");
        let reason = gate.check().unwrap_err().to_string();
        assert_eq!(
            reason,
            format!("guard: the guard's rules are gone: table netdev {table} no longer exists")
        );
        watch.stop().unwrap();
    });
}

#[test]
fn two_instances_live_side_by_side_and_not_on_one_interface() {
    if !available("two_instances_live_side_by_side_and_not_on_one_interface") {
        return;
    }
    let wire = Wire::new("two");
    wire.near.ip("link add other0 type veth peer name other1");
    wire.near.within(|| {
        let mut first = install(&["tx0"], &[]).unwrap();
        let mut second = install(&["other0"], &["other1"]).unwrap();
        assert_ne!((first.table(), first.mark()), (second.table(), second.mark()));
        first.verify().unwrap();
        second.verify().unwrap();
        let error = install(&["lo", "other1"], &[]).unwrap_err().to_string();
        let table = second.table();
        assert_eq!(
            error,
            format!("interface other1 is guarded by another running netssmd (table netdev {table})")
        );
        drop(second);
        first.verify().unwrap();
        install(&["other1"], &[]).unwrap();
    });
}

#[test]
fn tables_of_dead_processes_are_removed_and_those_of_live_ones_kept() {
    if !available("tables_of_dead_processes_are_removed_and_those_of_live_ones_kept") {
        return;
    }
    let wire = Wire::new("stale");
    wire.near.within(|| {
        let mine = install(&["lo"], &[]).unwrap();
        // The same name with a start time that this PID never had, and one of another PID namespace.
        let parts: Vec<&str> = mine.table().split('_').collect();
        let stale = format!("netssmd_{}_{}_1_0", parts[1], parts[2]);
        let foreign = "netssmd_1_1_1_0";
        for table in [stale.as_str(), foreign, "netssmd_not_ours"] {
            assert!(wire.near.exec("nft", &["add", "table", "netdev", table]).status.success());
        }
        let _other = install(&["tx0"], &[]).unwrap();
        let listed = wire.near.exec("nft", &["list", "tables"]).stdout;
        let listed = String::from_utf8(listed).unwrap();
        assert!(!listed.contains(&stale), "{listed}");
        for kept in [foreign, "netssmd_not_ours", mine.table()] {
            assert!(listed.contains(kept), "{listed}");
        }
    });
}

/// Runs in a child without privileges, started by the test below.
#[test]
fn without_privilege_child() {
    if std::env::var_os("NETSSMD_TEST_CHILD").is_some() {
        eprintln!("says: {}", install(&["lo"], &[]).unwrap_err());
        let sink =
            InterfaceSink::open(InterfaceConfig::new("lo"), guard(&["lo"]), Arc::new(SystemClock::new()));
        eprintln!("says: {}", sink.unwrap_err());
    }
}

#[test]
fn without_privilege_it_says_which_is_missing() {
    if !available("without_privilege_it_says_which_is_missing") {
        return;
    }
    let wire = Wire::new("priv");
    let me = std::env::current_exe().unwrap();
    let mut child = wire.near.command("setpriv");
    child.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(me);
    child.args(["--exact", "without_privilege_child", "--nocapture"]).env("NETSSMD_TEST_CHILD", "1");
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("says: ")).collect();
    assert_eq!(
        said,
        [
            "nft may not change rules: this needs CAP_NET_ADMIN, or root",
            "cannot open a packet socket on lo: socket (this needs CAP_NET_RAW, or root)",
        ],
        "{told}"
    );
}
