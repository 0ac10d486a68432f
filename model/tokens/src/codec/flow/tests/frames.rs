//! Frames of every protocol, made by hand: right in most fields, wrong in some.

use netssm_wire::checksum;

use super::{Captured, Random};

/// Addresses and ports of a small network, so that flows meet again.
const HOSTS_V4: [[u8; 4]; 6] = [
    [192, 168, 1, 5],
    [192, 168, 1, 9],
    [8, 8, 8, 8],
    [151, 101, 1, 140],
    [224, 0, 0, 251],
    [169, 254, 3, 4],
];
const HOSTS_V6: [[u16; 8]; 5] = [
    [0xfe80, 0, 0, 0, 1, 2, 3, 4],
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7],
    [0x2a00, 0x1450, 0x4001, 0, 0, 0, 0, 0x200e],
    [0xff02, 0, 0, 0, 0, 0, 0, 0xfb],
    [0, 0, 0, 0, 0, 0, 0, 0],
];
const PORTS: [u16; 10] = [443, 53, 5353, 80, 40_001, 51_234, 1900, 3478, 123, 6000];

/// Ethernet header of a MAC endpoint to another.
fn ethernet(random: &mut Random, kind: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, random.below(4) as u8, 2, 0, 0, 0, 0, 9];
    for _ in 0..[0, 0, 0, 0, 0, 0, 1, 2][random.below(8)] {
        frame.extend([0x81, 0, random.of(&[0, 0x20]), random.below(3) as u8]);
    }
    frame.extend(kind.to_be_bytes());
    frame
}

/// An IP packet; checksums are right, mostly.
fn ip(random: &mut Random, v6: bool, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(random, if v6 { 0x86dd } else { 0x0800 });
    let at = frame.len();
    if v6 {
        let (src, dst) = (random.of(&HOSTS_V6), random.of(&HOSTS_V6));
        let label = random.of(&[0_u32, 0, 7]);
        frame.extend((6 << 28 | u32::from(random.of(&[0_u8, 0, 0xb8])) << 20 | label).to_be_bytes());
        frame.extend((transport.len() as u16).to_be_bytes());
        frame.extend([protocol, random.of(&[64, 64, 255])]);
        [src, dst].iter().flatten().for_each(|word| frame.extend(word.to_be_bytes()));
    } else {
        let (src, dst) = (random.of(&HOSTS_V4), random.of(&HOSTS_V4));
        let options: &[u8] = random.of(&[&[][..], &[], &[], &[148, 4, 0, 0], &[7, 7, 4, 0, 0, 0, 0, 0]]);
        let total = 20 + options.len() + transport.len();
        frame.extend([0x45 + (options.len() / 4) as u8, random.of(&[0, 0, 0x10])]);
        frame.extend((total as u16).to_be_bytes());
        let id = random.of(&[0, 0, 7, 8, 9]);
        frame.extend(if random.one_in(4) { random.bytes() } else { u16::to_be_bytes(id) });
        frame.extend(random.of(&[[0x40, 0], [0x40, 0], [0, 0], [0x20, 0], [0, 185], [0x20, 3]]));
        frame.extend([random.of(&[64, 64, 57, 1]), protocol, 0, 0]);
        frame.extend(src);
        frame.extend(dst);
        frame.extend(options);
    }
    frame.extend(transport);
    match random.below(8) {
        // As they are: zeros, or what the maker put there.
        0 => {}
        1 if frame.len() > at + 12 => frame[at + 10] ^= 1,
        _ => {
            let _ = checksum::fill(&mut frame);
        }
    }
    if frame.len() < 60 && random.one_in(2) {
        frame.resize(60, 0);
    }
    frame
}

