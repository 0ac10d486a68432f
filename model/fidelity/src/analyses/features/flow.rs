//! Features of a flow: sizes, gaps, directions, and of TCP its state and flags.
//!
//! *Forward* is from the flow's initiator. Sizes are bytes on the wire, gaps microseconds. A single packet has no gap,
//! a UDP flow no flags: then the value is -2. `size.1` to `size.6` are the sizes of its first packets with their
//! direction as the sign, which much work on traffic classification rests on (L. Bernaille et al., "Early application
//! identification", CoNEXT 2006).

use netssm_wire::frame::{Layout, Net, Transport};
use netssm_wire::tcp::{Flags, Seq};

use super::numbers::{entropy, lag1, max, mean, median, min, share, std};
use super::{Feature, NONE};
use crate::input::session::{CapturedSession, Direction, Packet};

const FEATURES: [(&str, &str); 53] = [
    ("flow.protocol", "IP protocol number"),
    ("flow.port", "port of the end that did not open it; code of ICMP"),
    ("flow.start", "s after the session's first packet"),
    ("flow.duration", "s"),
    ("flow.packets.forward", "packets"),
    ("flow.packets.backward", "packets"),
    ("flow.packets.forward.share", "share of packets"),
    ("flow.bytes.forward", "bytes"),
    ("flow.bytes.backward", "bytes"),
    ("flow.bytes.forward.share", "share of bytes"),
    ("flow.size.mean", "bytes"),
    ("flow.size.std", "bytes"),
    ("flow.size.min", "bytes"),
    ("flow.size.max", "bytes"),
    ("flow.size.entropy", "bits"),
    ("flow.size.forward.mean", "bytes"),
    ("flow.size.backward.mean", "bytes"),
    ("flow.size.forward.median", "bytes"),
    ("flow.size.backward.median", "bytes"),
    ("flow.size.1", "bytes, negative: backward"),
    ("flow.size.2", "bytes, negative: backward"),
    ("flow.size.3", "bytes, negative: backward"),
    ("flow.size.4", "bytes, negative: backward"),
    ("flow.size.5", "bytes, negative: backward"),
    ("flow.size.6", "bytes, negative: backward"),
    ("flow.gap.mean", "us"),
    ("flow.gap.std", "us"),
    ("flow.gap.min", "us"),
    ("flow.gap.max", "us"),
    ("flow.gap.median", "us"),
    ("flow.gap.first", "us"),
    ("flow.gap.turn.median", "us, where the direction changes"),
    ("flow.gap.same.median", "us, where it does not"),
    ("flow.gap.lag1", "correlation of a gap's logarithm with the next"),
    ("flow.turns", "share of packets that go the other way than the one before"),
    ("flow.ttl.forward", "hops, first packet"),
    ("flow.ttl.backward", "hops, first packet"),
    ("flow.tcp.handshake", "0 no SYN, 1 SYN, 2 and its answer, 3 and its acknowledgement"),
    ("flow.tcp.syn", "segments"),
    ("flow.tcp.fin", "segments"),
    ("flow.tcp.rst", "segments"),
    ("flow.tcp.psh", "share of segments"),
    ("flow.tcp.empty", "share of segments without data"),
    ("flow.tcp.next.forward", "share of segments that start where data sent ends"),
    ("flow.tcp.next.backward", "share of segments that start where data sent ends"),
    ("flow.tcp.known", "share of acknowledgements of what the peer has sent by then"),
    ("flow.tcp.data.forward", "bytes"),
    ("flow.tcp.data.backward", "bytes"),
    ("flow.tcp.data.max", "bytes in a segment"),
    ("flow.tcp.window.forward", "first segment's, not scaled"),
    ("flow.tcp.window.backward", "first segment's, not scaled"),
    ("flow.tcp.options.forward", "bytes, first segment"),
    ("flow.tcp.options.backward", "bytes, first segment"),
];

/// Names and units, in the order of [`rows`].
pub(crate) fn features() -> Vec<Feature> {
    FEATURES.iter().map(|&(name, unit)| Feature { name: name.to_owned(), unit }).collect()
}

/// The features of some flows of a session, given by number.
pub(crate) fn rows(session: &CapturedSession, flows: &[u32]) -> Vec<Vec<f64>> {
    let mut packets = vec![Vec::new(); session.flows.len()];
    for (number, packet) in session.packets.iter().enumerate() {
        if let Some(of) = packet.flow.and_then(|flow| packets.get_mut(flow as usize)) {
            of.push(number);
        }
    }
    let start = session.packets.iter().map(|packet| packet.time_us).min().unwrap_or(0);
    flows
        .iter()
        .filter_map(|&flow| packets.get(flow as usize).map(|packets| row(session, flow, packets, start)))
        .collect()
}

