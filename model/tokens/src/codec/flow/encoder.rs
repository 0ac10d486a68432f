//! Frames to tokens, for training and prompts. Side values are counted in bits and not kept.
//!
//! ```text
//! session := label DIR RATE packet* EOS
//! ```
//! `DIR` is the direction of the first IP packet between a site and the world; `RATE` is the class of the busiest
//! second. Both are facts about the recording. A prompt may give them, or the model chooses them.

use super::{
    coder::Recorder,
    hosts::HostClass,
    packet::Parameters,
    record::{Frame, Record},
    side_channel::{Discard, SideClass, SideSink, Spread},
    time::LONGEST_US,
    transport::{Icmp, Transport, Udp},
    vocab::{DIR, EOS, RATE},
};
use crate::codec::{Encoder, FrameRef, SessionEnd, SideChannelBits, Skip};

/// Nanoseconds of a microsecond.
const NS: i64 = 1_000;
/// The first class ends at this many bits per second. Each further one ends at four times as many.
const FIRST_RATE: u64 = 64_000;

/// The direction of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CaptureDirection {
    /// Its first packet between a site and the world goes to the world.
    Outward,
    /// The first packet goes to the site.
    Inward,
    /// All packets are within the site.
    Local,
    /// None of these.
    Other,
}

impl CaptureDirection {
    fn of(frame: &Frame) -> Self {
        let Frame::Ip(ip) = frame else { return Self::Local };
        let (src, dst) = (HostClass::of(ip.src), HostClass::of(ip.dst));
        match (src.is_remote(), dst.is_remote()) {
            (false, true) => Self::Outward,
            (true, false) => Self::Inward,
            (false, false) => Self::Local,
            (true, true) => Self::Other,
        }
    }
}

/// The encoder of one session.
#[derive(Debug)]
pub(super) struct FlowEncoder {
    recorder: Recorder,
    label: u16,
    packets: u64,
    last_us: i64,
    /// By how much times are earlier than those of the capture, because of gaps longer than a token can say.
    /// Microseconds.
    ahead_us: i64,
    /// Tokens of the packet at hand.
    packet: Vec<u16>,
    /// Place of the link rate in the caller's vector.
    rate_at: usize,
    busiest: Busiest,
    side_bits: Counted,
}

/// Bytes of the busiest second.
#[derive(Debug, Default)]
struct Busiest {
    second: i64,
    bytes: u64,
    most: u64,
}

impl Busiest {
    fn add(&mut self, time_us: i64, bytes: u32) {
        let second = time_us.div_euclid(1_000_000);
        if second != self.second {
            (self.second, self.bytes) = (second, 0);
        }
        self.bytes += u64::from(bytes);
        self.most = self.most.max(self.bytes);
    }

    /// The class of the busiest second: powers of four of 64 kbit/s.
    fn class(&self) -> usize {
        let classes = usize::from(RATE.len);
        (0..classes - 1).find(|&class| self.most * 8 < FIRST_RATE << (2 * class)).unwrap_or(classes - 1)
    }
}

/// Counts the bits of side values.
#[derive(Debug, Default)]
struct Counted(SideChannelBits);

impl Counted {
    fn add(&mut self, other: &Self) {
        self.0.time_bits += other.0.time_bits;
        self.0.other_bits += other.0.other_bits;
    }
}

impl SideSink for Counted {
    fn put(&mut self, class: SideClass, _: u64, spread: Spread) {
        let bits = u64::from(spread.bits());
        match class {
            // The start time of a recording is not needed to generate a session.
            SideClass::Start => {}
            SideClass::GapRest | SideClass::GapFar => self.0.time_bits += bits,
            _ => self.0.other_bits += bits,
        }
    }
}

impl FlowEncoder {
    pub(super) fn new(rules: Parameters, label: u16) -> Self {
        Self {
            recorder: Recorder::new(rules),
            label,
            packets: 0,
            last_us: i64::MIN,
            ahead_us: 0,
            packet: Vec::new(),
            rate_at: 0,
            busiest: Busiest::default(),
            side_bits: Counted::default(),
        }
    }
}

impl FlowEncoder {
    /// The record with a time that tokens can express: not before the previous packet, and not after the longest gap.
    fn timed(&mut self, mut record: Record) -> Record {
        if self.last_us == i64::MIN {
            return record;
        }
        record.time_us = record.time_us.saturating_sub(self.ahead_us).max(self.last_us);
        let too_much = record.time_us.saturating_sub(self.last_us).saturating_sub(LONGEST_US);
        if too_much > 0 {
            self.ahead_us = self.ahead_us.saturating_add(too_much);
            record.time_us = self.last_us.saturating_add(LONGEST_US);
        }
        record
    }
}

/// The record that a model learns from: whole, and without bytes of unknown meaning.
fn whole(frame: FrameRef<'_>) -> Result<Record, Skip> {
    let mut record = Record::parse(frame.time_ns.div_euclid(NS), frame.wire_len, frame.bytes);
    match &mut record.frame {
        Frame::Ip(ip) => match &mut ip.transport {
            // The grammar completes cut options as predicted.
            Transport::Tcp(_) => ip.missing = 0,
            Transport::Udp(Udp { window, .. }) | Transport::Icmp(Icmp { window, .. }) => {
                // Bytes that were cut from a window become zeros. The window has room for them.
                window.extend(std::iter::repeat_n(0, ip.missing.into()).take(window.remaining_capacity()));
                ip.missing = 0;
            }
            Transport::Other(_) if ip.fragment & 0x1fff != 0 => return Err(Skip::Fragment),
            Transport::Other(_) => return Err(Skip::Protocol),
        },
        Frame::Arp(_) => {}
        Frame::Link(_) => return Err(Skip::Ethertype),
        Frame::Raw(_) => return Err(Skip::Malformed),
    }
    Ok(record)
}

impl Encoder for FlowEncoder {
    fn push(&mut self, frame: FrameRef<'_>, out: &mut Vec<u16>) -> Result<(), Skip> {
        let record = self.timed(whole(frame)?);
        let mut side_bits = Counted::default();
        self.packet.clear();
        let record =
            self.recorder.push_strict(&record, &mut self.packet, &mut side_bits).ok_or(Skip::Unwritable)?;
        self.side_bits.add(&side_bits);
        if self.packets == 0 {
            out.push(self.label);
            out.push(DIR.at(CaptureDirection::of(&record.frame) as usize));
            self.rate_at = out.len();
            // The rate is known only at the end.
            out.push(RATE.at(0));
        }
        out.extend_from_slice(&self.packet);
        self.packets += 1;
        self.last_us = record.time_us;
        self.busiest.add(record.time_us, record.wire_len);
        if let Some(rate) = out.get_mut(self.rate_at) {
            *rate = RATE.at(self.busiest.class());
        }
        Ok(())
    }

    fn observe(&mut self, frame: FrameRef<'_>) -> Result<(), Skip> {
        let record = self.timed(whole(frame)?);
        self.packet.clear();
        let record =
            self.recorder.push_strict(&record, &mut self.packet, &mut Discard).ok_or(Skip::Unwritable)?;
        self.last_us = record.time_us;
        Ok(())
    }

    fn finish(&mut self, end: SessionEnd, out: &mut Vec<u16>) {
        if self.packets > 0 && end == SessionEnd::Ended {
            out.push(EOS.at(0));
        }
    }

    fn side_channel_bits(&self) -> SideChannelBits {
        self.side_bits.0
    }
}
