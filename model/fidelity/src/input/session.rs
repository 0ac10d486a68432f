//! A session as the measures see it: its packets with flow and direction, and for TCP the fields that measures of order
//! need.
//!
//! It keeps facts from headers only, so a capture that was cut to its headers gives the same results as a whole one.
//! Lengths are those on the wire, and the data of a segment follows from the IP length. The *initiator* of a flow is
//! the sender of its SYN or the receiver of its SYN-ACK. Without these it is the end with a port from 1,024 on, if the
//! other one is below, and else the sender of the first packet. *Forward* is from the initiator to the responder.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use netssm_wire::capture::Record;
use netssm_wire::flow::{FiveTuple, FlowKey};
use netssm_wire::frame::{Layout, Net, Transport, protocol};
use netssm_wire::initiator;
use netssm_wire::ports::{DHCP_CLIENT, DHCP_SERVER, DNS, MDNS, NETBIOS_NAME, SSDP};
use netssm_wire::tcp::{Flags, Seq, View};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the flow's initiator.
    Forward,
    /// From the flow's responder.
    Backward,
}

/// What a TCP header says, without its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// Flags.
    pub flags: Flags,
    /// Bytes of data according to the length fields, captured or not.
    pub payload: u32,
}

impl Segment {
    /// Length in sequence space: data, SYN and FIN.
    pub fn seq_len(&self) -> u32 {
        self.payload + self.flags.seq_len()
    }
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Microseconds since 1970, rounded down. Most captures have this resolution, so finer clocks make no difference.
    pub time_us: i64,
    /// Length on the wire in bytes, from the Ethernet header to the end without checksum.
    pub wire_len: u32,
    /// Its flow in [`CapturedSession::flows`]; `None` without IP addresses (ARP, LLC) or with a cut header.
    pub flow: Option<u32>,
    /// Whether the sender of the flow's first packet sent it. [`CapturedSession::direction`] says what that means.
    from_first: bool,
    /// The TCP header, if its fixed part was captured.
    pub tcp: Option<Segment>,
}

/// A two-way five-tuple within the session, without a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// As its first packet has it.
    pub first: FiveTuple,
    /// Packets of both directions.
    pub packets: u32,
    /// Bytes on the wire of both directions.
    pub bytes: u64,
    /// Time of its first packet, microseconds since 1970.
    pub first_us: i64,
    /// Time of its last one.
    pub last_us: i64,
    initiator_is_first: bool,
    /// A SYN or SYN-ACK has said who opened it.
    said: bool,
}

/// Captured bytes of a packet that are kept. Ethernet, two tags, and the longest IPv4 and TCP headers fit in.
const KEPT: usize = 192;

/// UDP services whose messages are kept whole, because measures of servers and of memorising read the names in them.
const KEPT_WHOLE: [u16; 6] = [DNS, DHCP_SERVER, DHCP_CLIENT, NETBIOS_NAME, SSDP, MDNS];

/// The packets of one session in the order of the capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedSession {
    /// Its label, if it has one.
    pub label: Option<String>,
    /// All packets.
    pub packets: Vec<Packet>,
    /// Their flows by first packet.
    pub flows: Vec<Flow>,
    /// The kept bytes of all packets, one after the other.
    bytes: Vec<u8>,
    /// Where those of each packet end.
    ends: Vec<usize>,
    /// TCP segments whose fixed header was cut. No measure of TCP counts them.
    pub cut_segments: u64,
}

