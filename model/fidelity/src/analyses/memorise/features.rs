//! Sessions and flows as points, for distances to their neighbours.
//!
//! Counts, bytes and times are ln(1 + x), so a factor of two is the same distance at every length. No coordinate is an
//! address, a port or another number that a copy could change and still be a copy.

use std::collections::HashSet;

use netssm_wire::frame::protocol;

use crate::input::session::{CapturedSession, Direction};
use crate::stats;

/// Coordinates of a session.
pub(super) const SESSION: [&str; 22] = [
    "packets (ln)",
    "bytes (ln)",
    "duration in us (ln)",
    "share of packets forward",
    "share of packets TCP",
    "share of packets UDP",
    "share of packets without a flow",
    "flows (ln)",
    "share of flows TCP",
    "mean size forward (ln)",
    "mean size backward (ln)",
    "standard deviation of sizes (ln)",
    "sizes: first quartile (ln)",
    "sizes: median (ln)",
    "sizes: third quartile (ln)",
    "gaps in us: first quartile (ln)",
    "gaps in us: median (ln)",
    "gaps in us: ninth decile (ln)",
    "share of packets of another flow than the one before",
    "packets of the largest flow (ln)",
    "share of bytes in the largest flow",
    "addresses of openers and opened (ln)",
];

/// First packets of a flow whose sizes and directions are coordinates, and first gaps.
const FIRST: usize = 8;
const GAPS: usize = 4;

/// Coordinates of a flow.
pub(super) const FLOW: [&str; 7 + FIRST + GAPS] = [
    "TCP",
    "packets forward (ln)",
    "packets backward (ln)",
    "bytes forward (ln)",
    "bytes backward (ln)",
    "duration in us (ln)",
    "mean gap in us (ln)",
    "packet 1: size (ln), negative if backward",
    "packet 2: size (ln), negative if backward",
    "packet 3: size (ln), negative if backward",
    "packet 4: size (ln), negative if backward",
    "packet 5: size (ln), negative if backward",
    "packet 6: size (ln), negative if backward",
    "packet 7: size (ln), negative if backward",
    "packet 8: size (ln), negative if backward",
    "gap before packet 2 in us (ln)",
    "gap before packet 3 in us (ln)",
    "gap before packet 4 in us (ln)",
    "gap before packet 5 in us (ln)",
];

fn ln(x: f64) -> f64 {
    x.max(0.0).ln_1p()
}

fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// The value at a share of a sorted sample; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
}

fn mean(sum: f64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { sum / n as f64 }
}

/// A session as a point.
pub(super) fn session(session: &CapturedSession) -> Vec<f64> {
    let packets = &session.packets;
    let n = packets.len();
    let of_protocol = |number: u8| {
        let is = |flow: u32| session.flows.get(flow as usize).is_some_and(|f| f.first.protocol == number);
        packets.iter().filter(|p| p.flow.is_some_and(is)).count()
    };
    let going = |way: Direction| {
        let sizes =
            packets.iter().filter(|p| session.direction(p) == Some(way)).map(|p| f64::from(p.wire_len));
        sizes.fold((0.0, 0_usize), |(sum, n), size| (sum + size, n + 1))
    };
    let (forward, backward) = (going(Direction::Forward), going(Direction::Backward));
    let mut sizes: Vec<f64> = packets.iter().map(|p| f64::from(p.wire_len)).collect();
    stats::sort(&mut sizes);
    let bytes: f64 = sizes.iter().sum();
    let average = mean(bytes, n);
    let variance = mean(sizes.iter().map(|x| (x - average).powi(2)).sum(), n);
    let pairs = || packets.windows(2).map(|pair| (&pair[0], &pair[1]));
    let mut gaps: Vec<f64> =
        pairs().map(|(a, b)| b.time_us.saturating_sub(a.time_us).max(0) as f64).collect();
    stats::sort(&mut gaps);
    let largest = session.flows.iter().max_by_key(|flow| flow.packets);
    let hosts: HashSet<_> = session.flows.iter().flat_map(|flow| [flow.first.src, flow.first.dst]).collect();
    vec![
        ln(n as f64),
        ln(bytes),
        ln(session.duration_us() as f64),
        share(forward.1, n),
        share(of_protocol(protocol::TCP), n),
        share(of_protocol(protocol::UDP), n),
        share(packets.iter().filter(|p| p.flow.is_none()).count(), n),
        ln(session.flows.len() as f64),
        share(session.flows_of(protocol::TCP).count(), session.flows.len()),
        ln(mean(forward.0, forward.1)),
        ln(mean(backward.0, backward.1)),
        ln(variance.sqrt()),
        ln(quantile(&sizes, 0.25)),
        ln(quantile(&sizes, 0.5)),
        ln(quantile(&sizes, 0.75)),
        ln(quantile(&gaps, 0.25)),
        ln(quantile(&gaps, 0.5)),
        ln(quantile(&gaps, 0.9)),
        share(pairs().filter(|(a, b)| a.flow != b.flow).count(), n.saturating_sub(1)),
        ln(largest.map_or(0.0, |flow| f64::from(flow.packets))),
        largest.map_or(0.0, |flow| if bytes > 0.0 { flow.bytes as f64 / bytes } else { 0.0 }),
        ln(hosts.len() as f64),
    ]
}

