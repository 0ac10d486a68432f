//! A source of random records that keep the strict rules.

use netssm_wire::frame::protocol;
use netssm_wire::tcp::Flags;
use std::net::IpAddr;

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::codec::flow::{
    hosts::{HostClass, from_halves},
    ports::PORTS,
    record::{ArpFrame, Ether, Frame, IpFrame, Mac, Record},
    strict::*,
    transport::{Icmp, Tcp, Transport, Udp},
};

/// Draws records field by field, each from what the strict rules allow.
pub(super) struct Maker {
    pub(super) rng: ChaCha8Rng,
}

impl Maker {
    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        *list.choose(&mut self.rng).expect("a choice")
    }

    fn host(&mut self, class: HostClass) -> IpAddr {
        // Few hosts of a class, so that packets of a session have to do with each other.
        let place = self.rng.random_range(0..4);
        if class.is_v4() {
            from_halves(class, class.draw(7, place, self.rng.random()), 0)
        } else {
            from_halves(class, class.draw(7, 2 * place, 0), class.draw(7, 2 * place + 1, 0))
        }
    }

    /// Two different hosts that may talk.
    fn hosts(&mut self, protocol: u8) -> (IpAddr, IpAddr) {
        loop {
            let (src, dst) = (self.of(&HostClass::ALL), self.of(&HostClass::ALL));
            if may_pair(src, dst, protocol) {
                let (src, dst) = (self.host(src), self.host(dst));
                if src != dst && usable(src) && usable(dst) {
                    return (src, dst);
                }
            }
        }
    }

    fn mac_endpoint(&mut self) -> Mac {
        [2, 0, 0, 0, 0, self.rng.random_range(0..9)]
    }

    fn ether(&mut self, dst: IpAddr) -> Ether {
        let mut ether =
            Ether { src: self.mac_endpoint(), dst: self.mac_endpoint(), tags: Default::default() };
        if let Some(mac) = group_mac(dst) {
            ether.dst = mac;
        }
        for _ in 0..self.rng.random_range(0_usize..20).saturating_sub(17) {
            ether.tags.push(self.rng.random_range(0..0xfff));
        }
        ether
    }

    fn length(&mut self, lengths: Lengths) -> u32 {
        let members: Vec<u16> = (lengths.low..=lengths.high).step_by(usize::from(lengths.step)).collect();
        // Ends and short ones more often than a uniform draw gives.
        match self.rng.random_range(0..4) {
            0 => lengths.low.into(),
            1 => (*members.last().expect("not empty")).into(),
            2 => members[self.rng.random_range(0..members.len().min(80))].into(),
            _ => self.of(&members).into(),
        }
    }

    fn port(&mut self) -> u16 {
        let known = self.of(&PORTS);
        if self.rng.random_bool(0.5) { known } else { self.rng.random_range(1..=u16::MAX) }
    }

    fn options(&mut self, flags: Flags, room: u32) -> Vec<u8> {
        let timestamp = [&[1, 1, 8, 10][..], &self.rng.random::<[u8; 4]>(), &[0; 4]].concat();
        let sack = [&[1, 1, 5, 10][..], &self.rng.random::<[u8; 8]>()].concat();
        let lists = [
            vec![],
            vec![2, 4, 5, 180],
            [&[2, 4, 5, 180, 4, 2][..], &timestamp[2..], &[1, 3, 3, 7]].concat(),
            timestamp.clone(),
            [&timestamp[..], &sack].concat(),
            sack,
        ];
        loop {
            let options = self.of(&[0, 1, 2, 3, 4, 5]);
            let options = &lists[options];
            if options.len() as u32 <= room && options_ok(options, flags) {
                return options.clone();
            }
        }
    }

    fn tcp(&mut self, v6: bool) -> (Transport, u32) {
        let flags = self.of(&[0x10, 0x18, 0x11, 0x19, 0x04, 0x14, 0x02, 0x12, 0xc2, 0x52, 0x50, 0x90]);
        let flags = Flags::from_byte(flags);
        let payload_len = self.length(tcp_lengths(v6, flags));
        let options = self.options(flags, options_room(v6, payload_len));
        let tcp = Tcp {
            ports: (self.port(), self.port()),
            seq: self.rng.random(),
            ack: if flags.contains(Flags::ACK) { self.rng.random() } else { 0 },
            flags,
            window: self.rng.random(),
            checksum: self.rng.random(),
            urgent: 0,
            options_len: options.len() as u8,
            options: options.into_iter().collect(),
        };
        (Transport::Tcp(tcp), payload_len)
    }

    fn udp(&mut self, v6: bool, src: HostClass) -> (Transport, u32) {
        let ports = if src == HostClass::Zero { (68, 67) } else { (self.port(), self.port()) };
        assert!(ports_ok(src, ports));
        let payload_len = self.length(udp_lengths(v6, ports));
        let mut window: [u8; 12] = self.rng.random();
        // Often a DNS header by its flags, with more records than fit.
        window[2] &= 0x87;
        for count in window[4..].chunks_exact_mut(2) {
            count.copy_from_slice(&self.rng.random_range(0..4_u16).to_be_bytes());
        }
        let udp = Udp {
            ports,
            len: payload_len as u16 + 8,
            checksum: self.rng.random(),
            window: window.into_iter().take(payload_len as usize).collect(),
        };
        (Transport::Udp(udp), payload_len)
    }

    fn icmp(&mut self, protocol: u8, src: IpAddr, dst: IpAddr) -> Option<(Transport, u32)> {
        let (from, to) = (HostClass::of(src), HostClass::of(dst));
        let echo = self.rng.random_bool(0.2) && may_echo(protocol, from, to);
        let place = Place { protocol, src: from, dst: to, echo, back: self.rng.random(), alert: None };
        let legal = kinds(&place);
        assert!(!legal.is_empty(), "{place:?}");
        let kind = self.of(legal);
        let alerted = Place { alert: Some(needs_alert(protocol, kind)), ..place };
        assert!(protocol != protocol::ICMPV6 || kinds(&alerted).contains(&kind), "{alerted:?} {kind:#x}");
        let payload_len = self.length(message_lengths(&place, kind));
        let words = words(protocol, kind, dst, payload_len).unwrap_or(self.rng.random());
        let window: [u8; 4] = if self.rng.random() { self.rng.random() } else { window(kind, &[]) };
        let most = if protocol == protocol::IGMP { payload_len as usize } else { 0 };
        let window = window.into_iter().take(most).collect();
        let icmp = Icmp { kind, checksum: self.rng.random(), words, window };
        Some((Transport::Icmp(icmp), payload_len))
    }

    pub(super) fn ip(&mut self) -> Record {
        let protocol = self.of(&[1, 2, 6, 6, 17, 17, 17, 58, 58]);
        let (src, dst) = self.hosts(protocol);
        let v6 = src.is_ipv6();
        let (transport, payload_len) = match protocol {
            6 => self.tcp(v6),
            17 => self.udp(v6, HostClass::of(src)),
            _ => self.icmp(protocol, src, dst).expect("always"),
        };
        let kind = if let Transport::Icmp(icmp) = &transport { icmp.kind } else { 0 };
        let (low, high) = ttls(protocol, kind);
        let alert = needs_alert(protocol, kind);
        let options: &[u8] =
            if protocol == protocol::IGMP && self.rng.random() { &[148, 4, 0, 0] } else { &[] };
        let ip = IpFrame {
            ether: self.ether(dst),
            src,
            dst,
            protocol,
            tos: self.rng.random(),
            ttl: self.rng.random_range(low..=high),
            id: self.rng.random(),
            fragment: if v6 { 0 } else { self.of(&[0, 0x4000]) },
            checksum: self.rng.random(),
            options: options.iter().copied().collect(),
            label: if v6 { self.rng.random_range(0..1 << 20) } else { 0 },
            alert,
            transport,
            payload_len,
            missing: 0,
        };
        let wire_len = if self.rng.random() { ip.told_len() } else { ip.told_len().max(60) };
        Record { time_us: 0, wire_len, frame: Frame::Ip(ip) }
    }

    pub(super) fn arp(&mut self) -> Record {
        loop {
            let class = [HostClass::Private, HostClass::Public, HostClass::LinkLocal, HostClass::Zero];
            let octets = |ip| if let IpAddr::V4(v4) = ip { v4.octets() } else { [0; 4] };
            let (spa, tpa) = (self.of(&class), self.of(&class));
            let (spa, tpa) = (octets(self.host(spa)), octets(self.host(tpa)));
            let src = self.mac_endpoint();
            let (unknown, other) = (self.of(&[[0; 6], [0xff; 6]]), self.mac_endpoint());
            let tha = self.of(&[unknown, other]);
            let ether = Ether { src, dst: self.of(&[[0xff; 6], other]), tags: Default::default() };
            let arp = ArpFrame { ether, op: self.of(&[1, 2]), sha: src, spa, tha, tpa };
            if arp_ok(&arp) {
                return Record { time_us: 0, wire_len: self.of(&[42, 60]), frame: Frame::Arp(arp) };
            }
        }
    }
}
