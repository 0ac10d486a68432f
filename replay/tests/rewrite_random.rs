//! Random sessions through the rewriter: whatever a model emits, nothing panics, frames are sound, and no original
//! address is left.
//!
//! Sessions are made of well-formed frames of every protocol that is rewritten, between a few random hosts, and
//! then bytes of some headers are changed at random and some headers are cut.
#![allow(clippy::print_stdout, reason = "what was measured and skipped")]

mod rewrite_support;

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use netssm_replay::rewrite::*;
use netssm_wire::MacAddr;
use netssm_wire::checksum::{Check, verify};
use netssm_wire::frame::{Layout, Stop};
use netssm_wire::session::{Packet, Session, Timing};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rewrite_support::*;

/// A maker of frames between random hosts.
struct Maker {
    rng: ChaCha8Rng,
    macs: Vec<[u8; 6]>,
    v4: Vec<[u8; 4]>,
    v6: Vec<[u8; 16]>,
    ports: Vec<u16>,
}

impl Maker {
    fn new(seed: u64) -> Maker {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let macs = (0..4)
            .map(|_| {
                let mut m: [u8; 6] = rng.random();
                m[0] &= 0xfe;
                m
            })
            .collect();
        let v4 = (0..5)
            .map(|i| match i {
                0 => [10, 0, 0, rng.random_range(1..9)],
                1 => [192, 168, rng.random(), rng.random_range(1..255)],
                _ => [rng.random_range(20..120), rng.random(), rng.random(), rng.random_range(1..255)],
            })
            .collect();
        let v6 = (0..4)
            .map(|i| {
                let mut ip: [u8; 16] = rng.random();
                ip[..2].copy_from_slice(match i {
                    0 => &[0xfe, 0x80],
                    1 => &[0xfd, 0x00],
                    _ => &[0x20, 0x01],
                });
                ip
            })
            .collect();
        let mut ports: Vec<u16> = vec![53, 67, 68, 80, 123, 137, 443, 1900, 5353, 5355];
        ports.extend((0..12).map(|_| rng.random::<u16>()));
        Maker { rng, macs, v4, v6, ports }
    }

    fn pick<T: Copy>(rng: &mut ChaCha8Rng, list: &[T]) -> T {
        list[rng.random_range(0..list.len())]
    }

    /// Ethernet header; sometimes with a tag.
    fn ethernet(&mut self, kind: u16, to: Option<[u8; 6]>) -> Vec<u8> {
        let mut out = to.unwrap_or_else(|| Self::pick(&mut self.rng, &self.macs)).to_vec();
        out.extend(Self::pick(&mut self.rng, &self.macs));
        if self.rng.random_ratio(1, 10) {
            out.extend([0x81, 0x00, 0x20, 0x05]);
        }
        out.extend(kind.to_be_bytes());
        out
    }

    fn v4(&mut self, protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
        let dst = match self.rng.random_range(0..12) {
            0 => [255; 4],
            1 => [224, 0, 0, 251],
            _ => Self::pick(&mut self.rng, &self.v4),
        };
        let src = if self.rng.random_ratio(1, 20) { [0; 4] } else { Self::pick(&mut self.rng, &self.v4) };
        let mut header = vec![0x45, 0];
        let options: &[u8] = match self.rng.random_range(0..8) {
            0 => &[148, 4, 0, 0],
            1 => &[7, 7, 4, 9, 9, 9, 9, 0],
            _ => &[],
        };
        header[0] += (options.len() / 4) as u8;
        header.extend(((20 + options.len() + body.len()) as u16).to_be_bytes());
        header.extend(self.rng.random::<[u8; 2]>());
        header.extend(fragment.to_be_bytes());
        header.extend([64, protocol, 0, 0]);
        header.extend(src);
        header.extend(dst);
        header.extend(options);
        header.extend(body);
        header
    }

