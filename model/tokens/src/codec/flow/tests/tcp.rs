//! A small simulation of TCP over a network that loses, repeats and reorders, with a capture point at the client.

use netssm_wire::checksum;

use super::{Captured, Random};

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
/// Segments in flight.
const FLIGHT: u32 = 12;
/// One way, microseconds.
const DELAY_US: i64 = 12_000;
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// How a connection is and what the network does to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) port: u16,
    pub(super) server: [u8; 4],
    /// Payload bytes of a full segment.
    pub(super) segment: u32,
    /// Bytes that the client and the server send.
    pub(super) bytes: [u32; 2],
    pub(super) timestamps: bool,
    /// Timestamp ticks a second of either.
    pub(super) ticks_hz: [i64; 2],
    /// Percent of packets.
    pub(super) lost: usize,
    pub(super) repeated: usize,
    pub(super) reordered: usize,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            port: 40_000,
            server: [93, 184, 216, 34],
            segment: 1_448,
            bytes: [500, 60_000],
            timestamps: true,
            ticks_hz: [1_000, 1_000],
            lost: 0,
            repeated: 0,
            reordered: 0,
        }
    }
}

#[derive(Clone, Debug)]
struct Segment {
    seq: u32,
    ack: u32,
    flags: u8,
    len: u32,
    timestamps: (u32, u32),
    blocks: Vec<(u32, u32)>,
}

/// One end.
struct End {
    next: u32,
    unacked: u32,
    end: u32,
    expects: u32,
    /// What came out of order, ascending.
    ahead: Vec<(u32, u32)>,
    /// Last timestamp of the peer that came in order, and the value of our clock at time zero.
    echo: u32,
    origin: u32,
    repeats: u32,
    id: u16,
}

struct Simulation<'a> {
    scenario: Scenario,
    random: &'a mut Random,
    ends: [End; 2],
    /// Arrival, order of sending, receiver.
    under_way: Vec<(i64, usize, usize, Segment)>,
    sent: usize,
    now_us: i64,
    captured: Vec<Captured>,
}

fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

