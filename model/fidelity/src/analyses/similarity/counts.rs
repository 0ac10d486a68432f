//! Counts of the values of every byte of nPrint's layout. The measure needs nothing else of a set of packets. They take
//! 360 kB, whatever the number of packets.

use netssm_wire::frame::{Layout, Net, Transport, protocol};
use rayon::prelude::*;

use super::Options;
use super::nprint::{HEADERS, ICMP, IPV4, IPV6, LEN, Piece, TCP, UDP, start};
use crate::input::session::CapturedSession;

/// Outcomes of a byte: its values, and that the packet does not have it.
pub(super) const OUTCOMES: usize = 257;
/// The outcome that the packet does not have the byte.
pub(super) const ABSENT: usize = 256;

/// Kinds of packets by IP version and protocol, for the mix.
pub(super) const MIX: [&str; 8] =
    ["IPv4 TCP", "IPv4 UDP", "IPv4 ICMP", "IPv4 other", "IPv6 TCP", "IPv6 UDP", "IPv6 ICMPv6", "IPv6 other"];

/// Sessions that one thread counts before its result is added to the others'.
const CHUNK: usize = 16;

/// Counts over a set of packets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts {
    /// Packets with an IP header: those that are looked at.
    pub(super) packets: u64,
    /// Packets without one, which nPrint leaves out.
    pub(super) without_ip: u64,
    /// Packets by kind.
    pub(super) mix: [u64; MIX.len()],
    /// Packets with each header.
    pub(super) headers: [u64; HEADERS.len()],
    /// Values of each byte over the packets *with its header*. Bytes that the capture cut off are in none.
    pub(super) bytes: Vec<[u64; OUTCOMES]>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            packets: 0,
            without_ip: 0,
            mix: [0; MIX.len()],
            headers: [0; HEADERS.len()],
            bytes: vec![[0; OUTCOMES]; LEN],
        }
    }
}