    fn v6(&mut self, next: u8, body: &[u8]) -> Vec<u8> {
        let dst = match self.rng.random_range(0..10) {
            0 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb).octets(),
            1 => {
                let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
                group[13..].copy_from_slice(&Self::pick(&mut self.rng, &self.v6)[13..]);
                group
            }
            _ => Self::pick(&mut self.rng, &self.v6),
        };
        let mut header = vec![0x60, self.rng.random::<u8>() & 15, self.rng.random(), self.rng.random()];
        header.extend((body.len() as u16).to_be_bytes());
        header.extend([next, 255]);
        header.extend(Self::pick(&mut self.rng, &self.v6));
        header.extend(dst);
        header.extend(body);
        header
    }

    fn transport(&mut self, v4: bool) -> (u8, Vec<u8>) {
        let mut body: Vec<u8> = Vec::new();
        let payload =
            if self.rng.random() { self.rng.random_range(0..1400) } else { self.rng.random_range(0..20) };
        match self.rng.random_range(0..10) {
            0..4 => {
                body.extend(Self::pick(&mut self.rng, &self.ports).to_be_bytes());
                body.extend(Self::pick(&mut self.rng, &self.ports).to_be_bytes());
                body.extend(self.rng.random::<[u8; 8]>());
                let options: &[u8] = match self.rng.random_range(0..4) {
                    0 => &[2, 4, 5, 0xb4, 4, 2, 1, 1],
                    1 => &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
                    2 => &[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8],
                    _ => &[],
                };
                body.push(((20 + options.len()) / 4 * 16) as u8);
                body.push(Self::pick(&mut self.rng, &[2, 0x12, 0x10, 0x18, 0x11, 4, 0x14]));
                body.extend([0xff, 0xff, 0, 0, 0, 0]);
                body.extend(options);
                body.resize(body.len() + payload, 0xaa);
                (6, body)
            }
            4..7 => {
                body.extend(Self::pick(&mut self.rng, &self.ports).to_be_bytes());
                body.extend(Self::pick(&mut self.rng, &self.ports).to_be_bytes());
                body.extend(((8 + payload) as u16).to_be_bytes());
                body.extend([0, 0]);
                body.resize(8 + payload, 0xbb);
                (17, body)
            }
            7 if v4 => {
                let kind = Self::pick(&mut self.rng, &[0u8, 8, 3, 11, 5, 13]);
                body.extend([kind, 0, 0, 0]);
                // A redirect's router; identifier and sequence number of an echo; unused.
                match kind {
                    0 | 8 | 13 => body.extend(self.rng.random::<[u8; 4]>()),
                    _ => body.extend(Self::pick(&mut self.rng, &self.v4)),
                }
                if matches!(kind, 3 | 11 | 5) {
                    let (number, inner) = self.transport(true);
                    let mut quoted = self.v4(if number == 1 { 17 } else { number }, 0, &inner);
                    if self.rng.random() {
                        quoted.truncate(28);
                    }
                    body.extend(quoted);
                } else {
                    body.resize(20 + payload, 1);
                }
                (1, body)
            }
            7 => {
                let kind = Self::pick(&mut self.rng, &[1u8, 3, 128, 129, 133, 134, 135, 136, 143, 130]);
                body.extend([kind, 0, 0, 0, 0, 0, 0, 1]);
                match kind {
                    1 | 3 => {
                        let (number, inner) = self.transport(false);
                        body.extend(self.v6(if number == 58 { 17 } else { number }, &inner));
                    }
                    133 => body.extend([1, 1, 2, 0, 0, 0, 0, 9]),
                    134 => {
                        body.extend([0; 8]);
                        body.extend([3, 4, 64, 0xc0]);
                        body.extend([0; 12]);
                        body.extend(Self::pick(&mut self.rng, &self.v6));
                        body.extend([25, 3, 0, 0, 0, 0, 0, 9]);
                        body.extend(Self::pick(&mut self.rng, &self.v6));
                    }
                    135 | 136 => {
                        body.extend(Self::pick(&mut self.rng, &self.v6));
                        body.extend([1, 1]);
                        body.extend(Self::pick(&mut self.rng, &self.macs));
                    }
                    143 => {
                        body.extend([4, 0, 0, 1]);
                        body.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
                        body.extend(&Self::pick(&mut self.rng, &self.v6)[13..]);
                        body.extend(Self::pick(&mut self.rng, &self.v6));
                    }
                    130 => body.extend([0; 16]),
                    _ => body.resize(8 + payload, 2),
                }
                (58, body)
            }
            8 if v4 => {
                body.extend([0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 1, 224, 0, 0, 251]);
                body.extend(Self::pick(&mut self.rng, &self.v4));
                (2, body)
            }
            // Something that is not rewritten.
            _ => (47, vec![0; 30]),
        }
    }

    fn packet(&mut self, time: Duration) -> Packet {
        let mut frame = match self.rng.random_range(0..10) {
            0 => {
                let mut frame = self.ethernet(0x0806, Some([0xff; 6]));
                frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
                frame.extend(Self::pick(&mut self.rng, &self.macs));
                frame.extend(Self::pick(&mut self.rng, &self.v4));
                frame.extend([0; 6]);
                frame.extend(Self::pick(&mut self.rng, &self.v4));
                frame
            }
            1..7 => {
                let (protocol, body) = self.transport(true);
                let fragment = match self.rng.random_range(0..12) {
                    0 => 0x2000,
                    1 => 3,
                    _ => 0x4000,
                };
                let to = self.rng.random_ratio(1, 10).then_some([0xff; 6]);
                let mut frame = self.ethernet(0x0800, to);
                frame.extend(self.v4(protocol, fragment, &body));
                frame
            }
            _ => {
                let (next, body) = self.transport(false);
                let mut frame = self.ethernet(0x86dd, None);
                frame.extend(self.v6(next, &body));
                frame
            }
        };
        let wire_len = frame.len() as u32 + if self.rng.random_ratio(1, 10) { 6 } else { 0 };
        let layout = Layout::parse(&frame);
        if let Some(at) = layout.payload_at() {
            let extra = self.rng.random_range(0..64);
            frame.truncate(at + extra);
        }
        // Damage.
        if self.rng.random_ratio(1, 4) {
            for _ in 0..self.rng.random_range(1..4) {
                let at = self.rng.random_range(12..frame.len());
                frame[at] = self.rng.random();
            }
        }
        if self.rng.random_ratio(1, 20) {
            let len = self.rng.random_range(0..frame.len());
            frame.truncate(len);
        }
        Packet { time, wire_len, header: frame }
    }

    fn session(&mut self, packets: usize) -> Session {
        let packets = (0..packets).map(|i| self.packet(Duration::from_millis(i as u64))).collect();
        Session {
            label: "random".into(),
            seed: self.rng.random(),
            model: "00".into(),
            timing: Timing::Drawn,
            packets,
        }
    }
}

