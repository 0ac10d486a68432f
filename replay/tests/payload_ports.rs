//! Flows on every port that an analyser knows, and on many that none does: Wireshark finds no malformed packet, and
//! Suricata no invalid one. This is how the table in `payload/tables.rs` was made, and what keeps it true.
#![allow(clippy::print_stdout, reason = "what was measured and skipped")]

mod rewrite_support;

use std::time::Duration;

use netssm_replay::payload::is_known_port;
use netssm_replay::rewrite::*;
use netssm_wire::session::{Origin, Packet, Session};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rewrite_support::*;

const TCP: u8 = 6;
const UDP: u8 = 17;
const CLIENT: [u8; 4] = [10, 0, 0, 1];

/// A frame with only headers, as sessions have them.
fn packet(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    l4: &[u8],
    payload: usize,
    prefix: &[u8],
    protocol: u8,
) -> Packet {
    let mut header = vec![2, 0, 0, 0, 0, to.0[3], 2, 0, 0, 0, 0, from.0[3], 8, 0, 0x45, 0];
    header.extend(((20 + 4 + l4.len() + payload) as u16).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(from.0);
    header.extend(to.0);
    header.extend(from.1.to_be_bytes());
    header.extend(to.1.to_be_bytes());
    header.extend(l4);
    let wire_len = (header.len() + payload) as u32;
    header.extend(&prefix[..prefix.len().min(payload)]);
    Packet { time: Duration::ZERO, wire_len, header }
}

fn datagram(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: usize, prefix: &[u8]) -> Packet {
    let [high, low] = ((payload + 8) as u16).to_be_bytes();
    packet(from, to, &[high, low, 0, 0], payload, prefix, UDP)
}

/// In which order a TCP flow sends its data.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// As it comes, with a few segments sent again.
    Regular,
    /// Some segments are sent again with what follows them.
    Straddling,
    /// Anything.
    Chaos,
}

/// A TCP flow: handshake, segments in both directions, end.
fn connection(
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    sizes: &[usize],
    (order, server_first): (Order, bool),
    rng: &mut ChaCha8Rng,
    out: &mut Vec<Packet>,
) {
    let send = |from_client: bool, flags: u8, seq: u32, ack: u32, payload: usize, out: &mut Vec<Packet>| {
        let mut l4 = seq.to_be_bytes().to_vec();
        l4.extend(ack.to_be_bytes());
        l4.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        out.push(packet(from, to, &l4, payload, &[], TCP));
    };
    send(true, 2, 0, 0, 0, out);
    send(false, 0x12, 0, 1, 0, out);
    let mut at = [1, 1];
    send(true, 0x10, at[0], at[1], 0, out);
    for (number, size) in sizes.iter().enumerate() {
        for side in if server_first { [1, 0] } else { [0, 1] } {
            let (mut seq, ack) = (at[side], at[1 - side]);
            if order == Order::Chaos {
                seq = match rng.random_range(0..4) {
                    0 => seq,
                    1 => seq + rng.random_range(0..1500),
                    2 => seq.saturating_sub(rng.random_range(0..1500)).max(1),
                    _ => rng.random_range(1..=seq),
                };
            }
            send(side == 0, 0x18, seq, ack, *size, out);
            at[side] = at[side].max(seq + *size as u32);
            match (order, number % 3) {
                (Order::Regular, 1) => send(side == 0, 0x18, seq, ack, *size, out),
                (Order::Straddling, 1) => send(side == 0, 0x18, seq, ack, size + 10, out),
                _ => {}
            }
        }
    }
    send(true, 0x11, at[0], at[1], 0, out);
    send(false, 0x11, at[1], at[0] + 1, 0, out);
}

fn session(packets: Vec<Packet>, seed: u64) -> Session {
    Session { label: "ports".into(), seed, origin: Origin::Captured, packets }
}