impl Counts {
    /// Of sessions, the same whatever their order and the number of threads.
    pub(super) fn of(sessions: &[&CapturedSession], options: &Options) -> Self {
        sessions
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut counts = Self::default();
                chunk.iter().for_each(|session| counts.session(session, options));
                counts
            })
            .reduce(Self::default, |mut all, counts| {
                all.merge(&counts);
                all
            })
    }

    fn session(&mut self, session: &CapturedSession, options: &Options) {
        let before = self.packets;
        for number in options.skip..session.packets.len() {
            if options.packets > 0 && self.packets - before >= options.packets {
                break;
            }
            self.frame(session.frame(number));
        }
    }

    /// Adds a packet.
    pub(super) fn frame(&mut self, frame: &[u8]) {
        let layout = Layout::parse(frame);
        let (version, number) = match layout.net {
            Net::Ipv4(ip) => {
                self.header(IPV4, &frame[ip.at..], ip.header_len);
                (0, ip.protocol)
            }
            Net::Ipv6(ip) => {
                self.header(IPV6, &frame[ip.at..], 40);
                (4, ip.protocol)
            }
            _ => {
                self.without_ip += 1;
                return;
            }
        };
        self.packets += 1;
        let kind = match number {
            protocol::TCP => 0,
            protocol::UDP => 1,
            protocol::ICMP if version == 0 => 2,
            protocol::ICMPV6 if version == 4 => 2,
            _ => 3,
        };
        self.mix[version + kind] += 1;
        match layout.transport {
            Transport::Tcp { at, header_len } => self.header(TCP, &frame[at..], header_len),
            Transport::Udp { at } => self.header(UDP, &frame[at..], 8),
            Transport::Icmp { at } => self.header(ICMP, &frame[at..], 8),
            _ => {}
        }
    }

    /// `bytes` starts with the header, which says that it is `len` long; the capture may have cut it.
    fn header(&mut self, header: usize, bytes: &[u8], len: usize) {
        self.headers[header] += 1;
        let counts = &mut self.bytes[start(header)..][..HEADERS[header].len];
        for (at, counts) in counts.iter_mut().enumerate() {
            if at >= len {
                counts[ABSENT] += 1;
            } else if let Some(&byte) = bytes.get(at) {
                counts[usize::from(byte)] += 1;
            }
        }
    }

    /// Adds another set's.
    pub(super) fn merge(&mut self, other: &Self) {
        let add = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.packets += other.packets;
        self.without_ip += other.without_ip;
        add(&mut self.mix, &other.mix);
        add(&mut self.headers, &other.headers);
        add(self.bytes.as_flattened_mut(), other.bytes.as_flattened());
    }

    /// Values of a byte of a header, over the packets with that header.
    pub(super) fn byte(&self, header: usize, byte: usize) -> &[u64; OUTCOMES] {
        &self.bytes[start(header) + byte]
    }

    /// Values of part of a byte over the packets with its header; the last outcome is absence.
    pub(super) fn piece(&self, header: usize, piece: Piece) -> Vec<f64> {
        let counts = self.byte(header, piece.byte);
        let values = 1 << piece.width;
        let mut out = vec![0.0; values + 1];
        for (value, count) in counts[..ABSENT].iter().enumerate() {
            out[(value >> piece.shift) & (values - 1)] += *count as f64;
        }
        out[values] = counts[ABSENT] as f64;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::nprint::fields;
    use super::*;
    use crate::testing::Frames;

    fn counts(frames: &Frames, options: &Options) -> Counts {
        Counts::of(&[&frames.session("x")], options)
    }

    #[test]
    fn values_are_counted_and_what_is_not_there_is_absent() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.udp(50, (50002, 53), 4);
        frames.arp(60);
        let counts = counts(&frames, &Options::default());
        assert_eq!((counts.packets, counts.without_ip), (4, 1));
        assert_eq!(counts.headers, [4, 0, 3, 1, 0]);
        assert_eq!(counts.mix, [3, 1, 0, 0, 0, 0, 0, 0]);
        // Flags: SYN, SYN-ACK, ACK.
        let flags = counts.byte(TCP, 13);
        assert_eq!((flags[0x02], flags[0x12], flags[0x10], flags[ABSENT]), (1, 1, 1, 0));
        assert_eq!(counts.byte(TCP, 20)[ABSENT], 3, "no options");
        assert_eq!(counts.byte(IPV4, 0)[0x45], 4);
        let of = |header: usize, name: &str| {
            let pieces = fields(&HEADERS[header]).into_iter().find(|(field, _)| *field == name);
            pieces
                .expect("a field")
                .1
                .into_iter()
                .map(|piece| counts.piece(header, piece))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(TCP, "tcp_syn"), [[1.0, 2.0, 0.0]]);
        assert_eq!(of(TCP, "tcp_doff")[0][5], 3.0);
        assert_eq!(of(UDP, "udp_dport")[1][53], 1.0);
    }

    #[test]
    fn bytes_that_the_capture_cut_are_neither_values_nor_absent() {
        let mut frames = Frames::new();
        frames.tcp(0, (50001, 443), "S", (1, 0), 20); // what is payload becomes options
        frames.records[0].frame[14 + 20 + 12] = 0xa0;
        frames.records[0].frame.truncate(14 + 20 + 30);
        let counts = counts(&frames, &Options::default());
        let seen = |byte: usize| counts.byte(TCP, byte).iter().sum::<u64>();
        assert_eq!((counts.headers[TCP], seen(29), seen(30), seen(39)), (1, 1, 0, 0));
        assert_eq!(counts.byte(TCP, 40)[ABSENT], 1);
    }

    #[test]
    fn packets_are_limited_and_the_first_can_be_left_out() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        let of = |skip, packets| {
            let counts = counts(&frames, &Options { skip, packets, ..Options::default() });
            let flags = counts.byte(TCP, 13);
            (flags[0x02], flags[0x12], flags[0x10])
        };
        assert_eq!(of(0, 0), (1, 1, 1));
        assert_eq!(of(0, 2), (1, 1, 0));
        assert_eq!(of(1, 1), (0, 1, 0));
        assert_eq!(of(9, 0), (0, 0, 0));
    }

    #[test]
    fn threads_and_order_make_no_difference() {
        let sessions: Vec<CapturedSession> = (0..100)
            .map(|i| {
                let mut frames = Frames::new();
                frames.handshake(0, 50_000 + i);
                frames.session("x")
            })
            .collect();
        let there: Vec<&CapturedSession> = sessions.iter().collect();
        let back: Vec<&CapturedSession> = sessions.iter().rev().collect();
        let all = Counts::of(&there, &Options::default());
        assert_eq!(all, Counts::of(&back, &Options::default()));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(all, alone.install(|| Counts::of(&there, &Options::default())));
        assert_eq!(all.headers[TCP], 300);
    }
}