/// A mix of TCP options, padded; sometimes a list that is none.
fn options(random: &mut Random) -> Vec<u8> {
    let mut list = Vec::new();
    while list.len() < 36 && !random.one_in(4) {
        match random.below(9) {
            0 => list.extend([2, 4, 5, random.of(&[0xb4, 0xa0, 1])]),
            1 => list.extend([3, 3, random.below(20) as u8]),
            2 => list.extend([4, 2]),
            3 => list.extend([&[8, 10][..], &random.bytes::<8>()].concat()),
            4 => list.extend([&[1, 1, 8, 10][..], &random.bytes::<8>()].concat()),
            5 => list.extend([&[1, 1, 5, 10][..], &random.bytes::<8>()].concat()),
            6 => list.extend([254, 3, 1]),
            7 => list.push(random.next() as u8),
            _ => list.extend([1, 1]),
        }
    }
    list.truncate(40);
    list.resize(list.len().next_multiple_of(4), 1);
    list
}

fn tcp(random: &mut Random) -> Vec<u8> {
    let options = options(random);
    let mut transport = [random.of(&PORTS).to_be_bytes(), random.of(&PORTS).to_be_bytes()].concat();
    transport.extend(random.of(&[1000_u32, 1001, 2460, 900_000_000, u32::MAX]).to_be_bytes());
    transport.extend(random.of(&[0_u32, 77, 78, 3_000_000_000]).to_be_bytes());
    let flags = random.of(&[0x10, 0x18, 0x02, 0x12, 0x11, 0x04, 0x14, 0xc2, 0x00, 0x29, 0x123, 0xfff]);
    transport.extend(((5 + options.len() as u16 / 4) << 12 | flags).to_be_bytes());
    transport.extend(random.of(&[0xffff_u16, 501, 502, 0, 29_200]).to_be_bytes());
    transport.extend([random.next() as u8, 0, 0, random.of(&[0, 0, 0, 7])]);
    transport.extend(options);
    let len = random.of(&[0, 0, 1, 100, 1448]);
    transport.resize(transport.len() + len, 0x5a);
    transport
}

/// UDP with the beginning of a protocol behind it, or anything.
fn udp(random: &mut Random) -> Vec<u8> {
    let mut payload: Vec<u8> = random.bytes::<12>().to_vec();
    match random.below(7) {
        0 => payload[2..].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        1 => payload[2..].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1]),
        2 => payload[0] = 0x0c,
        3 => payload[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
        4 => payload[0] = 0x80,
        5 => payload[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]),
        _ => {}
    }
    let len = random.of(&[0, 1, 5, 12, 12, 40, 1200]);
    payload.resize(len, 0x33);
    let mut transport = [random.of(&PORTS).to_be_bytes(), random.of(&PORTS).to_be_bytes()].concat();
    transport.extend((8 + len as u16 + u16::from(random.one_in(20))).to_be_bytes());
    transport.extend([0, 0]);
    transport.extend(payload);
    transport
}

fn icmp(random: &mut Random, kinds: &[u16]) -> Vec<u8> {
    let mut transport = random.of(kinds).to_be_bytes().to_vec();
    transport.extend([0, 0, 0, random.below(3) as u8, 0, random.below(4) as u8]);
    let len = random.of(&[0, 4, 16, 20, 48]);
    transport.resize(8 + len, random.below(2) as u8);
    transport
}

fn arp(random: &mut Random) -> Vec<u8> {
    let mut frame = ethernet(random, 0x0806);
    if random.one_in(2) {
        frame[..6].fill(0xff);
    }
    frame.extend([0, 1, 8, 0, 6, 4, 0, random.of(&[1, 1, 2, 2, 3])]);
    frame.extend([2, 0, 0, 0, 0, 9]);
    frame.extend(random.of(&HOSTS_V4));
    frame.extend(random.of(&[[0; 6], [0xff; 6], [2, 0, 0, 0, 0, 1]]));
    frame.extend(random.of(&HOSTS_V4));
    let len = random.of(&[frame.len(), 60, 64]);
    frame.resize(frame.len().max(len), 0);
    frame
}

