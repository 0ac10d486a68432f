//! Small captures by hand, for the tests of the measures.
//!
//! The end with a port below 10,000 is the server, the other one the client. Checksums are left zero: no measure reads
//! them.

use std::path::Path;

use netssm_wire::capture::Record;
use netssm_wire::tcp::{Flags, Seq};
use netssm_wire::{arp, ethernet, ipv4, tcp, udp};

use crate::input::session::{CapturedSession, SessionBuilder};

pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 2];
pub(crate) const SERVER: [u8; 4] = [198, 18, 0, 1];

/// Records in order. Times are in microseconds.
#[derive(Clone, Default)]
pub(crate) struct Frames {
    pub(crate) records: Vec<Record>,
}

/// Flags by letter: S, A, F, R, P.
pub(crate) fn flags(letters: &str) -> Flags {
    letters.chars().fold(Flags::default(), |flags, letter| {
        flags
            | match letter {
                'S' => Flags::SYN,
                'A' => Flags::ACK,
                'F' => Flags::FIN,
                'R' => Flags::RST,
                'P' => Flags::PSH,
                other => panic!("no flag {other}"),
            }
    })
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn ip(&mut self, at_us: i64, protocol: u8, (src, dst): (u16, u16), header: &[u8], payload: usize) {
        let mut frame = vec![0; 34];
        frame.extend_from_slice(header);
        frame.resize(frame.len() + payload, 0);
        let mut link = ethernet::ViewMut::new(&mut frame).expect("room");
        link.set_ethertype(0x0800);
        frame[14] = 0x45;
        let len = (frame.len() - 14) as u16;
        let mut ip = ipv4::ViewMut::new(&mut frame[14..]).expect("room");
        ip.set_total_len(len);
        ip.set_protocol(protocol);
        let host = |port: u16| if port < 10_000 { SERVER } else { CLIENT };
        ip.set_src(host(src).into());
        ip.set_dst(host(dst).into());
        self.records.push(Record { time_ns: at_us * 1000, wire_len: frame.len() as u32, frame });
    }

    pub(crate) fn tcp(
        &mut self,
        at_us: i64,
        ports: (u16, u16),
        letters: &str,
        (seq, ack): (u32, u32),
        payload: usize,
    ) {
        let mut header = [0; 20];
        let mut view = tcp::ViewMut::new(&mut header).expect("room");
        view.set_src_port(ports.0);
        view.set_dst_port(ports.1);
        view.set_seq(Seq(seq));
        view.set_ack(Seq(ack));
        view.set_offset_flags(0x5000);
        view.set_flags(flags(letters));
        self.ip(at_us, 6, ports, &header, payload);
    }

    pub(crate) fn udp(&mut self, at_us: i64, ports: (u16, u16), payload: usize) {
        let mut header = [0; 8];
        let mut view = udp::ViewMut::new(&mut header).expect("room");
        view.set_src_port(ports.0);
        view.set_dst_port(ports.1);
        view.set_length(8 + payload as u16);
        self.ip(at_us, 17, ports, &header, payload);
    }

    /// The client asks for the server.
    pub(crate) fn arp(&mut self, at_us: i64) {
        let mut frame = vec![0; 42];
        frame[12..14].copy_from_slice(&[8, 6]);
        frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        let mut view = arp::ViewMut::new(&mut frame[14..]).expect("room");
        view.set_operation(1);
        view.set_sender_ip(CLIENT.into());
        view.set_target_ip(SERVER.into());
        self.records.push(Record { time_ns: at_us * 1000, wire_len: 42, frame });
    }

    /// A connection that opens in good order, client port `port`: ISN 100 and 500.
    pub(crate) fn handshake(&mut self, at_us: i64, port: u16) {
        self.tcp(at_us, (port, 443), "S", (100, 0), 0);
        self.tcp(at_us + 10, (443, port), "SA", (500, 101), 0);
        self.tcp(at_us + 20, (port, 443), "A", (101, 501), 0);
    }

    pub(crate) fn session(&self, label: &str) -> CapturedSession {
        let mut builder = SessionBuilder::new(Some(label.to_owned()));
        self.records.iter().for_each(|record| builder.push(record));
        builder.finish()
    }

    /// As a capture file with nanoseconds.
    pub(crate) fn write(&self, path: &Path) {
        let mut out = Vec::new();
        for word in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
            out.extend(word.to_le_bytes());
        }
        for record in &self.records {
            let (s, ns) = (record.time_ns / 1_000_000_000, record.time_ns % 1_000_000_000);
            for word in [s as u32, ns as u32, record.frame.len() as u32, record.wire_len] {
                out.extend(word.to_le_bytes());
            }
            out.extend_from_slice(&record.frame);
        }
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(path, out).expect("written");
    }
}