impl CapturedSession {
    /// What is kept of packet `number`, from its Ethernet header on: its first 192 captured bytes, or all of them in
    /// the UDP services that names stand in (DNS, DHCP, NetBIOS names, SSDP, multicast DNS). Empty without such a
    /// packet.
    pub fn frame(&self, number: usize) -> &[u8] {
        let Some(&end) = self.ends.get(number) else { return &[] };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    /// Direction of a packet of this session; `None` without a flow.
    pub fn direction(&self, packet: &Packet) -> Option<Direction> {
        let flow = self.flows.get(packet.flow? as usize)?;
        Some(if packet.from_first == flow.initiator_is_first {
            Direction::Forward
        } else {
            Direction::Backward
        })
    }

    /// From first to last packet in microseconds; 0 if the clock was set back.
    pub fn duration_us(&self) -> i64 {
        let last = self.packets.iter().map(|p| p.time_us).max();
        let first = self.packets.iter().map(|p| p.time_us).min();
        last.zip(first).map_or(0, |(last, first)| last.saturating_sub(first))
    }

    /// The TCP segments of every TCP flow in order, for the measures of TCP: flow number, direction, segment.
    pub fn segments(&self) -> impl Iterator<Item = (u32, Direction, Segment)> + '_ {
        self.packets.iter().filter_map(|p| Some((p.flow?, self.direction(p)?, p.tcp?)))
    }

    /// The same packets and flows at other times, without the kept bytes: packet `i` comes at `times_us[i]`. Packets
    /// beyond the end of `times_us` are left out.
    pub(crate) fn retimed(&self, times_us: &[i64]) -> Self {
        let packets: Vec<Packet> = self
            .packets
            .iter()
            .zip(times_us)
            .map(|(packet, &time_us)| Packet { time_us, ..*packet })
            .collect();
        let mut flows = self.flows.clone();
        let mut seen = vec![false; flows.len()];
        for packet in &packets {
            let Some(number) = packet.flow.map(|flow| flow as usize) else { continue };
            let (Some(flow), Some(seen)) = (flows.get_mut(number), seen.get_mut(number)) else { continue };
            if !std::mem::replace(seen, true) {
                (flow.first_us, flow.last_us) = (packet.time_us, packet.time_us);
            }
            flow.first_us = flow.first_us.min(packet.time_us);
            flow.last_us = flow.last_us.max(packet.time_us);
        }
        Self { label: self.label.clone(), packets, flows, cut_segments: self.cut_segments, ..Self::default() }
    }

    /// Flows of a protocol.
    pub fn flows_of(&self, protocol: u8) -> impl Iterator<Item = &Flow> + '_ {
        self.flows.iter().filter(move |flow| flow.first.protocol == protocol)
    }
}

/// Makes a [`CapturedSession`] from records.
#[derive(Debug, Default)]
pub struct SessionBuilder {
    session: CapturedSession,
    index: HashMap<FlowKey, u32>,
}

impl SessionBuilder {
    /// A session without packets.
    pub fn new(label: Option<String>) -> Self {
        Self { session: CapturedSession { label, ..CapturedSession::default() }, index: HashMap::new() }
    }

    /// Adds a packet.
    pub fn push(&mut self, record: &Record) {
        let frame = with_length(record);
        let layout = Layout::parse(&frame);
        let segment = segment(&layout, &frame);
        if let Transport::Other { protocol: protocol::TCP, .. } = layout.transport {
            self.session.cut_segments += 1;
        }
        let time_us = record.time_ns.div_euclid(1000);
        let mut packet =
            Packet { time_us, wire_len: record.wire_len, flow: None, from_first: true, tcp: segment };
        if let Some(tuple) = layout.five_tuple(&frame) {
            let number = self.flow(&tuple, time_us);
            let flow = &mut self.session.flows[number as usize];
            packet.flow = Some(number);
            packet.from_first = flow.is_from_first(&tuple);
            flow.take(&packet);
        }
        let kept = if is_kept_whole(&layout, &frame) { frame.len() } else { frame.len().min(KEPT) };
        self.session.bytes.extend_from_slice(&frame[..kept]);
        self.session.ends.push(self.session.bytes.len());
        self.session.packets.push(packet);
    }