#[derive(Clone, Default)]
struct Growing {
    packets: [f64; 2],
    bytes: [f64; 2],
    sizes: [f64; FIRST],
    gaps: [f64; GAPS],
    seen: usize,
    last_us: i64,
}

/// The flows of a session that have at least so many packets, as points, in order.
pub(super) fn flows(session: &CapturedSession, least: u32) -> Vec<Vec<f64>> {
    let mut growing = vec![Growing::default(); session.flows.len()];
    for packet in &session.packets {
        let Some(way) = session.direction(packet) else { continue };
        let Some(flow) = packet.flow.and_then(|flow| growing.get_mut(flow as usize)) else { continue };
        let size = f64::from(packet.wire_len);
        flow.packets[way as usize] += 1.0;
        flow.bytes[way as usize] += size;
        if let Some(place) = flow.sizes.get_mut(flow.seen) {
            *place = if way == Direction::Forward { ln(size) } else { -ln(size) };
        }
        if let Some(place) = flow.seen.checked_sub(1).and_then(|gap| flow.gaps.get_mut(gap)) {
            *place = ln(packet.time_us.saturating_sub(flow.last_us) as f64);
        }
        flow.last_us = packet.time_us;
        flow.seen += 1;
    }
    let long = session.flows.iter().zip(growing).filter(|(flow, _)| flow.packets >= least);
    let point = long.map(|(flow, seen)| {
        let duration = flow.last_us.saturating_sub(flow.first_us) as f64;
        let mut point = vec![
            f64::from(u8::from(flow.first.protocol == protocol::TCP)),
            ln(seen.packets[0]),
            ln(seen.packets[1]),
            ln(seen.bytes[0]),
            ln(seen.bytes[1]),
            ln(duration),
            ln(mean(duration, seen.seen.saturating_sub(1))),
        ];
        point.extend(seen.sizes);
        point.extend(seen.gaps);
        point
    });
    point.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Frames;

    #[test]
    fn points_have_their_named_coordinates() {
        let mut frames = Frames::new();
        frames.handshake(0, 50001);
        frames.udp(30, (40001, 53), 8);
        frames.arp(40);
        let x = frames.session("x");
        let point = session(&x);
        assert_eq!(point.len(), SESSION.len());
        let named = |name: &str| point[SESSION.iter().position(|n| *n == name).expect("a name")];
        assert_eq!(named("packets (ln)"), 5_f64.ln_1p());
        assert_eq!(named("share of packets TCP"), 0.6);
        assert_eq!(named("share of packets forward"), 0.6);
        assert_eq!(named("share of packets of another flow than the one before"), 0.5);
        assert_eq!(named("share of flows TCP"), 0.5);
        assert_eq!(named("gaps in us: median (ln)"), 10_f64.ln_1p());
        let flows = flows(&x, 2);
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].len(), FLOW.len());
        let size = 54_f64.ln_1p();
        assert_eq!(flows[0][7..11], [size, -size, size, 0.0]);
        assert_eq!(flows[0][15..18], [10_f64.ln_1p(), 10_f64.ln_1p(), 0.0]);
    }

    #[test]
    fn no_packets_make_a_finite_point() {
        let empty = Frames::new().session("x");
        assert!(session(&empty).iter().all(|x| *x == 0.0));
        assert!(flows(&empty, 0).is_empty());
    }
}