/// Sizes and gaps by direction.
#[derive(Default)]
struct Ways {
    sizes: [Vec<f64>; 2],
    first: [Option<Header>; 2],
}

/// What the first packet of a direction says.
#[derive(Clone, Copy)]
struct Header {
    ttl: f64,
    window: f64,
    options: f64,
}

fn way(session: &CapturedSession, packet: &Packet) -> usize {
    usize::from(session.direction(packet) == Some(Direction::Backward))
}

fn row(session: &CapturedSession, flow: u32, numbers: &[usize], start_us: i64) -> Vec<f64> {
    let about = &session.flows[flow as usize];
    let packets: Vec<&Packet> = numbers.iter().map(|&number| &session.packets[number]).collect();
    let mut ways = Ways::default();
    for (&number, packet) in numbers.iter().zip(&packets) {
        let way = way(session, packet);
        ways.sizes[way].push(f64::from(packet.wire_len));
        ways.first[way].get_or_insert_with(|| header(session.frame(number)));
    }
    let seconds = |us: i64| us.max(0) as f64 / 1e6;
    let mut out = vec![
        f64::from(about.first.protocol),
        f64::from(about.responder().1),
        seconds(about.first_us.saturating_sub(start_us)),
        seconds(about.last_us.saturating_sub(about.first_us)),
    ];
    out.extend(sizes(session, &packets, &ways));
    out.extend(gaps(session, &packets));
    let of = |part: fn(&Header) -> f64| ways.first.map(|header| header.as_ref().map_or(NONE, part));
    out.extend(of(|header| header.ttl));
    out.extend(tcp(session, &packets));
    out.extend(of(|header| header.window));
    out.extend(of(|header| header.options));
    debug_assert_eq!(out.len(), FEATURES.len());
    out
}

fn sizes(session: &CapturedSession, packets: &[&Packet], ways: &Ways) -> Vec<f64> {
    let [forward, backward] = &ways.sizes;
    let (there, back) = (forward.iter().sum::<f64>(), backward.iter().sum::<f64>());
    let all = [&forward[..], &backward[..]].concat();
    let mut values: Vec<u32> = packets.iter().map(|packet| packet.wire_len).collect();
    let mut out = vec![
        forward.len() as f64,
        backward.len() as f64,
        share(forward.len(), packets.len()),
        there,
        back,
        if there + back > 0.0 { there / (there + back) } else { NONE },
        mean(&all),
        std(&all),
        min(&all),
        max(&all),
        entropy(&mut values),
        mean(forward),
        mean(backward),
        median(&mut forward.clone()),
        median(&mut backward.clone()),
    ];
    out.extend((0..6).map(|at| {
        packets.get(at).map_or(0.0, |packet| {
            let size = f64::from(packet.wire_len);
            if way(session, packet) == 1 { -size } else { size }
        })
    }));
    out
}

fn gaps(session: &CapturedSession, packets: &[&Packet]) -> Vec<f64> {
    let (mut turn, mut same) = (Vec::new(), Vec::new());
    let mut all = Vec::with_capacity(packets.len());
    for pair in packets.windows(2) {
        let gap = pair[1].time_us.saturating_sub(pair[0].time_us).max(0) as f64;
        all.push(gap);
        if way(session, pair[0]) == way(session, pair[1]) { same.push(gap) } else { turn.push(gap) }
    }
    let turns = share(turn.len(), all.len());
    let (first, lag) = (all.first().copied().unwrap_or(NONE), lag1(&all));
    vec![
        mean(&all),
        std(&all),
        min(&all),
        max(&all),
        median(&mut all),
        first,
        median(&mut turn),
        median(&mut same),
        lag,
        turns,
    ]
}