/// Runs sessions, and asks the judges.
fn judge(sessions: impl Iterator<Item = Session>, name: &str) {
    if !tool("tshark") || !tool("suricata") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("ports.pcap");
    let mut writer = Writer::new(&file);
    let rewriter = Rewriter::new(plan(), Allocator::new()).unwrap();
    let (mut moved, mut frames) = (0, 0u64);
    for (number, session) in sessions.enumerate() {
        let mut replay = rewriter.begin_replay(session.into(), number as u64).unwrap();
        moved += replay.moved_ports();
        while let Some(item) = replay.next() {
            let frame = item.unwrap();
            writer.frame(frame.bytes());
            frames += 1;
            replay.recycle(frame);
        }
    }
    writer.close();
    let complaints = malformed(&file);
    let counters = suricata(&file, work.path());
    if let Ok(keep) = std::env::var("NETSSMD_KEEP") {
        let _ = std::fs::rename(&file, format!("{keep}-{name}.pcap"));
    }
    println!("{name}: {frames} frames, {moved} ports moved, {} malformed", complaints.len());
    for (name, value) in
        counters.iter().filter(|(name, _)| name.contains("event") || name.contains("invalid"))
    {
        println!("  {name} {value}");
    }
    assert!(complaints.is_empty(), "{}", complaints[..complaints.len().min(40)].join("\n"));
    assert_eq!(counters.get("decoder.pkts").copied(), Some(frames));
    for name in ["decoder.invalid", "tcp.invalid_checksum", "udp.invalid_checksum"] {
        assert_eq!(counters.get(name).copied().unwrap_or(0), 0, "{name}");
    }
}

/// Datagram lengths that a flow has together, so that the short ones do not move the port of the others.
fn lengths(rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut all = vec![vec![0, 1, 2, 3], (4..12).collect(), (12..48).step_by(3).collect(), vec![48, 48, 68]];
    all.push((0..8).map(|_| rng.random_range(48..600)).collect());
    all.push((0..4).map(|_| rng.random_range(300..1473)).collect());
    all.push(vec![240, 244, 300, 548, 1472]);
    all
}

#[test]
fn every_known_udp_port() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let ports: Vec<u16> = (0..=u16::MAX).filter(|p| is_known_port(UDP, *p)).collect();
    assert!(ports.len() > 300);
    let sessions = ports.chunks(8).map(|chunk| {
        let mut packets = Vec::new();
        let mut client_port = 49_152;
        for port in chunk {
            for (host, lengths) in lengths(&mut rng).into_iter().enumerate() {
                // A server for each list, since the port of a host stays or is moved as a whole.
                let (client, server) = ((CLIENT, client_port), ([198, 18, 0, 1 + host as u8], *port));
                client_port += 1;
                for (number, len) in lengths.into_iter().enumerate() {
                    let asks = [0, number as u8 + 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, number as u8 & 1];
                    let answers = [0, number as u8 + 1, 0x81, 0x80, 0, 1, 0, number as u8, 0, 0, 0, 0];
                    packets.push(datagram(client, server, len, &asks));
                    packets.push(datagram(server, client, len + 17, &answers));
                }
            }
        }
        session(packets, u64::from(chunk[0]))
    });
    judge(sessions, "udp");
}

#[test]
fn every_known_tcp_port() {
    let ports: Vec<u16> = (0..=u16::MAX).filter(|p| is_known_port(TCP, *p)).collect();
    assert!(ports.len() > 500);
    let sizes: [&[usize]; 6] = [
        &[1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987],
        &[517, 1460, 1460, 126, 51, 300, 2900],
        &[20, 40, 60, 4, 4, 4, 8, 8, 100, 1460],
        &[1460, 1460, 1000, 6, 12],
        &[6, 7, 8, 9, 10, 16, 20, 40, 100, 300, 1000, 1460, 7, 80, 30, 900, 1460, 1460, 20, 20],
        &[62, 200, 62, 62, 180, 180, 62],
    ];
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let sessions = ports.chunks(8).map(|chunk| {
        let mut packets = Vec::new();
        let (mut client_port, mut host) = (49_152, 0);
        for port in chunk {
            for sizes in &sizes {
                for order in [Order::Regular, Order::Straddling, Order::Chaos] {
                    for server_first in [false, true] {
                        // A server for each, since the port of a host stays or is moved as a whole.
                        let server = ([198, 18, 1 + (host / 250) as u8, 1 + (host % 250) as u8], *port);
                        let order = (order, server_first);
                        connection((CLIENT, client_port), server, sizes, order, &mut rng, &mut packets);
                        (client_port, host) = (client_port + 1, host + 1);
                    }
                }
            }
        }
        session(packets, u64::from(chunk[0]))
    });
    judge(sessions, "tcp");
}