fn plans() -> Vec<AddressPlan> {
    let fixed = MacPolicy::Fixed(MacAddr([2, 0, 0, 0, 0, 9]));
    vec![
        plan(),
        AddressPlan { vlan: Some(VlanId::new(7).unwrap()), client_mac: fixed, ..plan() },
        AddressPlan { multicast: GroupPolicy::Drop, ports: PortPolicy::Keep, server_mac: fixed, ..plan() },
    ]
}

/// Every unicast address that the session's hosts have.
fn needles(maker: &Maker) -> HashSet<Vec<u8>> {
    let mut all: HashSet<Vec<u8>> = maker.macs.iter().map(|m| m.to_vec()).collect();
    all.extend(maker.v6.iter().map(|ip| ip.to_vec()));
    all.extend(maker.v4.iter().map(|ip| ip.to_vec()));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_sound_and_hold_nothing_of_the_original(seed: u64, replay_seed: u64) {
        let mut maker = Maker::new(seed);
        let session = maker.session(120);
        let needles = needles(&maker);
        for plan in plans() {
            let rewriter = Rewriter::new(plan.clone(), Allocator::new()).unwrap();
            // The few bytes that are equal by chance are not with another seed.
            let runs: Vec<Vec<_>> = [replay_seed, replay_seed ^ 1]
                .map(|seed| replay(&rewriter, &session, seed))
                .into_iter()
                .collect();
            prop_assert_eq!(runs[0].len(), session.packets.len());
            let mut hits: Vec<HashSet<(usize, usize)>> = Vec::new();
            for run in &runs {
                let mut found = HashSet::new();
                for (index, item) in run.iter().enumerate() {
                    let Ok(frame) = item else { continue };
                    let packet = &session.packets[index];
                    let bytes = frame.bytes();
                    let layout = Layout::parse(bytes);
                    prop_assert_eq!(layout.stop, Stop::Whole);
                    let tags = Layout::parse(&packet.header).tags.len() * 4;
                    let own = if plan.vlan.is_some() { 4 } else { 0 };
                    prop_assert_eq!(bytes.len() + tags, packet.wire_len as usize + own);
                    let checks = verify(bytes);
                    prop_assert!(matches!(checks.ipv4, Check::Good | Check::Absent), "{checks:?}");
                    let fragment = layout.fragment().is_some();
                    prop_assert!(
                        matches!(checks.transport, Check::Good | Check::Absent) || fragment,
                        "{checks:?} {layout:?}"
                    );
                    if let Some((src, dst)) = layout.addresses(bytes) {
                        for ip in [src, dst] {
                            let nets = plan.clients.iter().chain(&plan.servers);
                            let known = nets.copied().chain(plan.link_scope()).any(|net| net.contains(&ip));
                            prop_assert!(known, "{ip} is outside the plan");
                        }
                    }
                    // Also the payload: it is made up.
                    for size in [4, 6, 16] {
                        let windows = bytes.windows(size).enumerate();
                        found.extend(windows.filter(|(_, w)| needles.contains(*w)).map(|(at, _)| (index, at)));
                    }
                }
                hits.push(found);
            }
            let both: Vec<_> = hits[0].intersection(&hits[1]).collect();
            prop_assert!(both.is_empty(), "original addresses at {both:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_panics(
        packets in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..140), 0usize..4, 0u32..70_000), 1..60),
        keep: bool,
    ) {
        let starts: [&[u8]; 4] = [&[0x08, 0x00, 0x45], &[0x86, 0xdd, 0x60], &[0x08, 0x06, 0, 1, 8, 0, 6, 4], &[]];
        let packets = packets.into_iter().map(|(mut header, start, more)| {
            for (at, byte) in (12..).zip(starts[start]) {
                if let Some(place) = header.get_mut(at) {
                    *place = *byte;
                }
            }
            // Often the length that the ip header has.
            if let (true, Some(total)) = (more % 3 > 0, header.get_mut(16..18)) {
                total.copy_from_slice(&((more / 40) as u16).to_be_bytes());
            }
            let wire_len = if more % 2 == 0 { header.len() as u32 + more } else { more };
            Packet { time: Duration::ZERO, wire_len, header }
        });
        let packets = packets.collect();
        let session = Session { label: String::new(), seed: 0, model: String::new(), timing: Timing::Captured, packets };
        let policy = if keep { PayloadPolicy::Keep } else { PayloadPolicy::Synthesise };
        for plan in plans() {
            let rewriter = Rewriter::new(plan, Allocator::new()).unwrap().payload(policy);
            for frame in rewriter.begin(session.clone().into(), 1).unwrap().flatten() {
                prop_assert_eq!(Layout::parse(frame.bytes()).stop, Stop::Whole);
            }
        }
    }
}