impl Simulation<'_> {
    fn timestamp(&self, from: usize) -> u32 {
        let ticks = self.now_us * self.scenario.ticks_hz[from] / 1_000_000;
        self.ends[from].origin.wrapping_add(ticks as u32)
    }

    fn capture(&mut self, from: usize, segment: &Segment) {
        let frame = self.frame(from, segment);
        self.captured.push(Captured::new(self.now_us, frame));
    }

    fn frame(&mut self, from: usize, segment: &Segment) -> Vec<u8> {
        let client = [192, 168, 1, 5];
        let (src, dst) =
            if from == CLIENT { (client, self.scenario.server) } else { (self.scenario.server, client) };
        let ports = if from == CLIENT { (self.scenario.port, 443_u16) } else { (443, self.scenario.port) };
        let options = self.options(segment);
        let mut frame = vec![2, 0, 0, 0, 0, 1 + from as u8, 2, 0, 0, 0, 0, 2 - from as u8, 8, 0, 0x45, 0];
        frame.extend((40 + options.len() as u16 + segment.len as u16).to_be_bytes());
        self.ends[from].id = self.ends[from].id.wrapping_add(1);
        frame.extend(if from == CLIENT { self.ends[from].id } else { 0 }.to_be_bytes());
        frame.extend([0x40, 0, if from == CLIENT { 64 } else { 57 }, 6, 0, 0]);
        frame.extend([src, dst].concat());
        frame.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat());
        frame.extend([segment.seq.to_be_bytes(), segment.ack.to_be_bytes()].concat());
        frame.extend([(5 + options.len() as u8 / 4) << 4, segment.flags]);
        frame.extend(if segment.flags & SYN != 0 { 64_240_u16 } else { 501 }.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(options);
        frame.resize(frame.len() + segment.len as usize, 0x77);
        checksum::fill(&mut frame).expect("a whole frame");
        frame
    }

    fn options(&self, segment: &Segment) -> Vec<u8> {
        let timestamps = [segment.timestamps.0.to_be_bytes(), segment.timestamps.1.to_be_bytes()].concat();
        let mut options = Vec::new();
        match (segment.flags & SYN != 0, self.scenario.timestamps) {
            (true, true) => {
                options.extend([&[2, 4, 5, 0xb4, 4, 2, 8, 10], &timestamps[..], &[1, 3, 3, 7]].concat())
            }
            (true, false) => options.extend([2, 4, 5, 0xb4, 1, 3, 3, 7, 1, 1, 4, 2]),
            (false, true) => options.extend([&[1, 1, 8, 10], &timestamps[..]].concat()),
            (false, false) => {}
        }
        if !segment.blocks.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * segment.blocks.len() as u8]);
            segment
                .blocks
                .iter()
                .for_each(|block| options.extend([block.0.to_be_bytes(), block.1.to_be_bytes()].concat()));
        }
        options
    }

    fn send(&mut self, from: usize, seq: u32, flags: u8, len: u32) {
        let end = &self.ends[from];
        let blocks = if self.scenario.timestamps { 3 } else { 4 };
        let segment = Segment {
            seq,
            ack: if flags & ACK == 0 { 0 } else { end.expects },
            flags,
            len,
            timestamps: (self.timestamp(from), if flags & ACK == 0 { 0 } else { end.echo }),
            blocks: end.ahead.iter().rev().take(blocks).copied().collect(),
        };
        if from == CLIENT {
            self.capture(from, &segment);
        }
        let mut percent = |share: usize| flags & SYN == 0 && self.random.below(100) < share;
        let (lost, repeated, reordered) =
            (percent(self.scenario.lost), percent(self.scenario.repeated), percent(self.scenario.reordered));
        let copies = usize::from(!lost) + usize::from(repeated);
        for copy in 0..copies {
            let late = if reordered { 4_000 } else { 0 } + 900 * copy as i64;
            self.sent += 1;
            self.under_way.push((self.now_us + DELAY_US + late, self.sent, 1 - from, segment.clone()));
        }
        // Serialisation.
        self.now_us += 3 + i64::from(len / 120);
    }

    /// Sends what the window allows; gives whether anything was.
    fn fill(&mut self, from: usize) -> bool {
        let mut sent = false;
        loop {
            let end = &self.ends[from];
            let left = end.end.wrapping_sub(end.next);
            if left == 0 || end.next.wrapping_sub(end.unacked) >= FLIGHT * self.scenario.segment {
                return sent;
            }
            let len = left.min(self.scenario.segment);
            let seq = end.next;
            self.send(from, seq, if len == left { ACK | PSH } else { ACK }, len);
            self.ends[from].next = seq.wrapping_add(len);
            sent = true;
        }
    }

    fn repeat(&mut self, from: usize) {
        let end = &self.ends[from];
        let len = end.next.wrapping_sub(end.unacked).min(self.scenario.segment);
        self.send(from, end.unacked, ACK, len);
    }

    fn receive(&mut self, at: usize, segment: &Segment) {
        let end = &mut self.ends[at];
        if segment.flags & ACK != 0 {
            if after(segment.ack, end.unacked) {
                (end.unacked, end.repeats) = (segment.ack, 0);
            } else if segment.len == 0 && end.unacked != end.next {
                end.repeats += 1;
            }
        }
        let (start, stop) = (segment.seq, segment.seq.wrapping_add(segment.len));
        if !after(start, end.expects) && !after(end.echo, segment.timestamps.0) {
            end.echo = segment.timestamps.0;
        }
        if segment.len > 0 {
            end.ahead.push((start, stop));
            let base = end.expects;
            end.ahead.sort_by_key(|block| block.0.wrapping_sub(base) as i32);
            let mut merged: Vec<(u32, u32)> = Vec::new();
            for block in std::mem::take(&mut end.ahead) {
                match merged.last_mut() {
                    Some(last) if !after(block.0, last.1) => {
                        last.1 = if after(block.1, last.1) { block.1 } else { last.1 }
                    }
                    _ => merged.push(block),
                }
            }
            while merged.first().is_some_and(|block| !after(block.0, end.expects)) {
                let block = merged.remove(0);
                end.expects = if after(block.1, end.expects) { block.1 } else { end.expects };
            }
            end.ahead = merged;
        }
        if self.ends[at].repeats == 3 {
            self.repeat(at);
        }
        if !self.fill(at) && segment.len > 0 {
            self.send(at, self.ends[at].next, ACK, 0);
        }
    }

    /// Lets everything arrive, and repeats what nobody acknowledged.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(first) =
                (0..self.under_way.len()).min_by_key(|&at| (self.under_way[at].0, self.under_way[at].1))
            else {
                let Some(from) = [CLIENT, SERVER]
                    .into_iter()
                    .find(|&from| self.ends[from].unacked != self.ends[from].next)
                else {
                    return;
                };
                self.now_us += 200_000;
                self.repeat(from);
                continue;
            };
            let (time_us, _, to, segment) = self.under_way.swap_remove(first);
            self.now_us = self.now_us.max(time_us);
            if to == CLIENT {
                self.capture(SERVER, &segment);
            }
            self.receive(to, &segment);
        }
    }
}