    fn flow(&mut self, tuple: &FiveTuple, time_us: i64) -> u32 {
        let flows = &mut self.session.flows;
        *self.index.entry(tuple.key()).or_insert_with(|| {
            flows.push(Flow {
                first: *tuple,
                packets: 0,
                bytes: 0,
                first_us: time_us,
                last_us: time_us,
                initiator_is_first: initiator::by_system_port(tuple.src_port, tuple.dst_port)
                    || !protocol::has_ports(tuple.protocol),
                said: false,
            });
            (flows.len() - 1) as u32 // a session with 2^32 flows does not fit in memory
        })
    }

    /// Packets so far.
    pub fn len(&self) -> usize {
        self.session.packets.len()
    }

    /// Whether it has no packet yet.
    pub fn is_empty(&self) -> bool {
        self.session.packets.is_empty()
    }

    /// The session.
    pub fn finish(self) -> CapturedSession {
        self.session
    }
}

impl Flow {
    /// Address and port of its initiator.
    pub fn initiator(&self) -> (IpAddr, u16) {
        let FiveTuple { src, src_port, dst, dst_port, .. } = self.first;
        if self.initiator_is_first { (src, src_port) } else { (dst, dst_port) }
    }

    /// Address and port of the other end.
    pub fn responder(&self) -> (IpAddr, u16) {
        let FiveTuple { src, src_port, dst, dst_port, .. } = self.first;
        if self.initiator_is_first { (dst, dst_port) } else { (src, src_port) }
    }

    fn is_from_first(&self, tuple: &FiveTuple) -> bool {
        (tuple.src, tuple.src_port) == (self.first.src, self.first.src_port)
            || !protocol::has_ports(tuple.protocol) && tuple.src == self.first.src
    }

    fn take(&mut self, packet: &Packet) {
        self.packets += 1;
        self.bytes += u64::from(packet.wire_len);
        self.first_us = self.first_us.min(packet.time_us);
        self.last_us = self.last_us.max(packet.time_us);
        if let Some(by_initiator) = packet.tcp.and_then(|segment| initiator::by_flags(segment.flags))
            && !self.said
        {
            self.initiator_is_first = by_initiator == packet.from_first;
            self.said = true;
        }
    }
}

fn is_kept_whole(layout: &Layout, frame: &[u8]) -> bool {
    layout.five_tuple(frame).is_some_and(|tuple| {
        let named = |port| KEPT_WHOLE.contains(&port);
        tuple.protocol == protocol::UDP && (named(tuple.src_port) || named(tuple.dst_port))
    })
}

/// The frame, with its true IP length if the field is 0. Captures at a sender with segmentation offload have such
/// packets, and without a length no walk gets past the IP header.
fn with_length(record: &Record) -> Cow<'_, [u8]> {
    let at_length = match Layout::parse(&record.frame).net {
        Net::Ipv4(ip) if ip.total_len == 0 => (ip.at + 2, ip.at),
        Net::Ipv6(ip) if ip.payload_len == 0 => (ip.at + 4, ip.at + 40),
        _ => return Cow::Borrowed(&record.frame),
    };
    let (at, from) = at_length;
    let length = (record.wire_len as usize).saturating_sub(from);
    let mut frame = record.frame.clone();
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    }
    Cow::Owned(frame)
}