#[test]
fn judges_accept_random_sessions() {
    if !tool("tshark") || !tool("suricata") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("random.pcap");
    let mut writer = Writer::new(&file);
    let allocator = Allocator::new();
    for (number, plan) in plans().into_iter().enumerate() {
        let rewriter = Rewriter::new(plan, allocator.clone()).unwrap();
        for seed in 0..150 {
            let session = Maker::new(seed * 10 + number as u64).session(200);
            for frame in rewriter.begin(session.into(), seed * 10 + number as u64).unwrap().flatten() {
                writer.frame(frame.bytes());
            }
        }
    }
    writer.close();
    let complaints = malformed(&file);
    let counters = suricata(&file, work.path());
    if let Ok(keep) = std::env::var("NETSSMD_KEEP") {
        let _ = std::fs::rename(work.path(), keep);
    }
    println!("{:?} packets, {} malformed", counters.get("decoder.pkts"), complaints.len());
    for (name, value) in
        counters.iter().filter(|(name, _)| name.contains("event") || name.contains("invalid"))
    {
        println!("{name} {value}");
    }
    assert!(complaints.is_empty(), "{}", complaints[..complaints.len().min(60)].join("\n"));
    assert_eq!(counters.get("decoder.invalid").copied().unwrap_or(0), 0);
}

#[test]
fn the_makers_hosts_are_found_when_nothing_is_rewritten() {
    let mut maker = Maker::new(1);
    let session = maker.session(100);
    let needles = needles(&maker);
    let found = session.packets.iter().filter(|p| p.header.windows(4).any(|w| needles.contains(w))).count();
    assert!(found > 50, "{found}");
}