/// A connection as its client's capture has it, from `start_us` on.
pub(super) fn connection(random: &mut Random, scenario: Scenario, start_us: i64) -> Vec<Captured> {
    let end = |random: &mut Random, bytes: u32| {
        let isn = random.next() as u32;
        End {
            next: isn,
            unacked: isn.wrapping_add(1),
            end: isn.wrapping_add(1).wrapping_add(bytes),
            expects: 0,
            ahead: Vec::new(),
            echo: 0,
            origin: random.next() as u32,
            repeats: 0,
            id: random.next() as u16,
        }
    };
    let ends = [end(random, scenario.bytes[0]), end(random, scenario.bytes[1])];
    let mut run = Simulation {
        scenario,
        random,
        ends,
        under_way: Vec::new(),
        sent: 0,
        now_us: start_us,
        captured: Vec::new(),
    };
    for (from, flags) in [(CLIENT, SYN), (SERVER, SYN | ACK)] {
        let seq = run.ends[from].next;
        run.send(from, seq, flags, 0);
        run.ends[from].next = seq.wrapping_add(1);
        let (time_us, _, to, segment) = run.under_way.pop().expect("a handshake loses nothing");
        run.now_us = time_us;
        (run.ends[to].expects, run.ends[to].echo) = (seq.wrapping_add(1), segment.timestamps.0);
        if to == CLIENT {
            run.capture(SERVER, &segment);
        }
    }
    run.send(CLIENT, run.ends[CLIENT].next, ACK, 0);
    run.fill(CLIENT);
    run.settle();
    for from in [CLIENT, SERVER] {
        let seq = run.ends[from].next;
        run.send(from, seq, FIN | ACK, 0);
        run.ends[from].next = seq.wrapping_add(1);
        run.ends[1 - from].expects = seq.wrapping_add(1);
        run.under_way.clear();
        run.now_us += DELAY_US;
    }
    run.send(CLIENT, run.ends[CLIENT].next, ACK, 0);
    run.captured
}

/// Several connections at once, cut to a number of packets and a snapshot length.
pub(super) fn capture(random: &mut Random, packets: usize, snap_len: usize) -> Vec<Captured> {
    let mut all = Vec::new();
    for at in 0..1 + random.below(5) {
        let clocks = [1_000, 100, 250, 950, 1_000_000];
        let scenario = Scenario {
            port: 40_000 + at as u16,
            server: [93, 184, 216, random.below(3) as u8],
            segment: random.of(&[1_448, 1_400, 536]),
            bytes: [random.below(5_000) as u32, random.below(120_000) as u32],
            timestamps: !random.one_in(3),
            ticks_hz: [random.of(&clocks), random.of(&clocks)],
            lost: random.of(&[0, 2, 8]),
            repeated: random.of(&[0, 2, 5]),
            reordered: random.of(&[0, 3, 10]),
        };
        let start_us = 1_700_000_000_000_000 + random.below(400_000) as i64;
        all.extend(connection(random, scenario, start_us));
    }
    all.sort_by_key(|frame| frame.time_us);
    all.truncate(packets);
    all.iter().map(|frame| frame.cut(snap_len)).collect()
}