fn segment(layout: &Layout, frame: &[u8]) -> Option<Segment> {
    let Transport::Tcp { at, header_len } = layout.transport else { return None };
    let view = View::new(frame.get(at..)?)?;
    let end = layout.l3_end()?;
    let payload = u32::try_from(end.saturating_sub(at + header_len)).unwrap_or(u32::MAX);
    Some(Segment { seq: view.seq(), ack: view.ack(), flags: view.flags(), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Frames, SERVER};

    #[test]
    fn the_initiator_sends_the_syn_or_has_the_user_port() {
        let mut frames = Frames::new();
        frames.tcp(0, (443, 50000), "SA", (7, 2), 0); // its SYN was not captured
        frames.tcp(10, (50000, 443), "A", (2, 8), 5);
        frames.udp(20, (53, 40000), 80); // joined late: the answer first
        frames.udp(30, (9999, 8888), 10);
        frames.arp(40);
        let session = frames.session("x");
        let directions: Vec<_> = session.packets.iter().map(|p| session.direction(p)).collect();
        use Direction::{Backward, Forward};
        assert_eq!(directions, [Some(Backward), Some(Forward), Some(Backward), Some(Forward), None]);
        assert_eq!(session.flows.len(), 3);
        assert_eq!(session.flows[0].packets, 2);
        let ports: Vec<_> = session.flows.iter().map(|flow| flow.responder().1).collect();
        assert_eq!((ports, session.flows[0].responder().0), (vec![443, 53, 8888], SERVER.into()));
        assert_eq!(session.duration_us(), 40);
        assert_eq!(session.flows_of(protocol::UDP).count(), 2);
    }

    #[test]
    fn data_is_counted_from_lengths_when_the_capture_is_cut() {
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "A", (1, 1), 1000);
        frames.records[0].frame.truncate(54);
        let session = frames.session("x");
        assert_eq!(session.packets[0].tcp.map(|s| (s.payload, s.seq_len())), Some((1000, 1000)));
        assert_eq!(session.packets[0].wire_len, 1054);
        frames.records[0].frame.truncate(50);
        let cut = frames.session("x");
        assert_eq!((cut.packets[0].tcp, cut.cut_segments), (None, 1));
        assert!(cut.packets[0].flow.is_some(), "the ports are there");
    }

    #[test]
    fn without_an_ip_length_the_frame_s_counts() {
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "A", (1, 1), 3000);
        frames.records[0].frame[16..18].fill(0);
        frames.records[0].frame.truncate(54);
        let session = frames.session("x");
        assert_eq!(session.packets[0].tcp.map(|s| s.payload), Some(3000));
        assert_eq!(session.flows[0].first.dst_port, 443);
    }

    #[test]
    fn the_first_bytes_of_a_packet_are_kept_and_messages_with_names_whole() {
        let mut frames = Frames::new();
        frames.tcp(0, (50000, 443), "A", (1, 1), 1000);
        frames.udp(10, (50000, 53), 300);
        frames.udp(20, (50000, 443), 300);
        let session = frames.session("x");
        let kept: Vec<_> = (0..4).map(|number| session.frame(number).len()).collect();
        assert_eq!(kept, [KEPT, 14 + 20 + 8 + 300, KEPT, 0]);
        assert_eq!(session.frame(1), frames.records[1].frame);
        assert_eq!(session.frame(2), &frames.records[2].frame[..KEPT]);
    }

    #[test]
    fn other_times_move_packets_and_flows_and_nothing_else() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.udp(30, (40001, 53), 10);
        frames.udp(40, (50001, 443), 10);
        let session = frames.session("x");
        let moved = session.retimed(&[100, 200, 300, 250, 400]);
        assert_eq!(moved.packets.iter().map(|p| p.time_us).collect::<Vec<_>>(), [100, 200, 300, 250, 400]);
        let times: Vec<_> = moved.flows.iter().map(|flow| (flow.first_us, flow.last_us)).collect();
        assert_eq!(times, [(100, 300), (250, 250), (400, 400)]);
        let as_before: Vec<i64> = session.packets.iter().map(|p| p.time_us).collect();
        let back = moved.retimed(&as_before);
        assert_eq!((&back.packets, &back.flows), (&session.packets, &session.flows));
    }

    #[test]
    fn no_record_panics() {
        for len in 0..80 {
            for fill in [0, 0x45, 0x60, 0xff] {
                let mut frame = vec![fill; len];
                if len > 13 {
                    frame[12..14].copy_from_slice(if fill == 0x60 { &[0x86, 0xdd] } else { &[8, 0] });
                }
                let record = Record { time_ns: i64::MIN, wire_len: u32::MAX, frame };
                let mut builder = SessionBuilder::new(None);
                builder.push(&record);
                builder.push(&Record { time_ns: i64::MAX, ..record });
                let session = builder.finish();
                assert_eq!(session.packets.len(), 2);
                let _ = (session.duration_us(), session.segments().count());
            }
        }
    }
}