/// LLC, EAPOL, LLDP and kinds that nobody knows.
fn link(random: &mut Random) -> Vec<u8> {
    let kind = random.of(&[38, 0, 1500, 0x888e, 0x88cc, 0x8899, 0x0600, 0xffff]);
    let mut frame = ethernet(random, kind);
    let fill = random.of(&[0, 0x42, 0xaa]);
    let len = random.of(&[0, 3, 46, 46, 46, 200]);
    frame.resize(frame.len() + len, fill);
    if let Some(last) = frame.last_mut() {
        *last = random.below(3) as u8;
    }
    frame
}

/// One frame of any kind.
fn frame(random: &mut Random) -> Vec<u8> {
    let v6 = random.one_in(3);
    match random.below(16) {
        0..=4 => {
            let transport = tcp(random);
            ip(random, v6, 6, &transport)
        }
        5..=8 => {
            let transport = udp(random);
            ip(random, v6, 17, &transport)
        }
        9 if v6 => {
            let transport = icmp(random, &[0x8000, 0x8100, 0x8700, 0x8800, 0x8f00, 0x0104, 0x8500, 0xffff]);
            // With and without a router alert before it.
            let alert = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &transport].concat();
            if random.one_in(2) { ip(random, true, 0, &alert) } else { ip(random, true, 58, &transport) }
        }
        9 => {
            let transport = icmp(random, &[0x0800, 0x0000, 0x0303, 0x0b00, 0x0504, 0xff01]);
            ip(random, false, 1, &transport)
        }
        10 => {
            let transport = icmp(random, &[0x1600, 0x1164, 0x1700, 0x2200, 0x0001, 0x0800]);
            ip(random, false, 2, &transport)
        }
        11 => {
            let (protocol, transport) =
                (random.of(&[0, 1, 2, 6, 17, 44, 47, 50, 58, 60, 132, 255]), random.bytes::<24>());
            let len = random.of(&[0, 3, 12, 24]);
            ip(random, v6, protocol, &transport[..len])
        }
        12 => arp(random),
        13 => link(random),
        _ => {
            let len = random.below(90);
            let mut frame = ethernet(random, 0x0800);
            frame.extend((0..len).map(|_| random.next() as u8));
            frame
        }
    }
}

/// A session of frames, with gaps of every size; some frames are spoilt, some cut.
pub(super) fn session(random: &mut Random, packets: usize) -> Vec<Captured> {
    let snap_len = random.of(&[usize::MAX, usize::MAX, 96, 72, 68, 54, 40, 13]);
    session_cut(random, packets, snap_len)
}

fn session_cut(random: &mut Random, packets: usize, snap_len: usize) -> Vec<Captured> {
    let mut time_us = random.of(&[0, 1_700_000_000_000_000, -5]);
    let mut frames: Vec<Captured> = Vec::new();
    for _ in 0..packets {
        time_us += match random.below(12) {
            0 => -(random.below(100_000) as i64),
            1 => 3_600_000_000,
            2..=4 => random.below(20) as i64,
            magnitude => random.below(1 << (2 * magnitude)) as i64,
        };
        let mut bytes = match frames.last() {
            Some(last) if random.one_in(6) => last.bytes.clone(),
            _ => frame(random),
        };
        if random.one_in(12) && !bytes.is_empty() {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let mut captured = Captured::new(time_us, bytes).cut(snap_len);
        if random.one_in(40) {
            let len = random.below(captured.bytes.len() + 1);
            captured = captured.cut(len);
        }
        if random.one_in(60) {
            captured.wire_len = random.of(&[0, 70_000, u32::MAX, 1]);
        }
        frames.push(captured);
    }
    frames
}

/// A session of more MAC endpoints, hosts and flows than a session remembers.
pub(super) fn crowd(random: &mut Random, packets: usize) -> Vec<Captured> {
    let mut frames = session_cut(random, packets, usize::MAX);
    for frame in frames.iter_mut().filter(|frame| frame.bytes.len() > 37) {
        frame.bytes[34..36].copy_from_slice(&random.bytes::<2>());
        frame.bytes[28] = random.below(5) as u8;
        frame.bytes[29] = random.next() as u8;
        frame.bytes[8..12].copy_from_slice(&random.bytes::<4>());
    }
    frames
}