/// From the flags to the data: what the segments of a flow say.
fn tcp(session: &CapturedSession, packets: &[&Packet]) -> Vec<f64> {
    let segments: Vec<_> =
        packets.iter().filter_map(|p| p.tcp.map(|segment| (way(session, p), segment))).collect();
    if segments.is_empty() {
        return vec![NONE; 12];
    }
    let n = segments.len();
    let with = |flag: Flags| segments.iter().filter(|(_, segment)| segment.flags.contains(flag)).count();
    let mut handshake = 0_u8;
    let mut end = [None::<Seq>; 2];
    let (mut next, mut judged) = ([0_usize; 2], [0_usize; 2]);
    let (mut known, mut acks) = (0_usize, 0_usize);
    let mut data = [0.0; 2];
    for &(way, segment) in &segments {
        let (syn, ack) = (segment.flags.contains(Flags::SYN), segment.flags.contains(Flags::ACK));
        match (syn, ack, handshake) {
            (true, false, 0) => handshake = 1,
            (true, true, 1) if end[1 - way] == Some(segment.ack) => handshake = 2,
            (false, true, 2) if way == 0 && end[1] == Some(segment.ack) => handshake = 3,
            _ => {}
        }
        if let Some(end) = end[way] {
            judged[way] += 1;
            next[way] += usize::from(end == segment.seq);
        }
        if ack && let Some(theirs) = end[1 - way] {
            acks += 1;
            known += usize::from(!theirs.precedes(segment.ack));
        }
        let behind = segment.seq + segment.seq_len();
        end[way] = Some(end[way].map_or(behind, |end| end.later(behind)));
        data[way] += f64::from(segment.payload);
    }
    let empty = segments.iter().filter(|(_, segment)| segment.payload == 0).count();
    let largest = segments.iter().map(|(_, segment)| segment.payload).max().unwrap_or(0);
    vec![
        f64::from(handshake),
        with(Flags::SYN) as f64,
        with(Flags::FIN) as f64,
        with(Flags::RST) as f64,
        share(with(Flags::PSH), n),
        share(empty, n),
        share(next[0], judged[0]),
        share(next[1], judged[1]),
        share(known, acks),
        data[0],
        data[1],
        f64::from(largest),
    ]
}

fn header(frame: &[u8]) -> Header {
    let layout = Layout::parse(frame);
    let byte = |at: usize| frame.get(at).map_or(NONE, |&byte| f64::from(byte));
    let ttl = match layout.net {
        Net::Ipv4(ip) => byte(ip.at + 8),
        Net::Ipv6(ip) => byte(ip.at + 7),
        _ => NONE,
    };
    let (window, options) = match layout.transport {
        Transport::Tcp { at, header_len } => {
            (byte(at + 14) * 256.0 + byte(at + 15), (header_len - 20) as f64)
        }
        _ => (NONE, NONE),
    };
    Header { ttl, window, options }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    fn named(session: &CapturedSession, flow: u32, name: &str) -> f64 {
        let at = FEATURES.iter().position(|(n, _)| *n == name).expect(name);
        rows(session, &[flow])[0][at]
    }

    #[test]
    fn a_connection_has_its_state_directions_and_gaps() {
        let mut frames = Frames::new();
        frames.udp(0, (40000, 53), 8);
        frames.handshake(1_000_000, 50001);
        frames.tcp(1_000_120, (50001, 443), "PA", (101, 501), 200);
        frames.tcp(1_001_120, (443, 50001), "A", (501, 301), 1000);
        frames.tcp(1_001_130, (443, 50001), "FA", (1501, 301), 0);
        let session = frames.session("x");
        for (name, value) in [
            ("flow.protocol", 6.0),
            ("flow.port", 443.0),
            ("flow.start", 1.0),
            ("flow.packets.forward", 3.0),
            ("flow.packets.backward", 3.0),
            ("flow.bytes.forward", 54.0 * 3.0 + 200.0),
            ("flow.size.1", 54.0),
            ("flow.size.2", -54.0),
            ("flow.size.5", -1054.0),
            ("flow.size.max", 1054.0),
            ("flow.gap.first", 10.0),
            ("flow.gap.max", 1000.0),
            ("flow.gap.turn.median", 10.0),
            ("flow.gap.same.median", 10.0),
            ("flow.turns", 0.6),
            ("flow.tcp.handshake", 3.0),
            ("flow.tcp.syn", 2.0),
            ("flow.tcp.fin", 1.0),
            ("flow.tcp.empty", 4.0 / 6.0),
            ("flow.tcp.next.forward", 1.0),
            ("flow.tcp.next.backward", 1.0),
            ("flow.tcp.known", 1.0),
            ("flow.tcp.data.backward", 1000.0),
            ("flow.tcp.options.forward", 0.0),
        ] {
            assert_eq!(named(&session, 1, name), value, "{name}");
        }
    }

    #[test]
    fn what_a_flow_has_not_is_none() {
        let mut frames = Frames::new();
        frames.udp(0, (40000, 53), 8);
        let session = frames.session("x");
        let row = &rows(&session, &[0, 7])[..];
        assert_eq!(row.len(), 1, "there is no flow 7");
        assert!(row[0].iter().all(|value| value.is_finite()));
        for name in [
            "flow.gap.mean",
            "flow.size.backward.mean",
            "flow.tcp.handshake",
            "flow.ttl.backward",
            "flow.gap.lag1",
        ] {
            assert_eq!(named(&session, 0, name), NONE, "{name}");
        }
        assert_eq!(
            (named(&session, 0, "flow.packets.forward.share"), named(&session, 0, "flow.size.2")),
            (1.0, 0.0)
        );
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = FEATURES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), FEATURES.len());
    }
}