#[test]
fn ports_that_no_analyser_knows() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let sessions: Vec<Session> = (0..60)
        .map(|number| {
            let mut packets = Vec::new();
            for flow in 0..30u16 {
                let protocol = if flow % 3 == 0 { TCP } else { UDP };
                let port = loop {
                    let port = rng.random_range(1024..=u16::MAX);
                    if !is_known_port(protocol, port) {
                        break if flow == 1 { 443 } else { port };
                    }
                };
                let (client, server) = ((CLIENT, 49_152 + flow), ([198, 18, 0, 1], port));
                if protocol == TCP {
                    let sizes: Vec<usize> = (0..20).map(|_| rng.random_range(0..1461)).collect();
                    let order = (Order::Chaos, rng.random());
                    connection(client, server, &sizes, order, &mut rng, &mut packets);
                } else {
                    for _ in 0..60 {
                        let len =
                            if rng.random() { rng.random_range(0..60) } else { rng.random_range(0..1473) };
                        packets.push(datagram(client, server, len, &[]));
                        packets.push(datagram(server, client, 1473 - len, &[]));
                    }
                }
            }
            session(packets, number)
        })
        .collect();
    judge(sessions.into_iter(), "unknown");
}

/// The error of a host that quotes a segment with `payload` bytes of data, of whose TCP header the session has `known`
/// bytes.
fn unreachable(
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    (options, payload): (usize, usize),
    known: usize,
) -> Packet {
    let mut l4 = vec![0u8; 16 + options];
    l4[8..10].copy_from_slice(&[((20 + options) as u8 / 4) << 4, 0x18]);
    let quoted = &packet(client, server, &l4, payload, &[], TCP).header[14..];
    let mut header = vec![2, 0, 0, 0, 0, client.0[3], 2, 0, 0, 0, 0, server.0[3], 8, 0, 0x45, 0];
    header.extend(((28 + quoted.len() + payload) as u16).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
    header.extend(server.0);
    header.extend(client.0);
    header.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    let wire_len = (header.len() + quoted.len() + payload) as u32;
    header.extend(&quoted[..20 + known]);
    Packet { time: Duration::ZERO, wire_len, header }
}

/// An analyser also reads what an error quotes: of a flow without data of its own that is all it sees, cut anywhere.
#[test]
fn every_known_tcp_port_in_a_quote() {
    let ports: Vec<u16> = (1..=u16::MAX).filter(|p| is_known_port(TCP, *p)).collect();
    let sessions = ports.chunks(40).map(|chunk| {
        let mut packets = Vec::new();
        for (host, port) in (1..).zip(chunk) {
            let whole = [(1, 20), (8, 20), (14, 20), (100, 20), (500, 20), (14, 8), (20, 8), (100, 8)];
            let cut = [(20, 0, 34), (20, 0, 20), (12, 100, 31), (40, 14, 59)];
            let whole = whole.map(|(payload, known)| (0, payload, known));
            for (case, (options, payload, known)) in (0..).zip(whole.into_iter().chain(cut)) {
                // A server for each, since the port of a host stays or is moved as a whole.
                let ends = ((CLIENT, 49_152 + case), ([198, 18, case as u8, host], *port));
                let mut syn = [0u8; 16];
                syn[8..10].copy_from_slice(&[0x50, 2]);
                packets.push(packet(ends.0, ends.1, &syn, 0, &[], TCP));
                packets.push(unreachable(ends.0, ends.1, (options, payload), known));
            }
        }
        session(packets, u64::from(chunk[0]))
    });
    judge(sessions, "quoted");
}
